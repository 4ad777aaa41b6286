//! Questions to the log: by index and by scan, with one answer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod acceptance;
mod agree;
mod claims;
mod days;
mod scene;
