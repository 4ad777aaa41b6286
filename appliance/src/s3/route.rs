//! The operation table: which request is which operation, and what each operation is.
//!
//! Adding an operation is one row here, one file in `ops`, one vector. A request with a sub-resource that no row names
//! is `NotImplemented`; it never falls through to a wrong operation.

use std::future::Future;
use std::sync::Arc;

use audit::Class;
use futures::future::{BoxFuture, FutureExt};
use http::Method;
use tracing::Instrument;

use super::error::{Code, S3Error};
use super::ops;
use super::query::Query;
use super::request::{Call, Target, header};
use crate::authz::{Check, Effect, Permit};
use crate::server::Body;

/// A response of an operation.
pub type Response = http::Response<Body>;

/// One S3 operation: its checks, and its handler, which takes the permit by value.
pub trait Operation: Sized + Send + 'static {
    /// The name in the S3 API reference.
    const NAME: &'static str;
    /// The action that is decided first and that the outcome is recorded under.
    const ACTION: &'static str;
    const CLASS: Class;
    const EFFECT: Effect;

    /// Every check that must be allowed. Most operations have one.
    ///
    /// # Errors
    /// What is wrong with the request before it can be decided.
    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        Ok(vec![call.check(Self::ACTION, Self::CLASS)?])
    }

    /// Carries the operation out.
    fn run(
        permit: Permit<Self>,
        call: Call,
    ) -> impl Future<Output = Result<Response, S3Error>> + Send;

    /// Decides and carries out. Only an operation that is decided per item writes its own.
    fn execute(call: Call) -> impl Future<Output = Result<Response, S3Error>> + Send {
        async move {
            let checks = Self::checks(&call)?;
            let gate = Arc::clone(call.app.gate());
            let permit = gate.decide::<Self>(&call.scope, Self::EFFECT, checks).await?;
            Self::run(permit, call).instrument(tracing::info_span!("storage")).await
        }
    }
}

/// What kind of target a row takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Service,
    Bucket,
    Object,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub action: &'static str,
    pub class: Class,
    pub effect: Effect,
    pub method: Method,
    pub kind: Kind,
    /// The sub-resources of the query, all of them and no other.
    pub query: &'static [&'static str],
    /// A header that must be there; rows with one stand before their twin without.
    pub header: Option<&'static str>,
    pub run: fn(Call) -> BoxFuture<'static, Result<Response, S3Error>>,
}

impl Row {
    fn of<O: Operation>(method: Method, kind: Kind, query: &'static [&'static str]) -> Self {
        Self {
            name: O::NAME,
            action: O::ACTION,
            class: O::CLASS,
            effect: O::EFFECT,
            method,
            kind,
            query,
            header: None,
            run: |call| O::execute(call).boxed(),
        }
    }

    fn with_header(self, header: &'static str) -> Self {
        Self { header: Some(header), ..self }
    }
}

/// Query names that select an operation. Source: Amazon S3 API reference, and MinIO's `events`.
const SUB_RESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// All operations, made once per server.
#[derive(Debug)]
pub struct Table(Vec<Row>);

impl Default for Table {
    fn default() -> Self {
        use Kind::{Bucket, Object, Service};
        Self(vec![
            Row::of::<ops::list_buckets::ListBuckets>(Method::GET, Service, &[]),
            Row::of::<ops::create_bucket::CreateBucket>(Method::PUT, Bucket, &[]),
            Row::of::<ops::head_bucket::HeadBucket>(Method::HEAD, Bucket, &[]),
            Row::of::<ops::delete_bucket::DeleteBucket>(Method::DELETE, Bucket, &[]),
            Row::of::<ops::bucket_acl::GetBucketAcl>(Method::GET, Bucket, &["acl"]),
            Row::of::<ops::bucket_acl::PutBucketAcl>(Method::PUT, Bucket, &["acl"]),
            Row::of::<ops::bucket_location::GetBucketLocation>(Method::GET, Bucket, &["location"]),
            Row::of::<ops::bucket_versioning::GetBucketVersioning>(
                Method::GET,
                Bucket,
                &["versioning"],
            ),
            Row::of::<ops::bucket_policy::GetBucketPolicy>(Method::GET, Bucket, &["policy"]),
            Row::of::<ops::bucket_policy::PutBucketPolicy>(Method::PUT, Bucket, &["policy"]),
            Row::of::<ops::bucket_policy::DeleteBucketPolicy>(Method::DELETE, Bucket, &["policy"]),
            Row::of::<ops::list_objects::ListObjects>(Method::GET, Bucket, &[]),
            Row::of::<ops::list_objects::ListObjectsV2>(Method::GET, Bucket, &["list-type"]),
            Row::of::<ops::list_uploads::ListMultipartUploads>(Method::GET, Bucket, &["uploads"]),
            Row::of::<ops::delete_objects::DeleteObjects>(Method::POST, Bucket, &["delete"]),
            Row::of::<ops::get_object::GetObject>(Method::GET, Object, &[]),
            Row::of::<ops::get_object::HeadObject>(Method::HEAD, Object, &[]),
            Row::of::<ops::copy_object::CopyObject>(Method::PUT, Object, &[])
                .with_header("x-amz-copy-source"),
            Row::of::<ops::put_object::PutObject>(Method::PUT, Object, &[]),
            Row::of::<ops::delete_object::DeleteObject>(Method::DELETE, Object, &[]),
            Row::of::<ops::object_acl::GetObjectAcl>(Method::GET, Object, &["acl"]),
            Row::of::<ops::object_acl::PutObjectAcl>(Method::PUT, Object, &["acl"]),
            Row::of::<ops::object_tagging::GetObjectTagging>(Method::GET, Object, &["tagging"]),
            Row::of::<ops::object_tagging::PutObjectTagging>(Method::PUT, Object, &["tagging"]),
            Row::of::<ops::object_tagging::DeleteObjectTagging>(
                Method::DELETE,
                Object,
                &["tagging"],
            ),
            Row::of::<ops::create_upload::CreateMultipartUpload>(
                Method::POST,
                Object,
                &["uploads"],
            ),
            Row::of::<ops::upload_part::UploadPartCopy>(Method::PUT, Object, &["uploadId"])
                .with_header("x-amz-copy-source"),
            Row::of::<ops::upload_part::UploadPart>(Method::PUT, Object, &["uploadId"]),
            Row::of::<ops::list_parts::ListParts>(Method::GET, Object, &["uploadId"]),
            Row::of::<ops::complete_upload::CompleteMultipartUpload>(
                Method::POST,
                Object,
                &["uploadId"],
            ),
            Row::of::<ops::abort_upload::AbortMultipartUpload>(
                Method::DELETE,
                Object,
                &["uploadId"],
            ),
        ])
    }
}

impl Table {
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// Finds the operation of a request.
    ///
    /// # Errors
    /// `NotImplemented` for a sub-resource that no row of this target has, `MethodNotAllowed` for another method.
    pub fn resolve(
        &self,
        method: &Method,
        target: &Target,
        query: &Query,
        headers: &http::HeaderMap,
    ) -> Result<&Row, S3Error> {
        let kind = match target {
            Target::Service => Kind::Service,
            Target::Bucket(_) => Kind::Bucket,
            Target::Object(..) => Kind::Object,
        };
        let mut asked: Vec<&str> =
            query.names().filter(|name| SUB_RESOURCES.contains(name)).collect();
        asked.sort_unstable();
        asked.dedup();
        let fits = |row: &&Row| row.kind == kind && row.query == asked;
        self.0
            .iter()
            .filter(fits)
            .find(|row| {
                row.method == *method
                    && row.header.is_none_or(|name| header(headers, name).is_some())
            })
            .ok_or_else(|| match self.0.iter().any(|row| fits(&row)) {
                true if asked.is_empty() => Code::MethodNotAllowed.into(),
                _ => Code::NotImplemented.into(),
            })
    }
}
