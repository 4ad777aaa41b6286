//! Puts files into the bucket by the way of every object: a decision, a data key and an outcome, all of them in the log.
//!
//! The server acts as its owner. There is no signature to show, so the records name the scheme `none` and this agent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use audit::{Class, Outcome};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http::StatusCode;
use md5::{Digest as _, Md5};
use policy_lab::{Action, Resource};
use storage::{
    BucketName, ErrorKind, Facts, Headers, ObjectKey, Put, Source, SourceError, Sse, WriteCondition,
};

use super::House;
use crate::authz::{Check, Effect, Permit, Refusal, touched};
use crate::recorder::Unrecorded;
use crate::s3::request::{principal_context, transport_context};
use crate::scope::{Actor, Scope};
use crate::server::Connection;

const AGENT: &str = concat!("appliance-cloudtrail/", env!("CARGO_PKG_VERSION"));

/// What a permit of the export is for.
#[derive(Debug)]
struct Delivery;

/// Why a file is not in the bucket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum DeskError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] storage::Error),
    #[error("writing the log")]
    Log(#[from] Unrecorded),
    #[error("`{0}` is no key of an object")]
    Name(String),
}

#[derive(Debug)]
pub(super) struct Desk {
    house: House,
    bucket: BucketName,
}

impl Desk {
    pub(super) fn new(house: House, bucket: BucketName) -> Self {
        Self { house, bucket }
    }

    /// Makes the bucket, unless it is there.
    pub(super) async fn create_bucket(&self) -> Result<(), DeskError> {
        let scope = self.scope();
        let resource = Resource::Bucket(self.bucket.as_str().into());
        let permit = self.permit(&scope, "s3:CreateBucket", Class::Mgmt, &resource, Effect::Write);
        let permit = permit.await?;
        let created =
            permit.store().create_bucket(&self.bucket, &self.house.owner_id, scope.now_us()).await;
        let code = match created {
            Ok(_) => StatusCode::OK,
            Err(error) if error.kind() == ErrorKind::BucketExists => StatusCode::CONFLICT,
            Err(error) => return Err(error.into()),
        };
        conclude(&scope, "s3:CreateBucket", Class::Mgmt, &resource, code, 0).await
    }

    /// Stores a compressed file; `user` is its metadata.
    pub(super) async fn put(
        &self,
        key: &str,
        gzip: Vec<u8>,
        user: BTreeMap<String, String>,
    ) -> Result<(), DeskError> {
        let named = ObjectKey::parse(key).map_err(|_| DeskError::Name(key.to_owned()))?;
        let scope = self.scope();
        let resource =
            Resource::Object { bucket: self.bucket.as_str().into(), key: key.to_owned() };
        let permit =
            self.permit(&scope, "s3:PutObject", Class::Data, &resource, Effect::KeyedWrite).await?;
        let headers = Headers {
            content_type: Some("application/json".into()),
            content_encoding: Some("gzip".into()),
            user,
            ..Headers::default()
        };
        let length = gzip.len() as u64;
        let put = Put {
            bucket: self.bucket.clone(),
            key: named,
            headers,
            tags: BTreeMap::new(),
            precondition: WriteCondition::None,
            sse: Sse::S3,
            authorised_by: scope.decision(),
            at_us: scope.now_us(),
            size_hint: Some(length),
        };
        let etag = hex::encode(Md5::digest(&gzip));
        let mut source = Whole { bytes: Some(gzip.into()), etag };
        permit.store().put(permit.keys(), put, &mut source).await?;
        conclude(&scope, "s3:PutObject", Class::Data, &resource, StatusCode::OK, length).await
    }

    fn scope(&self) -> Arc<Scope> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let connection = Arc::new(Connection { peer: here, local: here, tls: None });
        let House { recorder, iam, .. } = &self.house;
        let scope = Arc::new(Scope::open(Arc::clone(recorder), connection, Some(AGENT)));
        scope.identify(Actor {
            principal: iam.snapshot().root_principal(),
            access_key: None,
            scheme: "none",
            signature_sha256: None,
        });
        scope
    }

    async fn permit(
        &self,
        scope: &Arc<Scope>,
        action: &str,
        class: Class,
        resource: &Resource,
        effect: Effect,
    ) -> Result<Permit<Delivery>, DeskError> {
        let mut context = policy_lab::Context::new();
        transport_context(&mut context, scope);
        // The bytes do not leave the process, which is what a rule about transport asks for.
        context.set("aws:SecureTransport", "true".to_owned());
        principal_context(&mut context, scope, &self.house.about.account);
        let action = Action::parse(action).map_err(|_| Refusal::Unasked)?;
        let (resource, params) = (resource.clone(), BTreeMap::new());
        let check = Check { action, resource, context, class, params };
        Ok(self.house.gate.decide(scope, effect, vec![check]).await?)
    }
}

async fn conclude(
    scope: &Scope,
    action: &str,
    class: Class,
    resource: &Resource,
    code: StatusCode,
    bytes_in: u64,
) -> Result<(), DeskError> {
    let us = scope.elapsed_us();
    let outcome = Outcome { code: code.as_u16(), bytes_in, us, ..Outcome::default() };
    let record = scope.outcome_record(class, action, vec![touched(resource)], outcome, None);
    scope.append(vec![record]).await?;
    Ok(scope.settle().await?)
}

/// Bytes that are all there.
struct Whole {
    bytes: Option<Bytes>,
    etag: String,
}

impl Source for Whole {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, SourceError>> {
        std::future::ready(Ok(self.bytes.take())).boxed()
    }

    fn facts(&mut self) -> Facts {
        Facts { etag: std::mem::take(&mut self.etag), checksum: None }
    }
}
