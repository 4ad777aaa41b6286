//! Byte ranges (RFC 9110 §14) and part numbers of a read.

#![deny(clippy::indexing_slicing)]

use storage::ObjectInfo;

use super::error::{Code, S3Error};

/// What a read returns of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// Start and exclusive end; absent for the whole object.
    pub range: Option<(u64, u64)>,
    /// Number of parts, when a part was asked for.
    pub parts: Option<usize>,
}

impl Selected {
    #[must_use]
    pub fn length(&self) -> u64 {
        self.range.map_or(self.size, |(start, end)| end - start)
    }

    /// One part of a multipart object; part 1 of any other object is the whole.
    ///
    /// # Errors
    /// `InvalidArgument` for a number out of 1..=10000, `InvalidPartNumber` (416) for a part that is not there.
    pub fn part(number: &str, info: &ObjectInfo) -> Result<Self, S3Error> {
        let number =
            number.parse::<u16>().ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(
                || {
                    Code::InvalidArgument
                        .because("Part number must be an integer between 1 and 10000, inclusive")
                },
            )?;
        if info.parts.len() <= 1 && number == 1 {
            let range = (info.size > 0).then_some((0, info.size));
            return Ok(Self { size: info.size, range, parts: None });
        }
        let mut start = 0;
        for part in &info.parts {
            if part.number == number {
                let range = Some((start, start + part.size));
                return Ok(Self { size: info.size, range, parts: Some(info.parts.len()) });
            }
            start += part.size;
        }
        Err(S3Error::new("InvalidPartNumber", 416, "The requested partnumber is not satisfiable"))
    }
}

/// Start and exclusive end of a `Range` header within `size` bytes.
///
/// Like S3, ignores what is not one `bytes` range: the whole object is answered.
///
/// # Errors
/// `InvalidRange` (416) for a range that starts behind the end.
pub fn parse_range(header: Option<&str>, size: u64) -> Result<Option<(u64, u64)>, S3Error> {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Ok(None);
    };
    let Some((start, end)) = spec.split_once('-') else { return Ok(None) };
    let range = match (number(start), number(end)) {
        (Some(start), Some(end)) if start <= end => (start, end.saturating_add(1).min(size)),
        (Some(start), None) if end.trim().is_empty() => (start, size),
        (None, Some(suffix)) if start.trim().is_empty() => {
            // A suffix of nothing cannot be satisfied.
            let start = if suffix == 0 { size } else { size.saturating_sub(suffix) };
            (start, size)
        }
        _ => return Ok(None),
    };
    if range.0 >= size {
        return Err(S3Error::from(Code::InvalidRange)
            .with("RangeRequested", header.unwrap_or_default())
            .with("ActualObjectSize", size.to_string()));
    }
    Ok(Some(range))
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let cases = [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=2-5", Some((2, 6))),
            ("bytes=5-", Some((5, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-30", Some((0, 10))),
            ("bytes=5-99", Some((5, 10))),
            ("bytes=5-2", None),
            ("bytes=a-b", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes=0-18446744073709551615", Some((0, 10))),
        ];
        for (header, expected) in cases {
            assert_eq!(parse_range(Some(header), 10).unwrap(), expected, "{header}");
        }
    }

    #[test]
    fn unsatisfiable_ranges() {
        for (header, size) in
            [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-1", 0)]
        {
            assert_eq!(
                parse_range(Some(header), size).unwrap_err().code,
                "InvalidRange",
                "{header}"
            );
        }
    }
}
