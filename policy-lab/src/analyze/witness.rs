//! From what is possible to one request: the plainest point of every dimension.

use fixedbitset::FixedBitSet;

use super::callers::Callers;
use super::domain::{Domain, ManyDomain, SlotDomain};
use super::key::Key;
use super::vocabulary::{Path, Space};
use crate::{Action, Context, Principal, PrincipalKind, Request, Resource};

/// The request; `None` when a value has no known text.
pub(super) fn request(space: &Space, domains: &[Domain], callers: &Callers) -> Option<Request> {
    let mut points = domains.iter().map(|domain| match domain {
        Domain::Points(points) => points.minimum(),
        Domain::Slot(_) => None,
    });
    let action = Action::parse(space.actions.name(points.next()??)?).ok()?;
    let principal = callers.get(points.next()??)?.clone();
    let resource = resource(space.paths.get(points.next()??)?)?;
    let mut context = Context::new();
    let slots = domains.iter().filter_map(|domain| match domain {
        Domain::Slot(slot) => Some(slot),
        Domain::Points(_) => None,
    });
    for (slot, (key, texts)) in slots.zip(&space.keys) {
        if let Some(values) = values(slot, key, texts)? {
            context.set_many(&key.name, values);
        }
    }
    Some(Request { action, resource, principal, context })
}

fn resource(path: &Path) -> Option<Resource> {
    Some(match path {
        Path::Anywhere => Resource::Any,
        Path::Bucket(name) => Resource::Bucket(name.clone()),
        Path::Object(path) => {
            let (bucket, key) = path.split_once('/')?;
            Resource::Object { bucket: bucket.to_owned(), key: key.to_owned() }
        }
    })
}

/// What the key holds; `Some(None)`: nothing.
fn values(slot: &SlotDomain, key: &Key, texts: &[Option<String>]) -> Option<Option<Vec<String>>> {
    let text = |set: &FixedBitSet| set.ones().find_map(|piece| texts.get(piece)?.clone());
    if slot.absent {
        return Some(None);
    }
    if let Some(text) = text(&slot.one) {
        return Some(Some(vec![text]));
    }
    if slot.empty {
        return Some(Some(Vec::new()));
    }
    let ManyDomain { every, some } = slot.many.as_ref()?;
    let wanted = some.iter().map(|some| text(&some.intersection(every).collect()));
    let mut values = wanted.collect::<Option<Vec<_>>>()?;
    values.sort_unstable();
    values.dedup();
    if values.is_empty() {
        values.push(text(every)?);
    }
    // A list of one would be a single value of any key that is not a list by nature.
    if !key.is_array() && values.len() == 1 {
        values.extend_from_within(..);
    }
    Some(Some(values))
}

/// The same request by a caller whose name is the one its context speaks of, where a caller is free to choose.
pub(super) fn named(request: &Request) -> Option<Request> {
    let [name] = request.context.get("aws:username")? else { return None };
    let is_plain =
        request.principal.kind == PrincipalKind::User && !name.is_empty() && !name.contains(':');
    is_plain.then(|| Request {
        principal: Principal::user(&request.principal.account, name),
        ..request.clone()
    })
}
