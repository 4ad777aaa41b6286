//! `--profile`: whose reading of the language is meant.

use clap::ValueEnum;
use policy_lab::Profile;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Reading {
    /// AWS's, which the appliance enforces
    Aws,
    /// MinIO's
    Minio,
}

impl Reading {
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Aws => Profile::AWS,
            Self::Minio => Profile::MINIO,
        }
    }
}
