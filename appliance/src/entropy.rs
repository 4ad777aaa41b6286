//! Random bytes that tell names of records and requests apart.
//!
//! They are fetched from the operating system many at a time: a call for ten bytes costs as much as encoding a record,
//! and each small read needs three. No secret is made of them.

use std::sync::{Mutex, PoisonError};

/// Bytes of one call, for some twenty requests.
const STOCK_BYTES: usize = 512;

/// A stock of bytes, each given out once.
#[derive(Debug)]
pub(crate) struct Entropy(Mutex<Stock>);

#[derive(Debug)]
struct Stock {
    bytes: [u8; STOCK_BYTES],
    /// As many, from the beginning, were not given out.
    left: usize,
}

impl Entropy {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Stock { bytes: [0; STOCK_BYTES], left: 0 }))
    }

    /// The next bytes, at most a stock of them. Without any from the operating system they are zeros: a name is less
    /// unique then, never unsafe.
    pub(crate) fn take<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= STOCK_BYTES, "a stock holds them") };
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.left < N {
            if !fill(&mut stock.bytes) {
                return [0; N];
            }
            stock.left = STOCK_BYTES;
        }
        let Stock { bytes, left } = &mut *stock;
        let next = bytes.get(..*left).and_then(<[u8]>::last_chunk);
        *left -= N;
        next.copied().unwrap_or([0; N])
    }
}

/// Bytes for a single name.
pub(crate) fn once<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if fill(&mut bytes) { bytes } else { [0; N] }
}

fn fill(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes)
        .inspect_err(
            |error| tracing::error!(%error, "the operating system gave no random bytes for an id"),
        )
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_given_out_twice() {
        let entropy = Entropy::new();
        let names: HashSet<[u8; 10]> = (0..1000).map(|_| entropy.take()).collect();
        assert_eq!(names.len(), 1000);
        // Ten bytes do not go into a stock without rest; what is left of one is no part of the next name.
        let whole: [u8; STOCK_BYTES] = entropy.take();
        let next: [u8; STOCK_BYTES] = entropy.take();
        assert_ne!(whole, next);
        assert!(whole.iter().any(|byte| *byte != 0));
    }
}
