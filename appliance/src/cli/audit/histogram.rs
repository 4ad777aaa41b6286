//! Matches over time, drawn for a terminal or as a picture.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use audit::{Bar, Histogram};
use jiff::Timestamp;

/// Characters of the longest bar.
const BAR_CHARS: u64 = 50;
/// Bars of a terminal; a screen has some forty lines.
pub(super) const BARS_MAX: usize = 32;
/// Bars of a picture.
pub(super) const PICTURE_BARS_MAX: usize = 120;

/// How a bar's parts look without colour: allowed, denied, other.
const PLAIN: [char; 3] = ['#', '!', '.'];
/// The same with colours of the terminal around a block: green, red, grey.
const COLOURS: [&str; 3] = ["32", "31", "90"];

/// Writes one line per interval: its start, its bar, its number.
pub(super) fn write(out: &mut impl Write, histogram: &Histogram) -> io::Result<()> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let most = histogram.bars.iter().map(Bar::total).max().unwrap_or(0).max(1);
    for (at_us, bar) in places(histogram) {
        let mut line = format!("{}  ", time(at_us, histogram.width_us));
        for (part, count) in parts(bar).into_iter().enumerate() {
            draw(&mut line, part, length(count, most), colour);
        }
        writeln!(out, "{} {}", line.trim_end(), number(bar))?;
    }
    if !histogram.bars.is_empty() {
        let [allowed, denied, other] = PLAIN;
        let legend = format!("{allowed} allowed  {denied} denied  {other} no decision");
        let width = span(histogram.width_us);
        match colour {
            true => writeln!(out, "each {width}: green allowed, red denied, grey no decision")?,
            false => writeln!(out, "each {width}: {legend}")?,
        }
    }
    Ok(())
}

/// One JSON object per interval.
pub(super) fn write_json(out: &mut impl Write, histogram: &Histogram) -> io::Result<()> {
    for (at_us, bar) in places(histogram) {
        let line = serde_json::json!({
            "time": stamp(at_us),
            "width_us": histogram.width_us,
            "allowed": bar.allowed,
            "denied": bar.denied,
            "other": bar.other,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn places(histogram: &Histogram) -> impl Iterator<Item = (u64, &Bar)> {
    let starts = (0..).map(|n| histogram.from_us + n * histogram.width_us);
    starts.zip(&histogram.bars)
}

fn parts(bar: &Bar) -> [u64; 3] {
    [bar.allowed, bar.denied, bar.other]
}

/// Something that is there is seen.
fn length(count: u64, most: u64) -> usize {
    let length = (u128::from(count) * u128::from(BAR_CHARS)).div_ceil(u128::from(most));
    usize::try_from(length).unwrap_or(0)
}

fn draw(line: &mut String, part: usize, length: usize, colour: bool) {
    let (Some(plain), Some(code)) = (PLAIN.get(part), COLOURS.get(part)) else { return };
    match colour && length > 0 {
        true => line.push_str(&format!("\u{1b}[{code}m{}\u{1b}[0m", "█".repeat(length))),
        false => line.extend(std::iter::repeat_n(*plain, length)),
    }
}

fn number(bar: &Bar) -> String {
    match (bar.total(), bar.denied) {
        (total, 0) => total.to_string(),
        (total, denied) => format!("{total} ({denied} denied)"),
    }
}

/// A time to the precision of the interval.
fn time(at_us: u64, width_us: u64) -> String {
    let text = stamp(at_us);
    let chars = match width_us {
        0..1_000_000 => 23,
        1_000_000..60_000_000 => 19,
        60_000_000..86_400_000_000 => 16,
        _ => 10,
    };
    text.chars().take(chars).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn stamp(at_us: u64) -> String {
    let at = i64::try_from(at_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    format!("{:.6}", at.unwrap_or_default())
}

/// A width in the largest unit that divides it.
fn span(width_us: u64) -> String {
    let units =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s")];
    let unit = units.into_iter().find(|(us, _)| width_us >= *us && width_us.is_multiple_of(*us));
    let (us, name) = unit.unwrap_or((1000, "ms"));
    format!("{} {name}", width_us / us)
}

const WIDTH: u64 = 960;
const HEIGHT: u64 = 320;
/// Room for the axes: left and right, above, below.
const SIDE: u64 = 60;
const ABOVE: u64 = 40;
const BELOW: u64 = 40;
/// Allowed, denied, other: told apart also by those who do not see red and green.
const FILLS: [&str; 3] = ["#0072b2", "#d55e00", "#bbbbbb"];
const NAMES: [&str; 3] = ["allowed", "denied", "no decision"];

/// A picture that stands by itself: stacked bars, axes, a legend, and what it is of.
pub(super) fn svg(histogram: &Histogram, query: &str) -> String {
    let most = histogram.bars.iter().map(Bar::total).max().unwrap_or(0).max(1);
    let (inner, high) = (WIDTH - 2 * SIDE, HEIGHT - ABOVE - BELOW);
    let bottom = HEIGHT - BELOW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n",
        escape(query)
    );
    let title = if query.trim().is_empty() { "all records" } else { query };
    let _ = writeln!(out, "<text x=\"{SIDE}\" y=\"20\">{}</text>", escape(title));
    let count = histogram.bars.len().max(1) as u64;
    for (n, (at_us, bar)) in places(histogram).enumerate() {
        let n = n as u64;
        let (left, right) = (SIDE + inner * n / count, SIDE + inner * (n + 1) / count);
        let mut top = bottom;
        for ((part, fill), name) in parts(bar).into_iter().zip(FILLS).zip(NAMES) {
            let tall = (u128::from(part) * u128::from(high)).div_ceil(u128::from(most));
            let tall = u64::try_from(tall).unwrap_or(0).min(top - ABOVE.min(top));
            if tall == 0 {
                continue;
            }
            top -= tall;
            let width = (right - left).saturating_sub(1).max(1);
            let _ = writeln!(
                out,
                "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{tall}\" fill=\"{fill}\">\
                 <title>{} {part} {name}</title></rect>",
                time(at_us, histogram.width_us),
            );
        }
    }
    axes(&mut out, histogram, most);
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String, histogram: &Histogram, most: u64) {
    let (bottom, right) = (HEIGHT - BELOW, WIDTH - SIDE);
    let _ = writeln!(
        out,
        "<path d=\"M{SIDE} {ABOVE}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most}</text>\n\
         <text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>",
        SIDE - 5,
        ABOVE + 10,
        SIDE - 5,
    );
    if let (Some((first, _)), Some((last, _))) =
        (places(histogram).next(), places(histogram).last())
    {
        let (from, to) = (time(first, histogram.width_us), time(last, histogram.width_us));
        let (y, width) = (bottom + 18, span(histogram.width_us));
        let _ = writeln!(
            out,
            "<text x=\"{SIDE}\" y=\"{y}\">{from}</text>\n\
             <text x=\"{right}\" y=\"{y}\" text-anchor=\"end\">{to}</text>\n\
             <text x=\"{}\" y=\"{y}\" text-anchor=\"middle\">each bar {width}, UTC</text>",
            WIDTH / 2,
        );
    }
    for (n, (fill, name)) in FILLS.into_iter().zip(NAMES).enumerate() {
        let x = WIDTH - SIDE - 270 + 90 * n as u64;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"10\" width=\"10\" height=\"10\" fill=\"{fill}\"/>\
             <text x=\"{}\" y=\"20\">{name}</text>",
            x + 14,
        );
    }
}

/// A query is the operator's own text, and a picture may be shown to others.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram() -> Histogram {
        let bars = vec![
            Bar { allowed: 10, denied: 1, other: 0 },
            Bar::default(),
            Bar { allowed: 0, denied: 0, other: 3 },
        ];
        let coverage = audit::Coverage {
            from: 0,
            to: 14,
            indexed_to: 0,
            matches: 14,
            method: audit::Method::Scan,
            source: audit::Source::Records,
        };
        Histogram { from_us: 1_773_144_000_000_000, width_us: 60_000_000, bars, coverage }
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_nothing_is_invisible() {
        let mut out = Vec::new();
        write(&mut out, &histogram()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("2026-03-10 12:00  {}!!!!! 11 (1 denied)", "#".repeat(46)));
        assert_eq!(lines[1], "2026-03-10 12:01 0");
        assert_eq!(lines[2], format!("2026-03-10 12:02  {} 3", ".".repeat(14)));
        assert_eq!(lines[3], "each 1 min: # allowed  ! denied  . no decision");
    }

    #[test]
    fn the_picture_is_well_formed_whatever_the_query_is() {
        let picture = svg(&histogram(), "key~\"<a&b>\u{1b}\" and denied");
        assert!(picture.contains("&lt;a&amp;b&gt;\u{FFFD}"), "{picture}");
        let mut reader = quick_xml::Reader::from_str(&picture);
        let mut rects = 0;
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                    rects += usize::from(tag.name().as_ref() == "rect");
                }
                _ => {}
            }
        }
        // Background, three parts of bars, three of the legend.
        assert_eq!(rects, 7);
        assert!(svg(&Histogram { bars: Vec::new(), ..histogram() }, "").contains("all records"));
    }
}
