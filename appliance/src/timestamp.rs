//! RFC 3161 time-stamps over checkpoints: a second party says when the log had this size and this root. A log's own clock
//! is no evidence of that.
//!
//! What is stamped is the checkpoint file, byte for byte, so that `openssl ts -verify -data` checks it. The signature of
//! the token is left to that: whom to believe about time is for whoever verifies. Here is checked what a reply must say.
//!
//! # Source
//! RFC 3161 sections 2.4.1 and 2.4.2; RFC 5652 section 5.2 for what carries the answer.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use audit::{Files as _, LocalFiles};
use cms::cert::x509::spki::AlgorithmIdentifier;
use cms::signed_data::SignedData;
use der::asn1::{Any, Int, OctetString};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use sha2::{Digest as _, Sha256};
use x509_tsp::{MessageImprint, TimeStampReq, TimeStampResp, TspVersion, TstInfo};

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// Below the log's directory: `<size>.checkpoint`, what was to be stamped, and `<size>.tsr`, the reply over it.
const DIRECTORY: &str = "tsr";
/// `granted` and `grantedWithMods`; everything else is a refusal.
const GRANTED_MAX: u32 = 1;

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Unix seconds of the authority's clock.
    pub time_s: u64,
    /// The authority's policy, as an object identifier.
    pub policy: String,
}

/// Why a reply is no time-stamp of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    #[error("the reply is not a time-stamp reply: {0}")]
    Malformed(String),
    #[error("the time-stamp authority refused: status {0}")]
    Refused(u32),
    #[error("the time-stamp is over something else")]
    Other,
    #[error("the time-stamp answers another request")]
    Nonce,
}

impl Stamp {
    /// The time as text.
    #[must_use]
    pub fn time(&self) -> String {
        let second = i64::try_from(self.time_s).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(second).unwrap_or_default().to_string()
    }
}

impl From<der::Error> for TimestampError {
    fn from(error: der::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The request for a stamp over `bytes`, with the authority's certificate in the reply.
///
/// # Errors
/// Never in practice: the parts have fixed lengths.
pub fn request(bytes: &[u8], nonce: [u8; 8]) -> Result<Vec<u8>, TimestampError> {
    let request = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: imprint(bytes)?,
        req_policy: None,
        nonce: Some(number(nonce)?),
        cert_req: true,
        extensions: None,
    };
    Ok(request.to_der()?)
}

/// Checks that a reply is granted and about these bytes, and about this request where its nonce is known.
///
/// # Errors
/// See [`TimestampError`].
pub fn check(reply: &[u8], bytes: &[u8], nonce: Option<[u8; 8]>) -> Result<Stamp, TimestampError> {
    let reply = TimeStampResp::from_der(reply)?;
    let status = reply.status.status as u32;
    let Some(token) = reply.time_stamp_token.filter(|_| status <= GRANTED_MAX) else {
        return Err(TimestampError::Refused(status));
    };
    let unexpected = |what: &str| TimestampError::Malformed(format!("it carries no {what}"));
    if token.content_type != SIGNED_DATA {
        return Err(unexpected("signed data"));
    }
    let signed = SignedData::from_der(&token.content.to_der()?)?.encap_content_info;
    if signed.econtent_type != TST_INFO {
        return Err(unexpected("time-stamp"));
    }
    let content = signed.econtent.ok_or_else(|| unexpected("time-stamp"))?;
    let stamp = TstInfo::from_der(&in_whole_seconds(content.value())?)?;
    let expected = imprint(bytes)?;
    if stamp.message_imprint.hash_algorithm.oid != SHA256
        || stamp.message_imprint.hashed_message != expected.hashed_message
    {
        return Err(TimestampError::Other);
    }
    if let Some(nonce) = nonce
        && stamp.nonce != Some(number(nonce)?)
    {
        return Err(TimestampError::Nonce);
    }
    let time_s = stamp.gen_time.to_unix_duration().as_secs();
    Ok(Stamp { time_s, policy: stamp.policy.to_string() })
}

/// The same time-stamp without the fraction of its second, which RFC 3161 section 2.4.2 allows and `der` does not read.
/// DER ends a fraction with another digit than 0 and with `Z`.
fn in_whole_seconds(stamp: &[u8]) -> Result<Vec<u8>, TimestampError> {
    let mut members = Vec::<Any>::from_der(stamp)?;
    let Some(time) = members.iter_mut().find(|member| member.tag() == Tag::GeneralizedTime) else {
        return Ok(stamp.to_vec());
    };
    let text = String::from_utf8_lossy(time.value()).into_owned();
    let Some((whole, fraction)) = text.split_once('.') else { return Ok(stamp.to_vec()) };
    let digits = fraction.strip_suffix('Z').unwrap_or_default();
    let is_one = digits.bytes().all(|digit| digit.is_ascii_digit());
    if digits.is_empty() || digits.ends_with('0') || !is_one {
        return Err(TimestampError::Malformed(format!(
            "it has the time `{}`",
            text.escape_debug()
        )));
    }
    *time = Any::new(Tag::GeneralizedTime, format!("{whole}Z").into_bytes())?;
    Ok(members.to_der()?)
}

/// What is kept of time-stamps in the log's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sizes of heads that were stamped.
    pub stamped: BTreeSet<u64>,
    /// Sizes of heads that were to be, and have no reply.
    pub asked: BTreeSet<u64>,
}

/// What is kept in the log's directory.
///
/// # Errors
/// The directory cannot be read.
pub fn kept(dir: &Path) -> io::Result<Kept> {
    let entries = match std::fs::read_dir(dir.join(DIRECTORY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        entries => entries?,
    };
    let mut kept = Kept::default();
    for entry in entries {
        let name = entry?.file_name();
        let Some((size, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
            continue;
        };
        let Ok(size) = size.parse() else { continue };
        match kind {
            "tsr" => kept.stamped.insert(size),
            "checkpoint" => kept.asked.insert(size),
            _ => continue,
        };
    }
    kept.asked = &kept.asked - &kept.stamped;
    Ok(kept)
}

/// A checkpoint that was stamped, or is to be.
///
/// # Errors
/// It cannot be read.
pub fn checkpoint(dir: &Path, size: u64) -> io::Result<Vec<u8>> {
    std::fs::read(dir.join(format!("{DIRECTORY}/{size}.checkpoint")))
}

/// The reply over it.
///
/// # Errors
/// It cannot be read.
pub fn reply(dir: &Path, size: u64) -> io::Result<Vec<u8>> {
    std::fs::read(dir.join(format!("{DIRECTORY}/{size}.tsr")))
}

/// Gives each of several copies of a log what another one has, and it has not: a drive that was replaced comes back
/// without. What cannot be given is told.
#[must_use]
pub fn share(copies: &[PathBuf]) -> Vec<(PathBuf, io::Error)> {
    let mut failed = Vec::new();
    for to in copies {
        for from in copies.iter().filter(|from| *from != to) {
            if let Err(error) = fill(from, to) {
                failed.push((to.clone(), error));
            }
        }
    }
    failed
}

fn fill(from: &Path, to: &Path) -> io::Result<()> {
    let (theirs, ours) = (kept(from)?, kept(to)?);
    for size in &theirs.asked - &(&ours.asked | &ours.stamped) {
        keep_checkpoint(to, size, &checkpoint(from, size)?)?;
    }
    for size in &theirs.stamped - &ours.stamped {
        let (note, reply) = (checkpoint(from, size)?, reply(from, size)?);
        keep_checkpoint(to, size, &note)?;
        keep_reply(to, size, &reply)?;
    }
    Ok(())
}

/// Keeps what is to be stamped. ORDER: before its reply, so that a reply is never without what it is over.
///
/// # Errors
/// Writing failed.
pub fn keep_checkpoint(dir: &Path, size: u64, checkpoint: &[u8]) -> io::Result<()> {
    LocalFiles::new(dir).replace(&format!("{DIRECTORY}/{size}.checkpoint"), checkpoint)
}

/// Keeps the reply; its path.
///
/// # Errors
/// Writing failed.
pub fn keep_reply(dir: &Path, size: u64, reply: &[u8]) -> io::Result<PathBuf> {
    let name = format!("{DIRECTORY}/{size}.tsr");
    LocalFiles::new(dir).replace(&name, reply)?;
    Ok(dir.join(name))
}

fn imprint(bytes: &[u8]) -> Result<MessageImprint, TimestampError> {
    let hash_algorithm = AlgorithmIdentifier { oid: SHA256, parameters: Some(Any::null()) };
    let hashed_message = OctetString::new(Sha256::digest(bytes).to_vec())?;
    Ok(MessageImprint { hash_algorithm, hashed_message })
}

/// A positive number of eight bytes: a leading one or zero bit would make it negative or shorter.
fn number(nonce: [u8; 8]) -> Result<Int, TimestampError> {
    let number = u64::from_be_bytes(nonce) & (u64::MAX >> 1) | (1 << 62);
    Ok(Int::new(&number.to_be_bytes())?)
}

/// A reply of any authority. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(stamp) = check(bytes, b"checkpoint", None) {
        assert!(!stamp.policy.is_empty(), "a stamp names its policy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_the_standard_shows() {
        let request = request(b"abc", [0; 8]).unwrap();
        let text = hex::encode(&request);
        // Version 1, SHA-256 with null parameters, the hash of `abc`, a nonce, certReq.
        assert!(text.starts_with("3043020101303130"), "{text}");
        assert!(text.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
        assert!(text.ends_with("020840000000000000000101ff"), "{text}");
    }

    /// `openssl ts` made the seeds, over the word checkpoint.
    #[test]
    fn seeds_are_understood() {
        let seeds = fixtures::corpus::seeds("appliance/timestamp");
        let read = |seed: &Vec<u8>| check(seed, b"checkpoint", None);
        let stamps: Vec<_> = seeds.iter().filter_map(|seed| read(seed).ok()).collect();
        // One of them tells microseconds.
        assert_eq!(stamps.len(), 2);
        for stamp in stamps {
            assert_eq!(stamp.policy, "1.2.3.4.1");
            assert!(stamp.time().starts_with("2026-11-26T"), "{}", stamp.time());
        }
        assert!(seeds.iter().any(|seed| read(seed) == Err(TimestampError::Refused(2))));
        let others = seeds.iter().filter(|seed| check(seed, b"other", None).is_ok());
        assert_eq!(others.count(), 0);
        let nonces = seeds.iter().filter(|seed| check(seed, b"checkpoint", Some([1; 8])).is_ok());
        assert_eq!(nonces.count(), 0);
    }

    #[test]
    fn fractions_of_a_second_are_passed_over() {
        let stamp = |time: &str| {
            let time = Any::new(Tag::GeneralizedTime, time.as_bytes()).unwrap();
            vec![Any::new(Tag::Integer, [1]).unwrap(), time].to_der().unwrap()
        };
        let whole = stamp("20261126065826Z");
        for time in ["20261126065826Z", "20261126065826.103964Z", "20261126065826.5Z"] {
            assert_eq!(in_whole_seconds(&stamp(time)), Ok(whole.clone()), "{time}");
        }
        for time in
            ["20261126065826.Z", "20261126065826.50Z", "20261126065826.5", "20261126065826.-5Z"]
        {
            assert!(in_whole_seconds(&stamp(time)).is_err(), "{time}");
        }
        assert!(in_whole_seconds(b"").is_err());
    }

    #[test]
    fn copies_share_what_one_of_them_has() {
        let scratch = tempfile::tempdir().unwrap();
        let copies = ["a", "b", "c"].map(|name| scratch.path().join(name));
        copies.iter().for_each(|copy| std::fs::create_dir(copy).unwrap());
        let [a, b, c] = &copies;
        keep_checkpoint(a, 3, b"three").unwrap();
        keep_reply(a, 3, b"reply").unwrap();
        keep_checkpoint(b, 3, b"three").unwrap();
        keep_checkpoint(c, 9, b"nine").unwrap();
        assert!(share(&copies).is_empty());
        for copy in &copies {
            let kept = kept(copy).unwrap();
            assert_eq!((kept.stamped, kept.asked), ([3].into(), [9].into()), "{}", copy.display());
            assert_eq!(reply(copy, 3).unwrap(), b"reply");
        }
        // The first reply stays.
        keep_reply(b, 3, b"later").unwrap();
        assert!(share(&copies).is_empty());
        assert_eq!(reply(a, 3).unwrap(), b"reply");
        std::fs::remove_file(c.join("tsr/9.checkpoint")).unwrap();
        std::fs::remove_file(a.join("tsr/9.checkpoint")).unwrap();
        std::fs::write(a.join("tsr/9.tsr"), "without what it is over").unwrap();
        assert_eq!(share(&copies).len(), 2);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for reply in [&b""[..], b"0", &[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02]] {
            assert!(check(reply, b"x", None).is_err());
        }
        let refused = check(&[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02], b"x", None);
        assert_eq!(refused, Err(TimestampError::Refused(2)));
    }
}
