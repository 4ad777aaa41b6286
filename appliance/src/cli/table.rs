//! Columns for people: as wide as their widest cell, separated by two blanks.

use std::io::{self, Write};

/// Widest cell; longer text is cut with an ellipsis, except in the last column.
const CELL_CHARS_MAX: usize = 60;

/// Writes a heading and rows; an empty heading is not written.
pub(super) fn write(
    out: &mut impl Write,
    heading: &[&str],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let heading: Vec<String> = heading.iter().map(|word| word.to_uppercase()).collect();
    let lines = || Some(&heading).filter(|heading| !heading.is_empty()).into_iter().chain(rows);
    let mut widths = vec![0_usize; lines().map(Vec::len).max().unwrap_or(0)];
    for row in lines() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(CELL_CHARS_MAX));
        }
    }
    for row in lines() {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = printable(cell);
            match at + 1 == row.len() {
                true => line.push_str(&cell),
                false => line.push_str(&format!("{:<width$}  ", cut(&cell))),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= CELL_CHARS_MAX {
        return cell.to_owned();
    }
    cell.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

/// Text of clients reaches this table: control characters must not reach the terminal.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_reaches_the_terminal_raw() {
        let rows = vec![
            vec!["a".into(), "b\u{1b}[31m".into(), "c".into()],
            vec!["long".into(), "x".repeat(70), "y".repeat(70)],
        ];
        let mut out = Vec::new();
        write(&mut out, &["one", "two", "three"], &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("ONE   TWO"), "{text}");
        assert!(lines[1].starts_with("a     b\u{FFFD}[31m"), "{text}");
        assert!(lines[2].contains('…') && lines[2].ends_with(&"y".repeat(70)), "{text}");
    }
}
