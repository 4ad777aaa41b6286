//! Conditions of a statement: typed at load, tested against the context.
//!
//! The rules for absent and several-valued keys, and for the set operators, are in [`Clause::holds`] and nowhere else;
//! the families only say whether one value of the request fits one value of the policy.

mod arn;
mod binary;
mod date;
mod ip;
mod numeric;
mod operator;
#[cfg(feature = "analyze")]
pub(crate) mod reading;
mod set;
mod string;
mod test;

#[cfg(feature = "analyze")]
pub(crate) use self::operator::Comparison;
pub(crate) use self::operator::{Family, Operator, Quantifier};
#[cfg(feature = "analyze")]
pub(crate) use self::string::fold;
use self::test::Test;
use crate::Profile;
use crate::context::{Context, Key, Slot, Wanted};

/// The outcome of a test that may have no sure answer.
///
/// Unsure always means denied: an allowing statement needs `Yes`, a denying one is only stopped by `No`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    No,
    Unsure,
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// One key under one operator, with the policy's values.
#[derive(Clone, Debug)]
pub(crate) struct Clause {
    key: Key,
    operator: Operator,
    test: Test,
    profile: Profile,
}

/// How values are read: whether `${…}` is a variable (policy version 2012-10-17), and the profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) variables: bool,
    pub(crate) profile: Profile,
}

impl From<bool> for Reading {
    fn from(variables: bool) -> Self {
        Self { variables, profile: Profile::AWS }
    }
}

impl Clause {
    /// Types the policy's values.
    ///
    /// The error is the position of the value that does not fit, with the reason.
    pub(crate) fn compile(
        operator: Operator,
        key: &str,
        values: &[String],
        reading: impl Into<Reading>,
    ) -> Result<Self, (usize, String)> {
        let reading = reading.into();
        let (key, profile) = (Key::new(key), reading.profile);
        let only = match operator.family {
            Family::Bool => Some("aws:SecureTransport"),
            Family::Ip => Some("aws:SourceIp"),
            _ => None,
        };
        if let Some(only) =
            only.filter(|only| profile.bool_and_ip_are_fixed && key != Key::new(only))
        {
            return Err((0, format!("profile `{}` has this on `{only}` only", profile.name)));
        }
        let test = Test::compile(operator, values, reading)?;
        Ok(Self { key, operator, test, profile })
    }

    /// Whether the condition holds in this context.
    pub(crate) fn holds(&self, context: &Context) -> Truth {
        let slot = context.slot(&self.key);
        if let Test::Null(wanted) = &self.test {
            let absent = matches!(slot, Slot::Absent | Slot::Many([]));
            return wanted.contains(&absent).into();
        }
        let fits = |value: &str| self.fits(value, context);
        let Operator { quantifier, if_exists, negated, .. } = self.operator;
        // One value against all of the policy's, before negation.
        let listed = |value: &str| fits(value) != negated;
        let outside = negated && self.profile.negation_is_outside;
        match (quantifier, slot) {
            (Quantifier::None, Slot::Absent | Slot::Many([]))
                if self.profile.absent_numbers_fail && self.operator.is_ordered() =>
            {
                if_exists.into()
            }
            (Quantifier::None, Slot::Many([])) if self.profile.sets_overlap => {
                (if_exists || negated).into()
            }
            (Quantifier::None, Slot::Many(_))
                if self.profile.sets_overlap && self.operator.is_textual() =>
            {
                (set::any(slot, listed) != negated).into()
            }
            (Quantifier::All, _) if outside => (!set::all(slot, listed)).into(),
            (Quantifier::Any, _) if outside => (!set::any(slot, listed)).into(),
            (Quantifier::All, _) => set::all(slot, fits).into(),
            // AWS's text lets `IfExists` win, the only tested reading does not: no sure answer.
            (Quantifier::Any, Slot::Absent) if if_exists => Truth::Unsure,
            (Quantifier::Any, _) => set::any(slot, fits).into(),
            (Quantifier::None, Slot::Absent) => (if_exists || negated).into(),
            (Quantifier::None, Slot::One(value)) => fits(value).into(),
            // A key with several values needs a set operator; without one nothing is granted by it.
            (Quantifier::None, Slot::Many(_)) => Truth::Unsure,
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Gathers the keys whose values it looks at.
    pub(crate) fn wants(&self, wanted: &mut Wanted) {
        wanted.add(&self.key);
        self.test.wants(wanted);
    }

    pub(crate) fn operator(&self) -> Operator {
        self.operator
    }

    /// `Null`: asks for presence, not for values.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.test, Test::Null(_))
    }

    /// Every variable in the policy's values has a value.
    pub(crate) fn resolves(&self, context: &Context) -> bool {
        self.test.resolves(context)
    }

    /// Values of the key that might change the outcome, one at a time; `None` takes the key away. Whether one does is
    /// for [`Self::holds`] to say.
    pub(crate) fn alternatives(&self, context: &Context) -> Vec<Option<String>> {
        let examples = self.test.examples(context).into_iter().map(Some);
        std::iter::once(None).chain(examples).collect()
    }

    /// One value of the request against all values of the policy.
    fn fits(&self, value: &str, context: &Context) -> bool {
        self.test.matches_any(value, context) != self.operator.negated
    }
}
