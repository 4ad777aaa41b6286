//! Requirements on request bodies. Chunk signatures come from AWS's published examples and from `aws-sigv4`.

mod chunks;
mod payloads;
mod wire;
