//! One question to the policies.

use crate::{Action, Context, Principal, Resource};

/// May `principal` do `action` on `resource`, in `context`?
///
/// An S3 operation with several checks (a copy, a put with tags) is several requests; it is allowed if all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub action: Action,
    pub resource: Resource,
    pub principal: Principal,
    pub context: Context,
}
