//! The condition keys that other members of a decision record imply.
//!
//! Who asks, from where, how and when stands in every record. A log that said it once more under the names of the condition
//! keys would be half as large again, so a record says `auth.implied` instead, and its `auth.ctx` holds what is not
//! implied, or is something else than what is. The rules are in `audit/FORMAT.md`.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::{Context, Key, position};

/// What a decision record says besides its condition keys, in the words of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Implied<'a> {
    /// `event`, in seconds since 1970.
    pub event_s: Option<u64>,
    /// `principal.account`
    pub account: Option<&'a str>,
    /// `principal.arn`
    pub arn: Option<&'a str>,
    /// `principal.name`
    pub name: Option<&'a str>,
    /// `principal.parent`
    pub parent: Option<&'a str>,
    /// `principal.type`
    pub kind: Option<&'a str>,
    /// `principal.sig`
    pub sig: Option<&'a str>,
    /// `net.src`
    pub src: Option<&'a str>,
    /// `net.tls`
    pub tls: Option<&'a str>,
    /// `net.ua`
    pub ua: Option<&'a str>,
}

type Rule = for<'a> fn(&Implied<'a>) -> Option<Cow<'a, str>>;

/// Each key that can be implied, and by what.
const RULES: [(&str, Rule); 14] = [
    ("aws:CurrentTime", |said| {
        let second = i64::try_from(said.event_s?).ok()?;
        Some(jiff::Timestamp::from_second(second).ok()?.to_string().into())
    }),
    ("aws:EpochTime", |said| Some(said.event_s?.to_string().into())),
    ("aws:PrincipalAccount", |said| Some(said.signed()?.account?.into())),
    ("aws:PrincipalArn", |said| Some(said.signed()?.arn?.into())),
    ("aws:PrincipalType", |said| {
        Some(Cow::Borrowed(match said.kind? {
            "Root" => "Account",
            "IAMUser" | "Service" => "User",
            "AssumedRole" => "AssumedRole",
            "Anonymous" => "Anonymous",
            _ => return None,
        }))
    }),
    ("aws:SecureTransport", |said| {
        said.src?;
        Some(if said.tls.is_some() { "true" } else { "false" }.into())
    }),
    ("aws:SourceIp", |said| Some(said.src?.into())),
    ("aws:UserAgent", |said| Some(said.ua?.into())),
    ("aws:userid", |said| Some(said.user()?.into())),
    ("aws:username", |said| Some(said.user()?.into())),
    ("s3:authType", |said| match said.sig? {
        "v4" => Some("REST-HEADER".into()),
        "presigned" => Some("REST-QUERY-STRING".into()),
        _ => None,
    }),
    ("s3:ResourceAccount", |said| Some(said.signed()?.account?.into())),
    ("s3:signatureversion", |said| {
        matches!(said.sig?, "v4" | "presigned").then_some("AWS4-HMAC-SHA256".into())
    }),
    ("s3:TlsVersion", |said| Some(said.tls?.split('/').next()?.into())),
];

/// The rows of the catalogue of [`RULES`].
static ROWS: LazyLock<[u8; RULES.len()]> =
    LazyLock::new(|| RULES.map(|(name, _)| position(name).unwrap_or(u8::MAX)));

fn rules() -> impl Iterator<Item = (u8, Rule)> {
    ROWS.iter().copied().zip(RULES).map(|(row, (_, rule))| (row, rule))
}

impl<'a> Implied<'a> {
    /// The keys of a request, sorted by name, that its record must name if it says the rest by [`Implied`]; `None` if it
    /// must name all of them, because one that would be implied is absent.
    #[must_use]
    pub fn rest<'c>(&self, context: &'c Context) -> Option<Vec<(&'c str, &'c [String])>> {
        let mut said = 0_u128;
        for (row, rule) in rules() {
            if let Some(value) = rule(self) {
                let there = context.values(&Key::Known(row))?;
                if matches!(there, [one] if *one == value) {
                    said |= 1 << row;
                }
            }
        }
        Some(context.sorted(!said))
    }

    /// Adds what is implied and not named, of the rows of the catalogue that are asked for.
    pub(crate) fn complete(
        &self,
        context: &mut Context,
        wants: impl Fn(u8) -> bool,
        mut list: impl FnMut() -> Vec<String>,
    ) {
        for (row, rule) in rules().filter(|(row, _)| wants(*row)) {
            if context.rank(row).is_err()
                && let Some(value) = rule(self)
            {
                let mut values = list();
                values.truncate(1);
                match values.first_mut() {
                    None => values.push(value.into_owned()),
                    Some(there) => {
                        there.clear();
                        there.push_str(&value);
                    }
                }
                context.set_known(row, values);
            }
        }
    }

    fn signed(&self) -> Option<&Self> {
        (self.kind? != "Anonymous").then_some(self)
    }

    /// A service account acts as who made it.
    fn user(&self) -> Option<&'a str> {
        let signed = self.signed()?;
        signed.parent.or(signed.name)
    }
}

/// The time in the name of an event, in seconds since 1970: the first ten digits of a ULID are milliseconds.
#[must_use]
pub(crate) fn event_s(event: &str) -> Option<u64> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if event.len() != 26 {
        return None;
    }
    let ms = event.as_bytes().get(..10)?.iter().try_fold(0_u64, |ms, byte| {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        Some(ms << 5 | digit as u64)
    });
    Some(ms? / 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said() -> Implied<'static> {
        Implied {
            event_s: Some(1_795_718_939),
            account: Some("044188496026"),
            arn: Some("arn:aws:iam::044188496026:user/ann"),
            name: Some("AKIA"),
            parent: Some("ann"),
            kind: Some("Service"),
            sig: Some("presigned"),
            src: Some("10.0.0.1"),
            tls: Some("1.3/TLS13_AES_256_GCM_SHA384"),
            ua: Some("curl/8"),
        }
    }

    fn completed(said: Implied<'_>, rest: &[(&str, &[String])]) -> Context {
        let named = rest.iter().map(|(name, values)| (*name, values.to_vec()));
        let mut context = Context::from_pairs(named);
        said.complete(&mut context, |_| true, || vec!["left".into(), "over".into()]);
        context
    }

    #[test]
    fn what_a_record_says_is_not_said_again() {
        let context = completed(said(), &[]);
        let pairs: Vec<_> = context.iter().map(|(name, values)| (name, values.join("|"))).collect();
        let expected = [
            ("aws:CurrentTime", "2026-11-26T18:48:59Z"),
            ("aws:EpochTime", "1795718939"),
            ("aws:PrincipalAccount", "044188496026"),
            ("aws:PrincipalArn", "arn:aws:iam::044188496026:user/ann"),
            ("aws:PrincipalType", "User"),
            ("aws:SecureTransport", "true"),
            ("aws:SourceIp", "10.0.0.1"),
            ("aws:UserAgent", "curl/8"),
            ("aws:userid", "ann"),
            ("aws:username", "ann"),
            ("s3:ResourceAccount", "044188496026"),
            ("s3:TlsVersion", "1.3"),
            ("s3:authType", "REST-QUERY-STRING"),
            ("s3:signatureversion", "AWS4-HMAC-SHA256"),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(said().rest(&context), Some(vec![]));
    }

    #[test]
    fn an_anonymous_caller_implies_no_name() {
        let anonymous = Implied { kind: Some("Anonymous"), sig: Some("none"), ..said() };
        let context = completed(anonymous, &[]);
        assert_eq!(context.get("aws:username"), None);
        assert_eq!(context.get("aws:PrincipalArn"), None);
        assert_eq!(context.get("s3:authType"), None);
        assert_eq!(context.get("aws:PrincipalType"), Some(["Anonymous".to_owned()].as_slice()));
    }

    #[test]
    fn the_time_of_an_event() {
        assert_eq!(event_s("01M8CK10XGBXFFV38TSPZZS6QT"), Some(1_795_718_939));
        for event in
            ["", "#7", "01M8CK10XU", "01m8ck10xgbxffv38tspzzs6qt", "01M8CK10éBXFFV38TSPZZS6Q"]
        {
            assert_eq!(event_s(event), None, "{event}");
        }
    }

    proptest! {
        /// Whatever a request has, its record either names all of it or says enough.
        #[test]
        fn nothing_is_lost(
            kind in prop::sample::select(vec!["Root", "IAMUser", "Service", "AssumedRole", "Anonymous", "other"]),
            sig in prop::sample::select(vec!["v4", "presigned", "none"]),
            lacks in prop::collection::vec(0_usize..10, 0..4),
            changes in prop::collection::vec((0_usize..RULES.len() + 2, prop::option::of(prop::collection::vec("[ab]{0,2}", 0..3))), 0..4),
        ) {
            let mut said = Implied { kind: Some(kind), sig: Some(sig), ..said() };
            for lack in lacks {
                match lack {
                    0 => said.event_s = None,
                    1 => said.account = None,
                    2 => said.arn = None,
                    3 => said.name = None,
                    4 => said.parent = None,
                    5 => said.src = None,
                    6 => said.tls = None,
                    7 => said.ua = None,
                    8 => said.sig = None,
                    _ => said.kind = None,
                }
            }
            let mut context = completed(said, &[]);
            let names: Vec<&str> = RULES.iter().map(|(name, _)| *name).chain(["s3:prefix", "x:y"]).collect();
            for (at, values) in changes {
                let name = names[at];
                context.replace(&Key::new(name), name, values);
            }
            if let Some(rest) = said.rest(&context) {
                prop_assert_eq!(completed(said, &rest), context);
            } else {
                let is_absent = |name: &&&str| context.get(name).is_none();
                prop_assert!(names.iter().any(|name| is_absent(&name)));
            }
        }
    }
}
