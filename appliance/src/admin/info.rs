//! `GET info`: what `mc admin info` draws. Missing numbers are said to be missing, not shown as zero.

use http::Method;
use serde_json::{Value, json};
use storage::DriveHealth;

use super::AdminError;
use super::operation::{Answer, Call, Operation, Sealed};
use crate::authz::{Effect, Permit};

/// Objects are not counted: it would read every row of every bucket.
const NOT_COUNTED: &str = "not counted";

/// `GET info`.
#[derive(Debug)]
pub(super) struct ServerInfo;

impl Operation for ServerInfo {
    const NAME: &'static str = "info";
    const METHOD: Method = Method::GET;
    const ACTION: &'static str = "admin:ServerInfo";
    const EFFECT: Effect = Effect::Read;
    const SEALED: Sealed = Sealed::Neither;

    async fn run(permit: Permit<Self>, call: Call) -> Result<Answer, AdminError> {
        let store = permit.store();
        let health = store.health();
        let buckets = store.buckets().await?.len();
        let online = health.drives.iter().filter(|drive| drive.online).count();
        let drives: Vec<Value> = health.drives.iter().enumerate().map(described).collect();
        let not_counted = json!({ "count": 0, "error": NOT_COUNTED });
        let endpoint = call.scope.connection.local.to_string();
        let scheme = if call.scope.connection.tls.is_some() { "https" } else { "http" };
        // The clients index `totalDrivesPerSet` by each drive's pool: one pool of one set.
        Answer::json(&json!({
            "mode": "online",
            "region": "",
            "buckets": { "count": buckets },
            "objects": not_counted,
            "versions": not_counted,
            "deletemarkers": not_counted,
            "usage": { "size": 0, "error": NOT_COUNTED },
            "services": { "kms": {}, "ldap": {} },
            "backend": {
                "backendType": "Erasure",
                "onlineDisks": online,
                "offlineDisks": health.drives.len() - online,
                "standardSCParity": health.parity,
                "totalSets": [1],
                "totalDrivesPerSet": [health.drives.len()],
            },
            "servers": [{
                "state": "online",
                "endpoint": endpoint,
                "scheme": scheme,
                "uptime": call.context.started.elapsed().as_secs(),
                "version": env!("CARGO_PKG_VERSION"),
                "network": { endpoint.as_str(): "online" },
                "drives": drives,
                "poolNumber": 1,
                "poolNumbers": [1],
                "mem_stats": {},
            }],
        }))
    }
}

fn described((index, drive): (usize, &DriveHealth)) -> Value {
    let state = match (drive.online, drive.stale) {
        (false, _) => "offline",
        (true, true) => "healing",
        (true, false) => "ok",
    };
    let space = rustix::fs::statvfs(&drive.path).ok();
    let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        space.as_ref().map_or(0, |space| blocks(space).saturating_mul(space.f_frsize))
    };
    let (total, available) = (bytes(|space| space.f_blocks), bytes(|space| space.f_bavail));
    json!({
        "endpoint": drive.path.display().to_string(),
        "path": drive.path.display().to_string(),
        "state": state,
        "totalspace": total,
        "availspace": available,
        "usedspace": total.saturating_sub(available),
        "pool_index": 0,
        "set_index": 0,
        "disk_index": index,
    })
}
