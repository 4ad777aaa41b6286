//! What a request touches.

/// The resource of one check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// No bucket: listing buckets, admin, key and token calls.
    Any,
    Bucket(String),
    Object {
        bucket: String,
        key: String,
    },
}

impl Resource {
    /// The resource as policies and the log write it.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Bucket(bucket) => format!("arn:aws:s3:::{bucket}"),
            Self::Object { bucket, key } => format!("arn:aws:s3:::{bucket}/{key}"),
        }
    }

    #[must_use]
    pub fn bucket(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Bucket(bucket) | Self::Object { bucket, .. } => Some(bucket),
        }
    }

    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Object { key, .. } => Some(key),
            _ => None,
        }
    }
}
