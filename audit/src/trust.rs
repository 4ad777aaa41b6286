//! Whom a verifier trusts: the key of a log, and which witnesses must have seen its head.
//!
//! A witness signs a head only if it follows from the one that it signed before. So a head that enough of them have signed
//! is the memory outside that tells a log that was rolled back or shown in two versions.
//!
//! ```text
//! log <vkey> [url]
//! witness <name> <vkey> [url]
//! group <name> all|any|<k> <member>…
//! quorum <name>|none
//! ```
//! # Source
//! C2SP tlog-policy (no tagged version yet) for the file, tlog-cosignature v1.0.1 for the signatures: type 0x04, Ed25519
//! over `cosignature/v1`, the time and the text of the checkpoint.
#![deny(clippy::indexing_slicing)]

use ed25519_dalek::{Signature, VerifyingKey};

use crate::note::{self, KeyId, NoteError, Vkey};

/// Larger files are refused; one with a hundred witnesses has about 10 KiB.
pub const TRUST_BYTES_MAX: usize = 64 * 1024;

/// Signature type of a witness that signs with Ed25519.
const COSIGNATURE: u8 = 4;

/// Why a file is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TrustError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// A C2SP tlog-policy.
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    logs: Vec<Vkey>,
    /// Witnesses and groups, each after its members.
    members: Vec<Member>,
    /// What must have signed; nothing for `none`.
    quorum: Option<usize>,
}

#[derive(Clone, Debug)]
struct Member {
    name: String,
    kind: Kind,
    grouped: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Witness(Witness),
    Group { needed: usize, members: Vec<usize> },
}

/// A key that signs the heads of other people's logs.
#[derive(Clone, Debug)]
struct Witness {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

/// A signature by a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness by its name in the policy.
    pub witness: String,
    /// When it signed, in seconds since 1970, by its own clock.
    pub time_s: u64,
}

impl TrustPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first line that cannot be understood, or the last one where the file lacks a log or its quorum.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let mut policy = Self { logs: Vec::new(), members: Vec::new(), quorum: None };
        let (mut decided, mut last) = (false, 1);
        if text.len() > TRUST_BYTES_MAX {
            let what = format!("the file has more than {TRUST_BYTES_MAX} bytes");
            return Err(TrustError { line: 1, what });
        }
        for (at, line) in text.lines().enumerate() {
            last = at + 1;
            let words = line.split('#').next().unwrap_or_default();
            let mut words = words.split([' ', '\t']).filter(|word| !word.is_empty());
            let Some(verb) = words.next() else { continue };
            let words: Vec<&str> = words.collect();
            let done = match verb {
                "log" => policy.log(&words),
                "witness" => policy.witness(&words),
                "group" => policy.group(&words),
                "quorum" if decided => Err("a second `quorum`".to_owned()),
                "quorum" => policy.decide(&words).map(|()| decided = true),
                other => Err(format!("`{other}` is none of log, witness, group and quorum")),
            };
            done.map_err(|what| TrustError { line: last, what })?;
        }
        let lacking = match (policy.logs.is_empty(), decided) {
            (true, _) => Some("the policy has no `log`"),
            (_, false) => Some("the policy has no `quorum`; write `quorum none` for no witnesses"),
            _ => None,
        };
        match lacking {
            Some(what) => Err(TrustError { line: last, what: what.to_owned() }),
            None => Ok(policy),
        }
    }

    fn log(&mut self, words: &[&str]) -> Result<(), String> {
        let ([vkey] | [vkey, _]) = words else { return Err("write `log <vkey> [url]`".to_owned()) };
        let vkey = Vkey::parse(vkey).map_err(|error| error.to_string())?;
        if self.logs.iter().any(|log| log.name() == vkey.name()) {
            return Err(format!("a second key of the log `{}`", vkey.name()));
        }
        self.logs.push(vkey);
        Ok(())
    }

    fn witness(&mut self, words: &[&str]) -> Result<(), String> {
        let ([name, vkey] | [name, vkey, _]) = words else {
            return Err("write `witness <name> <vkey> [url]`".to_owned());
        };
        let (key_name, id, key) = note::key_of_type(vkey, COSIGNATURE)
            .ok_or("not the key of an Ed25519 witness (type 4) of the form name+id+key")?;
        let same = |member: &Member| matches!(&member.kind, Kind::Witness(w) if w.key == key);
        if self.members.iter().any(same) {
            return Err("this key is a witness already; it would count twice".to_owned());
        }
        let witness = Witness { name: key_name.to_owned(), id, key };
        self.add(name, Kind::Witness(witness))
    }

    fn group(&mut self, words: &[&str]) -> Result<(), String> {
        let [name, needed, names @ ..] = words else {
            return Err("write `group <name> all|any|<number> <member>…`".to_owned());
        };
        let needed = match *needed {
            "all" => Some(names.len()),
            "any" => Some(1),
            number => number.parse().ok().filter(|k: &usize| number == k.to_string()),
        };
        let needed = needed
            .filter(|needed| (1..=names.len()).contains(needed))
            .ok_or("a group needs `all`, `any` or a number of its members, 1 or more")?;
        let mut members = Vec::new();
        for name in names {
            let at = self.find(name)?;
            let Some(member) = self.members.get_mut(at) else { continue };
            if std::mem::replace(&mut member.grouped, true) {
                return Err(format!("`{name}` is in a group already"));
            }
            members.push(at);
        }
        self.add(name, Kind::Group { needed, members })
    }

    fn decide(&mut self, words: &[&str]) -> Result<(), String> {
        let [name] = words else { return Err("write `quorum <name>|none`".to_owned()) };
        self.quorum = if *name == "none" { None } else { Some(self.find(name)?) };
        Ok(())
    }

    fn add(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        if name == "none" || self.find(name).is_ok() {
            return Err(format!("the name `{name}` is taken"));
        }
        self.members.push(Member { name: name.to_owned(), kind, grouped: false });
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, String> {
        let at = self.members.iter().position(|member| member.name == name);
        at.ok_or_else(|| format!("no witness or group before this line has the name `{name}`"))
    }

    /// The key of the log with this name.
    pub fn log_key(&self, origin: &str) -> Option<&Vkey> {
        self.logs.iter().find(|log| log.name() == origin)
    }

    /// The key of the log, if the policy is about one log only.
    pub fn only_log(&self) -> Option<&Vkey> {
        match self.logs.as_slice() {
            [log] => Some(log),
            _ => None,
        }
    }

    /// Whether it asks for witnesses at all.
    pub fn asks_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// The signatures of witnesses under a checkpoint, whose own signature is not looked at.
    ///
    /// # Errors
    /// [`NoteError::Malformed`]; [`NoteError::BadSignature`] where one of a known witness does not hold.
    pub fn cosignatures(&self, checkpoint: &[u8]) -> Result<Vec<Cosignature>, NoteError> {
        let (text, lines) = note::lines(checkpoint)?;
        let mut found: Vec<Cosignature> = Vec::new();
        for line in lines {
            let known = self.members.iter().find_map(|member| match &member.kind {
                Kind::Witness(w) if w.name == line.name && w.id == line.id => Some((member, w)),
                _ => None,
            });
            let Some((member, witness)) = known else { continue };
            let time_s = witness.time(text, &line.signature).ok_or(NoteError::BadSignature)?;
            if found.iter().all(|before| before.witness != member.name) {
                found.push(Cosignature { witness: member.name.clone(), time_s });
            }
        }
        Ok(found)
    }

    /// Whether these are enough.
    pub fn is_satisfied_by(&self, cosignatures: &[Cosignature]) -> bool {
        let mut holds: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            // INVARIANT: members of a group stand before it.
            let has = match &member.kind {
                Kind::Witness(_) => cosignatures.iter().any(|c| c.witness == member.name),
                Kind::Group { needed, members } => {
                    let have = members.iter().filter(|at| holds.get(**at) == Some(&true));
                    have.count() >= *needed
                }
            };
            holds.push(has);
        }
        self.quorum.is_none_or(|at| holds.get(at) == Some(&true))
    }
}

impl Witness {
    /// When it signed the text; `None` if it did not.
    fn time(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (time, signature) = signature.split_first_chunk()?;
        let time_s = u64::from_be_bytes(*time);
        let signature = Signature::from_slice(signature).ok()?;
        let message = format!("cosignature/v1\ntime {time_s}\n{text}");
        self.key.verify_strict(message.as_bytes(), &signature).ok()?;
        Some(time_s)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    // Accepted by aics-tlog, pymerkle and signed_note, with the seeds 00…1f and 07…07.
    const LOG: &str =
        "audit.example.com/node1+50a5011a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const W1: &str = "witness.example.com/w1+8122a5ab+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
    const CHECKPOINT: &str = "audit.example.com/node1\n5\nO3r1m67sUO8CBNasHlB2zoc6nFtkbfWGwN5k60utDso=\n\n\
        — audit.example.com/node1 UKUBGuCsFVzQW4NK8fjGBbKwFuemGTjSfU9OZPR6hrnIM3PbLB5ONKgKM+VPNsC6pV6Skc/Ze39lIZv3b3zctc+WLQs=\n";
    const COSIGNED: &str = "— witness.example.com/w1 gSKlqwAAAABpVbkAHgYma/6zD2Pv8/BTK3ShCLT9exJC+s1PI8wymtRtpcOQwAre7vNvRWPEWJ9zVkbqgiSA8NViJag70SVouSuSAw==\n";

    /// Another witness and its signature.
    fn witness(seed: u8, text: &str, time_s: u64) -> (String, String) {
        let name = format!("w{seed}.example.com");
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = KeyId::of(&name, COSIGNATURE, &key.verifying_key());
        let data = [&[COSIGNATURE][..], key.verifying_key().as_bytes()].concat();
        let message = format!("cosignature/v1\ntime {time_s}\n{text}");
        let signature = key.sign(message.as_bytes()).to_bytes();
        let payload = [
            hex::decode(id.to_string()).unwrap(),
            time_s.to_be_bytes().to_vec(),
            signature.to_vec(),
        ]
        .concat();
        (
            format!("{name}+{id}+{}", STANDARD.encode(data)),
            format!("— {name} {}\n", STANDARD.encode(payload)),
        )
    }

    fn text() -> &'static str {
        CHECKPOINT.split_once("\n\n").map(|(text, _)| text).unwrap()
    }

    #[test]
    fn a_published_cosignature_holds() {
        let policy = TrustPolicy::parse(&format!(
            "# who may say so\nlog {LOG} https://log.example.com/\nwitness one\t{W1} https://w1.example.com\nquorum one\n"
        ))
        .unwrap();
        assert_eq!(policy.only_log().unwrap().to_string(), LOG);
        assert!(policy.log_key("elsewhere").is_none());
        let alone = policy.cosignatures(CHECKPOINT.as_bytes()).unwrap();
        assert!(alone.is_empty() && !policy.is_satisfied_by(&alone));
        let seen = policy.cosignatures(format!("{CHECKPOINT}{COSIGNED}").as_bytes()).unwrap();
        assert_eq!(seen, [Cosignature { witness: "one".to_owned(), time_s: 1_767_225_600 }]);
        assert!(policy.is_satisfied_by(&seen));
    }

    #[test]
    fn a_cosignature_of_something_else_is_refused() {
        let policy =
            TrustPolicy::parse(&format!("log {LOG}\nwitness one {W1}\nquorum none")).unwrap();
        let other = CHECKPOINT.replacen("\n5\n", "\n6\n", 1);
        for note in [
            format!("{other}{COSIGNED}"),
            format!("{CHECKPOINT}{}", COSIGNED.replace("AAAABpVbkA", "AAAABpVbkB")),
        ] {
            assert_eq!(
                policy.cosignatures(note.as_bytes()),
                Err(NoteError::BadSignature),
                "{note}"
            );
        }
        assert_eq!(policy.cosignatures(b"no note"), Err(NoteError::Malformed));
    }

    #[test]
    fn a_quorum_is_counted_through_groups() {
        let signed = format!("{}\n", text());
        let witnesses: Vec<(String, String)> =
            (1..=4).map(|i| witness(i, &signed, 100 + u64::from(i))).collect();
        let keys: String = witnesses
            .iter()
            .enumerate()
            .map(|(i, (key, _))| format!("witness w{i} {key}\n"))
            .collect();
        let policy = |rest: &str| TrustPolicy::parse(&format!("log {LOG}\n{keys}{rest}")).unwrap();
        let pair = policy("group pair all w0 w1\ngroup either 1 pair w2\nquorum either");
        let two = policy("group two 2 w0 w1 w2\nquorum two");
        let none = policy("quorum none");
        // Bits say who signed; the second column, by hand, which of pair-or-w2 and two-of-three hold.
        for (mask, expected) in [
            (0b0000, (false, false)),
            (0b0001, (false, false)),
            (0b0011, (true, true)),
            (0b0100, (true, false)),
            (0b0101, (true, true)),
            (0b1000, (false, false)),
            (0b1110, (true, true)),
        ] {
            let lines = witnesses.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
            let note = lines.fold(CHECKPOINT.to_owned(), |note, (_, (_, line))| note + line);
            let seen = pair.cosignatures(note.as_bytes()).unwrap();
            assert_eq!(seen.len(), (mask as u32).count_ones() as usize);
            assert_eq!(
                (pair.is_satisfied_by(&seen), two.is_satisfied_by(&seen)),
                expected,
                "{mask:04b}"
            );
            assert!(none.is_satisfied_by(&seen));
        }
    }

    #[test]
    fn what_is_no_policy_is_named_by_line() {
        let long = "#".repeat(TRUST_BYTES_MAX + 1);
        let w1 = format!("log {LOG}\nwitness one {W1}\n");
        for (text, line, what) in [
            (String::new(), 1, "no `log`"),
            (long, 1, "more than"),
            ("quorum none".to_owned(), 1, "no `log`"),
            (format!("log {LOG}\n\n# end"), 3, "no `quorum`"),
            (format!("log {LOG}\nlog {LOG}\nquorum none"), 2, "a second key"),
            (format!("log {W1}\nquorum none"), 1, "not an Ed25519 verifier key"),
            ("log".to_owned(), 1, "write `log"),
            (format!("log {LOG} u v"), 1, "write `log"),
            (format!("log {LOG}\nwitness one {LOG}"), 2, "type 4"),
            (format!("{w1}witness two {W1}"), 3, "count twice"),
            (format!("{w1}group one any one"), 3, "is taken"),
            (format!("{w1}group none any one"), 3, "is taken"),
            (format!("{w1}group g 2 one"), 3, "a group needs"),
            (format!("{w1}group g 0 one"), 3, "a group needs"),
            (format!("{w1}group g +1 one"), 3, "a group needs"),
            (format!("{w1}group g all"), 3, "a group needs"),
            (format!("{w1}group g any g"), 3, "no witness or group"),
            (format!("{w1}group g 1 one one"), 3, "in a group already"),
            (format!("{w1}quorum two"), 3, "no witness or group"),
            (format!("{w1}quorum one\nquorum one"), 4, "a second `quorum`"),
            (format!("{w1}trust one"), 3, "none of"),
        ] {
            let error = TrustPolicy::parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.what.contains(what), "{text}: {error}");
        }
    }
}
