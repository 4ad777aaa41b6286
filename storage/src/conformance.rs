//! The contracts of [`Metadata`](crate::metadata::Metadata) and [`Blobs`](crate::blobs::Blobs) as functions: an
//! implementation is one when it runs them to the end. They panic where a contract is broken.

mod blobs;
mod metadata;

pub use blobs::blobs;
pub use metadata::metadata;
