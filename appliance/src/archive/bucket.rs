//! A bucket of any store that speaks S3: two calls, signed with `aws-sigv4`, over hyper.
//!
//! # Source
//! Amazon S3 API reference, "PutObject" (object lock headers, and the checksum that they demand) and
//! "GetObjectLockConfiguration".

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::Settings;
use crate::siem::{ClientTls, error_text};
use crate::tls;

/// One exchange: a packed segment has some ten megabytes.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Answers are short documents.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of an answer explains a failure.
const QUOTED_CHARS_MAX: usize = 300;

/// Why a copy was not made; it is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    #[error("the certificates for the archive")]
    Tls(#[from] tls::TlsError),
    #[error("signing a request to the archive: {0}")]
    Sign(String),
    #[error("asking the archive: {0}")]
    Network(String),
    #[error("the archive answered {status} to {what}: {said}")]
    Refused { what: String, status: StatusCode, said: String },
    #[error("reading the log")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Record(#[from] audit::SearchError),
    #[error("writing the log")]
    Log(#[from] audit::LogError),
    #[error("the server stops")]
    Stopping,
}

/// `https://HOST[:PORT]/BUCKET[/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without a slash at its end.
    text: String,
    /// Length of what names the bucket.
    bucket: usize,
}

impl Address {
    /// Reads an address; plain HTTP only on this machine.
    ///
    /// # Errors
    /// What is wrong with it, without repeating credentials.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem =
            |why: &str| format!("the address {why}; write https://HOST[:PORT]/BUCKET[/PREFIX]");
        let uri: http::Uri = text.parse().map_err(|_| problem("is none"))?;
        let authority = uri.authority().ok_or_else(|| problem("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(problem("holds credentials"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let ip: Option<std::net::IpAddr> = host.parse().ok();
        let is_here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            Some("http") => {
                return Err(problem("would send the audit log in clear text beyond this machine"));
            }
            _ => return Err(problem("is not one of HTTPS")),
        }
        let text = text.trim_end_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:[]".contains(&b);
        let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
        let path_at = scheme + authority.as_str().len();
        let bucket = text.get(path_at..).and_then(|path| path.strip_prefix('/'));
        let bucket = bucket.and_then(|path| path.split('/').next()).filter(|name| !name.is_empty());
        let Some(bucket) = bucket.filter(|_| text.bytes().all(plain)) else {
            return Err(problem("names no bucket, or holds more than letters, digits and -_./"));
        };
        Ok(Self { text: text.to_owned(), bucket: path_at + 1 + bucket.len() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where an object is.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.text)
    }

    fn bucket_url(&self) -> &str {
        self.text.get(..self.bucket).unwrap_or(&self.text)
    }
}

/// The other end.
pub(super) struct Bucket {
    settings: Settings,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Bucket {
    pub(super) fn open(settings: &Settings, certs_dir: &Path) -> Result<Self, ArchiveError> {
        let trust = ClientTls { ca: settings.ca.clone(), identity: None };
        let config = tls::client_config(&trust, certs_dir)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { settings: settings.clone(), client })
    }

    /// Whether the bucket locks objects. A store that does not know the question does not.
    pub(super) async fn has_lock(&self) -> Result<bool, ArchiveError> {
        let url = format!("{}?object-lock=", self.settings.address.bucket_url());
        let (status, body) = self.exchange(Method::GET, &url, &[], Bytes::new()).await?;
        match status.as_u16() {
            200 => Ok(is_locked(&body)),
            400 | 404 | 405 | 501 => Ok(false),
            _ => Err(refused("the question for its object lock", status, &body)),
        }
    }

    /// Stores one file; locked until a time, where one is given.
    pub(super) async fn put(
        &self,
        key: &str,
        bytes: Bytes,
        until: Option<jiff::Timestamp>,
    ) -> Result<(), ArchiveError> {
        let mut headers = vec![("content-md5", STANDARD.encode(Md5::digest(&bytes)))];
        if let Some(until) = until {
            let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            headers.push(("x-amz-object-lock-mode", "COMPLIANCE".to_owned()));
            headers.push(("x-amz-object-lock-retain-until-date", until));
        }
        let url = self.settings.address.url(key);
        let (status, body) = self.exchange(Method::PUT, &url, &headers, bytes).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(refused(&format!("`{key}`"), status, &body)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(StatusCode, String), ArchiveError> {
        let request = self.signed(method, url, headers, body)?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|e| error_text(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("receiving the answer: {error}"))?;
            Ok::<_, String>((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        match tokio::time::timeout(TIMEOUT, answered).await {
            Ok(answered) => answered.map_err(ArchiveError::Network),
            Err(_) => Err(ArchiveError::Network(format!("no answer within {TIMEOUT:?}"))),
        }
    }

    fn signed(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ArchiveError> {
        let wrong = |error: &dyn std::error::Error| ArchiveError::Sign(error.to_string());
        let Settings { access_key, secret_key, region, .. } = &self.settings;
        let secret = secret_key.expose();
        let identity = Credentials::new(access_key, secret, None, None, "archive").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| wrong(&error))?
            .into();
        let pairs = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let digest = hex::encode(Sha256::digest(&body));
        let signable =
            SignableRequest::new(method.as_str(), url, pairs, SignableBody::Precomputed(digest));
        let signable = signable.map_err(|error| wrong(&error))?;
        let instructions = sign(signable, &params).map_err(|error| wrong(&error))?.into_parts().0;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Full::new(body)).map_err(|error| wrong(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// Whether a lock configuration says that the bucket has one.
pub(super) fn is_locked(xml: &str) -> bool {
    xml.contains("<ObjectLockEnabled>Enabled</ObjectLockEnabled>")
}

fn refused(what: &str, status: StatusCode, body: &str) -> ArchiveError {
    let words: Vec<&str> = body.split_whitespace().collect();
    let said = words.join(" ").chars().take(QUOTED_CHARS_MAX).collect();
    ArchiveError::Refused { what: what.to_owned(), status, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_bucket_and_no_credentials() {
        let address = Address::parse("https://s3.example.com/vault/logs/").unwrap();
        assert_eq!(address.url("seg/a"), "https://s3.example.com/vault/logs/seg/a");
        assert_eq!(address.bucket_url(), "https://s3.example.com/vault");
        let here = Address::parse("http://127.0.0.1:9000/vault").unwrap();
        assert_eq!(here.bucket_url(), "http://127.0.0.1:9000/vault");
        for text in [
            "",
            "vault",
            "https://s3.example.com",
            "https://s3.example.com/",
            "http://s3.example.com/vault",
            "https://me:hush@s3.example.com/vault",
            "https://s3.example.com/vault?x=1",
            "ftp://s3.example.com/vault",
        ] {
            let refused = Address::parse(text).unwrap_err();
            assert!(!refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn a_lock_is_one_that_is_enabled() {
        let answer = |word| {
            format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>{word}</ObjectLockEnabled></ObjectLockConfiguration>"
            )
        };
        assert!(is_locked(&answer("Enabled")));
        assert!(!is_locked(&answer("Disabled")) && !is_locked(""));
    }
}
