//! Delivery of the log against real receivers on loopback: HTTPS servers of our own with every fault that a receiver
//! has, Debian's rsyslog, and the whole binary with its command line.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod binary;
mod bulk;
mod commands;
mod damaged_copy;
mod deployment;
mod minio;
mod put_back;
mod receiver;
mod rsyslog;
mod scene;
mod splunk;
mod trust;
mod webhook;
