//! How the analysis reads the values that conditions compare: by the same functions.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Profile;

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

/// A range of a policy.
pub(crate) fn network(text: &str, profile: Profile) -> Option<IpNet> {
    super::test::network(text, profile)
}

/// The wish of a `Null` value: whether the key shall be absent.
pub(crate) fn presence(text: &str) -> Option<bool> {
    super::test::presence(text).ok()
}

/// The bytes of a `BinaryEquals` value.
pub(crate) fn binary(text: &str) -> Option<Vec<u8>> {
    super::binary::decode(text).ok()
}
