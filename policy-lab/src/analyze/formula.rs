//! And, or and not over statements about a request.

/// A formula over literals `L`. Negation is pushed down to them when it is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Formula<L> {
    Is(L),
    Not(L),
    /// True when empty.
    All(Vec<Self>),
    /// False when empty.
    Any(Vec<Self>),
}

impl<L> Formula<L> {
    pub(super) fn constant(value: bool) -> Self {
        if value { Self::All(Vec::new()) } else { Self::Any(Vec::new()) }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    pub(super) fn is_false(&self) -> bool {
        matches!(self, Self::Any(parts) if parts.is_empty())
    }

    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::All(more) => kept.extend(more),
                part if part.is_false() => return part,
                part => kept.push(part),
            }
        }
        match kept.pop() {
            Some(only) if kept.is_empty() => only,
            last => {
                kept.extend(last);
                Self::All(kept)
            }
        }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Any(more) => kept.extend(more),
                part if part.is_true() => return part,
                part => kept.push(part),
            }
        }
        match kept.pop() {
            Some(only) if kept.is_empty() => only,
            last => {
                kept.extend(last);
                Self::Any(kept)
            }
        }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Is(literal) => Self::Not(literal),
            Self::Not(literal) => Self::Is(literal),
            Self::All(parts) => Self::any(parts.into_iter().map(Self::not)),
            Self::Any(parts) => Self::all(parts.into_iter().map(Self::not)),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self::all([self, other])
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self::any([self, other])
    }

    /// The same formula over other literals.
    pub(super) fn map<M>(self, change: &mut impl FnMut(L, bool) -> Formula<M>) -> Formula<M> {
        match self {
            Self::Is(literal) => change(literal, true),
            Self::Not(literal) => change(literal, false),
            Self::All(parts) => Formula::all(parts.into_iter().map(|part| part.map(change))),
            Self::Any(parts) => Formula::any(parts.into_iter().map(|part| part.map(change))),
        }
    }
}
