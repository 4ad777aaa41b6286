//! Keys that seal the data keys of objects: the embedded keystore and the decorator that records every use.
//!
//! [`Local`] is the default key service. [`Audited`] wraps whichever is configured and is the only way in which a
//! request reaches it: a key operation that is not in the log does not exist.

mod audited;
mod customer;
mod keystore;
mod local;
mod seal;

pub use self::audited::Audited;
pub use self::customer::{CUSTOMER_KEY, CustomerKey};
pub use self::keystore::KeystoreError;
pub use self::local::{DEFAULT_KEY, Imported, KeyInfo, Local};

/// A key service that can say which key it takes when nobody names one.
pub trait Keys: storage::KeyService {
    /// The name of that key now.
    fn default_key(&self) -> String;
}

#[cfg(test)]
pub(crate) mod tests;
