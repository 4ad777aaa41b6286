//! Rows of the caller: small values under a namespace, sealed and durable like everything else.

use bytes::Bytes;

use super::{ATTEMPTS_MAX, Outcome, Store};
use crate::error::Error;
use crate::metadata::{Batch, Check, table};

/// Longest namespace.
const NAMESPACE_BYTES_MAX: usize = 64;

/// Longest key.
const KEY_BYTES_MAX: usize = 1024;

/// Longest value.
const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rows of one scan.
const SCAN_ROWS: usize = 1000;

/// Rows that one call returns. IAM of this size is far outside what one machine serves.
const ROWS_MAX: usize = 1_000_000;

impl Store {
    /// The value of a row.
    ///
    /// # Errors
    /// `InvalidArgument` for names over their limits (64 and 1024 bytes, no NUL), here and in the other calls of this file.
    pub async fn row(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, Error> {
        let row = row_key(namespace, key)?;
        self.open_row(&row, self.row_bytes(&row).await?)
    }

    /// Sets a row.
    ///
    /// # Errors
    /// `TooLarge` over 4 MiB.
    pub async fn put_row(&self, namespace: &str, key: &str, value: Bytes) -> Result<(), Error> {
        let row = row_key(namespace, key)?;
        let mut batch = Batch::default();
        batch.put(row.clone(), self.seal_row(&row, value)?);
        self.commit(batch).await.map(drop)
    }

    /// Removes a row; it is no error if there is none.
    ///
    /// # Errors
    /// When the removal is not durable.
    pub async fn delete_row(&self, namespace: &str, key: &str) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.delete(row_key(namespace, key)?);
        self.commit(batch).await.map(drop)
    }

    /// Sets or removes a row if it has the value `expected`.
    ///
    /// # Errors
    /// `RowChanged` when it has another.
    pub async fn swap_row(
        &self,
        namespace: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<Bytes>,
    ) -> Result<(), Error> {
        let row = row_key(namespace, key)?;
        let _turn = self.inner.turns.at(&row).await;
        for _ in 0..ATTEMPTS_MAX {
            let sealed = self.row_bytes(&row).await?;
            if self.open_row(&row, sealed.clone())?.as_deref() != expected {
                return Err(Error::RowChanged);
            }
            let mut batch = Batch::default();
            batch.checks.push(Check::Is(row.clone(), sealed));
            match value.clone() {
                Some(value) => batch.put(row.clone(), self.seal_row(&row, value)?),
                None => batch.delete(row.clone()),
            }
            // The same value sealed anew is another row: look again before giving up.
            if self.commit(batch).await? == Outcome::Done {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// All rows of a namespace whose keys start with `prefix`, in order.
    ///
    /// # Errors
    /// `TooLarge` beyond a million rows.
    pub async fn scan_rows(
        &self,
        namespace: &str,
        prefix: &str,
    ) -> Result<Vec<(String, Bytes)>, Error> {
        row_key(namespace, "")?;
        let mut range = table::namespace(namespace, prefix);
        let mut rows = Vec::new();
        loop {
            let page = self.metadata().scan(range.clone(), SCAN_ROWS).await?;
            for (row, sealed) in &page {
                let key = table::field(row, 1).ok_or(Error::Damaged("a row key"))?;
                rows.push((key.to_owned(), self.seal().open(row, sealed)?.into()));
            }
            if rows.len() > ROWS_MAX {
                return Err(Error::TooLarge { what: "a scan", limit: ROWS_MAX as u64 });
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN_ROWS => {
                    range.start = [last, &b"\0"[..]].concat();
                }
                _ => return Ok(rows),
            }
        }
    }

    fn open_row(&self, row: &[u8], sealed: Option<Bytes>) -> Result<Option<Bytes>, Error> {
        sealed.map(|sealed| Ok(self.seal().open(row, &sealed)?.into())).transpose()
    }

    fn seal_row(&self, row: &[u8], value: Bytes) -> Result<Bytes, Error> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::TooLarge { what: "a row", limit: VALUE_BYTES_MAX as u64 });
        }
        self.seal().seal(row, value.into())
    }
}

fn row_key(namespace: &str, key: &str) -> Result<Bytes, Error> {
    let good = !namespace.is_empty()
        && namespace.len() <= NAMESPACE_BYTES_MAX
        && key.len() <= KEY_BYTES_MAX
        && !namespace.contains('\0')
        && !key.contains('\0');
    if !good {
        return Err(Error::InvalidArgument("the name of a row"));
    }
    Ok(table::namespaced(namespace, key))
}
