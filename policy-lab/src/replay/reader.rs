//! Reads decision records one after the other into the same event, so that a record costs no allocation.
//!
//! A month of a busy server is a hundred million records of few people who do few things. So principals and actions are
//! looked up by their bytes, and of the condition keys only those are taken that somebody will ask for: the caller says
//! which, once the record has told what policies it was decided by.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;

use foldhash::fast::RandomState;

use super::canonical::{Canonical, Shapes};
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
pub(crate) struct Reader {
    event: Recorded,
    shapes: Shapes,
    /// Lists that held condition keys of earlier records.
    spare: Vec<Vec<String>>,
    callers: Callers,
    actions: HashMap<Box<str>, Action, RandomState>,
    day: Day,
}

impl Reader {
    pub(crate) fn new() -> Self {
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
            shapes: Shapes::default(),
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
        let Self { event, shapes, callers, actions, day, .. } = self;
        let (record, end) = shapes.read(text, at)?;
        let digest = record.digest().filter(|digest| !digest.is_empty());
        let Some(digest) = digest.filter(|_| record.phase().as_deref() != Some("outcome")) else {
            return Some((Read::Other, end));
        };
        let recorded = event.recorded.get_or_insert_with(RecordedDecision::default);
        put(&mut recorded.digest, Some(&digest));
        put(&mut recorded.reason, record.reason().as_deref());
        recorded.allowed = record.decision().as_deref() == Some("allow");
        let request = &mut event.request;
        callers.exchange(&mut request.principal, &record)?;
        request.action = action(actions, record.action().as_deref().unwrap_or_default())?;
        resource(&mut request.resource, &record);
        event.id.clear();
        match record.event() {
            Some(id) => event.id.push_str(&id),
            None => event.id = format!("#{seq}"),
        }
        event.seq = Some(seq);
        let time_us = match record.time() {
            None => None,
            Some(time) => match day.us(&time) {
                Some(us) => Some(us),
                None => time_us(Some(&time)).ok()?,
            },
        };
        Some((Read::Decision { time_us }, end))
    }

    /// Whether this reader says of a line what [`super::audit_line()`] says; `None`: it leaves the line to that one.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn agrees(&mut self, line: &[u8]) -> Option<bool> {
        let mut everything = Wanted::default();
        everything.add_everything();
        let text = std::str::from_utf8(line).ok()?;
        let quick = match self.read(7, text, 0).filter(|(_, end)| *end == text.len())?.0 {
            Read::Other => Ok(None),
            Read::Decision { time_us } => {
                self.take_keys(text, &|| std::iter::once(&everything));
                Ok(Some(super::Event { time_us, recorded: self.event().clone() }))
            }
        };
        Some(quick == super::audit_line(7, line))
    }

    /// Gives the event the condition keys of the record that was read last, as far as somebody wants them.
    pub(super) fn take_keys<'a, W>(&mut self, text: &str, wanted: &dyn Fn() -> W)
    where
        W: Iterator<Item = &'a Wanted>,
    {
        let (context, spare) = (&mut self.event.request.context, &mut self.spare);
        spare.extend(context.drain());
        let Some(record) = self.shapes.last(text) else { return };
        for pair in record.pairs() {
            let key = match pair.row {
                Some(row) => Key::Known(row),
                None if wanted().any(Wanted::has_others) => Key::new(pair.name),
                None => continue,
            };
            if wanted().any(|wanted| wanted.has(&key)) {
                let mut values = spare.pop().unwrap_or_default();
                refill(&mut values, pair.values());
                context.put(key, pair.name, values);
            }
        }
        record.imply(|implied| {
            let wants = |row| wanted().any(|wanted| wanted.has_known(row));
            implied.complete(context, wants, || spare.pop().unwrap_or_default());
        });
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
fn resource(resource: &mut Resource, record: &Canonical<'_>) {
    let Some(name) = record.bucket().filter(|bucket| !bucket.is_empty()) else {
        *resource = Resource::Any;
        return;
    };
    match (resource, record.key()) {
        (Resource::Object { bucket, key }, Some(text)) => {
            bucket.clear();
            bucket.push_str(&name);
            key.clear();
            key.push_str(&text);
        }
        (resource, Some(text)) => {
            *resource = Resource::Object { bucket: name.into_owned(), key: text.into_owned() };
        }
        (resource, None) => *resource = Resource::Bucket(name.into_owned()),
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
        self.described.clear();
        record.describe_caller(&mut self.described);
        let found = self.positions.get(self.described.as_slice()).copied();
        if found.is_some() && found == self.lent {
            return Some(());
        }
        if let Some(lent) = self.lent.take().and_then(|lent| self.principals.get_mut(lent)) {
            mem::swap(lent, principal);
        }
        let position = match found {
            Some(position) => position,
            None => self.add(record)?,
        };
        mem::swap(self.principals.get_mut(position)?, principal);
        self.lent = Some(position);
        Some(())
    }

    fn add(&mut self, record: &Canonical<'_>) -> Option<usize> {
        let text = |text: Cow<'_, str>| Text(Cow::Owned(text.into_owned()));
        let [account, arn, name, parent, kind] = record.caller().map(|member| member.map(text));
        let groups = record.groups().map(|groups| groups.map(Cow::into_owned).collect());
        let principal =
            principal_of(Caller { account, arn, groups, name, parent, sig: None, kind });
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
