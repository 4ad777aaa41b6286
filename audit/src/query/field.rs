//! Names of fields: ours, and those that people bring from CloudTrail, ECS and OCSF.

/// Every field of the schema.
pub(crate) const FIELDS: &[&str] = &[
    "action",
    "auth.by.id",
    "auth.by.sid",
    "auth.by.ver",
    "auth.decision",
    "auth.digest",
    "auth.implied",
    "auth.reason",
    "auth.us",
    "class",
    "err.code",
    "err.msg",
    "event",
    "kms.key",
    "kms.op",
    "kms.parent",
    "kms.ver",
    "masked",
    "net.endpoint",
    "net.fwd",
    "net.peer_cert",
    "net.port",
    "net.sni",
    "net.src",
    "net.tls",
    "net.ua",
    "node",
    "phase",
    "principal.access_key",
    "principal.account",
    "principal.arn",
    "principal.groups",
    "principal.id",
    "principal.issuer",
    "principal.mfa",
    "principal.name",
    "principal.parent",
    "principal.session",
    "principal.sig",
    "principal.sig_sha256",
    "principal.source_identity",
    "principal.type",
    "ref",
    "request",
    "resources.account",
    "resources.arn",
    "resources.bucket",
    "resources.etag",
    "resources.key",
    "resources.size",
    "resources.version",
    "result.aborted",
    "result.bytes_in",
    "result.bytes_out",
    "result.code",
    "result.ttfb_us",
    "result.us",
    "seq",
    "sse.bucket_key",
    "sse.key",
    "sse.type",
    "time",
    "trace.span_id",
    "trace.trace_id",
    "v",
];

/// Objects and arrays, for `exists`.
const GROUPS: &[&str] = &[
    "auth",
    "auth.by",
    "auth.ctx",
    "err",
    "kms",
    "kms.ec",
    "net",
    "params",
    "principal",
    "resources",
    "resources_more",
    "result",
    "sse",
    "trace",
    "trunc",
];

/// Maps with keys that are not ours.
const OPEN: &[&str] = &["auth.ctx.", "kms.ec.", "params."];

/// Condition keys that records leave to other members, see `auth.implied` in `FORMAT.md`, and these members. To look for
/// such a key under its own name would find records by chance.
const IMPLIED: &[(&str, &str)] = &[
    ("aws:CurrentTime", "time"),
    ("aws:EpochTime", "time"),
    ("aws:PrincipalAccount", "principal.account"),
    ("aws:PrincipalArn", "principal.arn"),
    ("aws:PrincipalType", "principal.type"),
    ("aws:SecureTransport", "net.tls"),
    ("aws:SourceIp", "net.src"),
    ("aws:UserAgent", "net.ua"),
    ("aws:userid", "principal.name"),
    ("aws:username", "principal.name"),
    ("s3:authType", "principal.sig"),
    ("s3:ResourceAccount", "principal.account"),
    ("s3:signatureversion", "principal.sig"),
    ("s3:TlsVersion", "net.tls"),
];

/// Other names for the same things.
const ALIASES: &[(&str, &str)] = &[
    ("access_key", "principal.access_key"),
    ("accessKeyId", "principal.access_key"),
    ("account", "principal.account"),
    ("actor.user.uid", "principal.arn"),
    ("additionalEventData.bytesTransferredIn", "result.bytes_in"),
    ("additionalEventData.bytesTransferredOut", "result.bytes_out"),
    ("api.operation", "action"),
    ("auth.by", "auth.by.id"),
    ("awsRegion", "net.endpoint"),
    ("bucket", "resources.bucket"),
    ("bytes_in", "result.bytes_in"),
    ("bytes_out", "result.bytes_out"),
    ("code", "result.code"),
    ("decision", "auth.decision"),
    ("digest", "auth.digest"),
    ("dur_us", "result.us"),
    ("errorCode", "err.code"),
    ("errorMessage", "err.msg"),
    ("event.action", "action"),
    ("event.id", "event"),
    ("event.outcome", "auth.decision"),
    ("eventID", "event"),
    ("eventName", "action"),
    ("eventTime", "time"),
    ("http.response.status_code", "result.code"),
    ("ip", "net.src"),
    ("key", "resources.key"),
    ("kms_key", "kms.key"),
    ("kms_op", "kms.op"),
    ("policy", "auth.by.id"),
    ("principal", "principal.arn"),
    ("principal_type", "principal.type"),
    ("reason", "auth.reason"),
    ("recipientAccountId", "principal.account"),
    ("requestID", "request"),
    ("requestParameters.bucketName", "resources.bucket"),
    ("requestParameters.key", "resources.key"),
    ("session", "principal.session"),
    ("sig", "principal.sig"),
    ("sourceIPAddress", "net.src"),
    ("source.ip", "net.src"),
    ("src_endpoint.ip", "net.src"),
    ("sse_key", "sse.key"),
    ("status", "result.code"),
    ("tls", "net.tls"),
    ("tlsDetails.tlsVersion", "net.tls"),
    ("ua", "net.ua"),
    ("user", "principal.name"),
    ("user.id", "principal.arn"),
    ("user.name", "principal.name"),
    ("userAgent", "net.ua"),
    ("user_agent.original", "net.ua"),
    ("userIdentity.accessKeyId", "principal.access_key"),
    ("userIdentity.accountId", "principal.account"),
    ("userIdentity.arn", "principal.arn"),
    ("userIdentity.type", "principal.type"),
    ("userIdentity.userName", "principal.name"),
    ("version", "resources.version"),
];

/// The canonical name of a field, or `None` if there is no such field.
pub(super) fn resolve(name: &str) -> Option<String> {
    if let Ok(found) = FIELDS.binary_search(&name) {
        return FIELDS.get(found).map(|field| (*field).to_owned());
    }
    if let Some((_, field)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some((*field).to_owned());
    }
    let open = OPEN.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    if open && implied_by(name).is_none() || GROUPS.contains(&name) {
        return Some(name.to_owned());
    }
    // Request parameters and single resources, as people say them.
    if let Some(rest) = name.strip_prefix("request.").or_else(|| name.strip_prefix("query.")) {
        return Some(format!("params.{rest}"));
    }
    let resource = name.strip_prefix("resource.")?;
    resolve(&format!("resources.{resource}"))
}

/// The member that says what this condition key would.
pub(super) fn implied_by(name: &str) -> Option<&'static str> {
    let key = name.strip_prefix("auth.ctx.")?;
    let found = IMPLIED.iter().find(|(implied, _)| implied.eq_ignore_ascii_case(key));
    found.map(|(_, member)| *member)
}

/// The nearest known name, for a hint.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names = FIELDS.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias));
    names.map(|known| (distance(name, known), known)).filter(|(d, _)| *d <= 2).min().map(|(_, n)| n)
}

/// Levenshtein distance; both words are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve() {
        assert!(FIELDS.is_sorted());
        assert!(ALIASES.iter().all(|(_, field)| FIELDS.contains(field)));
        assert_eq!(resolve("eventName").as_deref(), Some("action"));
        assert_eq!(resolve("resource.key").as_deref(), Some("resources.key"));
        assert_eq!(resolve("auth.ctx.aws:Referer").as_deref(), Some("auth.ctx.aws:Referer"));
        assert!(IMPLIED.iter().all(|(_, member)| FIELDS.contains(member)));
        assert_eq!(resolve("nothing"), None);
        assert_eq!(nearest("desicion"), Some("decision"));
        assert_eq!((distance("", "ab"), distance("kitten", "sitting")), (2, 3));
    }
}
