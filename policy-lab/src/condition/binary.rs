//! `BinaryEquals`: the policy holds base64, the request the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| format!("`{text}` is not base64"))
}
