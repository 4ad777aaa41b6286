//! What conditions can tell apart about one value of a key.
//!
//! Numbers, instants and addresses fall into the finitely many pieces that the constants of the policies cut their
//! line into, texts into the kinds of [`super::automaton`], and everything that is no number, no instant or no
//! address is one more piece. A key that is read in two ways (`aws:EpochTime` as a number and as a date) has the
//! product of its pieces; those for which no text is known are kept as merely possible.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fixedbitset::FixedBitSet;
use ipnet::IpNet;
use jiff::Timestamp;

use super::Limit;
use super::automaton::{Automaton, kinds};
use crate::condition::{Comparison, reading};

/// Pieces of one key at most.
const PIECES_MAX: usize = 20_000;

/// Whether one value fits one of a condition's values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Text(Vec<Automaton>),
    /// Scaled as [`reading::decimal`].
    Numeric(Comparison, Vec<i128>),
    /// Nanoseconds since 1970.
    Date(Comparison, Vec<i128>),
    Ip(Vec<IpNet>),
}

impl Test {
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Text(patterns) => patterns.iter().any(|pattern| pattern.fits(text)),
            Self::Numeric(by, numbers) => reading::decimal(text)
                .is_some_and(|value| numbers.iter().any(|number| by.holds(&value, number))),
            Self::Date(by, dates) => reading::date(text)
                .is_some_and(|value| dates.iter().any(|date| by.holds(&value, date))),
            Self::Ip(networks) => reading::address(text)
                .is_some_and(|address| networks.iter().any(|net| net.contains(&address))),
        }
    }
}

/// Pieces of a key's values: a text of each, and for each test the set of pieces that it fits.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    /// `None`: nobody knows a text of this piece; it may be empty.
    pub(super) texts: Vec<Option<String>>,
    pub(super) fits: Vec<FixedBitSet>,
}

impl Pieces {
    pub(super) fn are_all_known(&self) -> bool {
        self.texts.iter().all(Option::is_some)
    }
}

/// The pieces that the tests tell apart.
pub(super) fn pieces(tests: &[Test]) -> Result<Pieces, Limit> {
    let mut families: Vec<Vec<String>> = Vec::new();
    let of = |wanted: fn(&Test) -> bool| tests.iter().filter(move |test| wanted(test));
    if of(|test| matches!(test, Test::Numeric(..))).next().is_some() {
        families.push(numbers(tests));
    }
    if of(|test| matches!(test, Test::Date(..))).next().is_some() {
        families.push(instants(tests)?);
    }
    if of(|test| matches!(test, Test::Ip(..))).next().is_some() {
        families.push(addresses(tests));
    }
    let patterns: Vec<_> = tests
        .iter()
        .filter_map(|test| match test {
            Test::Text(patterns) => Some(patterns.iter().cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    if !patterns.is_empty() || families.is_empty() {
        families.push(kinds(&patterns)?.texts);
    }
    gather(tests, &families)
}

/// One family: its texts are its pieces. Several: every combination is a piece, as far as known with a text.
fn gather(tests: &[Test], families: &[Vec<String>]) -> Result<Pieces, Limit> {
    let signature =
        |text: &str| -> Vec<bool> { tests.iter().map(|test| test.fits(text)).collect() };
    let mut known: Vec<(Vec<bool>, Option<String>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for text in families.iter().flatten() {
        let signature = signature(text);
        if seen.insert(signature.clone()) {
            known.push((signature, Some(text.clone())));
        }
    }
    if families.len() > 1 {
        for possible in product(tests, families)? {
            if seen.insert(possible.clone()) {
                known.push((possible, None));
            }
        }
    }
    if known.len() > PIECES_MAX {
        return Err(Limit::Values);
    }
    let mut fits = vec![FixedBitSet::with_capacity(known.len()); tests.len()];
    for (piece, (signature, _)) in known.iter().enumerate() {
        for (fits, holds) in fits.iter_mut().zip(signature) {
            fits.set(piece, *holds);
        }
    }
    Ok(Pieces { texts: known.into_iter().map(|(_, text)| text).collect(), fits })
}

/// The combinations of what each family's own tests say, whether or not a text has them.
fn product(tests: &[Test], families: &[Vec<String>]) -> Result<BTreeSet<Vec<bool>>, Limit> {
    let family = |test: &Test| std::mem::discriminant(test);
    let kinds: Vec<_> = {
        let mut kinds = Vec::new();
        for test in tests {
            if !kinds.contains(&family(test)) {
                kinds.push(family(test));
            }
        }
        kinds
    };
    let mut all = BTreeSet::from([vec![false; tests.len()]]);
    for kind in kinds {
        let own: BTreeSet<Vec<bool>> = families
            .iter()
            .flatten()
            .map(|text| tests.iter().map(|test| family(test) == kind && test.fits(text)).collect())
            .collect();
        if all.len() * own.len() > PIECES_MAX {
            return Err(Limit::Values);
        }
        let join = |a: &Vec<bool>, b: &Vec<bool>| a.iter().zip(b).map(|(a, b)| *a || *b).collect();
        all = all.iter().flat_map(|a| own.iter().map(move |b| join(a, b))).collect();
    }
    Ok(all)
}

const SCALE: i128 = 1_000_000_000_000_000_000;

/// Each constant, each gap between them, and what is no number.
fn numbers(tests: &[Test]) -> Vec<String> {
    let constants: BTreeSet<i128> = tests
        .iter()
        .filter_map(|test| match test {
            Test::Numeric(_, numbers) => Some(numbers.iter().copied()),
            _ => None,
        })
        .flatten()
        .collect();
    let mut values = constants.clone();
    for constant in &constants {
        // The next whole number reads better than the next of all; both may be needed in a narrow gap.
        let whole = constant.div_euclid(SCALE) * SCALE;
        values.extend([constant - 1, constant + 1, whole + SCALE]);
        values.insert(if whole == *constant { whole - SCALE } else { whole });
    }
    values.insert(0);
    let mut texts: Vec<_> = values.iter().map(|value| decimal(*value)).collect();
    texts.sort_by_key(String::len);
    texts.retain(|text| reading::decimal(text).is_some());
    texts.push("none".to_owned());
    texts
}

fn decimal(scaled: i128) -> String {
    let sign = if scaled < 0 { "-" } else { "" };
    let (whole, fraction) = (
        scaled.unsigned_abs() / SCALE.unsigned_abs(),
        scaled.unsigned_abs() % SCALE.unsigned_abs(),
    );
    let text = format!("{sign}{whole}.{fraction:018}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const SECOND: i128 = 1_000_000_000;

/// 0001-01-01: before it not every nanosecond has a text.
const FIRST: i128 = -62_135_596_800 * SECOND;

/// Each constant, each gap between them, and what is no instant.
fn instants(tests: &[Test]) -> Result<Vec<String>, Limit> {
    let constants: BTreeSet<i128> = tests
        .iter()
        .filter_map(|test| match test {
            Test::Date(_, dates) => Some(dates.iter().copied()),
            _ => None,
        })
        .flatten()
        .collect();
    if constants.first().is_some_and(|first| *first <= FIRST) {
        return Err(Limit::Dates);
    }
    let mut values = constants.clone();
    for constant in &constants {
        let second = constant.div_euclid(SECOND) * SECOND;
        values.extend([constant - 1, constant + 1, second + SECOND]);
        values.insert(if second == *constant { second - SECOND } else { second });
    }
    let mut texts: Vec<_> = values
        .iter()
        .filter_map(|value| Timestamp::from_nanosecond(*value).ok())
        .map(|instant| instant.to_string())
        .filter(|text| reading::date(text).is_some())
        .collect();
    texts.sort_by_key(String::len);
    texts.push("none".to_owned());
    Ok(texts)
}

/// An address of every piece that the ranges' ends cut IPv4 and IPv6 into, and what is no address.
fn addresses(tests: &[Test]) -> Vec<String> {
    let networks = tests
        .iter()
        .filter_map(|test| match test {
            Test::Ip(networks) => Some(networks.iter()),
            _ => None,
        })
        .flatten();
    let mut v4 = BTreeSet::from([0_u32]);
    // IPv4 in IPv6 counts as IPv4: a piece of IPv6 begins behind it.
    let mut v6 = BTreeSet::from([0_u128, 1 << 96, 0xffff << 32, 1 << 48]);
    for network in networks {
        match (network.network(), network.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.insert(first.to_bits());
                v4.extend(last.to_bits().checked_add(1));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                v6.insert(first.to_bits());
                v6.extend(last.to_bits().checked_add(1));
            }
            _ => {}
        }
    }
    let v4 = v4.into_iter().map(|bits| Ipv4Addr::from_bits(bits).to_string());
    let v6 = v6.into_iter().map(|bits| Ipv6Addr::from_bits(bits).to_string());
    v4.chain(v6).chain(std::iter::once("none".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Pieces, Test, decimal, pieces};
    use crate::condition::{Comparison, reading};

    fn piece_of(pieces: &Pieces, tests: &[Test], text: &str) -> Option<usize> {
        (0..pieces.texts.len()).find(|piece| {
            tests
                .iter()
                .zip(&pieces.fits)
                .all(|(test, fits)| test.fits(text) == fits.contains(*piece))
        })
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for text in ["0", "1", "-1", "0.5", "-0.25", "1234567.000000000000000001"] {
            assert_eq!(decimal(reading::decimal(text).expect("a number")), text);
        }
    }

    #[test]
    fn a_key_that_is_a_number_and_a_date() {
        let tests = [
            Test::Numeric(Comparison::Less, vec![reading::decimal("100").expect("number")]),
            Test::Date(Comparison::Greater, vec![reading::date("2026-01-01").expect("date")]),
        ];
        let found = pieces(&tests).expect("few");
        for text in ["7", "1970-01-01", "2027-01-01", "1900000000", "x"] {
            assert!(piece_of(&found, &tests, text).is_some(), "{text}");
        }
        // Earlier than 100 seconds and later than 2026 is nobody, but we do not know that.
        assert!(!found.are_all_known());
    }

    proptest! {
        #[test]
        fn every_address_has_a_piece(
            networks in prop::collection::vec((0_u32..4, 29_u8..=32, 0_u32..12), 1..4),
            address in 0_u32..40,
            v6 in any::<bool>(),
        ) {
            let tests: Vec<_> = networks.iter().map(|(kind, length, address)| {
                let text = match kind {
                    0 => format!("::ffff:10.0.0.{address}/{}", length + 96),
                    1 => format!("::{address:x}/{}", length + 96),
                    2 => format!("::/{length}"),
                    _ => format!("10.0.0.{address}/{length}"),
                };
                Test::Ip(vec![reading::network(&text, crate::Profile::AWS).expect("valid")])
            }).collect();
            let found = pieces(&tests).expect("few");
            let text = if v6 { format!("::{address:x}") } else { format!("10.0.0.{address}") };
            prop_assert!(piece_of(&found, &tests, &text).is_some(), "{} {:?}", text, tests);
            prop_assert!(piece_of(&found, &tests, "junk").is_some());
        }

        #[test]
        fn every_number_and_instant_has_a_piece(
            constants in prop::collection::vec((0_usize..5, -3_i64..3), 1..4),
            value in -40_i64..40,
        ) {
            let by = [Comparison::Equal, Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual];
            let number = |n: &i64| reading::decimal(&n.to_string()).expect("a number");
            let tests: Vec<_> = constants.iter().map(|(op, n)| Test::Numeric(by[*op], vec![number(n)])).collect();
            let text = format!("{}{}.{}", if value < 0 { "-" } else { "" }, value.abs() / 10, value.abs() % 10);
            let found = pieces(&tests).expect("few");
            prop_assert!(found.are_all_known() && piece_of(&found, &tests, &text).is_some());
            let instant = |n: &i64| reading::date(&n.to_string()).expect("seconds");
            let tests: Vec<_> = constants.iter().map(|(op, n)| Test::Date(by[*op], vec![instant(n)])).collect();
            let found = pieces(&tests).expect("few");
            prop_assert!(found.are_all_known() && piece_of(&found, &tests, &(value / 10).to_string()).is_some());
        }
    }
}
