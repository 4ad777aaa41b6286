//! A writer of canonical JSON: commas and escapes right by construction, order up to the caller.

/// Largest integer that every JSON reader keeps exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Bytes under construction.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    /// Room for a usual record.
    pub(super) fn new() -> Self {
        Self { out: Vec::with_capacity(1024) }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// The finished bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Begins an object.
    pub(super) fn open(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        self
    }

    /// Ends an object.
    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Begins an array.
    pub(super) fn open_array(&mut self) -> &mut Self {
        self.separate();
        self.out.push(b'[');
        self
    }

    /// Ends an array.
    pub(super) fn close_array(&mut self) {
        self.out.push(b']');
    }

    /// A member's name; names are our own words and need no escapes.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// A string value.
    pub(super) fn text(&mut self, value: &str) {
        self.separate();
        self.out.push(b'"');
        let bytes = value.as_bytes();
        if is_plain(bytes) {
            self.out.extend_from_slice(bytes);
            self.out.push(b'"');
            return;
        }
        let mut plain = 0;
        for (i, byte) in bytes.iter().enumerate() {
            if escaped_len(*byte) == 1 {
                continue;
            }
            self.out.extend_from_slice(&bytes[plain..i]);
            self.escape(*byte);
            plain = i + 1;
        }
        self.out.extend_from_slice(&bytes[plain..]);
        self.out.push(b'"');
    }

    /// An integer, held below 2^53.
    pub(super) fn integer(&mut self, value: u64) {
        self.separate();
        number(value.min(INTEGER_MAX), &mut self.out);
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An empty string whose content comes later; returns where.
    pub(super) fn gap_in_quotes(&mut self) -> usize {
        self.out.extend_from_slice(b"\"\"");
        self.out.len() - 1
    }

    /// A comma, unless this is the first thing in its container or the value of a name.
    fn separate(&mut self) {
        // A value ends in a quote, digit, letter or bracket, so the last byte tells; a gap after `"seq":` is
        // followed by a name, which `name` separates itself.
        let value_follows = matches!(self.out.last(), None | Some(b'{' | b'['));
        let after_name = self.out.last() == Some(&b':') && !self.out.ends_with(b"\"seq\":");
        if !value_follows && !after_name {
            self.out.push(b',');
        }
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                self.out.extend_from_slice(b"\\u00");
                self.out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}

/// Whether every byte is written as it is, as in nearly all strings. Without a branch per byte the compiler makes this
/// one instruction for sixteen of them.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |plain, byte| plain & (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\'))
}

/// How many bytes one byte of a string takes when written.
pub(super) fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Decimal digits without a formatter.
pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
