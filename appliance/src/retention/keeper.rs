//! What the calls do: read the book, ask the limits, write the record, and prune.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audit::{Class, Log, PrunePlan, Pruned, Record, Watch, tail};
use serde::Serialize;

use super::RetentionError;
use super::book::{Book, Proposal};
use super::hold::{Hold, Subject};
use super::identity::Who;
use super::limits::{Limit, Possible, possible};
use crate::courier::LOOK;
use crate::scope::Scope;
use crate::siem::Deliveries;
use crate::{archive, cloudtrail};

/// How long a proposal may wait for somebody else: a long weekend.
const PROPOSAL_VALID: Duration = Duration::from_secs(5 * 24 * 3600);
/// Longest reason; a record has room for it.
const REASON_BYTES_MAX: usize = 512;

/// What retention needs of the server.
#[derive(Clone, Debug)]
pub struct House {
    pub log: Arc<Log>,
    pub origin: String,
    /// The log's directory.
    pub dir: PathBuf,
    /// How long records stay; for ever without it.
    pub retention: Option<Duration>,
    pub siem: Arc<Deliveries>,
    /// Where the archive remembers how far it is, if there is one.
    pub archive_dir: Option<PathBuf>,
    /// Where the CloudTrail export remembers how far it is, if there is one.
    pub cloudtrail_dir: Option<PathBuf>,
}

/// Keeps records, and lets them go.
///
/// Ownership: the app has one. `turn` is held by whoever changes anything, so that a hold and a prune cannot pass each
/// other; `reading` is held while a few megabytes of the log are read on. The first book after a start takes the whole log,
/// so it is read before a turn is taken.
#[derive(Debug)]
pub struct Keeper {
    house: House,
    turn: tokio::sync::Mutex<()>,
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    tail: audit::search::Tail,
    book: Book,
}

impl Reading {
    fn new(house: &House) -> Self {
        let detour = house.log.detour(&house.dir);
        Self { tail: tail(&house.dir, None).with_detour(Some(detour)), book: Book::default() }
    }
}

/// What may be known about retention.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whole seconds; absent where records stay for ever.
    pub retention_seconds: Option<u64>,
    pub first: u64,
    pub size: u64,
    /// Who pruned what came before `first`.
    pub pruned: Option<String>,
    pub holds: Vec<Hold>,
    pub proposal: Option<Proposed>,
}

/// A proposal as its readers see it.
#[derive(Clone, Debug, Serialize)]
pub struct Proposed {
    pub id: String,
    pub digest: String,
    pub by: String,
    pub time: String,
    pub reason: String,
    pub first: u64,
    pub end: u64,
    pub records: u64,
    pub bytes: u64,
    pub days: u64,
    pub from_day: String,
    pub to_day: String,
    /// As the log writes times.
    pub expires: String,
    pub expired: bool,
    /// What keeps more from going.
    pub because: Vec<String>,
}

impl Proposed {
    fn of(proposal: &Proposal, now_us: u64) -> Self {
        Self {
            id: proposal.id.clone(),
            digest: proposal.digest.clone(),
            by: proposal.by.shown().to_owned(),
            time: proposal.time.clone(),
            reason: proposal.reason.clone(),
            first: proposal.first,
            end: proposal.end,
            records: proposal.end.saturating_sub(proposal.first),
            bytes: proposal.bytes,
            days: proposal.days,
            from_day: proposal.from_day.clone(),
            to_day: proposal.to_day.clone(),
            expires: audit::stamp::string(proposal.expires_us),
            expired: now_us > proposal.expires_us,
            because: Vec::new(),
        }
    }
}

impl Keeper {
    #[must_use]
    pub fn new(house: House) -> Self {
        let reading = Mutex::new(Reading::new(&house));
        Self { house, turn: tokio::sync::Mutex::default(), reading }
    }

    /// How things stand.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn status(self: &Arc<Self>, now_us: u64) -> Result<Status, RetentionError> {
        let book = self.book().await?;
        let pruned = audit::pruned(&self.house.dir).map_err(|e| position("pruned", e.into()))?;
        Ok(Status {
            retention_seconds: self.house.retention.map(|retention| retention.as_secs()),
            first: pruned.map_or(0, |pruned| pruned.end),
            size: self.house.log.durable_size(),
            pruned: pruned.map(|pruned| pruned.to_string()),
            holds: book.holds().values().cloned().collect(),
            proposal: book.proposal().map(|proposal| Proposed::of(proposal, now_us)),
        })
    }

    /// Places a hold; returns its name.
    ///
    /// # Errors
    /// The reason is missing, or the log does not take the record.
    pub async fn hold(
        &self,
        scope: &Scope,
        subject: &Subject,
        reason: &str,
    ) -> Result<String, RetentionError> {
        let _turn = self.turn.lock().await;
        let mut record = scope.record(Class::Audit, "audit:hold");
        record.params = subject.params();
        record.params.insert("reason".into(), checked(reason)?);
        let id = record.event.to_string();
        write(scope, record).await?;
        Ok(id)
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// There is none of this name, the reason is missing, or the log does not take the record.
    pub async fn release(
        self: &Arc<Self>,
        scope: &Scope,
        id: &str,
        reason: &str,
    ) -> Result<(), RetentionError> {
        let _turn = self.turn().await?;
        if !self.book().await?.holds().contains_key(id) {
            return Err(RetentionError::NoHold(id.to_owned()));
        }
        let mut record = scope.record(Class::Audit, "audit:release");
        record.params.insert("hold".into(), id.to_owned());
        record.params.insert("reason".into(), checked(reason)?);
        write(scope, record).await
    }

    /// Proposes to prune as much as retention, readers and holds allow.
    ///
    /// # Errors
    /// There is nothing, with what keeps it; or the log cannot be read or written.
    pub async fn propose(
        self: &Arc<Self>,
        scope: &Scope,
        reason: &str,
    ) -> Result<Proposed, RetentionError> {
        let reason = checked(reason)?;
        let _turn = self.turn().await?;
        let book = self.book().await?;
        let Possible { plan, because } = self.possible(scope.now_us(), &book, u64::MAX).await?;
        let plan = plan.ok_or_else(|| RetentionError::Nothing(said(&because)))?;
        let expires_us = scope.now_us() + duration_us(PROPOSAL_VALID);
        let mut record = scope.record(Class::Audit, "audit:prune-propose");
        record.params = proposal_params(&plan, &self.house.origin, &reason, expires_us);
        let id = record.event.to_string();
        write(scope, record).await?;
        let book = self.book().await?;
        let proposal = book.proposal().filter(|proposal| proposal.id == id);
        let proposal = proposal.ok_or_else(|| RetentionError::NoProposal(id.clone()))?;
        Ok(Proposed { because, ..Proposed::of(proposal, scope.now_us()) })
    }

    /// Ends a proposal without a prune.
    ///
    /// # Errors
    /// There is none of this name, or the log does not take the record.
    pub async fn refuse(
        self: &Arc<Self>,
        scope: &Scope,
        id: &str,
        reason: &str,
    ) -> Result<(), RetentionError> {
        let _turn = self.turn().await?;
        let proposal = self.open_proposal(id).await?.1;
        let mut record = scope.record(Class::Audit, "audit:prune-refuse");
        record.params.insert("proposal".into(), proposal.id);
        record.params.insert("digest".into(), proposal.digest);
        record.params.insert("reason".into(), checked(reason)?);
        write(scope, record).await
    }

    /// Prunes what somebody else proposed, if it is exactly that still.
    ///
    /// # Errors
    /// See [`RetentionError`]; nothing was pruned, unless it is of kind [`RetentionError::Prune`].
    pub async fn confirm(
        self: &Arc<Self>,
        scope: &Scope,
        id: &str,
        digest: &str,
    ) -> Result<Pruned, RetentionError> {
        let _turn = self.turn().await?;
        let (book, proposal) = self.open_proposal(id).await?;
        if scope.now_us() > proposal.expires_us {
            return Err(RetentionError::Expired);
        }
        if proposal.digest != digest {
            return Err(RetentionError::Digest);
        }
        let who = scope.actor().map(|actor| Who::of(&actor.principal)).unwrap_or_default();
        if who.may_be(&proposal.by) {
            return Err(RetentionError::SamePerson(proposal.by.shown().to_owned()));
        }
        let Possible { plan, because } = self.possible(scope.now_us(), &book, proposal.end).await?;
        let plan = plan
            .filter(|plan| plan.digest(&self.house.origin).as_str() == digest)
            .ok_or_else(|| RetentionError::Changed(said(&because)))?;
        self.carry_on(scope, &book, plan.end).await?;
        let mut record = scope.record(Class::Audit, "audit:prune");
        record.params = [
            ("proposal", proposal.id),
            ("digest", digest.to_owned()),
            ("proposed_by", proposal.by.shown().to_owned()),
            ("confirmed_by", who.shown().to_owned()),
            ("reason", proposal.reason),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        self.prune(plan, record).await
    }

    /// Records every hold again whose record would be pruned.
    async fn carry_on(&self, scope: &Scope, book: &Book, end: u64) -> Result<(), RetentionError> {
        for hold in book.holds().values().filter(|hold| hold.seq < end) {
            let mut record = scope.record(Class::Audit, "audit:hold");
            record.params = hold.subject.params();
            let again = [
                ("hold", &hold.id),
                ("reason", &hold.reason),
                ("by", &hold.by),
                ("placed", &hold.since),
            ];
            record.params.extend(again.map(|(name, value)| (name.to_owned(), value.clone())));
            write(scope, record).await?;
        }
        Ok(())
    }

    async fn prune(&self, plan: PrunePlan, record: Record) -> Result<Pruned, RetentionError> {
        let (log, dir) = (Arc::clone(&self.house.log), self.house.dir.clone());
        let pruned = tokio::task::spawn_blocking(move || {
            let pruned = log.prune(&plan, record)?;
            for day in &plan.days {
                // The records are gone; what is left of their index goes at the next start.
                if let Err(error) = audit::index::remove_day(&dir, day) {
                    tracing::error!(%error, day, "the index of a pruned day is still there");
                }
            }
            Ok::<_, audit::PruneError>(pruned)
        });
        Ok(pruned.await.map_err(|_| RetentionError::Task)??)
    }

    async fn open_proposal(self: &Arc<Self>, id: &str) -> Result<(Book, Proposal), RetentionError> {
        let book = self.book().await?;
        let open = book.proposal().filter(|proposal| proposal.id == id).cloned();
        let open = open.ok_or_else(|| RetentionError::NoProposal(id.to_owned()))?;
        Ok((book, open))
    }

    async fn possible(
        &self,
        now_us: u64,
        book: &Book,
        end: u64,
    ) -> Result<Possible, RetentionError> {
        let retention = self.house.retention.ok_or(RetentionError::Unlimited)?;
        let before_us = now_us.saturating_sub(duration_us(retention));
        let mut limits = self.readers()?;
        let why = format!("nothing more was proposed than records before {end}");
        limits.extend((end < u64::MAX).then_some(Limit { below: end, why }));
        let (dir, book) = (self.house.dir.clone(), book.clone());
        let found =
            tokio::task::spawn_blocking(move || possible(&dir, before_us, limits, &book)).await;
        found.map_err(|_| RetentionError::Task)?
    }

    /// Who has to have read records before they go.
    fn readers(&self) -> Result<Vec<Limit>, RetentionError> {
        let siem = self.house.siem.status().into_iter().map(|status| Limit {
            below: status.next,
            why: format!("the SIEM destination {} is at record {}", status.name, status.next),
        });
        let mut limits: Vec<Limit> = siem.collect();
        if let Some(dir) = &self.house.archive_dir {
            let below = archive::next_record(dir, &self.house.origin)
                .map_err(|source| position("the archive's cursor", source))?;
            limits.push(Limit { below, why: format!("the archive is at record {below}") });
        }
        if let Some(dir) = &self.house.cloudtrail_dir {
            let next = cloudtrail::next_record(dir, &self.house.origin)
                .map_err(|source| position("the CloudTrail cursor", source))?;
            // An export that has not begun yet begins with the newest record.
            limits.extend(next.map(|below| {
                let why = format!("the CloudTrail export is at record {below}");
                Limit { below, why }
            }));
        }
        Ok(limits)
    }

    /// A turn, with the book read so far that little is left to read in it. A hold needs no book and waits for nobody who
    /// reads one.
    async fn turn(self: &Arc<Self>) -> Result<tokio::sync::MutexGuard<'_, ()>, RetentionError> {
        self.book().await?;
        Ok(self.turn.lock().await)
    }

    /// What the log says now.
    async fn book(self: &Arc<Self>) -> Result<Book, RetentionError> {
        let keeper = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || keeper.read_on()).await;
        read.map_err(|_| RetentionError::Task)?
    }

    fn read_on(&self) -> Result<Book, RetentionError> {
        let watch = self.house.log.subscribe();
        let size = watch.size();
        loop {
            if let Some(book) = self.read_some(&watch, size)? {
                return Ok(book);
            }
        }
    }

    /// Reads a few megabytes, or waits a moment for them; the book, once it has the first `size` records.
    fn read_some(&self, watch: &Watch, size: u64) -> Result<Option<Book>, RetentionError> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let Reading { tail, book } = &mut *reading;
        if tail.position() >= size {
            return Ok(Some(book.clone()));
        }
        let rows = tail.follow(watch, LOOK)?;
        let taken = rows.iter().try_for_each(|row| book.take(row.seq, &row.leaf));
        if let Err(error) = taken {
            // A book that lacks something is none: the next look begins again, and fails again.
            *reading = Reading::new(&self.house);
            return Err(RetentionError::Record(error));
        }
        Ok(None)
    }
}

fn position(path: &str, source: anyhow::Error) -> RetentionError {
    RetentionError::Position { path: path.to_owned(), source }
}

fn said(because: &[String]) -> String {
    match because {
        [] => "no whole day is older than the retention".to_owned(),
        because => because.join("; "),
    }
}

/// A reason that a record has room for.
fn checked(reason: &str) -> Result<String, RetentionError> {
    let reason = reason.trim();
    match reason.len() {
        1..=REASON_BYTES_MAX if !reason.contains(char::is_control) => Ok(reason.to_owned()),
        _ => Err(RetentionError::Argument("A reason of 1 to 512 bytes is needed.".into())),
    }
}

/// Appends a record and waits until it is durable.
async fn write(scope: &Scope, record: Record) -> Result<(), RetentionError> {
    scope.append(vec![record]).await?;
    Ok(scope.settle().await?)
}

fn duration_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn proposal_params(
    plan: &PrunePlan,
    origin: &str,
    reason: &str,
    expires_us: u64,
) -> BTreeMap<String, String> {
    let day = |day: Option<&String>| day.cloned().unwrap_or_default();
    [
        ("digest", plan.digest(origin).to_string()),
        ("first", plan.first.to_string()),
        ("end", plan.end.to_string()),
        ("bytes", plan.bytes.to_string()),
        ("days", plan.days.len().to_string()),
        ("from_day", day(plan.days.first())),
        ("to_day", day(plan.days.last())),
        ("seals", plan.seals.0.to_string()),
        ("seal", hex::encode(plan.seal)),
        ("reason", reason.to_owned()),
        ("expires_us", expires_us.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests;
