//! One file per verb. Each names its checks and carries the operation out with the permit it is given.

pub mod abort_upload;
pub mod bucket_acl;
pub mod bucket_location;
pub mod bucket_policy;
pub mod bucket_versioning;
pub mod complete_upload;
pub mod copy_object;
pub mod create_bucket;
pub mod create_upload;
pub mod delete_bucket;
pub mod delete_object;
pub mod delete_objects;
pub mod get_object;
pub mod head_bucket;
pub mod list_buckets;
pub mod list_objects;
pub mod list_parts;
pub mod list_uploads;
pub mod object_acl;
pub mod object_tagging;
pub mod put_object;
pub mod upload_part;

use policy_lab::Context;

use super::error::{Code, S3Error};
use super::request::Call;

/// The action for a request that may name a version, which fills `s3:versionid`.
///
/// Source: service authorization reference: with `versionId` the Version action is needed instead.
fn versioned(
    call: &Call,
    context: &mut Context,
    plain: &'static str,
    of_version: &'static str,
) -> &'static str {
    match call.query.get("versionId") {
        Some(version) => {
            context.set("s3:versionid", version.to_owned());
            of_version
        }
        None => plain,
    }
}

/// Buckets have no versions yet: only the null version exists.
fn null_version(version: Option<&str>) -> Result<(), S3Error> {
    match version {
        None | Some("" | "null") => Ok(()),
        Some(_) => Err(Code::NoSuchVersion.into()),
    }
}
