//! Requirements on request authentication, each by its name. Expected signatures come from AWS's published examples
//! and from another author's signer, never from the code under test.

mod oracle;
mod requirements;
mod signer;
mod vectors;
