//! Which root credentials are too weak to start with. There are no default credentials, not even by accident.

use std::fmt;

/// Shortest access key, as clients check it.
const USER_BYTES_MIN: usize = 3;
/// Longest access key or secret; a signature header must stay well within its limit.
const BYTES_MAX: usize = 128;
/// Shortest secret.
const SECRET_BYTES_MIN: usize = 8;

/// Words that a scan of exposed S3 servers tries first. Compared without case and without trailing digits and signs.
const COMMON: &[&str] = &[
    "accesskey",
    "admin",
    "administrator",
    "appliance",
    "baseball",
    "changeit",
    "changeme",
    "compliance",
    "default",
    "dragon",
    "example",
    "football",
    "iloveyou",
    "letmein",
    "master",
    "minio",
    "minioadmin",
    "miniopass",
    "miniopassword",
    "miniosecret",
    "miniostorage",
    "monkey",
    "passphrase",
    "password",
    "passwort",
    "princess",
    "qwerty",
    "qwertyuiop",
    "rootpass",
    "rootpassword",
    "rustfs",
    "rustfsadmin",
    "secret",
    "secretkey",
    "sunshine",
    "superman",
    "test",
    "testing",
    "trustno",
    "welcome",
    "whatever",
];

/// Why a pair of root credentials is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    UserLength,
    UserCharacters,
    SecretShort,
    SecretLong,
    SecretIsUser,
    SecretCommon,
    SecretMonotone,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserLength => "the user must have 3 to 128 bytes",
            Self::UserCharacters => {
                "the user must be printable ASCII without blanks, `/`, `,` and `=`"
            }
            Self::SecretShort => "the secret is shorter than 8 bytes",
            Self::SecretLong => "the secret is longer than 128 bytes",
            Self::SecretIsUser => "the secret equals the user",
            Self::SecretCommon => "the secret is a word that every attacker tries",
            Self::SecretMonotone => "the secret repeats one or two characters, or counts",
        })
    }
}

/// Looks for the first weakness.
pub(super) fn weakness(user: &str, secret: &str) -> Option<Weakness> {
    let forbidden = |b: u8| !b.is_ascii_graphic() || matches!(b, b'/' | b',' | b'=');
    if !(USER_BYTES_MIN..=BYTES_MAX).contains(&user.len()) {
        Some(Weakness::UserLength)
    } else if user.bytes().any(forbidden) {
        Some(Weakness::UserCharacters)
    } else if secret.len() < SECRET_BYTES_MIN {
        Some(Weakness::SecretShort)
    } else if secret.len() > BYTES_MAX {
        Some(Weakness::SecretLong)
    } else if secret.eq_ignore_ascii_case(user) {
        Some(Weakness::SecretIsUser)
    } else if is_common(secret) {
        Some(Weakness::SecretCommon)
    } else if is_monotone(secret) {
        Some(Weakness::SecretMonotone)
    } else {
        None
    }
}

/// `Minioadmin2024!` is `minioadmin`; `p4ssw0rd` is `password`.
fn is_common(secret: &str) -> bool {
    let word = secret.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
    let plain: String = secret
        .to_ascii_lowercase()
        .chars()
        .map(|c| match c {
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            c => c,
        })
        .collect();
    COMMON.contains(&word.as_str()) || COMMON.contains(&plain.as_str())
}

/// `aaaaaaaa`, `abababab`, `12345678`, `87654321`, `abcdefgh`.
fn is_monotone(secret: &str) -> bool {
    let bytes = secret.as_bytes();
    let distinct = bytes.iter().collect::<std::collections::BTreeSet<_>>().len();
    let counts = |step: i16| {
        bytes.windows(2).all(|pair| match pair {
            [a, b] => i16::from(*b) - i16::from(*a) == step || (*a, *b) == (b'9', b'0'),
            _ => true,
        })
    };
    distinct <= 2 || counts(1) || counts(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (user, secret, expected) in [
            ("operator", "correct-horse-battery", None),
            ("minioadmin", "kJ8s-2mQx-91", None),
            ("op", "correct-horse-battery", Some(Weakness::UserLength)),
            ("o p", "correct-horse-battery", Some(Weakness::UserCharacters)),
            ("a/b/c", "correct-horse-battery", Some(Weakness::UserCharacters)),
            ("operator", "short77", Some(Weakness::SecretShort)),
            ("operator", &"x1y2".repeat(33), Some(Weakness::SecretLong)),
            ("operator", "Operator", Some(Weakness::SecretIsUser)),
            ("operator", "minioadmin", Some(Weakness::SecretCommon)),
            ("operator", "MinioAdmin", Some(Weakness::SecretCommon)),
            ("operator", "minioadmin123!", Some(Weakness::SecretCommon)),
            ("operator", "password", Some(Weakness::SecretCommon)),
            ("operator", "P@ssw0rd", Some(Weakness::SecretCommon)),
            ("operator", "changeme2026", Some(Weakness::SecretCommon)),
            ("operator", "aaaaaaaaaa", Some(Weakness::SecretMonotone)),
            ("operator", "abababab", Some(Weakness::SecretMonotone)),
            ("operator", "1234567890", Some(Weakness::SecretMonotone)),
            ("operator", "87654321", Some(Weakness::SecretMonotone)),
        ] {
            assert_eq!(weakness(user, secret), expected, "{user} / {secret}");
        }
    }
}
