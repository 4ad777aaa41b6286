use http::{Method, Request};
use policy_lab::action::CATALOGUE;
use serde_json::{Value, json};
use storage::Store;

use super::*;
use crate::guardrails::Rules;
use crate::iam::Status;
use crate::iam::tests::{iam_on, root, store_in};
use crate::kms::Local;
use crate::kms::tests::audited::{log_in, recorder_on, records_of, scope_on};
use crate::scope::Actor;

/// One deployment without listeners.
struct House {
    dir: tempfile::TempDir,
    log: Arc<audit::Log>,
    store: Store,
    context: Context,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        let log = log_in(&dir.path().join("audit"));
        let store = store_in(dir.path());
        let iam = iam_on(&store).await;
        let keys = Arc::new(Local::open(dir.path(), &[1; 32]).unwrap());
        let gate =
            Gate::new(store.clone(), keys, Arc::clone(&iam), Rules::default(), recorder_on(&log));
        let keeper = Arc::new(Keeper::new(crate::retention::House {
            log: Arc::clone(&log),
            origin: "audit.example.com/node1".to_owned(),
            dir: dir.path().join("audit"),
            retention: None,
            siem: Arc::default(),
            archive_dir: None,
            cloudtrail_dir: None,
        }));
        let log_keys = LogKeys { log: Arc::clone(&log), config_dir: dir.path().to_owned() };
        let context = Context::new(Arc::new(gate), iam, Arc::default(), keeper, log_keys);
        Self { dir, log, store, context }
    }

    /// A user who may do nothing.
    async fn with_nobody() -> Self {
        let house = Self::new().await;
        let added = house.context.iam.add_user("nobody", "nobody-secret", Status::Enabled, 1);
        added.await.unwrap();
        house
    }

    async fn call(
        &self,
        access_key: &str,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, AdminError> {
        self.signed(signed(access_key), method, path, body).await
    }

    async fn signed(
        &self,
        signed: Signed,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, AdminError> {
        let scope = scope_on(&self.log);
        let credential = self.context.iam.snapshot().credential(&signed.access_key).unwrap();
        scope.identify(Actor {
            principal: credential.principal,
            access_key: Some(signed.access_key.clone()),
            scheme: "v4",
            signature_sha256: None,
        });
        let uri = format!("{PREFIX}{path}");
        let (parts, ()) = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        let response = handle(&self.context, &scope, &signed, &parts, body.into()).await?;
        assert_eq!(response.status(), 200);
        Ok(response.into_body().to_vec())
    }

    async fn root(&self, method: Method, path: &str, body: Value) -> Result<Value, AdminError> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let answer = self.call("operator", method, path, body).await?;
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() })
    }

    /// A call whose request is sealed, and its answer if `opened`.
    async fn sealed(&self, method: Method, path: &str, body: Value) -> Result<Value, AdminError> {
        let secret = root().secret_key;
        let body = if body.is_null() {
            Vec::new()
        } else {
            envelope::seal(&secret, &serde_json::to_vec(&body).unwrap()).unwrap()
        };
        let answer = self.call("operator", method, path, body).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&envelope::open(&secret, &answer).unwrap()).unwrap())
    }

    fn records(&self) -> Vec<Value> {
        records_of(&self.dir.path().join("audit"), "admin")
    }

    fn close(self) {
        self.store.close();
        self.log.close().unwrap();
    }
}

fn signed(access_key: &str) -> Signed {
    Signed {
        access_key: access_key.into(),
        scheme: Scheme::Header,
        region: String::new(),
        service: "s3".into(),
        signed_at: 0,
        age_ms: None,
        session_token: None,
        payload: PayloadKind::Sha256([0; 32]),
        sig_sha256: String::new(),
        chunk_key: None,
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, AdminError>) -> (u16, String) {
    let error = answer.unwrap_err();
    (error.status.as_u16(), error.code.into_owned())
}

fn new_user() -> Value {
    json!({ "secretKey": "alice-secret-1", "status": "enabled" })
}

/// A call that is added without an action, a denial or records fails here. The bodies are garbage: a sealed one that
/// was opened before the decision would answer something else than a denial.
#[tokio::test]
async fn every_call_is_decided_recorded_and_deniable() {
    let house = House::with_nobody().await;
    let mut seen = std::collections::BTreeSet::new();
    for row in table() {
        assert!(seen.insert((row.method.to_string(), row.name)), "{} is there twice", row.name);
        let disabling = row.action_disabling.map(|action| (action, "?status=disabled"));
        for (action, query) in [(row.action, "")].into_iter().chain(disabling) {
            assert!(CATALOGUE.iter().any(|known| known.name == action), "`{action}` is unknown");
            let before = house.records().len();
            let path = format!("{}{query}", row.name);
            let answer = house.call("nobody", row.method.clone(), &path, b"{".to_vec()).await;
            assert_eq!(code(answer), (403, "AccessDenied".into()), "{path}");
            let records = house.records().split_off(before);
            let phases: Vec<_> = records.iter().map(|record| &record["phase"]).collect();
            assert_eq!(phases, ["decision", "outcome"], "{path}");
            assert!(records.iter().all(|record| record["action"] == action), "{records:?}");
            assert_eq!(records[0]["auth"]["decision"], "deny");
            assert_eq!(records[0]["principal"]["name"], "nobody");
            let target = json!({ "k": "status", "v": "disabled" });
            let named = records[0]["params"].as_array().is_some_and(|all| all.contains(&target));
            assert_eq!(named, !query.is_empty(), "the decision names its target");
            assert_eq!(records[1]["result"]["code"], 403);
        }
    }
    house.close();
}

#[tokio::test]
async fn users_come_and_go() {
    let house = House::new().await;
    house.sealed(Method::PUT, "add-user?accessKey=alice", new_user()).await.unwrap();
    let users = house.sealed(Method::GET, "list-users", Value::Null).await.unwrap();
    assert_eq!(users["alice"]["status"], "enabled");
    assert!(users["alice"].get("secretKey").is_none());
    house
        .root(Method::PUT, "set-user-status?accessKey=alice&status=disabled", Value::Null)
        .await
        .unwrap();
    let alice = house.root(Method::GET, "user-info?accessKey=alice", Value::Null).await.unwrap();
    assert_eq!(alice["status"], "disabled");
    house.root(Method::DELETE, "remove-user?accessKey=alice", Value::Null).await.unwrap();
    let gone = house.root(Method::GET, "user-info?accessKey=alice", Value::Null).await;
    assert_eq!(code(gone), (404, "XMinioAdminNoSuchUser".into()));

    let outcomes: Vec<_> =
        house.records().into_iter().filter(|record| record["phase"] == "outcome").collect();
    let params = outcomes[0]["params"].as_array().unwrap();
    assert!(params.contains(&json!({ "k": "accessKey", "v": "alice" })), "{params:?}");
    assert!(params.contains(&json!({ "k": "operation", "v": "add-user" })), "{params:?}");
    assert!(!format!("{:?}", house.records()).contains("alice-secret"));
    house.close();
}

/// What is exported is what decides, and no secret is in it.
#[tokio::test]
async fn a_world_is_exported_without_secrets() {
    let house = House::new().await;
    house.sealed(Method::PUT, "add-user?accessKey=alice", new_user()).await.unwrap();
    let document = "{\"Version\":\"2012-10-17\",  \"Statement\":[]}";
    house.context.iam.put_policy("empty", document, 1).await.unwrap();
    let user = crate::iam::Entity::User("alice".into());
    let names = ["empty".to_owned(), "readonly".to_owned()];
    house.context.iam.attach(&names, &user, 1).await.unwrap();
    let bucket = policy_lab::Policy::parse(document, policy_lab::DocumentKind::Bucket).unwrap();
    let attached = policy_lab::Attached { name: "b".into(), policy: Arc::new(bucket) };
    house.context.gate.set_bucket_policy("b", Some(attached));

    let world = house.root(Method::GET, "export-world", Value::Null).await.unwrap();
    assert!(!world.to_string().contains("alice-secret"));
    assert_eq!(world["policies"]["empty"], document);
    let export = policy_lab::replay::Export::parse(&world.to_string()).unwrap();
    let alice = house.context.iam.snapshot().credential("alice").unwrap().principal;
    let set = export.policies(&alice, Some("b"));
    let named: Vec<_> = set.identity.iter().chain(&set.bucket).map(|a| &*a.name).collect();
    assert_eq!(named, ["empty", "readonly", "b"]);
    house.close();
}

#[tokio::test]
async fn bad_users_are_refused_with_the_codes_that_clients_know() {
    let house = House::new().await;
    let short = json!({ "secretKey": "short" });
    let root = house.sealed(Method::PUT, "add-user?accessKey=operator", new_user()).await;
    assert_eq!(code(root), (403, "XMinioInvalidIAMCredentials".into()));
    let short = house.sealed(Method::PUT, "add-user?accessKey=alice", short).await;
    assert_eq!(code(short), (400, "XMinioAdminInvalidSecretKey".into()));
    let blank = house.sealed(Method::PUT, "add-user?accessKey=alice+", new_user()).await;
    assert_eq!(code(blank), (400, "XMinioInvalidResource".into()));
    let unnamed = house.sealed(Method::PUT, "add-user", new_user()).await;
    assert_eq!(code(unnamed), (400, "XMinioAdminInvalidArgument".into()));
    let open = house.root(Method::PUT, "add-user?accessKey=alice", new_user()).await;
    assert_eq!(code(open), (400, "XMinioAdminConfigBadJSON".into()));
    house.close();
}

#[tokio::test]
async fn groups_collect_users() {
    let house = House::new().await;
    house.sealed(Method::PUT, "add-user?accessKey=alice", new_user()).await.unwrap();
    let member = |remove: bool, members: Value| json!({ "group": "g", "members": members, "groupStatus": "", "isRemove": remove });
    house.root(Method::PUT, "update-group-members", member(false, json!(["alice"]))).await.unwrap();
    let group = house.root(Method::GET, "group?group=g", Value::Null).await.unwrap();
    assert_eq!((&group["status"], &group["members"]), (&json!("enabled"), &json!(["alice"])));
    assert_eq!(house.root(Method::GET, "groups", Value::Null).await.unwrap(), json!(["g"]));
    house.root(Method::PUT, "set-group-status?group=g&status=disabled", Value::Null).await.unwrap();
    let full = house.root(Method::PUT, "update-group-members", member(true, Value::Null)).await;
    assert_eq!(code(full), (400, "XMinioAdminGroupNotEmpty".into()));
    house.root(Method::PUT, "update-group-members", member(true, json!(["alice"]))).await.unwrap();
    house.root(Method::PUT, "update-group-members", member(true, json!([]))).await.unwrap();
    let gone = house.root(Method::GET, "group?group=g", Value::Null).await;
    assert_eq!(code(gone), (404, "XMinioAdminNoSuchGroup".into()));
    house.close();
}

#[tokio::test]
async fn policies_are_written_attached_and_in_force() {
    let house = House::with_nobody().await;
    let document = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": ["admin:ListUsers"] } ] });
    house.root(Method::PUT, "add-canned-policy?name=lister", document.clone()).await.unwrap();
    let info =
        house.root(Method::GET, "info-canned-policy?name=lister&v=2", Value::Null).await.unwrap();
    assert_eq!((&info["PolicyName"], &info["Policy"]), (&json!("lister"), &document));
    let plain =
        house.root(Method::GET, "info-canned-policy?name=lister", Value::Null).await.unwrap();
    assert_eq!(plain, document);
    let all = house.root(Method::GET, "list-canned-policies", Value::Null).await.unwrap();
    assert_eq!(all.as_object().unwrap().len(), 8);

    let lister = json!({ "policies": ["lister"], "user": "nobody" });
    let denied = house.call("nobody", Method::GET, "list-users", Vec::new()).await;
    assert_eq!(code(denied), (403, "AccessDenied".into()));
    let attach = "idp/builtin/policy/attach";
    let applied = house.sealed(Method::POST, attach, lister.clone()).await.unwrap();
    assert_eq!(applied["policiesAttached"], json!(["lister"]));
    house.call("nobody", Method::GET, "list-users", Vec::new()).await.unwrap();
    let again = house.sealed(Method::POST, attach, lister.clone()).await;
    assert_eq!(code(again), (400, "XMinioAdminPolicyChangeAlreadyApplied".into()));
    let in_use = house.root(Method::DELETE, "remove-canned-policy?name=lister", Value::Null).await;
    assert_eq!(code(in_use), (400, "XMinioIAMPolicyInUse".into()));

    let entities = "idp/builtin/policy-entities";
    let of_nobody = format!("{entities}?user=nobody&policy=lister");
    let shown = house.sealed(Method::GET, &of_nobody, Value::Null).await.unwrap();
    assert_eq!(shown["userMappings"], json!([{ "user": "nobody", "policies": ["lister"] }]));
    assert_eq!(
        shown["policyMappings"],
        json!([{ "policy": "lister", "users": ["nobody"], "groups": [] }])
    );
    let everything = house.sealed(Method::GET, &format!("{entities}?"), Value::Null).await.unwrap();
    assert_eq!(everything["policyMappings"].as_array().unwrap().len(), 8);

    let set =
        "set-user-or-group-policy?policyName=readonly,writeonly&userOrGroup=nobody&isGroup=false";
    house.root(Method::PUT, set, Value::Null).await.unwrap();
    let denied = house.call("nobody", Method::GET, "list-users", Vec::new()).await;
    assert_eq!(code(denied), (403, "AccessDenied".into()));
    let gone = house.sealed(Method::POST, "idp/builtin/policy/detach", lister).await;
    assert_eq!(code(gone), (400, "XMinioAdminPolicyChangeAlreadyApplied".into()));
    house.root(Method::DELETE, "remove-canned-policy?name=lister", Value::Null).await.unwrap();
    house.root(Method::DELETE, "remove-canned-policy?name=lister", Value::Null).await.unwrap();
    house.close();
}

#[tokio::test]
async fn malformed_policies_are_refused_with_their_place() {
    let house = House::new().await;
    let add = "add-canned-policy?name=p";
    let root = |body: &str| house.call("operator", Method::PUT, add, body.as_bytes().to_vec());
    let error = root("{\n \"Version\": \"2012-10-17\",\n \"Statement\": 7 }").await.unwrap_err();
    assert_eq!(error.code, "XMinioMalformedIAMPolicy");
    assert!(error.message.contains("line 3"), "{}", error.message);
    let unversioned = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    assert_eq!(code(root(unversioned).await), (400, "XMinioMalformedIAMPolicy".into()));
    assert_eq!(code(root(&" ".repeat(20_481)).await), (400, "EntityTooLarge".into()));
    let comma = house.root(Method::PUT, "add-canned-policy?name=a,b", json!({})).await;
    assert_eq!(code(comma), (400, "PolicyInvalidName".into()));
    house.close();
}

#[tokio::test]
async fn server_information_indexes_its_own_drives() {
    let house = House::new().await;
    let info = house.root(Method::GET, "info?metrics=false", Value::Null).await.unwrap();
    assert_eq!(info["mode"], "online");
    let drives = info["servers"][0]["drives"].as_array().unwrap();
    assert_eq!(info["backend"]["totalDrivesPerSet"], json!([drives.len()]));
    assert_eq!((&drives[0]["state"], &drives[0]["pool_index"]), (&json!("ok"), &json!(0)));
    house.close();
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_recorded() {
    let house = House::new().await;
    let unknown = house.root(Method::GET, "speedtest", Value::Null).await;
    assert_eq!(code(unknown), (501, "NotImplemented".into()));
    let method = house.root(Method::POST, "list-users", Value::Null).await;
    assert_eq!(code(method), (405, "MethodNotAllowed".into()));
    for other in [
        Signed { scheme: Scheme::Presigned, ..signed("operator") },
        Signed { payload: PayloadKind::Unsigned, ..signed("operator") },
    ] {
        let answer = house.signed(other, Method::GET, "list-users", Vec::new()).await;
        assert_eq!(code(answer), (403, "AccessDenied".into()));
    }
    let records = house.records();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record["action"] == UNRESOLVED));
    house.close();
}

#[test]
fn errors_are_json_that_go_clients_read() {
    let json = AdminError::access_denied().to_json("/minio/admin/v3/info", "ID", "HOST");
    assert_eq!(
        serde_json::from_slice::<Value>(&json).unwrap(),
        json!({ "Code": "AccessDenied", "Message": "Access Denied.",
            "Resource": "/minio/admin/v3/info", "RequestId": "ID", "HostId": "HOST" })
    );
}
