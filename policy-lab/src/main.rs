//! Reviews policies before they are attached.
fn main() {}
