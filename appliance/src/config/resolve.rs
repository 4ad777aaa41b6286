//! From text to meaning: every value parsed once, every rule between values checked here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::durable::COPIES_MAX;
use storage::BucketName;
use zeroize::Zeroizing;

use super::audit_rules::{AuditRules, rule_of, strict_of};
use super::raw::{Origin, Written};
use super::{
    AuditOpen, ConfigError, Declared, Limits, LogFormat, MetricsAccess, Resolved, RootCredentials,
    Transport, drives, secret, siem,
};
use crate::kms::Imported;
use crate::siem::Secret;
use crate::{archive, cloudtrail};

/// Longest duration that a limit may have: one day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const DAYS_OF_YEAR: u64 = 366;
/// Longest retention: a century.
const RETENTION_DAYS_MAX: u64 = 100 * DAYS_OF_YEAR;
/// Largest count that a limit may have; beyond it the machine ends first.
const COUNT_MAX: usize = 1 << 20;

pub(super) fn resolve(written: &Written) -> Result<Resolved, ConfigError> {
    let data_dir = PathBuf::from(written.text("data_dir").0);
    let config_dir = data_dir.join("config");
    let address = parsed(written, "address", address_of)?;
    let transport = match parsed(written, "no_tls", bool_of)? {
        false => Transport::Tls,
        true if address.ip().is_loopback() => Transport::PlainLoopback,
        true => return Err(ConfigError::PlainBeyondLoopback { address }),
    };
    Ok(Resolved {
        drives: drives_of(written, &data_dir)?,
        certs_dir: path_or(written, "certs_dir", config_dir.join("certs")),
        guardrails_dir: path_or(written, "guardrails_dir", config_dir.join("guardrails")),
        data_dir,
        address,
        transport,
        region: parsed(written, "region", region_of)?,
        root: root_of(written)?,
        domains: domains_of(written)?,
        kms_secret_key: parsed(written, "kms.secret_key", secret_key_of)?,
        audit_rules: rules_of(written)?,
        audit_wait: parsed(written, "audit.wait", duration_of)?,
        audit_retention: parsed(written, "audit.retention", retention_of)?,
        audit_open: parsed(written, "audit.open", |text| {
            let options = [
                ("nothing", AuditOpen::Nothing),
                ("hashes", AuditOpen::Hashes),
                ("records", AuditOpen::Records),
            ];
            choice(text, &options)
        })?,
        archive: archive_of(written)?,
        cloudtrail: cloudtrail_of(written)?,
        audit_mirrors: mirrors_of(written)?,
        otlp_endpoint: parsed(written, "telemetry.otlp_endpoint", endpoint_of)?,
        log_format: parsed(written, "telemetry.log_format", |text| {
            choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        })?,
        metrics: parsed(written, "telemetry.metrics", |text| {
            choice(text, &[("public", MetricsAccess::Public), ("off", MetricsAccess::Off)])
        })?,
        siem: siem::resolve(&written.siem)?,
        declared: Declared::of(written),
        limits: Limits {
            connections: parsed(written, "limits.connections", count_of)?,
            concurrent_requests: parsed(written, "limits.concurrent_requests", count_of)?,
            handshake_timeout: parsed(written, "limits.handshake_timeout", duration_of)?,
            header_timeout: parsed(written, "limits.header_timeout", duration_of)?,
            body_idle_timeout: parsed(written, "limits.body_idle_timeout", duration_of)?,
            drain_timeout: parsed(written, "limits.drain_timeout", duration_of)?,
        },
    })
}

/// Parses one value; a problem carries the key and where it was written.
fn parsed<T>(
    written: &Written,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let (text, origin) = written.text(name);
    parse(text).map_err(|problem| ConfigError::Value { name, origin: origin.clone(), problem })
}

fn path_or(written: &Written, name: &str, default: PathBuf) -> PathBuf {
    match written.text(name).0 {
        "" => default,
        text => PathBuf::from(text),
    }
}

fn drives_of(written: &Written, data_dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let (arguments, origin) = written.list("drives");
    if arguments.is_empty() {
        return Ok((1..=4).map(|number| data_dir.join(format!("drive{number}"))).collect());
    }
    drives::expand(arguments).map_err(|problem| ConfigError::Value {
        name: "drives",
        origin: origin.clone(),
        problem,
    })
}

fn rules_of(written: &Written) -> Result<AuditRules, ConfigError> {
    for (name, why) in [
        ("audit.kms", "a key is not used before the log knows"),
        ("audit.authn", "who could not be authenticated is answered when the log knows"),
        ("audit.admin", "the admin API changes who may do what"),
        ("audit.query", "who reads the log is in the log first"),
    ] {
        parsed(written, name, |text| strict_of(text, why))?;
    }
    Ok(AuditRules {
        data: parsed(written, "audit.data", rule_of)?,
        mgmt: parsed(written, "audit.mgmt", rule_of)?,
    })
}

fn mirrors_of(written: &Written) -> Result<Vec<PathBuf>, ConfigError> {
    let (texts, origin) = written.list("audit.mirrors");
    let mirrors: Vec<PathBuf> = texts.iter().map(PathBuf::from).collect();
    let mut sorted = mirrors.clone();
    sorted.sort();
    sorted.dedup();
    let most = COPIES_MAX - 1;
    let problem = if mirrors.len() > most {
        format!("more than {most} directories")
    } else if sorted.len() < mirrors.len() {
        "a directory is named twice".to_owned()
    } else {
        return Ok(mirrors);
    };
    Err(ConfigError::Value { name: "audit.mirrors", origin: origin.clone(), problem })
}

/// A retention in days, weeks or years; a year has 366 days, so that no leap year makes it too short.
fn retention_of(text: &str) -> Result<Option<Duration>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let problem = || format!("`{text}` is no retention from 1d to 100y; write 400d, 52w or 6y");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(problem)?;
    let number: u64 = number.parse().map_err(|_| problem())?;
    let days = match unit {
        "d" => Some(number),
        "w" => number.checked_mul(7),
        "y" => number.checked_mul(DAYS_OF_YEAR),
        _ => None,
    };
    let days = days.filter(|days| (1..=RETENTION_DAYS_MAX).contains(days)).ok_or_else(problem)?;
    Ok(Some(Duration::from_secs(days * 24 * 60 * 60)))
}

fn archive_of(written: &Written) -> Result<Option<archive::Settings>, ConfigError> {
    let lock = parsed(written, "audit.archive.lock", retention_of)?;
    let address = parsed(written, "audit.archive.url", |text| match text {
        "" => Ok(None),
        text => archive::Address::parse(text).map(Some),
    })?;
    let Some(address) = address else { return Ok(None) };
    let needed = |name| {
        parsed(written, name, |text| match text {
            "" => Err("an archive needs it".to_owned()),
            text => Ok(text.to_owned()),
        })
    };
    let ca = written.text("audit.archive.ca").0;
    Ok(Some(archive::Settings {
        address,
        region: parsed(written, "audit.archive.region", region_of)?,
        access_key: needed("audit.archive.access_key")?,
        secret_key: Secret::new(needed("audit.archive.secret_key")?),
        ca: Some(PathBuf::from(ca)).filter(|_| !ca.is_empty()),
        lock,
    }))
}

fn cloudtrail_of(written: &Written) -> Result<Option<cloudtrail::Settings>, ConfigError> {
    let period = parsed(written, "audit.cloudtrail.period", |text| {
        let period = duration_of(text)?;
        match period.subsec_nanos() {
            0 => Ok(period),
            _ => Err(format!("`{text}` is not whole seconds")),
        }
    })?;
    parsed(written, "audit.cloudtrail.bucket", |text| match text {
        "" => Ok(None),
        text => {
            let bucket = BucketName::parse(text).map_err(|error| error.to_string())?;
            Ok(Some(cloudtrail::Settings { bucket, period }))
        }
    })
}

fn root_of(written: &Written) -> Result<Option<RootCredentials>, ConfigError> {
    let (user, _) = written.text("root_user");
    let (password, origin) = written.text("root_password");
    match (user, password) {
        ("", "") => Ok(None),
        ("", _) => Err(ConfigError::HalfRoot { missing: "root_user" }),
        (_, "") => Err(ConfigError::HalfRoot { missing: "root_password" }),
        (user, password) => match secret::weakness(user, password) {
            Some(weakness) => {
                Err(ConfigError::WeakRoot { origin: Origin::clone(origin), weakness })
            }
            None => Ok(Some(RootCredentials {
                access_key: user.to_owned(),
                secret_key: Zeroizing::new(password.to_owned()),
            })),
        },
    }
}

/// `127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`, and `:9000` for every address of the machine. No DNS: a listener
/// that depends on a name server at start fails at the worst time.
fn address_of(text: &str) -> Result<SocketAddr, String> {
    let problem = || format!("`{text}` is no address; write IP:PORT, localhost:PORT or :PORT");
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let port: u16 = port.parse().map_err(|_| problem())?;
    match host {
        "" => Ok((Ipv6Addr::UNSPECIFIED, port).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(problem()),
    }
}

fn region_of(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match text.len() {
        1..=64 if text.bytes().all(fits) => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no region; use lower-case letters, digits and `-`")),
    }
}

/// Names such as `s3.example.com`; a comma separates them too, as in `MINIO_DOMAIN`.
fn domains_of(written: &Written) -> Result<Vec<String>, ConfigError> {
    let (arguments, origin) = written.list("domains");
    let names = arguments.iter().flat_map(|text| text.split(',')).map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = name.to_ascii_lowercase();
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let labels = name.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(fits)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
            // An address such as 127.0.0.1 reads like a name; a bucket below it could never be reached.
            let named = name.rsplit('.').next().is_some_and(|last| last.parse::<u32>().is_err());
            if labels && named && name.len() <= 189 {
                return Ok(name);
            }
            let problem = format!("`{name}` is no domain; write s3.example.com");
            Err(ConfigError::Value { name: "domains", origin: origin.clone(), problem })
        })
        .collect()
}

fn secret_key_of(text: &str) -> Result<Option<Arc<Imported>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    // The error repeats nothing of the key.
    let imported = Imported::parse(text).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(imported)))
}

fn endpoint_of(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        text if text.starts_with("http://") => Ok(Some(text.trim_end_matches('/').to_owned())),
        // Said here and not by an exporter that fails quietly all day: a collector beside us adds TLS.
        text => {
            Err(format!("`{text}` is no http:// address; spans go to a collector in plain HTTP"))
        }
    }
}

pub(super) fn bool_of(text: &str) -> Result<bool, String> {
    choice(
        text,
        &[
            ("true", true),
            ("on", true),
            ("1", true),
            ("false", false),
            ("off", false),
            ("0", false),
        ],
    )
}

pub(super) fn count_of(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=COUNT_MAX) => Ok(count),
        _ => Err(format!("`{text}` is no whole number from 1 to {COUNT_MAX}")),
    }
}

/// `250ms`, `10s`, `2m`, `1h`.
pub(super) fn duration_of(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is no duration from 1ms to 24h; write 250ms, 10s, 2m or 1h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(problem)?;
    let number: u64 = number.parse().map_err(|_| problem())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(problem()),
    };
    let duration = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(problem)?);
    if duration.is_zero() || duration > DURATION_MAX { Err(problem()) } else { Ok(duration) }
}

pub(super) fn choice<T: Copy>(text: &str, options: &[(&str, T)]) -> Result<T, String> {
    options.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is none of {}", words.join(", "))
    })
}
