//! Calls about named policies, which clients call canned whoever wrote them.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed, rfc3339};
use crate::authz::{Effect, Permit};
use crate::iam::{Document, IamError, POLICY_BYTES_MAX};

/// `PUT add-canned-policy?name=N`, the body is the document.
#[derive(Debug)]
pub(super) struct AddCannedPolicy;

/// What is required of a new policy beyond what the language requires.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "Version", default)]
    version: String,
}

impl Operation for AddCannedPolicy {
    const NAME: &'static str = "add-canned-policy";
    const METHOD: Method = Method::PUT;
    const ACTION: &'static str = "admin:CreatePolicy";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("name")?;
        if name.contains(',') {
            let message = "A policy name has no comma.";
            return Err(AdminError::bad_request("PolicyInvalidName", message));
        }
        if call.body.len() > POLICY_BYTES_MAX {
            let message = "Your proposed policy exceeds 20 KiB.";
            return Err(AdminError::bad_request("EntityTooLarge", message));
        }
        let malformed = |message| AdminError::bad_request("XMinioMalformedIAMPolicy", message);
        let text = std::str::from_utf8(&call.body).map_err(|_| malformed("not UTF-8"))?;
        if serde_json::from_str::<Head>(text).is_ok_and(|head| head.version.is_empty()) {
            return Err(malformed("the policy has no Version; write \"2012-10-17\""));
        }
        let written = call.iam().put_policy(name, text, call.now_us()).await;
        call.identities_changed();
        Ok(written.map(|()| Answer::default())?)
    }
}

/// `GET info-canned-policy?name=N[&v=2]`: the document, in version 2 with its history.
#[derive(Debug)]
pub(super) struct InfoCannedPolicy;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described<'a> {
    policy_name: &'a str,
    policy: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_date: Option<String>,
}

impl Operation for InfoCannedPolicy {
    const NAME: &'static str = "info-canned-policy";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:GetPolicy";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let name = call.required("name")?;
        let snapshot = call.snapshot();
        let document =
            snapshot.policy(name).ok_or_else(|| IamError::NoSuchPolicy(name.to_owned()))?;
        if call.query.get("v") != Some("2") {
            return Ok(Answer { body: document.source().as_bytes().to_vec() });
        }
        Answer::json(&Described {
            policy_name: name,
            policy: parsed(document)?,
            create_date: document.written.map(|written| rfc3339(written.created_us)),
            update_date: document.written.map(|written| rfc3339(written.updated_us)),
        })
    }
}

/// `GET list-canned-policies`: documents by name.
#[derive(Debug)]
pub(super) struct ListCannedPolicies;

impl Operation for ListCannedPolicies {
    const NAME: &'static str = "list-canned-policies";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ListUserPolicies";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let snapshot = call.snapshot();
        let documents: Result<BTreeMap<_, _>, AdminError> =
            snapshot.policies().map(|(name, document)| Ok((name, parsed(document)?))).collect();
        Answer::json(&documents?)
    }
}

/// `DELETE remove-canned-policy?name=N`; removing what is not there succeeds.
#[derive(Debug)]
pub(super) struct RemoveCannedPolicy;

impl Operation for RemoveCannedPolicy {
    const NAME: &'static str = "remove-canned-policy";
    const METHOD: Method = Method::DELETE;
    const ACTION: &'static str = "admin:DeletePolicy";
    const EFFECT: Effect = Effect::Write;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(_permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let removed = call.iam().delete_policy(call.required("name")?).await;
        call.identities_changed();
        match removed {
            Ok(()) | Err(IamError::NoSuchPolicy(_)) => Ok(Answer::default()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The document as JSON inside JSON.
fn parsed(document: &Document) -> Result<Value, AdminError> {
    serde_json::from_str(document.source()).map_err(|error| {
        tracing::error!(%error, "a stored policy is not JSON");
        AdminError::internal()
    })
}
