//! `policy-lab who-can ACTION RESOURCE --world FILE`

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use policy_lab::replay::{Can, who_can};
use policy_lab::{Action, Context, Resource, report};
use serde_json::json;

use super::reading::Reading;
use super::{Failure, Verdict, input, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    policy-lab who-can s3:DeleteObject ledger/2026/q3.csv --world world.json\n  \
    policy-lab who-can s3:GetObject arn:aws:s3:::ledger/x --world world.json --given aws:SourceIp=10.0.0.1\n\n\
    Exit codes: 0 somebody beside root can; 1 nobody; 2 invalid input; 4 only under conditions that --given leaves open.")]
pub(super) struct Arguments {
    /// What shall be done, as s3:GetObject
    action: String,
    /// On what: bucket, bucket/key, an ARN, or `*` for what has no bucket
    resource: String,
    /// Who there is, as `appliance iam export` wrote it
    #[arg(long, value_name = "FILE")]
    world: PathBuf,
    /// A condition key that is known
    #[arg(long, value_name = "KEY=VALUE")]
    given: Vec<String>,
    /// How the given policies and worlds are read
    #[arg(long, value_enum, default_value_t = Reading::Aws)]
    profile: Reading,
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let export = arguments.profile.export(input::export(&arguments.world)?)?;
    let action = Action::parse(&arguments.action).map_err(|error| anyhow!("{error}"))?;
    if action.info().is_none() {
        return Err(anyhow!("`{action}` is not an action of this server").into());
    }
    let resource = resource(&arguments.resource)?;
    let given = given(&arguments.given)?;
    let all = who_can(&export, &action, &resource, &given);
    let rows: Vec<_> = all
        .iter()
        .map(|access| {
            let (answer, why) = match &access.answer {
                Can::Yes => ("yes", access.because.clone()),
                Can::No => ("no", access.because.clone()),
                Can::Depends(keys) => ("depends", keys.join(" ")),
            };
            vec![access.principal.clone(), answer.to_owned(), why]
        })
        .collect();
    if arguments.json {
        let row = |row: &Vec<String>| {
            let cell = |index: usize| row.get(index).map(String::as_str);
            json!({ "principal": cell(0), "answer": cell(1), "why": cell(2) })
        };
        let document = json!({
            "schema": "policy-lab/who-can", "v": 1,
            "action": action.as_str(), "resource": resource.arn(),
            "principals": rows.iter().map(row).collect::<Vec<_>>(),
        });
        output::print(&format!("{document:#}\n"))?;
    } else {
        output::print(&report::columns(&["PRINCIPAL", "ANSWER", "WHY"], &rows))?;
    }
    let others = || all.iter().filter(|access| access.because != "admin-bypass");
    Ok(if others().any(|access| access.answer == Can::Yes) {
        Verdict::Fine
    } else if others().any(|access| matches!(access.answer, Can::Depends(_))) {
        Verdict::Unknown
    } else {
        Verdict::Negative
    })
}

/// `bucket`, `bucket/key`, an ARN of them, or `*`.
pub(super) fn resource(text: &str) -> anyhow::Result<Resource> {
    if text == "*" {
        return Ok(Resource::Any);
    }
    let path = text.strip_prefix("arn:aws:s3:::").unwrap_or(text);
    if path.is_empty() || path.starts_with("arn:") || path.starts_with('/') {
        bail!("`{text}` names no bucket");
    }
    if path.contains(['*', '?']) {
        bail!("`{text}` is a pattern; ask for one resource, or use `policy-lab prove`");
    }
    Ok(match path.split_once('/') {
        Some((bucket, key)) => Resource::Object { bucket: bucket.to_owned(), key: key.to_owned() },
        None => Resource::Bucket(path.to_owned()),
    })
}

fn given(pairs: &[String]) -> anyhow::Result<Context> {
    let mut context = Context::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| key.contains(':')) else {
            bail!("`{pair}` is not KEY=VALUE, as aws:SourceIp=10.0.0.1");
        };
        let mut values = context.get(key).map(<[String]>::to_vec).unwrap_or_default();
        values.push(value.to_owned());
        context.set_many(key, values);
    }
    Ok(context)
}
