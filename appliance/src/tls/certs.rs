//! The certificates in use: an immutable snapshot that handshakes read and a reload replaces.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use super::TlsError;
use super::pair::{self, Pair};

/// Pairs and authorities in one directory; each is read again at every look.
const ENTRIES_MAX: usize = 256;

/// The certificates of one certs directory.
///
/// Ownership: handshakes share the snapshot without a lock; only a reload swaps it, one reload at a time.
#[derive(Debug)]
pub struct CertStore {
    dir: PathBuf,
    snapshot: ArcSwap<Snapshot>,
    reloading: Mutex<()>,
}

/// What a reload did.
#[derive(Debug)]
pub struct Reload {
    /// True when handshakes from now on see something new.
    pub changed: bool,
    /// What could not be used; the pair before it stays in use.
    pub problems: Vec<TlsError>,
}

#[derive(Debug)]
struct Snapshot {
    /// Over all file contents, so that a look that finds nothing new costs no parsing.
    digest: [u8; 32],
    default: Pair,
    others: Vec<Pair>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
    authorities: Arc<RootCertStore>,
}

impl CertStore {
    /// Reads the directory. The top-level pair must be good; a bad subdirectory is only logged.
    ///
    /// # Errors
    /// The top-level pair cannot be used.
    pub fn open(dir: &Path) -> Result<Self, TlsError> {
        let digest = digest_of(dir)?;
        let default = Pair::read(dir)?;
        let (others, problems) = read_others(dir, &[])?;
        for error in &problems {
            tracing::warn!(%error, "a certificate is skipped");
        }
        let authorities = read_authorities(dir, &default);
        let snapshot = Snapshot::new(digest, default, others, authorities);
        Ok(Self {
            dir: dir.to_owned(),
            snapshot: ArcSwap::from_pointee(snapshot),
            reloading: Mutex::new(()),
        })
    }

    /// Looks at the files and takes over what is new and good. Blocks on the disk.
    pub fn reload(&self) -> Reload {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.snapshot.load_full();
        let digest = match digest_of(&self.dir) {
            Ok(digest) if digest == old.digest => {
                return Reload { changed: false, problems: Vec::new() };
            }
            Ok(digest) => digest,
            Err(error) => return Reload { changed: false, problems: vec![error] },
        };
        let mut problems = Vec::new();
        let default = Pair::read(&self.dir).unwrap_or_else(|error| {
            problems.push(error);
            old.default.clone()
        });
        let others = match read_others(&self.dir, &old.others) {
            Ok((others, more)) => {
                problems.extend(more);
                others
            }
            Err(error) => {
                problems.push(error);
                old.others.clone()
            }
        };
        let authorities = read_authorities(&self.dir, &default);
        let new = Snapshot::new(digest, default, others, authorities);
        let changed = new.fingerprints() != old.fingerprints()
            || new.authorities.roots != old.authorities.roots;
        // Also a snapshot with nothing new is kept: its digest says that these files were judged.
        self.snapshot.store(Arc::new(new));
        Reload { changed, problems }
    }

    /// The pair for clients that name no host, or one that no certificate has.
    #[must_use]
    pub fn default_pair(&self) -> Pair {
        self.snapshot.load().default.clone()
    }

    /// Every pair in use, the default first.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let snapshot = self.snapshot.load();
        std::iter::once(&snapshot.default).chain(&snapshot.others).cloned().collect()
    }

    /// Whom outgoing connections trust: `CAs/*` and our own certificate.
    #[must_use]
    pub fn authorities(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.snapshot.load().authorities)
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.snapshot.load();
        let named = hello.server_name().and_then(|name| snapshot.find(name));
        Some(named.unwrap_or_else(|| Arc::clone(&snapshot.default.certified)))
    }
}

impl Snapshot {
    fn new(digest: [u8; 32], default: Pair, others: Vec<Pair>, authorities: RootCertStore) -> Self {
        let mut by_name = HashMap::new();
        // The default pair first: a subdirectory cannot take over a name that the operator put on top.
        for pair in std::iter::once(&default).chain(&others) {
            for name in &pair.names {
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&pair.certified));
            }
        }
        Self { digest, default, others, by_name, authorities: Arc::new(authorities) }
    }

    /// An exact name, else a wildcard for its first label.
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.by_name
            .get(&name)
            .or_else(|| wildcard().and_then(|wildcard| self.by_name.get(&wildcard)))
            .cloned()
    }

    fn fingerprints(&self) -> Vec<[u8; 32]> {
        std::iter::once(&self.default).chain(&self.others).map(|pair| pair.fingerprint).collect()
    }
}

/// Reads every subdirectory that has both files. A bad one keeps the pair that it had in `old`.
fn read_others(dir: &Path, old: &[Pair]) -> Result<(Vec<Pair>, Vec<TlsError>), TlsError> {
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    for sub in subdirectories(dir)? {
        match Pair::read(&sub) {
            Ok(pair) => pairs.push(pair),
            Err(error) => {
                problems.push(error);
                pairs.extend(old.iter().find(|pair| pair.dir == sub).cloned());
            }
        }
    }
    Ok((pairs, problems))
}

/// Directories with both files of a pair, symbolic links followed, sorted by name.
fn subdirectories(dir: &Path) -> Result<Vec<PathBuf>, TlsError> {
    Ok(entries(dir)?
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name != "CAs" && !name.starts_with("..")
        })
        .filter(|path| path.join("public.crt").is_file() && path.join("private.key").is_file())
        .collect())
}

/// A missing directory is an empty one.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let failed = |source| TlsError::Read { path: dir.to_owned(), source };
    let mut paths = match std::fs::read_dir(dir) {
        Ok(entries) => entries
            .take(ENTRIES_MAX + 1)
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    if paths.len() > ENTRIES_MAX {
        return Err(TlsError::TooMany { path: dir.to_owned(), limit: ENTRIES_MAX });
    }
    paths.sort();
    Ok(paths)
}

/// `CAs/*` and the server's own chain, as they are now on disk.
pub(super) fn authorities(dir: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Plain HTTP has no chain of its own.
    roots
        .add_parsable_certificates(pair::certificates(&dir.join("public.crt")).unwrap_or_default());
    add_authorities(dir, &mut roots);
    roots
}

/// `CAs/*` and the server's own chain. Files that are no certificates are skipped, as MinIO does.
fn read_authorities(dir: &Path, default: &Pair) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(default.certified.cert.iter().cloned());
    add_authorities(dir, &mut roots);
    roots
}

fn add_authorities(dir: &Path, roots: &mut RootCertStore) {
    for path in entries(&dir.join("CAs")).unwrap_or_default() {
        match pair::certificates(&path) {
            Ok(certificates) => {
                roots.add_parsable_certificates(certificates);
            }
            Err(error) => tracing::warn!(%error, "an authority is skipped"),
        }
    }
}

/// Over names and contents of all files that a reload reads. Content and not time, because symbolic links that swap
/// (Kubernetes secrets) and bind mounts do not reliably change a time.
fn digest_of(dir: &Path) -> Result<[u8; 32], TlsError> {
    let mut files = vec![dir.join("public.crt"), dir.join("private.key")];
    for sub in subdirectories(dir)? {
        files.extend([sub.join("public.crt"), sub.join("private.key")]);
    }
    files.extend(entries(&dir.join("CAs"))?);
    let mut hash = Sha256::new();
    for file in files {
        let content = pair::read(&file).map(|bytes| Sha256::digest(bytes.as_slice())).ok();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update([0, u8::from(content.is_some())]);
        hash.update(content.unwrap_or_default());
    }
    Ok(hash.finalize().into())
}
