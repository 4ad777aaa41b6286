//! What a first run tells: where it is, whom to trust, the credentials once, and three commands to copy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::bootstrap::RootCredentials;

/// Everything that the banner says.
#[derive(Debug)]
pub(super) struct Banner {
    pub(super) endpoint: String,
    /// Absent when the server speaks plain HTTP.
    pub(super) ca_cert: Option<PathBuf>,
    pub(super) data_dir: PathBuf,
    pub(super) region: String,
    pub(super) credentials: Credentials,
    /// Rules of the log that are not the default, in words.
    pub(super) audit_rules: Vec<String>,
    /// This program, as another shell finds it.
    pub(super) program: PathBuf,
}

/// How the reader gets at the root credentials.
#[derive(Debug)]
pub(super) enum Credentials {
    /// A person reads this, once.
    Shown(RootCredentials),
    /// Nobody may be reading; they are in this file.
    Written(PathBuf),
    /// The operator gave them and has them.
    Given,
}

impl Banner {
    /// The text, without colour: it is copied.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\nThe appliance is ready.\n\n");
        let mut fact = |name: &str, value: &str| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "  {name:<14} {value}");
        };
        fact("S3 endpoint", &self.endpoint);
        if let Some(ca) = &self.ca_cert {
            fact("CA", &ca.display().to_string());
            fact("  SHA-256", &fingerprint(ca).unwrap_or_else(|| "unreadable".into()));
        }
        match &self.credentials {
            Credentials::Shown(root) => {
                fact("root user", &root.access_key);
                fact("root secret", &format!("{}   (shown this once)", root.secret_key.as_str()));
            }
            Credentials::Written(path) => fact("root", &path.display().to_string()),
            Credentials::Given => fact("root", "as you gave it"),
        }
        for rule in &self.audit_rules {
            fact("NOT DEFAULT", rule);
        }
        fact("back this up", &self.data_dir.join("config").display().to_string());
        let _ = write!(text, "\nThree commands to begin with:\n\n");
        for command in self.commands() {
            let _ = writeln!(text, "  {command}");
        }
        text.push('\n');
        text
    }

    /// Set the environment; store something; see the record of it.
    fn commands(&self) -> [String; 3] {
        let user = "AWS_ACCESS_KEY_ID";
        let secret = "AWS_SECRET_ACCESS_KEY";
        let keys = match &self.credentials {
            Credentials::Shown(root) => format!(
                "export {user}={} {secret}={}",
                quoted(&root.access_key),
                quoted(&root.secret_key)
            ),
            Credentials::Written(path) => format!(
                ". {} && export {user}=\"$MINIO_ROOT_USER\" {secret}=\"$MINIO_ROOT_PASSWORD\"",
                quoted_path(path)
            ),
            Credentials::Given => {
                format!("export {user}=\"$MINIO_ROOT_USER\" {secret}=\"$MINIO_ROOT_PASSWORD\"")
            }
        };
        let ca = self.ca_cert.as_deref().map(quoted_path);
        let ca = ca.map_or_else(String::new, |path| format!(" AWS_CA_BUNDLE={path}"));
        [
            format!(
                "{keys} AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={}{ca}",
                self.endpoint, self.region
            ),
            "aws s3 mb s3://first && echo hello | aws s3 cp - s3://first/hello.txt".into(),
            format!(
                "{} audit search 'bucket=first' --data-dir {}",
                quoted_path(&self.program),
                quoted_path(&self.data_dir)
            ),
        ]
    }
}

/// SHA-256 of the certificate as `openssl x509 -fingerprint -sha256` prints it.
pub(super) fn fingerprint(path: &Path) -> Option<String> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let pairs: Vec<String> =
        Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect();
    Some(pairs.join(":"))
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn banner(credentials: Credentials) -> Banner {
        Banner {
            endpoint: "https://127.0.0.1:9000".into(),
            ca_cert: Some("/srv/it's/ca.crt".into()),
            data_dir: "/srv/it's".into(),
            region: "us-east-1".into(),
            credentials,
            audit_rules: vec!["audit.data = async (default response)".into()],
            program: "/usr/bin/appliance".into(),
        }
    }

    /// Runs the first command in a shell and prints what it exported.
    fn exported(banner: &Banner) -> String {
        let script = format!(
            "{}\nprintf '%s\\n' \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\" \"$AWS_CA_BUNDLE\" \
             \"$AWS_ENDPOINT_URL\" \"$AWS_DEFAULT_REGION\"",
            banner.commands()[0]
        );
        let output = std::process::Command::new("sh").args(["-euc", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    const EXPECTED: &str =
        "operator\nsecret'\"$x\n/srv/it's/ca.crt\nhttps://127.0.0.1:9000\nus-east-1\n";

    #[test]
    fn shown_credentials_can_be_copied() {
        let root = RootCredentials {
            access_key: "operator".into(),
            secret_key: Zeroizing::new("secret'\"$x".into()),
        };
        let banner = banner(Credentials::Shown(root));
        assert_eq!(exported(&banner), EXPECTED);
        assert!(banner.text().contains("secret'\"$x   (shown this once)"));
        assert!(banner.text().contains("NOT DEFAULT    audit.data = async"));
        assert!(!format!("{banner:?}").contains("secret'"));
    }

    #[test]
    fn written_credentials_are_read_from_their_file_and_not_printed() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "MINIO_ROOT_USER=operator\nMINIO_ROOT_PASSWORD=generated").unwrap();
        let banner = banner(Credentials::Written(file.path().to_owned()));
        assert_eq!(exported(&banner), EXPECTED.replace("secret'\"$x", "generated"));
        assert!(!banner.text().contains("generated"));
    }

    #[test]
    fn the_last_command_searches_the_log_of_this_deployment() {
        let [_, _, search] = banner(Credentials::Given).commands();
        let expected = r"/usr/bin/appliance audit search 'bucket=first' --data-dir '/srv/it'\''s'";
        assert_eq!(search, expected);
    }
}
