//! What `--baseline` and `--draft` accept.
//!
//! A canned name or `FILE.json`: everybody but root has exactly these policies. `NAME=FILE.json` or `NAME=canned`: the
//! policy attached as NAME. `bucket:NAME=FILE.json`: the policy of a bucket. `FILE.rego`: one guardrail more. A
//! directory: each `STEM.json` as `STEM=…`, each `bucket/NAME.json` as a bucket policy, and its `.rego` files instead
//! of all guardrails. A world that the appliance exported: everything is as in it.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use policy_lab::replay::{Change, SCHEMA};
use policy_lab::{Attached, DocumentKind, canned};

use super::input;

/// Reads all values of one option into changes.
pub(super) fn changes(specs: &[String]) -> anyhow::Result<Vec<Change>> {
    let mut everybody = Vec::new();
    let mut changes = Vec::new();
    for spec in specs {
        match read(spec)? {
            Spec::Everybody(policy) => everybody.push(policy),
            Spec::Changes(more) => changes.extend(more),
        }
    }
    if !everybody.is_empty() {
        changes.insert(0, Change::Identity(everybody));
    }
    Ok(changes)
}

/// Reads values that are policies, and nothing else, of people and buckets.
pub(super) fn policies(specs: &[String]) -> anyhow::Result<Vec<Attached>> {
    let mut policies = Vec::new();
    for change in changes(specs)? {
        match change {
            Change::Identity(all) => policies.extend(all),
            Change::Named(policy) | Change::Bucket { policy, .. } => policies.push(policy),
            Change::Guardrail { .. } | Change::Guardrails(_) => {}
            Change::World(_) => bail!("a world is given with --world"),
        }
    }
    Ok(policies)
}

enum Spec {
    Everybody(Attached),
    Changes(Vec<Change>),
}

fn read(spec: &str) -> anyhow::Result<Spec> {
    if let Some((name, value)) = spec.split_once('=') {
        return named(name, value).map(|change| Spec::Changes(vec![change]));
    }
    if let Some(attached) = canned::attached(spec) {
        return Ok(Spec::Everybody(attached));
    }
    let path = Path::new(spec);
    if path.is_dir() {
        return directory(path).map(Spec::Changes);
    }
    if input::has_extension(path, "json") {
        // A policy has no such member, so nothing is both.
        if input::text(path)?.contains(&format!("\"{SCHEMA}\"")) {
            return Ok(Spec::Changes(vec![Change::World(input::export(path)?)]));
        }
        let attached = attached(&input::stem(path)?, path, DocumentKind::Identity)?;
        return Ok(Spec::Everybody(attached));
    }
    if input::has_extension(path, "rego") {
        let (name, text) = guardrail(path)?;
        input::guardrails(vec![(path.display().to_string(), text.clone())])?;
        return Ok(Spec::Changes(vec![Change::Guardrail { name, text }]));
    }
    bail!(
        "`{spec}` is not a canned policy ({}), a .json or .rego file, a directory, or NAME=FILE",
        canned::CANNED.map(|(name, _)| name).join(", ")
    )
}

fn named(name: &str, value: &str) -> anyhow::Result<Change> {
    let path = Path::new(value);
    if let Some(bucket) = name.strip_prefix("bucket:") {
        let policy = attached(bucket, path, DocumentKind::Bucket)?;
        return Ok(Change::Bucket { bucket: bucket.to_owned(), policy });
    }
    if name.is_empty() {
        bail!("`={value}` names no policy");
    }
    if let Some(canned) = canned::attached(value) {
        return Ok(Change::Named(Attached { name: Arc::from(name), ..canned }));
    }
    Ok(Change::Named(attached(name, path, DocumentKind::Identity)?))
}

fn directory(path: &Path) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for file in input::files(path, "json")? {
        let name = input::stem(&file)?;
        changes.push(Change::Named(attached(&name, &file, DocumentKind::Identity)?));
    }
    let buckets = path.join("bucket");
    if buckets.is_dir() {
        for file in input::files(&buckets, "json")? {
            let bucket = input::stem(&file)?;
            let policy = attached(&bucket, &file, DocumentKind::Bucket)?;
            changes.push(Change::Bucket { bucket, policy });
        }
    }
    let sources = input::files(path, "rego")?
        .iter()
        .map(|file| guardrail(file))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !sources.is_empty() {
        input::guardrails(sources.clone())?;
        changes.push(Change::Guardrails(sources));
    }
    if changes.is_empty() {
        bail!("{} holds no policy and no guardrail", path.display());
    }
    Ok(changes)
}

fn guardrail(path: &Path) -> anyhow::Result<(String, String)> {
    Ok((input::name(path)?, input::text(path)?))
}

fn attached(name: &str, path: &Path, kind: DocumentKind) -> anyhow::Result<Attached> {
    let policy = input::policy(path, kind)?;
    Ok(Attached { name: Arc::from(name), policy: Arc::new(policy) })
}
