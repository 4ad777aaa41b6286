//! How the analysis reads the values that conditions compare: by the same functions.

use std::net::IpAddr;

use ipnet::IpNet;

/// A decimal, scaled by 10^18.
pub(crate) fn decimal(text: &str) -> Option<i128> {
    super::numeric::Decimal::parse(text).map(super::numeric::Decimal::scaled)
}

/// Nanoseconds since 1970.
pub(crate) fn date(text: &str) -> Option<i128> {
    super::date::parse(text).map(jiff::Timestamp::as_nanosecond)
}

pub(crate) fn address(text: &str) -> Option<IpAddr> {
    super::ip::address(text)
}

pub(crate) fn network(text: &str) -> Option<IpNet> {
    super::ip::network(text)
}

/// The bytes of a `BinaryEquals` value.
pub(crate) fn binary(text: &str) -> Option<Vec<u8>> {
    super::binary::decode(text).ok()
}
