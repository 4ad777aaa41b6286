//! The line that ends a batch.
#![deny(clippy::indexing_slicing)]

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{stamp, tree::Hash};

use super::BLOCK_BYTES;

/// What a batch claims about itself and everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Chain value of the batch's last record.
    pub chain: Hash,
    /// CRC-32C of the batch's bytes before this line.
    pub crc: u32,
    /// Records in the batch.
    pub n: u64,
    /// Root of the tree over all records up to here.
    pub root: Hash,
    /// Number of records up to here.
    pub size: u64,
    /// Time of the batch's last record in microseconds.
    pub time_us: u64,
}

impl Control {
    /// The line with its padding, for a batch that begins on a boundary and has `batch_bytes` before this line.
    pub fn line(&self, batch_bytes: usize) -> Vec<u8> {
        let mut line = format!(
            r#"{{"_c":{{"chain":"{}","crc":"{:08x}","n":{},"root":"{}","size":{},"t":"{}"}}}}"#,
            hex::encode(self.chain),
            self.crc,
            self.n,
            STANDARD.encode(self.root),
            self.size,
            stamp::string(self.time_us),
        )
        .into_bytes();
        let end = (batch_bytes + line.len() + 1).next_multiple_of(BLOCK_BYTES);
        line.resize(end - batch_bytes - 1, b' ');
        line.push(b'\n');
        line
    }

    /// Reads a line with or without its padding; says nothing about whether the claims hold.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.trim_end_matches([' ', '\n']);
        let rest = text.strip_prefix(r#"{"_c":{"chain":""#)?;
        let (chain, rest) = rest.split_once(r#"","crc":""#)?;
        let (crc, rest) = rest.split_once(r#"","n":"#)?;
        let (n, rest) = rest.split_once(r#","root":""#)?;
        let (root, rest) = rest.split_once(r#"","size":"#)?;
        let (size, rest) = rest.split_once(r#","t":""#)?;
        let time = rest.strip_suffix(r#""}}"#)?;
        Some(Self {
            chain: hex::decode(chain).ok()?.try_into().ok()?,
            crc: u32::from_str_radix(crc, 16).ok()?,
            n: n.parse().ok()?,
            root: STANDARD.decode(root).ok()?.try_into().ok()?,
            size: size.parse().ok()?,
            time_us: stamp::parse(time.as_bytes())?,
        })
    }
}
