//! Every key of the configuration, once: its name in the file, its environment variables, its default, its meaning.

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// The name in the file; a dot enters a table.
    pub name: &'static str,
    /// Environment variables in order of precedence; the first is ours, the others are names that operators already have.
    pub environment: &'static [&'static str],
    /// The text of the default; empty when absence means something.
    pub default: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

/// What a key's text may look like before it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Single,
    /// A TOML array, or words separated by blanks in the environment.
    List,
    /// Never shown, and may be given as the path of a file (`…_FILE`).
    Secret,
}

/// In the order in which `config show` prints them.
pub const KEYS: &[Key] = &[
    key(
        "data_dir",
        &["APPLIANCE_DATA_DIR"],
        "./appliance-data",
        "configuration, audit log and default drives",
    ),
    Key {
        name: "drives",
        environment: &["APPLIANCE_DRIVES", "MINIO_VOLUMES"],
        default: "",
        kind: Kind::List,
        doc: "drive directories, ellipses allowed; DATA_DIR/drive{1...4} when empty",
    },
    key(
        "address",
        &["APPLIANCE_ADDRESS", "MINIO_ADDRESS"],
        "127.0.0.1:9000",
        "S3 listener, HOST:PORT; port 0 lets the system choose",
    ),
    key(
        "certs_dir",
        &["APPLIANCE_CERTS_DIR"],
        "",
        "certificates in MinIO's layout; DATA_DIR/config/certs when empty",
    ),
    key(
        "region",
        &["APPLIANCE_REGION", "MINIO_SITE_REGION", "MINIO_REGION", "MINIO_REGION_NAME"],
        "us-east-1",
        "the region that clients sign for",
    ),
    secret(
        "root_user",
        &["APPLIANCE_ROOT_USER", "MINIO_ROOT_USER"],
        "access key of the root user; generated when empty",
    ),
    secret(
        "root_password",
        &["APPLIANCE_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD"],
        "secret key of the root user; generated when empty",
    ),
    key(
        "guardrails_dir",
        &["APPLIANCE_GUARDRAILS_DIR"],
        "",
        "Rego files that may only deny; DATA_DIR/config/guardrails when empty",
    ),
    Key {
        name: "domains",
        environment: &["APPLIANCE_DOMAINS", "MINIO_DOMAIN"],
        default: "",
        kind: Kind::List,
        doc: "domains below which a host name names a bucket: bucket.DOMAIN",
    },
    secret(
        "kms.secret_key",
        &["APPLIANCE_KMS__SECRET_KEY", "MINIO_KMS_SECRET_KEY"],
        "NAME:BASE64 of 32 bytes; imported, and the default key from then on",
    ),
    key("no_tls", &["APPLIANCE_NO_TLS"], "false", "plain HTTP, loopback only"),
    key(
        "audit.data",
        &["APPLIANCE_AUDIT__DATA"],
        "response",
        "reads of objects: strict, response, async; changes are strict",
    ),
    key(
        "audit.mgmt",
        &["APPLIANCE_AUDIT__MGMT"],
        "strict",
        "reads of buckets, listings too: strict, response, async; changes are strict",
    ),
    key("audit.kms", &["APPLIANCE_AUDIT__KMS"], "strict", "key use: strict"),
    key("audit.authn", &["APPLIANCE_AUDIT__AUTHN"], "strict", "failed authentication: strict"),
    key("audit.admin", &["APPLIANCE_AUDIT__ADMIN"], "strict", "calls of the admin API: strict"),
    key("audit.query", &["APPLIANCE_AUDIT__QUERY"], "strict", "questions to the log: strict"),
    key(
        "audit.wait",
        &["APPLIANCE_AUDIT__WAIT"],
        "5s",
        "a request whose record is not durable by then is answered 503 SlowDown",
    ),
    key(
        "audit.retention",
        &["APPLIANCE_AUDIT__RETENTION"],
        "",
        "how long records stay before two people may prune them, such as 400d or 6y; for ever when empty",
    ),
    key(
        "audit.open",
        &["APPLIANCE_AUDIT__OPEN"],
        "nothing",
        "what of the log under /_/log/ needs no credentials: nothing, hashes (and checkpoints), or records too",
    ),
    key(
        "audit.archive.url",
        &["APPLIANCE_AUDIT__ARCHIVE__URL"],
        "",
        "https://HOST[:PORT]/BUCKET[/PREFIX] of any S3 store, for copies of finished segments; none are made when empty",
    ),
    key(
        "audit.archive.access_key",
        &["APPLIANCE_AUDIT__ARCHIVE__ACCESS_KEY"],
        "",
        "whose key signs requests to the archive",
    ),
    secret("audit.archive.secret_key", &["APPLIANCE_AUDIT__ARCHIVE__SECRET_KEY"], "its secret"),
    key(
        "audit.archive.region",
        &["APPLIANCE_AUDIT__ARCHIVE__REGION"],
        "us-east-1",
        "the region that the archive's signatures name",
    ),
    key(
        "audit.archive.ca",
        &["APPLIANCE_AUDIT__ARCHIVE__CA"],
        "",
        "the only authorities to trust for the archive; those of the system and of CAs/ when empty",
    ),
    key(
        "audit.archive.lock",
        &["APPLIANCE_AUDIT__ARCHIVE__LOCK"],
        "",
        "how long a copy is locked (COMPLIANCE), such as 6y, where the bucket has object lock; not at all when empty",
    ),
    key(
        "audit.cloudtrail.bucket",
        &["APPLIANCE_AUDIT__CLOUDTRAIL__BUCKET"],
        "",
        "bucket for log and digest files in AWS CloudTrail's form; none are written when empty",
    ),
    key(
        "audit.cloudtrail.period",
        &["APPLIANCE_AUDIT__CLOUDTRAIL__PERIOD"],
        "1h",
        "whole seconds from one CloudTrail digest to the next",
    ),
    Key {
        name: "siem",
        environment: &[],
        default: "",
        kind: Kind::List,
        doc: "receivers of the audit log: [[siem]] blocks, and MINIO_AUDIT_WEBHOOK_*",
    },
    Key {
        name: "audit.mirrors",
        environment: &["APPLIANCE_AUDIT__MIRRORS"],
        default: "",
        kind: Kind::List,
        doc: "one or two more directories, on other drives, that hold the whole audit log as well",
    },
    key(
        "telemetry.otlp_endpoint",
        &["APPLIANCE_TELEMETRY__OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        "",
        "base address of an OTLP/HTTP receiver; no export when empty",
    ),
    key(
        "telemetry.log_format",
        &["APPLIANCE_TELEMETRY__LOG_FORMAT"],
        "text",
        "text or json, on stderr",
    ),
    key(
        "telemetry.metrics",
        &["APPLIANCE_TELEMETRY__METRICS"],
        "off",
        "public: anyone may read the metrics page; off: nobody",
    ),
    key("limits.connections", &["APPLIANCE_LIMITS__CONNECTIONS"], "4096", "open connections"),
    key(
        "limits.concurrent_requests",
        &["APPLIANCE_LIMITS__CONCURRENT_REQUESTS", "MINIO_API_REQUESTS_MAX"],
        "1024",
        "requests in work; more are answered SlowDown",
    ),
    key(
        "limits.handshake_timeout",
        &["APPLIANCE_LIMITS__HANDSHAKE_TIMEOUT"],
        "10s",
        "from accept to a finished TLS handshake",
    ),
    key(
        "limits.header_timeout",
        &["APPLIANCE_LIMITS__HEADER_TIMEOUT"],
        "15s",
        "for a whole request head",
    ),
    key(
        "limits.body_idle_timeout",
        &["APPLIANCE_LIMITS__BODY_IDLE_TIMEOUT"],
        "60s",
        "between two pieces of a request body",
    ),
    key(
        "limits.drain_timeout",
        &["APPLIANCE_LIMITS__DRAIN_TIMEOUT"],
        "30s",
        "from the stop signal until open requests are cut",
    ),
];

/// Variables that begin with `APPLIANCE_` and are no keys.
pub(super) const OTHER_VARIABLES: &[&str] = &["APPLIANCE_CONFIG", "APPLIANCE_LOG"];

/// Finds a key by its name in the file.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const fn key(
    name: &'static str,
    environment: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, environment, default, kind: Kind::Single, doc }
}

const fn secret(
    name: &'static str,
    environment: &'static [&'static str],
    doc: &'static str,
) -> Key {
    Key { name, environment, default: "", kind: Kind::Secret, doc }
}
