//! The members of a record, each with its limit, in canonical order inside its object.
//!
//! Limits count the written form, escapes included, so that a hostile name cannot grow sixfold past them.

use std::collections::BTreeMap;

use crate::record::{Auth, ErrorInfo, Kms, Matched, Net, Outcome, Principal, Resource, Sse, Trace};

use super::{
    json::{Json, escaped_len, is_plain},
    sha256_hex,
};

/// Resources kept in one record; a multi-delete may name a thousand.
pub(super) const RESOURCES_MAX: usize = 100;

const ARN_MAX: usize = 2048;
const BY_MAX: usize = 8;
const CTX_KEYS_MAX: usize = 32;
const CTX_VALUES_MAX: usize = 16;
const CUTS_MAX: usize = 16;
const EC_MAX: usize = 16;
const FWD_MAX: usize = 4;
const GROUPS_MAX: usize = 32;
/// S3 keys have at most 1024 bytes; a control character takes six.
const KEY_MAX: usize = 6 * 1024;
const MASKED_MAX: usize = 16;
const PARAMS_BYTES_MAX: usize = 4096;
pub(super) const UA_MAX: usize = 256;

/// One shortened value.
#[derive(Debug)]
struct Cut {
    path: String,
    len: usize,
    sha256: String,
}

/// The record under construction and what had to be cut from it.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) json: Json,
    cuts: Vec<Cut>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { json: Json::new(), cuts: Vec::new() }
    }

    /// A string member of at most `max` written bytes.
    pub(super) fn string(&mut self, path: &str, name: &str, value: &str, max: usize) {
        self.json.name(name);
        self.value(path, value, max);
    }

    /// A string member that is left out when absent.
    pub(super) fn optional(&mut self, path: &str, name: &str, value: Option<&str>, max: usize) {
        if let Some(value) = value {
            self.string(path, name, value, max);
        }
    }

    /// An integer member that is left out when absent.
    pub(super) fn integer(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.json.name(name).integer(value);
        }
    }

    fn value(&mut self, path: &str, value: &str, max: usize) {
        let kept = bounded(value, max);
        if kept.len() < value.len() {
            self.cut(path, value.as_bytes());
        }
        self.json.text(kept);
    }

    fn strings(&mut self, path: &str, name: &str, values: &[String], count: usize, max: usize) {
        if values.is_empty() {
            return;
        }
        if values.len() > count {
            self.cut(path, values[count..].join("\n").as_bytes());
        }
        self.json.name(name).open_array();
        for value in values.iter().take(count) {
            self.value(path, value, max);
        }
        self.json.close_array();
    }

    /// A map as an array of `{k,v}`, because its keys are not ours to restrict to member names.
    fn pairs(&mut self, path: &str, name: &str, map: &BTreeMap<String, String>, count: usize) {
        if map.is_empty() {
            return;
        }
        if map.len() > count {
            self.cut(path, format!("{:?}", map.iter().skip(count)).as_bytes());
        }
        self.json.name(name).open_array();
        for (key, value) in map.iter().take(count) {
            self.json.open();
            self.string(path, "k", key, 128);
            self.string(path, "v", value, 1100);
            self.json.close();
        }
        self.json.close_array();
    }

    /// What was withheld: names of ours, so few and short.
    pub(super) fn masked(&mut self, masked: &[String]) {
        self.strings("masked", "masked", masked, MASKED_MAX, 128);
    }

    fn cut(&mut self, path: &str, original: &[u8]) {
        let sha256 = sha256_hex(original);
        self.cuts.push(Cut { path: path.to_owned(), len: original.len(), sha256 });
    }

    pub(super) fn auth(&mut self, auth: Option<&Auth>, without_ctx: bool) {
        let Some(auth) = auth else { return };
        self.json.name("auth").open();
        self.by(&auth.by);
        self.ctx(&auth.ctx, without_ctx);
        self.json.name("decision").text(auth.decision.as_str());
        self.string("auth.digest", "digest", &auth.digest, 128);
        if auth.implied {
            self.json.name("implied").boolean(true);
        }
        self.string("auth.reason", "reason", &auth.reason, 64);
        self.json.name("us").integer(auth.us);
        self.json.close();
    }

    fn by(&mut self, by: &[Matched]) {
        if by.is_empty() {
            return;
        }
        if by.len() > BY_MAX {
            self.cut("auth.by", format!("{:?}", &by[BY_MAX..]).as_bytes());
        }
        self.json.name("by").open_array();
        for matched in by.iter().take(BY_MAX) {
            self.json.open();
            self.string("auth.by.id", "id", &matched.id, 256);
            self.optional("auth.by.sid", "sid", matched.sid.as_deref(), 256);
            self.optional("auth.by.ver", "ver", matched.ver.as_deref(), 64);
            self.json.close();
        }
        self.json.close_array();
    }

    fn ctx(&mut self, ctx: &BTreeMap<String, Vec<String>>, without: bool) {
        if ctx.is_empty() {
            return;
        }
        if without || ctx.len() > CTX_KEYS_MAX {
            let kept = if without { 0 } else { CTX_KEYS_MAX };
            let rest: BTreeMap<_, _> = ctx.iter().skip(kept).collect();
            self.cut("auth.ctx", format!("{rest:?}").as_bytes());
        }
        if without {
            return;
        }
        self.json.name("ctx").open_array();
        for (key, values) in ctx.iter().take(CTX_KEYS_MAX) {
            self.json.open();
            self.string("auth.ctx", "k", key, 128);
            if values.is_empty() {
                // A key that was read and had no value is a fact too.
                self.json.name("v").open_array();
                self.json.close_array();
            }
            self.strings("auth.ctx", "v", values, CTX_VALUES_MAX, 1100);
            self.json.close();
        }
        self.json.close_array();
    }

    pub(super) fn err(&mut self, err: Option<&ErrorInfo>) {
        let Some(err) = err else { return };
        self.json.name("err").open();
        self.string("err.code", "code", &err.code, 64);
        self.string("err.msg", "msg", &err.msg, 512);
        self.json.close();
    }

    pub(super) fn kms(&mut self, kms: Option<&Kms>) {
        let Some(kms) = kms else { return };
        self.json.name("kms").open();
        self.pairs("kms.ec", "ec", &kms.ec, EC_MAX);
        self.string("kms.key", "key", &kms.key, ARN_MAX);
        self.string("kms.op", "op", &kms.op, 64);
        self.optional("kms.parent", "parent", kms.parent.as_deref(), 64);
        self.integer("ver", kms.ver);
        self.json.close();
    }

    pub(super) fn net(&mut self, net: Option<&Net>, without_ua: bool) {
        let Some(net) = net else { return };
        self.json.name("net").open();
        self.optional("net.endpoint", "endpoint", net.endpoint.as_deref(), 256);
        self.strings("net.fwd", "fwd", &net.fwd, FWD_MAX, 64);
        self.optional("net.peer_cert", "peer_cert", net.peer_cert.as_deref(), 64);
        self.integer("port", net.port.map(u64::from));
        self.optional("net.sni", "sni", net.sni.as_deref(), 256);
        self.string("net.src", "src", &net.src, 64);
        self.optional("net.tls", "tls", net.tls.as_deref(), 64);
        match net.ua.as_deref() {
            Some(ua) if without_ua => self.cut("net.ua", ua.as_bytes()),
            ua => self.optional("net.ua", "ua", ua, UA_MAX),
        }
        self.json.close();
    }

    pub(super) fn params(&mut self, params: &BTreeMap<String, String>, without: bool) {
        if params.is_empty() {
            return;
        }
        let bytes: usize = params.iter().map(|(k, v)| k.len() + v.len() + 16).sum();
        if without || bytes > PARAMS_BYTES_MAX {
            self.cut("params", format!("{params:?}").as_bytes());
            return;
        }
        self.pairs("params", "params", params, params.len());
    }

    pub(super) fn principal(&mut self, principal: Option<&Principal>, sig_sha256: Option<&str>) {
        let Some(p) = principal else { return };
        self.json.name("principal").open();
        self.optional("principal.access_key", "access_key", p.access_key.as_deref(), 128);
        self.optional("principal.account", "account", p.account.as_deref(), 128);
        self.optional("principal.arn", "arn", p.arn.as_deref(), ARN_MAX);
        self.strings("principal.groups", "groups", &p.groups, GROUPS_MAX, 128);
        self.optional("principal.id", "id", p.id.as_deref(), 256);
        self.optional("principal.issuer", "issuer", p.issuer.as_deref(), 512);
        if let Some(mfa) = p.mfa {
            self.json.name("mfa").boolean(mfa);
        }
        self.optional("principal.name", "name", p.name.as_deref(), 256);
        self.optional("principal.parent", "parent", p.parent.as_deref(), ARN_MAX);
        self.optional("principal.session", "session", p.session.as_deref(), 256);
        self.string("principal.sig", "sig", &p.sig, 32);
        self.optional("principal.sig_sha256", "sig_sha256", sig_sha256, 64);
        let source = p.source_identity.as_deref();
        self.optional("principal.source_identity", "source_identity", source, 256);
        self.string("principal.type", "type", &p.kind, 32);
        self.json.close();
    }

    pub(super) fn resources(&mut self, resources: &[Resource], kept: Option<usize>) {
        if resources.is_empty() {
            return;
        }
        let kept = kept.unwrap_or(RESOURCES_MAX);
        self.json.name("resources").open_array();
        resources.iter().take(kept).for_each(|r| self.resource(r));
        self.json.close_array();
        if resources.len() > kept {
            // The hash covers the whole list, written with the same rules but without limits on its length.
            let mut whole = Self::new();
            whole.json.open_array();
            resources.iter().for_each(|r| whole.resource(r));
            whole.json.close_array();
            self.json.name("resources_more").open();
            self.json.name("count").integer(resources.len() as u64);
            self.json.name("sha256").text(&sha256_hex(&whole.json.into_bytes()));
            self.json.close();
        }
    }

    fn resource(&mut self, r: &Resource) {
        self.json.open();
        self.optional("resources.arn", "arn", r.arn.as_deref(), ARN_MAX);
        self.optional("resources.bucket", "bucket", r.bucket.as_deref(), 256);
        self.optional("resources.etag", "etag", r.etag.as_deref(), 128);
        self.optional("resources.key", "key", r.key.as_deref(), KEY_MAX);
        self.integer("size", r.size);
        self.optional("resources.version", "version", r.version.as_deref(), 128);
        self.json.close();
    }

    pub(super) fn outcome(&mut self, outcome: Option<&Outcome>) {
        let Some(o) = outcome else { return };
        self.json.name("result").open();
        if o.aborted {
            self.json.name("aborted").boolean(true);
        }
        self.json.name("bytes_in").integer(o.bytes_in);
        self.json.name("bytes_out").integer(o.bytes_out);
        self.json.name("code").integer(o.code.into());
        self.integer("ttfb_us", o.ttfb_us);
        self.json.name("us").integer(o.us);
        self.json.close();
    }

    pub(super) fn sse(&mut self, sse: Option<&Sse>) {
        let Some(sse) = sse else { return };
        self.json.name("sse").open();
        if sse.bucket_key {
            self.json.name("bucket_key").boolean(true);
        }
        self.optional("sse.key", "key", sse.key.as_deref(), ARN_MAX);
        self.string("sse.type", "type", &sse.kind, 32);
        self.json.close();
    }

    pub(super) fn trace(&mut self, trace: Option<&Trace>) {
        let Some(trace) = trace else { return };
        self.json.name("trace").open();
        self.string("trace.span_id", "span_id", &trace.span_id, 16);
        self.string("trace.trace_id", "trace_id", &trace.trace_id, 32);
        self.json.close();
    }

    /// The list of cuts; past [`CUTS_MAX`] one entry named `*` counts the rest and binds their hashes.
    pub(super) fn trunc(&mut self) {
        if self.cuts.is_empty() {
            return;
        }
        let mut cuts = std::mem::take(&mut self.cuts);
        let rest = cuts.split_off(cuts.len().min(CUTS_MAX));
        if !rest.is_empty() {
            let hashes: String = rest.iter().map(|cut| cut.sha256.as_str()).collect();
            let sha256 = sha256_hex(hashes.as_bytes());
            cuts.push(Cut { path: "*".to_owned(), len: rest.len(), sha256 });
        }
        self.json.name("trunc").open_array();
        for cut in &cuts {
            self.json.open();
            self.json.name("len").integer(cut.len as u64);
            self.json.name("path").text(&cut.path);
            self.json.name("sha256").text(&cut.sha256);
            self.json.close();
        }
        self.json.close_array();
    }
}

/// The longest prefix that takes at most `max` bytes when written.
pub(super) fn bounded(value: &str, max: usize) -> &str {
    // No byte takes more than six, and most take one.
    if value.len() * 6 <= max || value.len() <= max && is_plain(value.as_bytes()) {
        return value;
    }
    let mut written = 0;
    for (at, c) in value.char_indices() {
        written += if c.is_ascii() { escaped_len(c as u8) } else { c.len_utf8() };
        if written > max {
            return value.get(..at).unwrap_or_default();
        }
    }
    value
}
