//! The S3 protocol layer, our own on hyper: a table of operations, one verb per file.

pub mod auth;
pub mod body;
