//! The store from outside: what its callers and its drives see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "helpers of one test binary")]

mod conformance;
mod drives;
mod faults;
mod listing;
mod model;
mod multipart;
mod objects;
mod support;
