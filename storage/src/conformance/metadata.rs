//! What every implementation of rows does.

use bytes::Bytes;
use futures::future::join_all;

use crate::drive::KeyRange;
use crate::error::Error;
use crate::metadata::{Batch, Check, CommitError, KEY_BYTES_MAX, Metadata, VALUE_BYTES_MAX};

/// Runs the suite. The rows may hold others; all of the suite's begin with `~`.
///
/// # Errors
/// When the rows fail; where they break the contract, this panics.
pub async fn metadata(rows: &dyn Metadata) -> Result<(), Error> {
    writes_are_seen(rows).await?;
    checks_are_all_or_nothing(rows).await?;
    scans_are_ordered_and_bounded(rows).await?;
    one_of_many_wins(rows).await?;
    batches_are_bounded(rows).await
}

async fn writes_are_seen(rows: &dyn Metadata) -> Result<(), Error> {
    assert_eq!(commit(rows, &[], &[("~a", Some("1")), ("~b", Some("2"))]).await, Ok(()));
    assert_eq!(get(rows, "~a").await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(commit(rows, &[], &[("~a", Some("3")), ("~b", None)]).await, Ok(()));
    assert_eq!(get(rows, "~a").await?.as_deref(), Some(&b"3"[..]));
    assert_eq!(get(rows, "~b").await?, None);
    // Within a batch the last write of a row stands.
    assert_eq!(commit(rows, &[], &[("~a", None), ("~a", Some(""))]).await, Ok(()));
    assert_eq!(get(rows, "~a").await?.as_deref(), Some(&b""[..]), "empty is not absent");
    assert_eq!(commit(rows, &[], &[]).await, Ok(()), "an empty batch");
    Ok(())
}

async fn checks_are_all_or_nothing(rows: &dyn Metadata) -> Result<(), Error> {
    assert_eq!(commit(rows, &[], &[("~c", Some("1"))]).await, Ok(()));
    let is = |key, value: Option<&'static str>| Check::Is(bytes(key), value.map(bytes));
    let cases = [
        (vec![is("~c", Some("1")), is("~d", None)], None),
        (vec![is("~c", Some("1")), is("~c", Some("2"))], Some(1)),
        (vec![is("~c", None)], Some(0)),
        (vec![Check::Present(bytes("~c"))], None),
        (vec![Check::Present(bytes("~d"))], Some(0)),
        (vec![Check::Empty(range("~c", "~d"))], Some(0)),
        (vec![Check::Empty(range("~d", "~e"))], None),
        (vec![Check::Empty(range("~d", "~c"))], None),
    ];
    for (number, (checks, failed)) in cases.into_iter().enumerate() {
        let key = format!("~check/{number}");
        let committed = commit(rows, &checks, &[(&key, Some("x"))]).await;
        assert_eq!(committed.err(), failed, "{checks:?}");
        assert_eq!(get(rows, &key).await?.is_some(), failed.is_none(), "{checks:?}");
    }
    Ok(())
}

async fn scans_are_ordered_and_bounded(rows: &dyn Metadata) -> Result<(), Error> {
    let keys = ["~s/b", "~s/a", "~s/\u{0}", "~s/a\u{0}", "~s/\u{10ffff}", "~s"];
    let writes: Vec<_> = keys.iter().map(|key| (*key, Some(*key))).collect();
    assert_eq!(commit(rows, &[], &writes).await, Ok(()));
    let mut expected: Vec<_> = keys.iter().map(|key| bytes(key)).collect();
    expected.sort();
    let found = rows.scan(range("~s", "~t"), 100).await?;
    assert!(found.iter().all(|(key, value)| key == value));
    assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
    let found = rows.scan(range("~s/a", "~s/b"), 100).await?;
    assert_eq!(found.len(), 2, "from inclusive, to exclusive");
    assert_eq!(rows.scan(range("~s", "~t"), 2).await?.len(), 2);
    assert!(rows.scan(range("~s", "~t"), 0).await?.is_empty());
    assert!(rows.scan(range("~t", "~s"), 9).await?.is_empty());
    Ok(())
}

/// Twenty tasks count to a hundred together with compare-and-set.
async fn one_of_many_wins(rows: &dyn Metadata) -> Result<(), Error> {
    let increment = || async {
        for _ in 0..5 {
            loop {
                let old = get(rows, "~n").await?;
                let count = old.as_ref().map_or(0, |old| old.len());
                let new = "x".repeat(count + 1);
                let check = Check::Is(bytes("~n"), old);
                if commit(rows, &[check], &[("~n", Some(&new))]).await.is_ok() {
                    break;
                }
            }
        }
        Ok::<_, Error>(())
    };
    for done in join_all((0..20).map(|_| increment())).await {
        done?;
    }
    assert_eq!(get(rows, "~n").await?.map(|value| value.len()), Some(100));
    Ok(())
}

async fn batches_are_bounded(rows: &dyn Metadata) -> Result<(), Error> {
    for (key, value) in [(KEY_BYTES_MAX + 1, 1), (1, VALUE_BYTES_MAX + 1)] {
        let mut batch = Batch::default();
        batch.put(vec![b'~'; key].into(), vec![0; value].into());
        assert!(matches!(rows.commit(batch).await, Err(CommitError::TooLarge { .. })));
    }
    Ok(())
}

/// Commits, and says which check failed; any other failure is a failure of the suite.
async fn commit(
    rows: &dyn Metadata,
    checks: &[Check],
    writes: &[(&str, Option<&str>)],
) -> Result<(), usize> {
    let mut batch = Batch { checks: checks.to_vec(), ..Batch::default() };
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(bytes(key), bytes(value)),
            None => batch.delete(bytes(key)),
        }
    }
    match rows.commit(batch).await {
        Err(CommitError::Check(number)) => Err(number),
        other => {
            assert!(other.is_ok(), "{other:?}");
            Ok(())
        }
    }
}

async fn get(rows: &dyn Metadata, key: &str) -> Result<Option<Bytes>, Error> {
    Ok(rows.get(key.as_bytes()).await?)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn range(start: &str, end: &str) -> KeyRange {
    KeyRange { start: start.into(), end: end.into() }
}
