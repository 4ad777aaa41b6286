//! The S3 protocol layer, our own on hyper: a table of operations, one verb per file.
//!
//! A request passes [`audited`], [`auth`], [`guard`], [`route`] and the file of its operation in [`ops`]; [`request`]
//! turns it into the question that the policies answer.

pub mod acl;
pub mod answer;
pub mod audited;
pub mod auth;
pub mod body;
pub mod conditions;
pub mod customer;
pub mod error;
pub mod guard;
pub mod object_headers;
pub mod ops;
mod outgoing;
pub mod query;
pub mod range;
pub mod request;
pub mod route;
pub mod xml;
