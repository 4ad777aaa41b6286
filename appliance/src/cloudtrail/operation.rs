//! The calls of the CloudTrail API that are answered here, and the actions that they are decided by.

/// What `X-Amz-Target` begins with.
///
/// Source: the AWS service model of CloudTrail, version 2013-11-01.
pub(super) const TARGET: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.";

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Which trails there are, and where their files go.
    DescribeTrails,
    /// When the trail delivered last.
    GetTrailStatus,
    /// The keys that sign digests.
    ListPublicKeys,
    /// Events by one attribute, newest first.
    LookupEvents,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::DescribeTrails, Self::GetTrailStatus, Self::ListPublicKeys, Self::LookupEvents];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DescribeTrails => "DescribeTrails",
            Self::GetTrailStatus => "GetTrailStatus",
            Self::ListPublicKeys => "ListPublicKeys",
            Self::LookupEvents => "LookupEvents",
        }
    }

    /// The action that is decided.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::DescribeTrails => "cloudtrail:DescribeTrails",
            Self::GetTrailStatus => "cloudtrail:GetTrailStatus",
            Self::ListPublicKeys => "cloudtrail:ListPublicKeys",
            Self::LookupEvents => "cloudtrail:LookupEvents",
        }
    }

    /// The header that asks for it.
    #[must_use]
    pub fn target(self) -> String {
        format!("{TARGET}{}", self.name())
    }

    /// The call that a header asks for.
    pub(super) fn of(target: &str) -> Option<Self> {
        let name = target.strip_prefix(TARGET)?;
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
