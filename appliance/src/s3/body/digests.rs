//! The digests of one body, computed beside its stream.
//!
//! MD5 runs at 0.6 GB/s and would be the limit of every large PUT if storage waited for it. A body below one batch is
//! hashed in place; a larger one hands each full batch to the blocking pool and goes on. A batch is short work, so a
//! silent client occupies no thread, and one batch in the pool and one being filled are all that is held.

use std::fmt;

use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;
use tokio::task::{JoinError, JoinHandle};

use super::checksum::{Algorithm, Hasher};

/// What is hashed at once: 0.4 ms of MD5, against some microseconds for the hand-over.
const BATCH_BYTES: usize = 256 * 1024;

/// What to compute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) sha256: bool,
    pub(super) md5: bool,
    pub(super) checksum: Option<Algorithm>,
}

/// What was computed.
#[derive(Debug, Default)]
pub(super) struct Computed {
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) md5: Option<[u8; 16]>,
    pub(super) checksum: Option<(Algorithm, Vec<u8>)>,
}

/// Running digests: here, or with a batch in the pool, never both.
#[derive(Debug)]
pub(super) struct Digests {
    here: Box<Running>,
    away: Option<JoinHandle<Box<Running>>>,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

#[derive(Default)]
struct Running {
    sha256: Option<Sha256>,
    md5: Option<Md5>,
    checksum: Option<Hasher>,
}

impl Running {
    fn update(&mut self, batch: &[Bytes]) {
        for bytes in batch {
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(bytes);
            }
            if let Some(md5) = &mut self.md5 {
                md5.update(bytes);
            }
            if let Some(checksum) = &mut self.checksum {
                checksum.update(bytes);
            }
        }
    }

    const fn is_idle(&self) -> bool {
        self.sha256.is_none() && self.md5.is_none() && self.checksum.is_none()
    }
}

impl Digests {
    pub(super) fn new(wanted: Wanted) -> Self {
        let running = Running {
            sha256: wanted.sha256.then(Sha256::new),
            md5: wanted.md5.then(Md5::new),
            checksum: wanted.checksum.map(Hasher::new),
        };
        Self { here: Box::new(running), away: None, batch: Vec::new(), batch_bytes: 0 }
    }

    /// Makes room for the next bytes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub(super) async fn make_room(&mut self) -> Result<(), JoinError> {
        if self.batch_bytes < BATCH_BYTES {
            return Ok(());
        }
        self.come_back().await?;
        let mut running = std::mem::take(&mut self.here);
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.away = Some(tokio::task::spawn_blocking(move || {
            running.update(&batch);
            running
        }));
        Ok(())
    }

    /// Takes the next bytes, after [`Self::make_room`].
    pub(super) fn push(&mut self, bytes: &Bytes) {
        if self.away.is_none() && self.here.is_idle() {
            return;
        }
        self.batch_bytes += bytes.len();
        self.batch.push(bytes.clone());
    }

    /// The digests of all bytes.
    ///
    /// # Errors
    /// As [`Self::make_room`].
    pub(super) async fn finish(&mut self) -> Result<Computed, JoinError> {
        self.come_back().await?;
        let mut running = std::mem::take(&mut self.here);
        running.update(&std::mem::take(&mut self.batch));
        Ok(Computed {
            sha256: running.sha256.map(|sha256| sha256.finalize().into()),
            md5: running.md5.map(|md5| md5.finalize().into()),
            checksum: running.checksum.map(|hasher| (hasher.algorithm(), hasher.finish())),
        })
    }

    async fn come_back(&mut self) -> Result<(), JoinError> {
        if let Some(task) = &mut self.away {
            self.here = task.await?;
            self.away = None;
        }
        Ok(())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Running(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around the batch, in pieces that do and do not divide it.
    #[tokio::test]
    async fn batches_change_nothing() {
        for length in [0, 1, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 3 * BATCH_BYTES + 7] {
            let body: Bytes =
                (0_u32..).map(|number| number.to_le_bytes()[0]).take(length).collect();
            for piece in [1000, BATCH_BYTES, usize::MAX] {
                let wanted = Wanted { sha256: true, md5: true, checksum: Some(Algorithm::Crc32c) };
                let mut digests = Digests::new(wanted);
                for bytes in body.chunks(piece) {
                    digests.make_room().await.unwrap();
                    digests.push(&body.slice_ref(bytes));
                }
                let computed = digests.finish().await.unwrap();
                assert_eq!(computed.sha256, Some(Sha256::digest(&body).into()));
                assert_eq!(computed.md5, Some(Md5::digest(&body).into()));
                let checksum = (Algorithm::Crc32c, Algorithm::Crc32c.digest(&body));
                assert_eq!(computed.checksum, Some(checksum));
            }
        }
    }

    #[tokio::test]
    async fn nothing_wanted_holds_nothing() {
        let mut digests = Digests::new(Wanted::default());
        for _ in 0..3 {
            digests.make_room().await.unwrap();
            digests.push(&Bytes::from(vec![0; BATCH_BYTES]));
        }
        assert!(digests.batch.is_empty() && digests.away.is_none());
    }
}
