//! One authenticated S3 request, and the question it puts to the policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit::Class;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use policy_lab::{Action, Context, Resource};
use storage::{BucketName, ObjectKey};

use super::auth::{Authenticated, Scheme, Signed};
use super::body::Payload;
use super::error::{Code, S3Error};
use super::query::Query;
use crate::app::App;
use crate::authz::Check;
use crate::redact;
use crate::scope::Scope;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Service,
    Bucket(BucketName),
    Object(BucketName, ObjectKey),
}

impl Target {
    /// Reads the path-style target; with a configured domain, the bucket in the host name.
    ///
    /// # Errors
    /// `InvalidBucketName`, `KeyTooLongError` or `InvalidURI`.
    pub fn parse(path: &str, host: Option<&str>, domains: &[String]) -> Result<Self, S3Error> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| Code::InvalidUri)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let hosted = host.and_then(|host| bucket_in_host(host, domains));
        let (bucket, key) = match &hosted {
            Some(bucket) => (bucket.as_str(), Some(path)),
            None => match path.split_once('/') {
                Some((bucket, key)) => (bucket, Some(key)),
                None => (path, None),
            },
        };
        if bucket.is_empty() {
            return match key {
                None | Some("") => Ok(Self::Service),
                Some(_) => Err(Code::InvalidBucketName.into()),
            };
        }
        let bucket = BucketName::parse(bucket).map_err(|_| Code::InvalidBucketName)?;
        match key.filter(|key| !key.is_empty()) {
            None => Ok(Self::Bucket(bucket)),
            Some(key) => Ok(Self::Object(bucket, object_key(key)?)),
        }
    }

    #[must_use]
    pub fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }

    #[must_use]
    pub fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Object(_, key) => Some(key),
            _ => None,
        }
    }

    /// The policy resource.
    #[must_use]
    pub fn resource(&self) -> Resource {
        match self {
            Self::Service => Resource::Any,
            Self::Bucket(bucket) => Resource::Bucket(bucket.as_str().to_owned()),
            Self::Object(bucket, key) => Resource::Object {
                bucket: bucket.as_str().to_owned(),
                key: key.as_str().to_owned(),
            },
        }
    }
}

/// Checks a key from a request.
///
/// # Errors
/// `KeyTooLongError` over 1024 bytes, `InvalidArgument` for what no key may hold.
pub fn object_key(key: &str) -> Result<ObjectKey, S3Error> {
    if key.len() > 1024 {
        return Err(Code::KeyTooLong.into());
    }
    ObjectKey::parse(key).map_err(|error| Code::InvalidArgument.because(error.to_string()))
}

/// The host that a request is for.
#[must_use]
pub fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    uri.host().or_else(|| header(headers, "host"))
}

/// The bucket that a host names below one of the domains.
#[must_use]
pub fn bucket_in_host(host: &str, domains: &[String]) -> Option<String> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    domains.iter().find_map(|domain| {
        let bucket = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    })
}

/// A request that has been authenticated and resolved; a handler consumes it.
pub struct Call {
    pub app: Arc<App>,
    pub scope: Arc<Scope>,
    pub target: Target,
    pub query: Query,
    pub headers: HeaderMap,
    pub authenticated: Authenticated,
    /// Body bytes, verified as they are read.
    pub payload: Payload,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The headers hold signatures and keys.
        formatter.debug_struct("Call").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Call {
    /// The bucket of the target.
    ///
    /// # Errors
    /// `InvalidBucketName` when the route has none; a row's target kind makes that impossible.
    pub fn bucket(&self) -> Result<BucketName, S3Error> {
        self.target.bucket().cloned().ok_or_else(|| Code::InvalidBucketName.into())
    }

    /// Bucket and key of the target.
    ///
    /// # Errors
    /// As [`Self::bucket`].
    pub fn object(&self) -> Result<(BucketName, ObjectKey), S3Error> {
        match &self.target {
            Target::Object(bucket, key) => Ok((bucket.clone(), key.clone())),
            _ => Err(Code::InvalidBucketName.into()),
        }
    }

    /// A header as text; a header that is not visible ASCII or UTF-8 counts as absent only if it is optional to us.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The check of `action` on the target of this request.
    ///
    /// # Errors
    /// Never in practice: actions come from our own table.
    pub fn check(&self, action: &str, class: Class) -> Result<Check, S3Error> {
        self.check_on(action, class, self.target.resource(), self.context())
    }

    /// The check of `action` on another resource or context.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_on(
        &self,
        action: &str,
        class: Class,
        resource: Resource,
        context: Context,
    ) -> Result<Check, S3Error> {
        let action = Action::parse(action).map_err(|error| {
            tracing::error!(%error, action, "an operation names an action that is not one");
            Code::InternalError
        })?;
        Ok(Check { action, resource, context, class, params: BTreeMap::new() })
    }

    /// The keys that hold for every S3 action: who, from where, when, how signed.
    ///
    /// Derived from the connection and the verified signature only; headers are copied where the key is defined as a
    /// header (`aws:UserAgent`, `aws:Referer`), without what `crate::redact` withholds. Source: service authorization reference, S3 and global keys.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut context = Context::new();
        transport_context(&mut context, &self.scope);
        principal_context(&mut context, &self.scope, self.app.account());
        let agent = self.header("user-agent").map(redact::agent);
        let referer = self.header("referer").map(redact::referer);
        for (key, value) in [("aws:UserAgent", agent), ("aws:Referer", referer)] {
            if let Some(value) = value {
                context.set(key, value.chars().take(256).collect::<String>());
            }
        }
        if let Some(value) = self.header("x-amz-content-sha256") {
            context.set("s3:x-amz-content-sha256", value.to_owned());
        }
        if let Authenticated::Signed(signed) = &self.authenticated {
            signature_context(&mut context, signed);
        }
        context
    }

    /// Body of a small request, verified.
    ///
    /// # Errors
    /// What the body layer found, or `MalformedXML` beyond `bytes_max`.
    pub async fn body(&mut self, bytes_max: usize) -> Result<Bytes, S3Error> {
        Ok(self.payload.collect(bytes_max).await?)
    }
}

/// A header as text.
#[must_use]
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

/// Source address, transport and time.
pub fn transport_context(context: &mut Context, scope: &Scope) {
    let connection = &scope.connection;
    context.set("aws:SourceIp", connection.peer.ip().to_canonical().to_string());
    context.set("aws:SecureTransport", connection.tls.is_some().to_string());
    if let Some(tls) = &connection.tls {
        context.set("s3:TlsVersion", tls.version.to_owned());
    }
    let now_s = scope.now_us() / 1_000_000;
    context.set("aws:EpochTime", now_s.to_string());
    if let Ok(now) = jiff::Timestamp::from_second(i64::try_from(now_s).unwrap_or(i64::MAX)) {
        context.set("aws:CurrentTime", now.to_string());
    }
}

/// The caller's own keys.
pub fn principal_context(context: &mut Context, scope: &Scope, account: &str) {
    use policy_lab::PrincipalKind;
    context.set("s3:ResourceAccount", account.to_owned());
    let Some(actor) = scope.actor() else { return };
    let principal = &actor.principal;
    let kind = match principal.kind {
        PrincipalKind::Root => "Account",
        PrincipalKind::User | PrincipalKind::ServiceAccount => "User",
        PrincipalKind::Session => "AssumedRole",
        PrincipalKind::Anonymous => "Anonymous",
    };
    context.set("aws:PrincipalType", kind.to_owned());
    if principal.kind == PrincipalKind::Anonymous {
        return;
    }
    let name = principal.parent.as_ref().unwrap_or(&principal.name);
    context.set("aws:username", name.clone());
    context.set("aws:userid", name.clone());
    context.set("aws:PrincipalArn", principal.arn.clone());
    context.set("aws:PrincipalAccount", principal.account.clone());
    if !principal.groups.is_empty() {
        context.set_many("aws:groups", principal.groups.clone());
    }
}

fn signature_context(context: &mut Context, signed: &Signed) {
    context.set("s3:signatureversion", "AWS4-HMAC-SHA256".to_owned());
    let auth_type = match signed.scheme {
        Scheme::Header => "REST-HEADER",
        Scheme::Presigned => "REST-QUERY-STRING",
    };
    context.set("s3:authType", auth_type.to_owned());
    if let Some(age_ms) = signed.age_ms {
        context.set("s3:signatureAge", age_ms.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Result<Target, String> {
        Target::parse(path, Some("localhost:9000"), &[]).map_err(|error| error.code.into_owned())
    }

    fn object(bucket: &str, key: &str) -> Target {
        Target::Object(BucketName::parse(bucket).unwrap(), ObjectKey::parse(key).unwrap())
    }

    #[test]
    fn path_style_targets() {
        assert_eq!(target("/"), Ok(Target::Service));
        assert_eq!(target("/abc"), Ok(Target::Bucket(BucketName::parse("abc").unwrap())));
        assert_eq!(target("/abc/"), Ok(Target::Bucket(BucketName::parse("abc").unwrap())));
        assert_eq!(target("/abc/a%20b//c%2B"), Ok(object("abc", "a b//c+")));
        assert_eq!(target("/abc//x"), Ok(object("abc", "/x")));
        assert_eq!(target("/A_B/x"), Err("InvalidBucketName".into()));
        assert_eq!(target("//x"), Err("InvalidBucketName".into()));
        assert_eq!(target("/abc/%ff"), Err("InvalidURI".into()));
        assert_eq!(target(&format!("/abc/{}", "k".repeat(1025))), Err("KeyTooLongError".into()));
    }

    #[test]
    fn a_configured_domain_names_the_bucket_in_the_host() {
        let domains = vec!["s3.example.org".to_owned()];
        let parsed = Target::parse("/k/1", Some("abc.s3.example.org:9000"), &domains).unwrap();
        assert_eq!(parsed, object("abc", "k/1"));
        let other = Target::parse("/abc/k", Some("abc.other.org"), &domains).unwrap();
        assert_eq!(other, object("abc", "k"));
    }
}
