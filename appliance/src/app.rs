//! The composition root: makes the parts of one server from a configuration and a deployment's material, and is the
//! service that its listeners call. Two of them fit in one process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use audit::{
    Acceptance, Class, Clock, Conflict, Files, Indexer, Lead, LocalFiles, Log, Mirrored, Recovery,
    Searcher, SystemClock, Tiles, Unfinished,
};
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use storage::{Store, StoreConfig};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::archive::{self, Archive};
use crate::authz::Gate;
use crate::bootstrap::Material;
use crate::config::{MetricsAccess, Resolved};
use crate::guardrails::{Looker, Rules};
use crate::iam::Iam;
use crate::memory::Memories;
use crate::recorder::Recorder;
use crate::retention::{self, Keeper};
use crate::s3::auth::{Policy as SignaturePolicy, Verifier};
use crate::s3::body::Limits as BodyLimits;
use crate::s3::error::Code;
use crate::s3::request::{bucket_in_host, host};
use crate::s3::route::Table;
use crate::s3::{answer, audited};
use crate::scope::Scope;
use crate::server::{Body, Connection, Service};
use crate::siem::{self, Deliveries};
use crate::telemetry::Metrics;
use crate::{admin, auditor, cloudtrail, declaration, guardrails, health, kms, s3};

/// One running server.
///
/// Ownership: made by [`App::start`], shared by the listeners' tasks, stopped once by [`App::stop`].
pub struct App {
    log: Arc<Log>,
    recorder: Arc<Recorder>,
    indexer: Mutex<Option<Indexer>>,
    store: Store,
    gate: Arc<Gate>,
    iam: Arc<Iam>,
    admin: admin::Context,
    siem: Arc<Deliveries>,
    auditor: auditor::Context,
    archive: Option<Archive>,
    cloudtrail: cloudtrail::Context,
    tiles: Arc<Tiles>,
    verifier: Verifier,
    operations: Table,
    guardrails: Mutex<Option<guardrails::Watch>>,
    metrics: Arc<Metrics>,
    metrics_access: MetricsAccess,
    admission: Semaphore,
    body_limits: BodyLimits,
    account: String,
    domains: Vec<String>,
    region: String,
    owner_id: String,
    host_id: String,
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("App").field("account", &self.account).finish_non_exhaustive()
    }
}

impl App {
    /// Opens drives, log, index, keys and identities, in the order in which they need each other.
    ///
    /// # Errors
    /// What could not be opened, with its path; nothing is left running.
    pub async fn start(resolved: &Resolved, mut material: Material) -> anyhow::Result<Arc<Self>> {
        let files = log_files(resolved, &mut material)?;
        Self::start_on(files, resolved, material).await
    }

    /// The same, with the log's files from outside: what behaves as a disk does when it fails.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_on(
        files: Arc<dyn Files>,
        resolved: &Resolved,
        material: Material,
    ) -> anyhow::Result<Arc<Self>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let memories = Memories::read(resolved, &material.origin)?;
        let (log, recovery) = open_log(files, &material, &clock, &memories, None)?;
        finish_gap(&recovery, &memories, &material)?;
        let log = Arc::new(log);
        let metrics = Arc::new(Metrics::new());
        let recorder = Arc::new(Recorder::new(
            Arc::clone(&log),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            resolved.audit_rules,
            resolved.audit_wait,
        ));
        record_rules(resolved, &recorder).await?;
        let store = open_store(resolved, &material)?;
        let keys = Arc::new(
            kms::Local::open(&material.paths.config_dir, &material.kms_root_key)
                .context("opening the key store")?,
        );
        if let Some(imported) = &resolved.kms_secret_key {
            keys.import(imported, clock.now_us()).context("importing the key of the operator")?;
        }
        let iam = Iam::load(store.clone(), material.root.clone(), &material.account)
            .await
            .context("loading users and policies")?;
        // One bad file stops the start: a guardrail that is not in force must not look as if it were.
        let rules = Rules::load(&resolved.guardrails_dir)?;
        let indexer =
            Indexer::start(&material.paths.audit_dir, &log).context("opening the audit index")?;
        let declared = resolved.declared.shown(&material.audit_seed);
        declaration::record(&log, &material.paths.audit_dir, &declared, clock.now_us())
            .context("recording the configuration")?;
        let gate = Arc::new(Gate::new(
            store.clone(),
            keys,
            Arc::clone(&iam),
            rules,
            Arc::clone(&recorder),
        ));
        attach_bucket_policies(&store, &gate).await?;
        let siem = Arc::new(start_siem(resolved, &material, &log, &clock, &metrics)?);
        let searcher = Arc::new(Searcher::of(&log, &material.paths.audit_dir));
        let tiles = Tiles::start(searcher.dir(), material.audit_vkey(), &log)
            .context("opening the log's tiles")?;
        let tiles = Arc::new(tiles);
        let auditor = auditor::Context::new(
            Arc::clone(&log),
            Arc::clone(&searcher),
            (Arc::clone(&gate), Arc::clone(&iam)),
            (Arc::clone(&tiles), resolved.audit_open),
        );
        let cloudtrail = cloudtrail::Context::start(
            resolved.cloudtrail.clone(),
            &cloudtrail::House {
                gate: Arc::clone(&gate),
                iam: Arc::clone(&iam),
                log: Arc::clone(&log),
                clock: Arc::clone(&clock),
                recorder: Arc::clone(&recorder),
                about: Arc::new(about(resolved, &material)),
                owner_id: owner_id(&material.account),
                searcher,
                state_dir: resolved.cloudtrail_dir(),
                keys_dir: material.paths.config_dir.join("keys"),
            },
        )?;
        let archive = resolved.archive.as_ref().map(|settings| {
            let house = archive::House {
                log: Arc::clone(&log),
                clock: Arc::clone(&clock),
                origin: material.origin.clone(),
                audit_dir: material.paths.audit_dir.clone(),
                state_dir: resolved.archive_dir(),
                certs_dir: material.paths.certs_dir.clone(),
            };
            Archive::start(settings, house).context("starting the archive")
        });
        let archive = archive.transpose()?;
        let keeper = Arc::new(Keeper::new(retention::House {
            log: Arc::clone(&log),
            origin: material.origin.clone(),
            dir: material.paths.audit_dir.clone(),
            retention: resolved.audit_retention,
            siem: Arc::clone(&siem),
            archive_dir: resolved.archive.as_ref().map(|_| resolved.archive_dir()),
            cloudtrail_dir: resolved.cloudtrail.as_ref().map(|_| resolved.cloudtrail_dir()),
        }));
        let looker = Looker::new(
            resolved.guardrails_dir.clone(),
            Arc::clone(&gate),
            Arc::clone(&log),
            Arc::clone(&clock),
            Arc::clone(&metrics),
        );
        let guardrails = guardrails::Watch::start(looker, guardrails::Watch::INTERVAL);
        let log_keys =
            admin::LogKeys { log: Arc::clone(&log), config_dir: material.paths.config_dir.clone() };
        Ok(Arc::new(Self {
            log,
            recorder,
            auditor,
            archive,
            cloudtrail,
            tiles,
            indexer: Mutex::new(Some(indexer)),
            admin: admin::Context::new(
                Arc::clone(&gate),
                Arc::clone(&iam),
                Arc::clone(&siem),
                keeper,
                log_keys,
            ),
            siem,
            gate,
            iam,
            verifier: Verifier::new(SignaturePolicy::s3(vec![resolved.region.clone()])),
            operations: Table::default(),
            guardrails: Mutex::new(Some(guardrails)),
            metrics,
            metrics_access: resolved.metrics,
            admission: Semaphore::new(resolved.limits.concurrent_requests),
            body_limits: BodyLimits { idle: resolved.limits.body_idle_timeout },
            domains: resolved.domains.clone(),
            region: resolved.region.clone(),
            owner_id: owner_id(&material.account),
            host_id: hex::encode(Sha256::digest(material.deployment_id.as_bytes())),
            account: material.account,
            store,
        }))
    }

    /// Closes the parts in reverse order. Requests must have been drained.
    ///
    /// # Errors
    /// The log could not write its last records.
    pub fn stop(&self) -> anyhow::Result<()> {
        if let Some(archive) = &self.archive {
            archive.stop();
        }
        self.cloudtrail.stop();
        self.siem.stop();
        drop(self.guardrails.lock().unwrap_or_else(PoisonError::into_inner).take());
        let indexer = self.indexer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(indexer) = indexer {
            indexer.stop();
        }
        self.tiles.stop();
        self.store.close();
        self.log.close().context("closing the audit log")
    }

    /// Opens the audit scope of a request.
    #[must_use]
    pub fn open_scope(&self, connection: Arc<Connection>, agent: Option<&str>) -> Scope {
        Scope::open(Arc::clone(&self.recorder), connection, agent)
    }

    #[must_use]
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    #[must_use]
    pub const fn iam(&self) -> &Arc<Iam> {
        &self.iam
    }

    #[must_use]
    pub const fn admin(&self) -> &admin::Context {
        &self.admin
    }

    #[must_use]
    pub const fn auditor(&self) -> &auditor::Context {
        &self.auditor
    }

    #[must_use]
    pub const fn cloudtrail(&self) -> &cloudtrail::Context {
        &self.cloudtrail
    }

    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    #[must_use]
    pub const fn operations(&self) -> &Table {
        &self.operations
    }

    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    #[must_use]
    pub const fn body_limits(&self) -> &BodyLimits {
        &self.body_limits
    }

    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Domains of virtual-host style.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    #[must_use]
    pub fn owner_id(&self) -> &str {
        &self.owner_id
    }

    #[must_use]
    pub const fn owner_name(&self) -> &'static str {
        "appliance"
    }

    #[must_use]
    pub fn host_id(&self) -> &str {
        &self.host_id
    }

    /// Whether the server can carry out requests now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.recorder.is_accepting() && self.store.health().write_ok
    }

    /// Whether new records are being indexed; searches scan what is not, so the server serves on without.
    #[must_use]
    pub fn is_indexing(&self) -> bool {
        let indexer = self.indexer.lock().unwrap_or_else(PoisonError::into_inner);
        indexer.as_ref().is_some_and(Indexer::is_running)
    }

    /// The metrics page, if it is open.
    #[must_use]
    pub fn metrics_page(&self) -> Option<String> {
        (self.metrics_access == MetricsAccess::Public).then(|| {
            let health = self.store.health();
            let online = health.drives.iter().filter(|drive| drive.online).count();
            self.metrics.drives(online, health.drives.len());
            self.metrics.audit_size(self.log.durable_size());
            self.metrics.audit_derived(self.is_indexing(), self.tiles.is_running());
            self.metrics.audit_copies(self.log.copies());
            self.recorder.is_accepting();
            self.metrics.encode()
        })
    }

    async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        // A host that names a bucket speaks of its objects, whatever they are called.
        let host = host(request.uri(), request.headers());
        let is_bucket = host.is_some_and(|host| bucket_in_host(host, &self.domains).is_some());
        if !is_bucket && let Some(response) = health::answer(&self, &request) {
            return response;
        }
        let _in_flight = self.metrics.request_started();
        let Ok(_admitted) = self.admission.try_acquire() else {
            return audited::refuse_unread(&self, connection, &request, &Code::SlowDown.into());
        };
        if is_bucket {
            return audited::serve(Arc::clone(&self), connection, request).await;
        }
        if admin::is_admin_path(request.uri().path()) {
            return admin::serve(Arc::clone(&self), connection, request).await;
        }
        if auditor::is_auditor_path(request.uri().path()) {
            return auditor::serve(Arc::clone(&self), connection, request).await;
        }
        if cloudtrail::is_cloudtrail_request(&request) {
            return cloudtrail::serve(Arc::clone(&self), connection, request).await;
        }
        audited::serve(Arc::clone(&self), connection, request).await
    }
}

impl Service for App {
    fn call(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Response<Body>> {
        async move {
            // A task of its own: an effect that has begun ends, with its outcome in the log, also when the client
            // has gone.
            match tokio::spawn(self.answer(connection, request).in_current_span()).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::error!(%error, "a request ended abnormally");
                    answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
                }
            }
        }
        .boxed()
    }
}

/// Where the log lies: one directory, or copies of it on several drives, of which one that is in use is read.
fn log_files(resolved: &Resolved, material: &mut Material) -> anyhow::Result<Arc<dyn Files>> {
    if resolved.audit_mirrors.is_empty() {
        return Ok(Arc::new(LocalFiles::new(&material.paths.audit_dir)));
    }
    let copies = std::iter::once(&material.paths.audit_dir).chain(&resolved.audit_mirrors);
    let copies: Vec<PathBuf> = copies.cloned().collect();
    let named = |dir: &PathBuf| -> (String, Arc<dyn Files>) {
        (dir.display().to_string(), Arc::new(LocalFiles::new(dir)))
    };
    let link = resolved.audit_readable();
    let lead = Lead::new(&link, &copies)
        .with_context(|| format!("linking a copy of the audit log at {}", link.display()))?;
    let mirrored = Mirrored::new(copies.iter().map(named).collect(), Some(lead))
        .context("starting the log's copies")?;
    material.paths.audit_dir = link;
    Ok(Arc::new(mirrored))
}

/// A gap that is in the log.
#[derive(Debug)]
pub struct AcceptedGap {
    /// `seq` of the record that says so.
    pub record: u64,
    /// The first record that may be lost.
    pub first: u64,
    /// Those who went back just now.
    pub conflicts: Vec<Conflict>,
}

/// Says in the log that others know more of it, if it is that what somebody was shown, and lets everybody go on with what
/// is there. Where that was interrupted before, the record is there already, and the rest is done.
///
/// # Errors
/// Nobody knows more, or something else than what `accepted` names; or the server is running. What is lost is lost, but
/// nothing was written then. If a cursor cannot be written, the record is there, and the same call goes on.
pub fn accept_gap(
    resolved: &Resolved,
    mut material: Material,
    accepted: Acceptance,
) -> anyhow::Result<AcceptedGap> {
    let files = log_files(resolved, &mut material)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let memories = Memories::read(resolved, &material.origin)?;
    let (log, recovery) = open_log(files, &material, &clock, &memories, Some(accepted))?;
    let mut accepted = match (&recovery.gap, &recovery.unfinished) {
        (Some(gap), _) => AcceptedGap {
            record: recovery.size,
            first: gap.first(),
            conflicts: gap.conflicts.clone(),
        },
        (None, Some(Unfinished { told, .. })) => {
            AcceptedGap { record: told.record, first: told.first, conflicts: Vec::new() }
        }
        (None, None) => anyhow::bail!("the log was opened without the gap"),
    };
    // ORDER: the record is durable before anybody is sent on. After a crash in between, the next start finishes it.
    memories.put_back(&accepted.conflicts, begin(&material)?)?;
    finish_gap(&recovery, &memories, &material)?;
    let unfinished = recovery.unfinished.map(|unfinished| unfinished.conflicts);
    accepted.conflicts.extend(unfinished.into_iter().flatten());
    log.close().context("closing the audit log")?;
    Ok(accepted)
}

/// Lets those go on of whom a record says what they lost: whoever accepted it was interrupted before that.
fn finish_gap(recovery: &Recovery, memories: &Memories, material: &Material) -> anyhow::Result<()> {
    let Some(Unfinished { told, conflicts }) = &recovery.unfinished else { return Ok(()) };
    memories.put_back(conflicts, begin(material)?)?;
    let names: Vec<_> = conflicts.iter().map(|conflict| conflict.name.as_str()).collect();
    let (record, names) = (told.record, names.join(", "));
    tracing::warn!(record, names, "readers of the audit log go on behind a gap that was accepted");
    Ok(())
}

/// The first record that the log has.
fn begin(material: &Material) -> anyhow::Result<u64> {
    Ok(audit::pruned(&material.paths.audit_dir)?.map_or(0, |pruned| pruned.end))
}

fn open_log(
    files: Arc<dyn Files>,
    material: &Material,
    clock: &Arc<dyn Clock>,
    memories: &Memories,
    accepted: Option<Acceptance>,
) -> anyhow::Result<(Log, Recovery)> {
    let options = audit::Options {
        origin: material.origin.clone(),
        node: "n1".into(),
        memories: memories.all(),
        accepted,
        ..audit::Options::default()
    };
    let (log, recovery) = Log::open(files, material.audit_signers(), Arc::clone(clock), options)
        .with_context(|| {
            format!("opening the audit log in {}", material.paths.audit_dir.display())
        })?;
    if recovery.discarded_bytes > 0 {
        tracing::warn!(
            bytes = recovery.discarded_bytes,
            "the audit log had an unacknowledged torn tail; it was moved to quarantine"
        );
    }
    Ok((log, recovery))
}

/// Each rule of the log that is not the default is a record before the first request.
async fn record_rules(resolved: &Resolved, recorder: &Recorder) -> anyhow::Result<()> {
    let departures = resolved.audit_rules.departures();
    if departures.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = departures
        .into_iter()
        .map(|(key, rule, usual)| {
            let mut record = recorder.record(Class::Audit, "audit:rule");
            let facts = [("key", key), ("value", rule.as_str()), ("default", usual.as_str())];
            record.params = facts.map(|(name, value)| (name.into(), value.into())).into();
            record
        })
        .collect();
    let pending = recorder.append(&records).await?;
    recorder.durable(pending).await.context("recording the log's rules")?;
    Ok(())
}

fn open_store(resolved: &Resolved, material: &Material) -> anyhow::Result<Store> {
    Store::open(StoreConfig {
        drives: resolved.drives.clone(),
        deployment: material.deployment_id.clone(),
        row_key: (*material.row_key).into(),
        parity: None,
    })
    .context("opening the drives")
}

fn start_siem(
    resolved: &Resolved,
    material: &Material,
    log: &Arc<Log>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Deliveries> {
    let house = siem::House {
        log: Arc::clone(log),
        clock: Arc::clone(clock),
        about: Arc::new(about(resolved, material)),
        audit_dir: material.paths.audit_dir.clone(),
        siem_dir: resolved.siem_dir(),
        certs_dir: material.paths.certs_dir.clone(),
        metrics: Arc::clone(metrics),
    };
    Deliveries::start(&resolved.siem, house).context("starting SIEM delivery")
}

/// What formats of other people say of this server.
fn about(resolved: &Resolved, material: &Material) -> siem::About {
    siem::About {
        origin: material.origin.clone(),
        account: material.account.clone(),
        region: resolved.region.clone(),
        deployment: material.deployment_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// The owner of buckets, in S3's form.
fn owner_id(account: &str) -> String {
    hex::encode(Sha256::digest(account.as_bytes()))
}

/// Puts the stored bucket policies in force.
async fn attach_bucket_policies(store: &Store, gate: &Gate) -> anyhow::Result<()> {
    use s3::ops::bucket_policy::{KIND, parse};
    for bucket in store.buckets().await? {
        if let Some(policy) = store.bucket_config(&bucket.name, KIND).await? {
            let attached = parse(bucket.name.as_str(), &policy)
                .with_context(|| format!("the stored policy of bucket {}", bucket.name.as_str()))?;
            gate.set_bucket_policy(bucket.name.as_str(), Some(attached));
        }
    }
    Ok(())
}

/// How long `stop` may take before the process ends anyway.
pub const STOP_WITHIN: Duration = Duration::from_secs(30);
