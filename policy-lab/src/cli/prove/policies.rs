//! What a question is asked about: one document, or several that hold together.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use policy_lab::analyze::Access;
use policy_lab::{Attached, DocumentKind, Profile, canned};

use super::super::{check, input};

/// Reads policies joined by `+`. A file whose name has a `+` in it is found as well.
pub(super) fn read(spec: &str, profile: Profile) -> anyhow::Result<Access> {
    let mut access = Access::default();
    let mut guardrails = Vec::new();
    let parts: Vec<&str> =
        if Path::new(spec).exists() { vec![spec] } else { spec.split('+').collect() };
    for part in parts {
        add(part, &mut access, &mut guardrails)?;
    }
    if !guardrails.is_empty() {
        access.policies.guardrails = Some(Arc::new(input::guardrails(guardrails)?));
    }
    if profile != Profile::AWS {
        access.policies = access.policies.read_as(profile).with_context(|| spec.to_owned())?;
    }
    Ok(access)
}

fn add(
    part: &str,
    access: &mut Access,
    guardrails: &mut Vec<(String, String)>,
) -> anyhow::Result<()> {
    let set = &mut access.policies;
    if let Some(canned) = canned::attached(part) {
        set.identity.push(canned);
    } else if let Some(rest) = part.strip_prefix("bucket:") {
        let (name, file) = rest.split_once('=').context("write bucket:NAME=FILE.json")?;
        place(&mut set.bucket, attached(file, DocumentKind::Bucket)?, "bucket policy")?;
        access.bucket = Some(name.to_owned());
    } else if let Some(file) = part.strip_prefix("boundary:") {
        place(&mut set.boundary, attached(file, DocumentKind::Boundary)?, "boundary")?;
    } else if let Some(file) = part.strip_prefix("session:") {
        place(&mut set.session, attached(file, DocumentKind::Session)?, "session policy")?;
    } else if input::has_extension(Path::new(part), "rego") {
        guardrails.push((input::name(Path::new(part))?, input::text(Path::new(part))?));
    } else if input::has_extension(Path::new(part), "json") {
        match check::guess(&input::text(Path::new(part))?) {
            DocumentKind::Bucket => {
                place(&mut set.bucket, attached(part, DocumentKind::Bucket)?, "bucket policy")?;
            }
            kind => set.identity.push(attached(part, kind)?),
        }
    } else {
        bail!(
            "`{part}` is not a canned policy ({}), FILE.json, FILE.rego, boundary:FILE, session:FILE or bucket:NAME=FILE",
            canned::CANNED.map(|(name, _)| name).join(", ")
        );
    }
    Ok(())
}

fn attached(file: &str, kind: DocumentKind) -> anyhow::Result<Attached> {
    let path = Path::new(file);
    let policy = input::policy(path, kind)?;
    Ok(Attached { name: Arc::from(input::stem(path)?), policy: Arc::new(policy) })
}

fn place(slot: &mut Option<Attached>, policy: Attached, what: &str) -> anyhow::Result<()> {
    match slot.replace(policy) {
        None => Ok(()),
        Some(_) => bail!("there is only one {what}"),
    }
}
