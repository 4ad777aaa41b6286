//! `Resource` and `NotResource`: which buckets and keys a statement speaks of.

use crate::arn::Arn;
use crate::condition::{Reading, Truth};
use crate::context::{Context, Wanted};
use crate::pattern::{Glob, Pattern, Syntax, Text};
use crate::{DocumentKind, Resource};

/// `bucket`, or `bucket/key`, without joining them; empty where no bucket is touched.
pub(crate) fn path(resource: &Resource) -> Text<'_> {
    match resource {
        Resource::Any => Text::from(""),
        Resource::Bucket(bucket) => Text::from(bucket.as_str()),
        Resource::Object { bucket, key } => Text::path(bucket, key),
    }
}

/// A part of the world that a statement may speak of; everything outside its reaches it surely does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach<'a> {
    /// `None`: of any bucket, or of none.
    pub(crate) bucket: Option<&'a str>,
    /// Literal text that the key starts with, or, where there is no bucket, that `bucket/key` does.
    pub(crate) prefix: &'a str,
    /// The statement speaks of every object there is within the reach, whatever the context.
    pub(crate) is_whole: bool,
}

impl<'a> Reach<'a> {
    pub(crate) const EVERYWHERE: Self = Self { bucket: None, prefix: "", is_whole: false };

    /// Of texts that a pattern covers.
    fn of(bucket: Option<&'a str>, pattern: &'a Pattern) -> Self {
        let is_whole = matches!(pattern, Pattern::Fixed(Glob::Any | Glob::Prefix(_)));
        Self { bucket, prefix: pattern.literal_prefix(), is_whole }
    }
}

/// One entry, compiled.
#[derive(Clone, Debug)]
enum Entry {
    All,
    /// A bucket itself.
    Bucket(Box<str>),
    /// Keys of one bucket: the bucket part is without wildcards.
    Keys {
        bucket: Box<str>,
        key: Pattern,
    },
    /// Anything else over `bucket` or `bucket/key`.
    Path(Pattern),
    /// A key of the key service; requests do not say which key they use.
    KmsKey,
    /// An ARN of another service: nothing we store.
    Foreign,
}

/// The resource element of a statement.
#[derive(Clone, Debug)]
pub(super) struct Resources {
    entries: Vec<Entry>,
    /// `NotResource`.
    inverted: bool,
    /// See [`crate::Profile::keys_cover_bucket`].
    keys_cover_bucket: bool,
}

impl Resources {
    pub(super) fn new(inverted: bool, keys_cover_bucket: bool) -> Self {
        Self { entries: Vec::new(), inverted, keys_cover_bucket }
    }

    /// Compiles and adds one entry. The error is complaint and remedy.
    pub(super) fn push(
        &mut self,
        text: &str,
        kind: DocumentKind,
        reading: Reading,
    ) -> Result<(), (String, Option<String>)> {
        self.entries.push(compile(text, kind, reading)?);
        Ok(())
    }

    /// Where the statement may apply.
    pub(super) fn reaches(&self) -> Vec<Reach<'_>> {
        if self.inverted {
            return vec![Reach::EVERYWHERE];
        }
        self.entries.iter().filter_map(Entry::reach).collect()
    }

    /// Gathers the keys of the variables.
    pub(super) fn wants(&self, wanted: &mut Wanted) {
        for entry in &self.entries {
            match entry {
                Entry::Keys { key: pattern, .. } | Entry::Path(pattern) => pattern.wants(wanted),
                Entry::All | Entry::Bucket(_) | Entry::KmsKey | Entry::Foreign => {}
            }
        }
    }

    /// Every variable has a value.
    pub(super) fn resolve(&self, context: &Context) -> bool {
        self.entries.iter().all(|entry| entry.resolves(context))
    }

    /// Whether the statement speaks of this resource.
    pub(super) fn cover(&self, resource: &Resource, context: &Context) -> Truth {
        let covered = self.entries.iter().any(|entry| {
            entry.covers(resource, context)
                || self.keys_cover_bucket && entry.covers_bucket(resource, context)
        });
        if covered {
            return (!self.inverted).into();
        }
        let names_a_key = || self.entries.iter().any(|entry| matches!(entry, Entry::KmsKey));
        // An exception whose variable has no value excepts nobody knows what.
        let open = || self.inverted && !self.resolve(context);
        if open() || *resource == Resource::Any && names_a_key() {
            return Truth::Unsure;
        }
        self.inverted.into()
    }
}

impl Entry {
    fn reach(&self) -> Option<Reach<'_>> {
        match self {
            Self::All => Some(Reach { is_whole: true, ..Reach::EVERYWHERE }),
            Self::KmsKey => Some(Reach::EVERYWHERE),
            Self::Bucket(bucket) => Some(Reach { bucket: Some(bucket), ..Reach::EVERYWHERE }),
            Self::Keys { bucket, key } => Some(Reach::of(Some(bucket), key)),
            Self::Path(pattern) => Some(Reach::of(None, pattern)),
            Self::Foreign => None,
        }
    }

    fn covers(&self, resource: &Resource, context: &Context) -> bool {
        match (self, resource) {
            (Self::All, _) => true,
            (Self::Bucket(ours), Resource::Bucket(bucket)) => **ours == **bucket,
            (Self::Keys { bucket: ours, key: pattern }, Resource::Object { bucket, key }) => {
                **ours == **bucket && pattern.matches(key.as_str(), context)
            }
            (Self::Path(pattern), Resource::Bucket(_) | Resource::Object { .. }) => {
                pattern.matches(path(resource), context)
            }
            _ => false,
        }
    }

    /// A bucket is asked for as `bucket/`.
    fn covers_bucket(&self, resource: &Resource, context: &Context) -> bool {
        match (self, resource) {
            (Self::Keys { bucket: ours, key }, Resource::Bucket(bucket)) => {
                **ours == **bucket && key.matches("", context)
            }
            (Self::Path(pattern), Resource::Bucket(bucket)) => {
                pattern.matches(Text::path(bucket, ""), context)
            }
            _ => false,
        }
    }

    fn resolves(&self, context: &Context) -> bool {
        match self {
            Self::Keys { key: pattern, .. } | Self::Path(pattern) => pattern.resolves(context),
            Self::All | Self::Bucket(_) | Self::KmsKey | Self::Foreign => true,
        }
    }
}

const S3_ARN: &str = "write `arn:aws:s3:::bucket/key*` or `*`";

fn compile(
    text: &str,
    kind: DocumentKind,
    reading: Reading,
) -> Result<Entry, (String, Option<String>)> {
    if text == "*" {
        return Ok(Entry::All);
    }
    let Some(arn) = Arn::parse(text) else {
        return Err((format!("resource `{text}` is not an ARN"), Some(S3_ARN.to_owned())));
    };
    let variables = reading.variables;
    let head = [arn.partition, arn.service, arn.region, arn.account];
    if variables && head.iter().any(|field| field.contains("${")) {
        return Err((
            format!("resource `{text}` has a variable before the fifth colon"),
            Some("variables are possible in bucket and key".to_owned()),
        ));
    }
    if arn.service.is_empty() || arn.service.contains(['*', '?']) {
        return Err((format!("resource `{text}` names no service"), Some(S3_ARN.to_owned())));
    }
    if arn.resource.is_empty() || arn.resource.starts_with('/') {
        return Err((format!("resource `{text}` names no bucket"), Some(S3_ARN.to_owned())));
    }
    let is_ours = arn.service == "s3"
        && [(arn.partition, "aws"), (arn.region, ""), (arn.account, "")]
            .into_iter()
            .all(|(pattern, ours)| Glob::parse(pattern).matches(ours));
    if !is_ours && kind == DocumentKind::Bucket {
        return Err((
            format!("resource `{text}` is not of S3"),
            Some("a bucket policy speaks of `arn:aws:s3:::bucket` and its objects".to_owned()),
        ));
    }
    if arn.service == "kms" {
        return Ok(Entry::KmsKey);
    }
    if !is_ours {
        return Ok(Entry::Foreign);
    }
    let remedy = "a variable is written as ${aws:username} or ${aws:username, 'default'}";
    entry(arn.resource, reading).map_err(|message| (message, Some(remedy.to_owned())))
}

/// Splits bucket and key where the bucket part is plain text, so that most entries cost one comparison.
fn entry(text: &str, reading: Reading) -> Result<Entry, String> {
    let Reading { variables, profile } = reading;
    let syntax = Syntax { wildcards: true, variables, raw: profile.variables_are_raw };
    let has_variable = |text: &str| variables && text.contains("${");
    let is_plain = |text: &str| !text.contains(['*', '?']) && !has_variable(text);
    Ok(match text.split_once('/') {
        _ if text == "*" => Entry::All,
        Some((bucket, key)) if is_plain(bucket) => {
            Entry::Keys { bucket: bucket.into(), key: Pattern::parse(key, syntax)? }
        }
        None if is_plain(text) => Entry::Bucket(text.into()),
        _ => Entry::Path(Pattern::parse(text, syntax)?),
    })
}
