//! Whether two records were caused by one person, as far as names can tell.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Who is named by a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Who {
    #[serde(default)]
    pub arn: String,
    #[serde(default)]
    pub name: String,
    /// The user behind a service account or a session, as a name or as an ARN.
    #[serde(default)]
    pub parent: String,
}

impl Who {
    pub(super) fn of(principal: &policy_lab::Principal) -> Self {
        Self {
            arn: principal.arn.clone(),
            name: principal.name.clone(),
            parent: principal.parent.clone().unwrap_or_default(),
        }
    }

    /// A word for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.arn.is_empty() { &self.name } else { &self.arn }
    }

    /// Whether both may be one person: the same user, or a user and their service account or session, or two of these.
    /// Any name in common counts, and so does a caller without one: unsure is the same.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.names(), other.names());
        ours.is_empty() || theirs.is_empty() || !ours.is_disjoint(&theirs)
    }

    fn names(&self) -> BTreeSet<&str> {
        let texts = [self.arn.as_str(), &self.name, &self.parent];
        let lasts = texts.map(|text| text.rsplit(['/', ':']).next().unwrap_or_default());
        let session = session_role(&self.arn);
        let all = texts.into_iter().chain(lasts).chain(session);
        all.filter(|text| !text.is_empty()).collect()
    }
}

/// The user part of `arn:aws:sts::ACCOUNT:assumed-role/USER/SESSION`.
fn session_role(arn: &str) -> Option<&str> {
    arn.split_once(":assumed-role/")?.1.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(arn: &str, name: &str, parent: &str) -> Who {
        Who { arn: arn.into(), name: name.into(), parent: parent.into() }
    }

    #[test]
    fn a_person_is_the_same_behind_all_their_keys() {
        let alice = who("arn:aws:iam::123456789012:user/alice", "alice", "");
        let bob = who("arn:aws:iam::123456789012:user/bob", "bob", "");
        let root = who("arn:aws:iam::123456789012:root", "root", "");
        let of_alice = [
            who("arn:aws:iam::123456789012:user/AKIA1", "AKIA1", "alice"),
            who("", "AKIA2", "arn:aws:iam::123456789012:user/alice"),
            who("arn:aws:sts::123456789012:assumed-role/alice/cli", "cli", ""),
            alice.clone(),
        ];
        for one in &of_alice {
            assert!(!one.may_be(&bob) && !bob.may_be(one), "{one:?}");
            assert!(!one.may_be(&root), "{one:?}");
            assert!(of_alice.iter().all(|other| one.may_be(other)), "{one:?}");
        }
        assert!(!root.may_be(&bob));
        assert!(who("", "", "").may_be(&bob), "nobody is not somebody else");
    }
}
