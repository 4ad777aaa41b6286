//! The two readings of the language: AWS's, which the appliance enforces, and MinIO's, which a review may ask for.
//!
//! Every difference is a switch with a name. The appliance always reads as [`Profile::AWS`]: where the two differ, a
//! value with wildcards in it gains nothing, a bucket policy holds for everyone, and several values never satisfy a
//! condition by accident. [`Profile::MINIO`] tells what a policy meant where it comes from.

/// How a policy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    pub name: &'static str,
    /// Action names count letter by letter.
    pub action_case_counts: bool,
    /// Who is allowed `s3:GetObjectVersion` is allowed `s3:GetObject`.
    pub version_grants_plain: bool,
    /// In policies that are not of a bucket, `b/*` covers bucket `b` itself.
    pub keys_cover_bucket: bool,
    /// A variable's value is put in as it is, so that wildcards in it match; a variable without a value stays as text.
    pub variables_are_raw: bool,
    /// Several values under a string operator without set operator: one that fits is enough.
    pub sets_overlap: bool,
    /// A negated operator negates the answer of the set operator, not of each value.
    pub negation_is_outside: bool,
    /// `NumericNotEquals` and `DateNotEquals` fail on an absent key.
    pub absent_numbers_fail: bool,
    /// Number and date conditions have one value; numbers are integers, dates RFC 3339.
    pub scalars_are_plain: bool,
    /// `Bool` compares text, on `aws:SecureTransport` only; `IpAddress` is possible on `aws:SourceIp` only.
    pub bool_and_ip_are_fixed: bool,
    /// An IPv6 address without prefix length is a /32.
    pub bare_ipv6_is_wide: bool,
    /// No `Arn*` operators, and `IfExists` with `NumericGreaterThan` only.
    pub few_operators: bool,
    /// A bucket's policy is asked for anonymous callers only.
    pub bucket_is_for_anonymous: bool,
}

impl Profile {
    /// AWS's reading; what the appliance enforces.
    ///
    /// # Source
    /// IAM user guide, "IAM JSON policy elements reference", and the service authorization reference.
    pub const AWS: Self = Self {
        name: "aws",
        action_case_counts: false,
        version_grants_plain: false,
        keys_cover_bucket: false,
        variables_are_raw: false,
        sets_overlap: false,
        negation_is_outside: false,
        absent_numbers_fail: false,
        scalars_are_plain: false,
        bool_and_ip_are_fixed: false,
        bare_ipv6_is_wide: false,
        few_operators: false,
        bucket_is_for_anonymous: false,
    };

    /// MinIO's reading.
    ///
    /// # Source
    /// Behaviour of `minio/pkg` v3, packages `policy` and `policy/condition`, and of the server that uses them.
    pub const MINIO: Self = Self {
        name: "minio",
        action_case_counts: true,
        version_grants_plain: true,
        keys_cover_bucket: true,
        variables_are_raw: true,
        sets_overlap: true,
        negation_is_outside: true,
        absent_numbers_fail: true,
        scalars_are_plain: true,
        bool_and_ip_are_fixed: true,
        bare_ipv6_is_wide: true,
        few_operators: true,
        bucket_is_for_anonymous: true,
    };

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::AWS, Self::MINIO].into_iter().find(|profile| profile.name == name)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::AWS
    }
}
