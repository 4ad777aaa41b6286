//! Encryption of objects: whose key, sealed how, and the stream that it encrypts.
//!
//! KMS key → sealed data key of one object ([`key`], [`envelope`]) → subkey of one part → packages ([`stream`]).

pub mod envelope;
pub mod key;
pub mod stream;
