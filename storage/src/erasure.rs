//! Erasure coding: a blob survives the loss of as many drives as it has parity shards.
//!
//! [`layout`] is the arithmetic, [`codec`] the mathematics over a fast [`field`], [`stripe`] the blocks with their hashes.

pub mod codec;
pub mod field;
pub mod layout;
pub mod stripe;
