//! C2SP signed notes: a text, an empty line, and signature lines.
//!
//! # Source
//! C2SP signed-note v1.0.0. Signature type 0x01 (Ed25519) is what we write and check; lines of keys that we do
//! not know are ignored, as the specification demands.
#![deny(clippy::indexing_slicing)]

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// Larger notes are refused; one with sixteen signatures has about 2 KiB.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

const ED25519: u8 = 1;
const DASH: &str = "\u{2014} ";

/// Signs heads and the log's own description. Contract: deterministic or not, but always under the key that
/// [`Signer::vkey`] names; called on one thread at a time, may block, must not keep the text.
pub trait Signer: fmt::Debug + Send + Sync + 'static {
    /// The verifier key in C2SP form; its name is the log's origin.
    fn vkey(&self) -> String;
    /// The raw Ed25519 signature over `text`, 64 bytes.
    fn sign(&self, text: &[u8]) -> Vec<u8>;
}

/// An Ed25519 key in memory, erased when dropped.
pub struct Ed25519Signer {
    key: SigningKey,
    vkey: Vkey,
}

impl Ed25519Signer {
    /// A signer named `origin` from a 32-byte seed. The caller erases its own copy.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let vkey = Vkey::new(origin, key.verifying_key());
        Self { key, vkey }
    }
}

impl Ed25519Signer {
    /// The key that verifies what it signs.
    pub fn verifier(&self) -> &Vkey {
        &self.vkey
    }
}

impl Signer for Ed25519Signer {
    fn vkey(&self) -> String {
        self.vkey.to_string()
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.key.sign(text).to_bytes().to_vec()
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Signer")
            .field("vkey", &self.vkey.to_string())
            .finish_non_exhaustive()
    }
}

/// What a signature line names a key by, next to its name: four bytes, written as 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    pub(crate) fn of(name: &str, kind: u8, key: &VerifyingKey) -> Self {
        let digest = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', kind])
            .chain_update(key.as_bytes())
            .finalize();
        let mut id = [0; 4];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// Reads 8 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 4];
        hex::decode_to_slice(text, &mut id).ok()?;
        // One id has one text.
        Some(Self(id)).filter(|id| id.to_string() == text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secrets that a log may be signed with; the log finds out which one is in force.
#[derive(Clone, Debug)]
pub struct Signers(Vec<Arc<dyn Signer>>);

impl Signers {
    /// Several; the first one is that of a log that is not there yet.
    pub fn new(first: Arc<dyn Signer>, others: impl IntoIterator<Item = Arc<dyn Signer>>) -> Self {
        Self(std::iter::once(first).chain(others).collect())
    }

    pub(crate) fn first(&self) -> Option<&Arc<dyn Signer>> {
        self.0.first()
    }

    pub(crate) fn of(&self, vkey: &Vkey) -> Option<&Arc<dyn Signer>> {
        let text = vkey.to_string();
        self.0.iter().find(|signer| signer.vkey() == text)
    }
}

impl<S: Signer> From<Arc<S>> for Signers {
    fn from(signer: Arc<S>) -> Self {
        Self(vec![signer])
    }
}

impl From<Arc<dyn Signer>> for Signers {
    fn from(signer: Arc<dyn Signer>) -> Self {
        Self(vec![signer])
    }
}

/// A public key with its name: `name+hex8(keyid)+base64(type ‖ key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    id: KeyId,
    key: VerifyingKey,
}

impl Vkey {
    fn new(name: &str, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), id: KeyId::of(name, ED25519, &key), key }
    }

    /// Reads a verifier key.
    ///
    /// # Errors
    /// [`NoteError::Vkey`] unless it is a well-formed Ed25519 key whose id fits.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, key) = key_of_type(text, ED25519).ok_or(NoteError::Vkey)?;
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The key's name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![ED25519];
        data.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(data))
    }
}

impl fmt::Debug for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a verifier key whose Ed25519 key signs in one of the ways that have a type; `None` unless it is well-formed and
/// its id fits.
pub(crate) fn key_of_type(text: &str, kind: u8) -> Option<(&str, KeyId, VerifyingKey)> {
    let mut parts = text.trim().splitn(3, '+');
    let (name, id, data) = (parts.next()?, parts.next()?, parts.next()?);
    let data = STANDARD.decode(data).ok()?;
    let (_, key) = data.split_first().filter(|(found, _)| **found == kind)?;
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    let known = KeyId::of(name, kind, &key);
    let well_formed = !name.is_empty() && !name.contains(char::is_whitespace);
    (well_formed && known.to_string() == id).then_some((name, known, key))
}

/// Why a note or key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a verifier key that we can use.
    #[error("not an Ed25519 verifier key of the form name+id+key")]
    Vkey,
    /// The bytes are no signed note.
    #[error("not a signed note")]
    Malformed,
    /// No signature is by a key we know.
    #[error("no signature by a known key")]
    UnknownKey,
    /// A known key's signature does not fit the text.
    #[error("the signature does not fit the text")]
    BadSignature,
}

/// Signs a text, which must end in a newline, into a note.
///
/// # Errors
/// [`NoteError::Vkey`] when the signer's own key text is unusable.
pub fn sign(text: &str, signer: &dyn Signer) -> Result<String, NoteError> {
    let vkey = Vkey::parse(&signer.vkey())?;
    Ok(format!("{text}\n{}", line(text, &vkey, signer)))
}

/// Adds another key's signature to a note.
///
/// # Errors
/// [`NoteError::Malformed`] when it is no note, [`NoteError::Vkey`] when the signer's own key text is unusable.
pub fn cosign(note: &str, signer: &dyn Signer) -> Result<String, NoteError> {
    let (text, _) = split(note.as_bytes())?;
    let vkey = Vkey::parse(&signer.vkey())?;
    Ok(format!("{note}{}", line(text, &vkey, signer)))
}

fn line(text: &str, vkey: &Vkey, signer: &dyn Signer) -> String {
    let mut payload = vkey.id.0.to_vec();
    payload.extend_from_slice(&signer.sign(text.as_bytes()));
    format!("{DASH}{} {}\n", vkey.name, STANDARD.encode(payload))
}

/// Checks a note and returns its text.
///
/// # Errors
/// See [`NoteError`]; one bad signature of the known key rejects the whole note.
pub fn open<'a>(note: &'a [u8], vkey: &Vkey) -> Result<&'a str, NoteError> {
    open_any(note, std::iter::once(vkey)).map(|(text, _)| text)
}

/// Checks a note under several keys; returns its text and those that signed it, at least one.
///
/// # Errors
/// See [`NoteError`]; one bad signature of a known key rejects the whole note.
pub(crate) fn open_any<'a, 'k>(
    note: &'a [u8],
    known: impl Iterator<Item = &'k Vkey> + Clone,
) -> Result<(&'a str, Vec<&'k Vkey>), NoteError> {
    let (text, lines) = lines(note)?;
    let mut signed = Vec::new();
    for line in lines {
        let is_theirs = |known: &&Vkey| line.name == known.name && line.id == known.id;
        let Some(vkey) = known.clone().find(is_theirs) else { continue };
        let signature =
            Signature::from_slice(&line.signature).map_err(|_| NoteError::BadSignature)?;
        // Strict: every implementation must agree on which signatures hold.
        vkey.key.verify_strict(text.as_bytes(), &signature).map_err(|_| NoteError::BadSignature)?;
        signed.push(vkey);
    }
    if signed.is_empty() { Err(NoteError::UnknownKey) } else { Ok((text, signed)) }
}

/// A signature line as it stands; nothing about it is verified.
#[derive(Debug)]
pub(crate) struct SignatureLine<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: KeyId,
    pub(crate) signature: Vec<u8>,
}

/// The text of a note, and its signature lines.
///
/// # Errors
/// [`NoteError::Malformed`].
pub(crate) fn lines(note: &[u8]) -> Result<(&str, Vec<SignatureLine<'_>>), NoteError> {
    let (text, signatures) = split(note)?;
    let lines: Option<Vec<_>> =
        signatures.split_inclusive('\n').map(SignatureLine::parse).collect();
    Ok((text, lines.ok_or(NoteError::Malformed)?))
}

impl<'a> SignatureLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, payload) = line.strip_suffix('\n')?.strip_prefix(DASH)?.split_once(' ')?;
        let payload = STANDARD.decode(payload).ok()?;
        let (id, signature) = payload.split_first_chunk()?;
        Some(Self { name, id: KeyId(*id), signature: signature.to_vec() })
    }
}

/// Text and signature block; the separator is the last empty line.
fn split(note: &[u8]) -> Result<(&str, &str), NoteError> {
    let note = std::str::from_utf8(note).map_err(|_| NoteError::Malformed)?;
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > NOTE_BYTES_MAX || note.contains(control) {
        return Err(NoteError::Malformed);
    }
    let end = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, rest) = note.split_at_checked(end + 1).ok_or(NoteError::Malformed)?;
    let signatures =
        rest.strip_prefix('\n').filter(|s| !s.is_empty()).ok_or(NoteError::Malformed)?;
    Ok((text, signatures))
}
