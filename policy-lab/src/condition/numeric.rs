//! Exact decimals: a float would call 0.1 + 0.2 and 0.3 different, or two large ids the same.
#![deny(clippy::indexing_slicing)]

/// Digits in all, and behind the point; beyond that a text is no number.
const DIGITS_MAX: usize = 36;
const FRACTION_MAX: usize = 18;
const SCALE: i128 = 1_000_000_000_000_000_000;

/// A decimal, scaled by 10^18. Integers with up to 18 digits before the point always fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decimal(i128);

impl Decimal {
    /// `[+-]digits[.digits]`; no exponent, no spaces.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let significant = whole.trim_start_matches('0');
        let fits = significant.len() <= DIGITS_MAX - FRACTION_MAX && fraction.len() <= FRACTION_MAX;
        if !fits || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let zeros = std::iter::repeat_n(b'0', FRACTION_MAX - fraction.len());
        let mut scaled: i128 = 0;
        for byte in significant.bytes().chain(fraction.bytes()).chain(zeros) {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            scaled = scaled.checked_mul(10)?.checked_add(digit.into())?;
        }
        Some(Self(if negative { -scaled } else { scaled }))
    }

    /// Times 10^18.
    #[cfg(feature = "analyze")]
    pub(super) fn scaled(self) -> i128 {
        self.0
    }

    /// The whole part, and one less and one more.
    pub(super) fn neighbours(&self) -> [String; 3] {
        let whole = self.0 / SCALE;
        [whole, whole - 1, whole + 1].map(|number| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Decimal;

    #[test]
    fn forms() {
        let parse = |text| Decimal::parse(text);
        assert_eq!(parse("1.20"), parse("+01.2"));
        assert_eq!(parse("-0"), parse("0"));
        assert!(parse("1.2") < parse("1.3") && parse("-2") < parse("-1.999"));
        assert!(parse("999999999999999999").is_some());
        for text in ["", "-", ".", "1.", "1e3", " 1", "0x1", "1,5", "1000000000000000000", "٣"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(".5"), parse("0.5"));
    }

    proptest! {
        #[test]
        fn orders_like_integers(a in -99_999_999_i64..99_999_999, b in -99_999_999_i64..99_999_999) {
            let text = |n: i64| format!("{}{}.{:04}", if n < 0 { "-" } else { "" },
                n.abs() / 10_000, n.abs() % 10_000);
            prop_assert_eq!(Decimal::parse(&text(a)).cmp(&Decimal::parse(&text(b))), a.cmp(&b));
        }

        #[test]
        fn never_panics(text in ".{0,48}") {
            let _ = Decimal::parse(&text);
        }
    }
}
