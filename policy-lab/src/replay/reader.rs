//! Reads decision records one after the other into the same event, so that a record costs no allocation.
//!
//! A month of a busy server is a hundred million records of few people who do few things. So principals and actions are
//! looked up by their bytes, and of the condition keys only those are taken that somebody will ask for: the caller says
//! which, once the record has told what policies it was decided by.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;

use foldhash::fast::RandomState;

use super::canonical::{self, Canonical, Pairs, Touched};
use super::line::{Caller, Text, principal_of, time_us};
use super::{Complete, Recorded, RecordedDecision};
use crate::context::{Key, Wanted};
use crate::{Action, Context, Principal, Request, Resource};

/// Principals and actions kept at most; all are forgotten when there are more.
const KNOWN_MAX: usize = 65_536;

/// What a record is.
pub(super) enum Read {
    /// Not a decision of the policies.
    Other,
    /// A decision: [`Reader::event`] has it, without its condition keys.
    Decision { time_us: Option<i64> },
}

/// Ownership: everything here belongs to one thread.
pub(super) struct Reader {
    event: Recorded,
    pairs: Pairs,
    /// Lists that held condition keys of earlier records.
    spare: Vec<Vec<String>>,
    callers: Callers,
    actions: HashMap<Box<str>, Action, RandomState>,
    day: Day,
}

impl Reader {
    pub(super) fn new() -> Self {
        let request = Request {
            action: Action::placeholder(),
            resource: Resource::Any,
            principal: Principal::anonymous(""),
            context: Context::new(),
        };
        let recorded = RecordedDecision {
            allowed: false,
            reason: Some(String::new()),
            digest: Some(String::new()),
        };
        Self {
            event: Recorded {
                id: String::new(),
                seq: None,
                request,
                recorded: Some(recorded),
                complete: Complete::everything(),
            },
            pairs: Pairs::default(),
            spare: Vec::new(),
            callers: Callers::default(),
            actions: HashMap::default(),
            day: Day::default(),
        }
    }

    /// The last decision that was read.
    pub(super) fn event(&self) -> &Recorded {
        &self.event
    }

    /// Reads the record that begins at a place of the text; answers what it is and where it ends. `None` for what is for
    /// [`super::audit_line()`] to read: not canonical, cut, or wrong.
    pub(super) fn read(&mut self, seq: u64, text: &str, at: usize) -> Option<(Read, usize)> {
        let (record, end) = canonical::read(text, at, &mut self.pairs)?;
        Some((self.take(seq, record)?, end))
    }

    fn take(&mut self, seq: u64, record: Canonical<'_>) -> Option<Read> {
        let digest = record.auth.as_ref().and_then(|auth| auth.digest.as_deref());
        let Some(digest) = digest.filter(|digest| !digest.is_empty()) else {
            return Some(Read::Other);
        };
        if record.phase.as_deref() == Some("outcome") {
            return Some(Read::Other);
        }
        let recorded = self.event.recorded.get_or_insert_with(RecordedDecision::default);
        put(&mut recorded.digest, Some(digest));
        let auth = record.auth.as_ref()?;
        put(&mut recorded.reason, auth.reason.as_deref());
        recorded.allowed = auth.decision.as_deref() == Some("allow");
        let request = &mut self.event.request;
        self.callers.exchange(&mut request.principal, &record)?;
        request.action = action(&mut self.actions, record.action.as_deref().unwrap_or_default())?;
        resource(&mut request.resource, record.touched.unwrap_or_default());
        self.event.id.clear();
        match &record.event {
            Some(id) => self.event.id.push_str(id),
            None => self.event.id = format!("#{seq}"),
        }
        self.event.seq = Some(seq);
        let time_us = match record.time.as_deref() {
            None => None,
            Some(text) => match self.day.us(text) {
                Some(us) => Some(us),
                None => time_us(Some(text)).ok()?,
            },
        };
        Some(Read::Decision { time_us })
    }

    /// Gives the event the condition keys of the record that was read last, as far as somebody wants them.
    pub(super) fn take_keys<'a, W>(&mut self, text: &str, wanted: &dyn Fn() -> W)
    where
        W: Iterator<Item = &'a Wanted>,
    {
        let context = &mut self.event.request.context;
        self.spare.extend(context.drain());
        for pair in &self.pairs.found {
            let name = pair.key(text);
            let key = match pair.row {
                Some(row) => Key::Known(row),
                None if wanted().any(Wanted::has_others) => Key::new(name),
                None => continue,
            };
            if wanted().any(|wanted| wanted.has(&key)) {
                let mut values = self.spare.pop().unwrap_or_default();
                refill(&mut values, pair.values(text));
                context.put(key, name, values);
            }
        }
    }
}

/// Replaces the texts in a list, in the memory that they have.
fn refill<'a>(list: &mut Vec<String>, texts: impl Iterator<Item = Cow<'a, str>>) {
    let mut count = 0;
    for text in texts {
        match list.get_mut(count) {
            Some(there) => {
                there.clear();
                there.push_str(&text);
            }
            None => list.push(text.into_owned()),
        }
        count += 1;
    }
    list.truncate(count);
}

fn put(member: &mut Option<String>, text: Option<&str>) {
    match text {
        None => *member = None,
        Some(text) => {
            let member = member.get_or_insert_with(String::new);
            member.clear();
            member.push_str(text);
        }
    }
}

fn action(known: &mut HashMap<Box<str>, Action, RandomState>, text: &str) -> Option<Action> {
    if let Some(action) = known.get(text) {
        return Some(action.clone());
    }
    let action = Action::parse(text).ok()?;
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(text.into(), action.clone());
    Some(action)
}

/// As the other reader makes it, in the memory of the resource before.
fn resource(resource: &mut Resource, touched: Touched<'_>) {
    let Some(name) = touched.bucket.as_deref().filter(|bucket| !bucket.is_empty()) else {
        *resource = Resource::Any;
        return;
    };
    match (resource, touched.key) {
        (Resource::Object { bucket, key }, Some(text)) => {
            bucket.clear();
            bucket.push_str(name);
            key.clear();
            key.push_str(&text);
        }
        (resource, Some(text)) => {
            *resource = Resource::Object { bucket: name.to_owned(), key: text.into_owned() };
        }
        (resource, None) => *resource = Resource::Bucket(name.to_owned()),
    }
}

/// Principals by the bytes that describe them.
#[derive(Default)]
struct Callers {
    positions: HashMap<Box<[u8]>, usize, RandomState>,
    principals: Vec<Principal>,
    /// Whose place in `principals` is empty, because an event has it.
    lent: Option<usize>,
    /// The bytes of the record at hand.
    described: Vec<u8>,
}

impl Callers {
    /// Takes back the principal of the event before, and gives the one of this record.
    fn exchange(&mut self, principal: &mut Principal, record: &Canonical<'_>) -> Option<()> {
        let caller = record.principal.unwrap_or_default();
        self.described.clear();
        let members =
            [caller.account, caller.arn, caller.groups, caller.name, caller.parent, caller.kind];
        for member in members {
            // Control characters are in no record.
            self.described.push(if member.is_some() { 1 } else { 0 });
            self.described.extend_from_slice(member.unwrap_or_default().as_bytes());
        }
        let found = self.positions.get(self.described.as_slice()).copied();
        if found.is_some() && found == self.lent {
            return Some(());
        }
        if let Some(lent) = self.lent.take().and_then(|lent| self.principals.get_mut(lent)) {
            mem::swap(lent, principal);
        }
        let position = match found {
            Some(position) => position,
            None => self.add(&caller)?,
        };
        mem::swap(self.principals.get_mut(position)?, principal);
        self.lent = Some(position);
        Some(())
    }

    fn add(&mut self, caller: &canonical::Caller<'_>) -> Option<usize> {
        let text = |written: Option<&str>| match written {
            None => Some(None),
            Some(written) => {
                let text = canonical::unescaped(written)?.into_owned();
                Some(Some(Text(Cow::Owned(text))))
            }
        };
        let groups = |written| canonical::elements(written).map(Cow::into_owned).collect();
        let principal = principal_of(Caller {
            account: text(caller.account)?,
            arn: text(caller.arn)?,
            groups: caller.groups.map(groups),
            name: text(caller.name)?,
            parent: text(caller.parent)?,
            kind: text(caller.kind)?,
        });
        let principal = principal.ok()?;
        if self.principals.len() >= KNOWN_MAX {
            self.positions.clear();
            self.principals.clear();
        }
        self.positions.insert(self.described.as_slice().into(), self.principals.len());
        self.principals.push(principal);
        Some(self.principals.len() - 1)
    }
}

/// The day that was read last: times of one log are mostly of one day.
#[derive(Default)]
struct Day {
    /// `YYYY-MM-DD`
    text: [u8; 10],
    /// Its beginning.
    us: Option<i64>,
}

impl Day {
    /// Microseconds since 1970 of `YYYY-MM-DDTHH:MM:SS.ffffffZ`; `None` for a time in another form.
    fn us(&mut self, text: &str) -> Option<i64> {
        let (day, rest) = text.as_bytes().split_first_chunk::<10>()?;
        if *day != self.text {
            let begin = format!("{}T00:00:00Z", text.get(..10)?);
            self.us = begin.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
            self.text = *day;
        }
        let [b'T', h, hh, b':', m, mm, b':', s, ss, b'.', f @ .., b'Z'] = rest else { return None };
        let two = |tens: &u8, ones: &u8| number(&[*tens, *ones]);
        let (hour, minute, second) = (two(h, hh)?, two(m, mm)?, two(s, ss)?);
        if hour > 23 || minute > 59 || second > 59 || f.len() != 6 {
            return None;
        }
        Some(self.us? + ((hour * 60 + minute) * 60 + second) * 1_000_000 + number(f)?)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}
