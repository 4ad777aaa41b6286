//! Exact decimals: a float would call 0.1 + 0.2 and 0.3 different, or two large ids the same.
#![deny(clippy::indexing_slicing)]

/// Digits in all, and behind the point; beyond that a text is no number.
const DIGITS_MAX: usize = 36;
const FRACTION_MAX: usize = 18;

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
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let whole = whole.strip_prefix('0').map_or(whole, |rest| rest.trim_start_matches('0'));
        let some_digit = unsigned.bytes().any(|byte| byte.is_ascii_digit());
        let fits = whole.len() <= DIGITS_MAX - FRACTION_MAX && fraction.len() <= FRACTION_MAX;
        if !some_digit || !fits || !is_digits(whole) || !is_digits(fraction) || text.ends_with('.')
        {
            return None;
        }
        let scaled: i128 = format!("0{whole}{fraction:0<FRACTION_MAX$}").parse().ok()?;
        Some(Self(if negative { -scaled } else { scaled }))
    }

    /// Times 10^18.
    #[cfg(feature = "analyze")]
    pub(super) fn scaled(self) -> i128 {
        self.0
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
