//! One policy engine for the server and for the review: the server decides with [`evaluate`], the reviewer replays
//! what was recorded with [`replay::simulate`], and both run the same code.
//!
//! The library is pure: no clock, no files, no network. What depends on time or address comes in as a [`Context`].
//!
//! ```
//! use std::sync::Arc;
//! use policy_lab::{
//!     Action, Attached, Context, PolicySet, Principal, PrincipalKind, Request, Resource, canned, evaluate,
//! };
//!
//! let policies = PolicySet { identity: vec![canned::attached("readonly").unwrap()], ..PolicySet::default() };
//! let request = Request {
//!     action: Action::parse("s3:GetObject").unwrap(),
//!     resource: Resource::Object { bucket: "ledger".into(), key: "2026/q3.csv".into() },
//!     principal: Principal::user("000000000000", "alice"),
//!     context: Context::new(),
//! };
//! assert!(evaluate(&policies, &request).is_allowed());
//! ```
//!
//! In reading order: what is asked ([`request`], [`action`], [`resource`], [`principal`], [`context`]), what is written
//! ([`document`], with [`pattern`] and [`condition`] below it, [`canned`]; a [`profile`] says how it is read), what is in
//! force ([`policy_set`], [`rego`]), the answer ([`mod@evaluate`], [`decision`]) and its reasons ([`explain`]), and the
//! review ([`mod@lint`], [`replay`], [`report`]).

pub mod action;
#[cfg(feature = "analyze")]
pub mod analyze;
pub mod arn;
pub mod canned;
pub mod condition;
pub mod context;
pub mod decision;
pub mod document;
pub mod evaluate;
pub mod explain;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod lint;
pub mod pattern;
pub mod policy_set;
pub mod principal;
pub mod profile;
pub mod rego;
pub mod replay;
pub mod report;
pub mod request;
pub mod resource;
#[cfg(feature = "cli")]
pub mod yaml;

pub use self::action::Action;
pub use self::context::Context;
pub use self::decision::{
    Decision, Denial, Effect, Layer, Reason, Ruling, StatementPlace, StatementRef,
};
pub use self::document::{DocumentError, DocumentKind, Policy};
pub use self::evaluate::{evaluate, rule};
pub use self::policy_set::{Attached, Compiled, ManifestError, Policies, PolicySet};
pub use self::principal::{Principal, PrincipalKind};
pub use self::profile::Profile;
pub use self::rego::{Guardrails, RegoError};
pub use self::request::Request;
pub use self::resource::Resource;
