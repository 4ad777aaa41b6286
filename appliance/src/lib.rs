//! The appliance: an S3 server whose every decision is in a signed log and can be explained and replayed.
//!
//! This crate is the composition root. A request enters at [`server`], is wrapped in an audit [`scope`] on the [`recorder`], authenticated
//! and resolved in [`s3`], decided in [`authz`], and only then reaches `storage` through a permit. [`app`] puts the
//! parts together; [`cli`] is what an operator types.

pub mod admin;
pub mod app;
pub mod archive;
pub mod auditor;
pub mod authz;
pub mod bootstrap;
mod call;
pub mod cli;
pub mod cloudtrail;
pub mod config;
mod courier;
mod cursor;
mod declaration;
mod entropy;
mod evidence;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod guardrails;
pub mod health;
pub mod iam;
pub mod kms;
mod memory;
pub mod recorder;
mod redact;
pub mod retention;
pub mod s3;
pub mod scope;
pub mod server;
pub mod siem;
pub mod telemetry;
pub mod timestamp;
pub mod tls;
