//! Changes as CSV (RFC 4180), one row for each group: for a spreadsheet.

use super::table::printable;
use crate::replay::Outcome;

/// A head line, then one line for each group, in the order of the report.
#[must_use]
pub fn csv(outcome: &Outcome) -> String {
    let mut text = "class,count,principal,action,prefix,before,after,keys,samples\r\n".to_owned();
    for group in &outcome.groups {
        let cells = [
            group.class.as_str().to_owned(),
            group.count.to_string(),
            group.principal.clone(),
            group.action.clone(),
            group.prefix.clone(),
            group.before.clone(),
            group.after.clone(),
            group.keys.join(" "),
            group.samples.join(" "),
        ];
        let cells: Vec<_> = cells.iter().map(|cell| escape(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Names come from requests: a cell never is a formula, and never ends a row.
fn escape(cell: &str) -> String {
    let cell = printable(cell);
    let cell = if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell };
    if cell.contains([',', '"', ' ']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn cells_stay_cells() {
        for (cell, written) in [
            ("plain/", "plain/"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("-1+1,", "\"'-1+1,\""),
        ] {
            assert_eq!(escape(cell), written, "{cell}");
        }
        assert!(!escape("a\r\nb").contains(['\r', '\n']));
    }
}
