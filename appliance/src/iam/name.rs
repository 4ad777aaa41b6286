//! Names and secrets, checked once where they enter.

use super::IamError;

const NAME_BYTES_MAX: usize = 128;
const USER_BYTES_MIN: usize = 3;
const SECRET_BYTES_MIN: usize = 8;
const SECRET_BYTES_MAX: usize = 128;

/// Checks the access key of a new user.
pub(super) fn check_user(name: &str) -> Result<(), IamError> {
    check(name, USER_BYTES_MIN, "a user name has 3 to 128 bytes")
}

/// Checks the name of a new group.
pub(super) fn check_group(name: &str) -> Result<(), IamError> {
    check(name, 1, "a group name has 1 to 128 bytes")
}

/// Checks the name of a new policy.
pub(super) fn check_policy(name: &str) -> Result<(), IamError> {
    check(name, 1, "a policy name has 1 to 128 bytes")
}

/// Checks the secret of a user; the text of the error does not repeat it.
pub(super) fn check_secret(secret: &str) -> Result<(), IamError> {
    let rule = if secret.len() < SECRET_BYTES_MIN {
        "shorter than 8 bytes"
    } else if secret.len() > SECRET_BYTES_MAX {
        "longer than 128 bytes"
    } else if secret.chars().any(char::is_control) {
        "control characters"
    } else {
        return Ok(());
    };
    Err(IamError::InvalidSecret { rule })
}

/// `,` separates policy names on the wire and `=` parameters of old commands; a blank at an edge is a typing error; `/`
/// separates parts of an ARN and `:` its fields, `*`, `?` and `$` mean something in patterns and variables.
fn check(name: &str, bytes_min: usize, length_rule: &'static str) -> Result<(), IamError> {
    let rule = if !(bytes_min..=NAME_BYTES_MAX).contains(&name.len()) {
        length_rule
    } else if name.trim() != name {
        "no blanks at the edges"
    } else if name.chars().any(|c| c.is_control() || ",=/:*?$".contains(c)) {
        "no control characters and none of `, = / : * ? $`"
    } else {
        return Ok(());
    };
    Err(IamError::InvalidName { name: name.chars().take(NAME_BYTES_MAX).collect(), rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_mean_something_else_are_refused() {
        for good in ["alice", "a.b@example.org", "Ärzte", "two words", "a-b_c+d"] {
            assert!(check_user(good).is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in
            ["", "ab", " abc", "abc ", "a,b", "a=b", "a/b", "a:b", "a*b", "a\nb", "${x}", &long]
        {
            assert!(check_user(bad).is_err(), "{bad}");
        }
        assert!(check_group("g").is_ok());
        assert!(check_policy("p").is_ok());
    }

    #[test]
    fn secrets_are_bounded() {
        assert!(check_secret("12345678").is_ok());
        for bad in ["1234567", "1234567\u{7}9", &"x".repeat(129)] {
            assert!(check_secret(bad).is_err(), "{bad}");
        }
    }
}
