//! Webhooks: Standard Webhooks, and the audit webhook of MinIO.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderMap;

use super::http::{Http, put};
use super::signature::Signatures;
use super::{Batch, Sink, SinkError};
use crate::siem::delivery::Answer;
use crate::siem::destination::Destination;
use crate::siem::format::{About, Format};

#[derive(Debug)]
pub(super) struct Webhook {
    http: Http,
    format: Format,
    about: Arc<About>,
    dialect: Dialect,
}

#[derive(Debug)]
enum Dialect {
    Standard(Signatures),
    Minio,
}

impl Webhook {
    pub(super) fn standard(
        destination: &Destination,
        about: Arc<About>,
        certs_dir: &Path,
    ) -> Result<Self, SinkError> {
        let dialect = Dialect::Standard(Signatures::parse(destination.secret.as_ref())?);
        Self::new(destination, about, certs_dir, dialect)
    }

    pub(super) fn minio(
        destination: &Destination,
        about: Arc<About>,
        certs_dir: &Path,
    ) -> Result<Self, SinkError> {
        Self::new(destination, about, certs_dir, Dialect::Minio)
    }

    fn new(
        destination: &Destination,
        about: Arc<About>,
        certs_dir: &Path,
        dialect: Dialect,
    ) -> Result<Self, SinkError> {
        // The token is the whole header: MinIO's operators write "Bearer …" themselves.
        let http = Http::new(destination, certs_dir, "")?;
        let http = http.authorized("", destination.token.as_ref())?;
        Ok(Self { http, format: destination.format, about, dialect })
    }

    fn headers(&self, batch: &Batch, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &self.dialect {
            Dialect::Standard(signatures) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let timestamp = now.unwrap_or_default().as_secs().to_string();
                put(&mut headers, "webhook-id", &batch.id);
                put(&mut headers, "webhook-timestamp", &timestamp);
                if let Some(signature) = signatures.sign(&batch.id, &timestamp, body) {
                    put(&mut headers, "webhook-signature", &signature);
                }
            }
            Dialect::Minio => {
                let count = batch.items.len().to_string();
                put(&mut headers, "x-minio-webhook-payload-count", &count);
                put(&mut headers, "x-minio-deployment-id", &self.about.deployment);
                put(&mut headers, "x-minio-version", self.about.version);
                put(&mut headers, "x-appliance-batch", &batch.id);
            }
        }
        headers
    }
}

impl Sink for Webhook {
    fn send<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        async move {
            let framed = self.format.frame(&self.about, &batch.items);
            let headers = self.headers(batch, &framed.body);
            // MinIO names no type for several entries at once.
            let is_bare = matches!(self.dialect, Dialect::Minio) && batch.items.len() > 1;
            let content_type = (!is_bare).then_some(framed.content_type);
            match self.http.post(None, content_type, headers, framed.body).await {
                Ok(reply) => reply.judge(),
                Err(why) => Answer::Later { wait: None, why },
            }
        }
        .boxed()
    }
}
