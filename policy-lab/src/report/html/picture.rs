//! The drawings: the matrix of who gains and who loses what, and the bar of shares. Inline SVG.

use std::fmt::Write as _;

use super::super::matrix::{Cell, Matrix};
use super::{grouped, safe};

// Pixels.
const LABEL: usize = 190;
const HEAD: usize = 118;
const CELL: usize = 78;
const ROW: usize = 34;
const TOTAL: usize = 150;

/// Principals down, actions across. A cell holds what is lost on its left and what is gained on its right; the more
/// requests, the stronger the colour. Signs say the same as colours.
pub(super) fn draw(page: &mut String, matrix: &Matrix) {
    let width = LABEL + matrix.actions.len() * CELL + TOTAL;
    let height = HEAD + matrix.rows.len() * ROW + 8;
    let largest =
        matrix.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.total()).max().unwrap_or(0);
    page.push_str(
        "<p class=\"legend\"><span class=\"lost\">− loses</span><span class=\"gained\">+ gains</span>\
         <span class=\"open\">? not known</span>\
         Figures are requests; a stronger colour means more of them.</p>\n",
    );
    // Writing to a string does not fail.
    let _ = writeln!(
        page,
        "<div class=\"scroll\"><svg class=\"matrix\" role=\"img\" aria-label=\"Who gains and who \
         loses which action\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    );
    for (column, action) in matrix.actions.iter().enumerate() {
        let (x, y) = (LABEL + column * CELL + CELL / 2, HEAD - 12);
        let _ = writeln!(
            page,
            "<text class=\"action\" transform=\"translate({x},{y}) rotate(-32)\">{}</text>",
            safe(&short(action, 24))
        );
    }
    let totals = LABEL + matrix.actions.len() * CELL + 14;
    let _ =
        writeln!(page, "<text class=\"action\" x=\"{totals}\" y=\"{}\">in all</text>", HEAD - 12);
    for (number, row) in matrix.rows.iter().enumerate() {
        let y = HEAD + number * ROW;
        let _ = writeln!(
            page,
            "<line x1=\"0\" y1=\"{y}\" x2=\"{width}\" y2=\"{y}\"/>\n\
             <text class=\"who\" x=\"{}\" y=\"{}\">{}<title>{}</title></text>",
            LABEL - 12,
            y + ROW / 2 + 5,
            safe(&short(&row.principal, 24)),
            safe(&row.principal),
        );
        for (column, cell) in row.cells.iter().enumerate() {
            let hint = format!(
                "{} {}: {} lost, {} gained, {} not known",
                row.principal,
                matrix.actions.get(column).map_or("", String::as_str),
                cell.lost,
                cell.gained,
                cell.unknown
            );
            draw_cell(page, *cell, LABEL + column * CELL, y, largest, &hint);
        }
        let _ = write!(page, "<text class=\"sum\" x=\"{totals}\" y=\"{}\">", y + ROW / 2 + 5);
        for (class, sign, count) in parts(row.total) {
            let _ = write!(page, "<tspan class=\"{class}\">{sign}{}</tspan> ", grouped(count));
        }
        page.push_str("</text>\n");
    }
    page.push_str("</svg></div>\n");
    if matrix.principals_cut + matrix.actions_cut > 0 {
        let _ = writeln!(
            page,
            "<p class=\"fine\">Not drawn, but listed below: {} principals and {} actions with fewer changes.</p>",
            matrix.principals_cut, matrix.actions_cut
        );
    }
}

/// What there is of a cell, in drawing order.
fn parts(cell: Cell) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    [("lost", "−", cell.lost), ("gained", "+", cell.gained), ("open", "?", cell.unknown)]
        .into_iter()
        .filter(|(_, _, count)| *count > 0)
}

fn draw_cell(page: &mut String, cell: Cell, x: usize, y: usize, largest: u64, hint: &str) {
    let all: Vec<_> = parts(cell).collect();
    if all.is_empty() {
        let (x, y) = (x + CELL / 2, y + ROW / 2);
        let _ = writeln!(page, "<circle class=\"nothing\" cx=\"{x}\" cy=\"{y}\" r=\"1.5\"/>");
        return;
    }
    let _ = writeln!(page, "<g><title>{}</title>", safe(hint));
    let width = (CELL - 6) / all.len();
    for (number, (class, sign, count)) in all.iter().enumerate() {
        let left = x + 3 + number * width;
        let strength = strength(*count, largest);
        let dark = if strength >= 60 { " dark" } else { "" };
        let _ = writeln!(
            page,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\" \
             fill-opacity=\"{}.{:02}\"/>\n<text class=\"cell{dark}\" x=\"{}\" y=\"{}\">{sign}{}</text>",
            y + 3,
            width.saturating_sub(2),
            ROW - 6,
            strength / 100,
            strength % 100,
            left + width.saturating_sub(2) / 2,
            y + ROW / 2 + 5,
            brief(*count),
        );
    }
    page.push_str("</g>\n");
}

/// Percent of full colour: by the number of bits, so that a single request is seen beside a million.
fn strength(count: u64, largest: u64) -> u64 {
    let bits = |number: u64| u64::from(64 - number.leading_zeros());
    22 + 78 * bits(count) / bits(largest).max(1)
}

/// A number in at most four characters.
fn brief(count: u64) -> String {
    match count {
        0..=9_999 => count.to_string(),
        10_000..=999_999 => format!("{}k", count / 1_000),
        1_000_000..=999_999_999 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

fn short(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// One bar of all requests.
pub(super) fn bar(page: &mut String, shares: &[(&str, u64, &str)], whole: u64) {
    page.push_str(
        "<svg class=\"shares\" role=\"img\" aria-label=\"Shares of all requests\" width=\"100%\" \
         height=\"14\" viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\">\n",
    );
    let mut x = 0;
    for (class, count, words) in shares.iter().filter(|(_, count, _)| *count > 0) {
        let exact = u128::from(*count) * 1000 / u128::from(whole.max(1));
        // What there is can be seen, however little it is.
        let width = usize::try_from(exact).unwrap_or(1000).max(3).min(1000_usize.saturating_sub(x));
        let _ = writeln!(
            page,
            "<rect class=\"{class}\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"14\">\
             <title>{} {words}</title></rect>",
            grouped(*count)
        );
        x += width;
    }
    page.push_str("</svg>\n");
}
