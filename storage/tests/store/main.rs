//! The store from outside: what its callers and its drives see.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "helpers of one test binary")]

mod objects;
mod support;
