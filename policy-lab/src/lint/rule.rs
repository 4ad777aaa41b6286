//! Every code there is, with its weight and one sentence.

/// How grave a finding is; the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// A part of the policy cannot work.
    Error,
    /// The policy gives more than it seems to, or what nobody should have.
    SecurityWarning,
    /// A part of the policy does not do what it says.
    Warning,
    /// The same could be said better.
    Suggestion,
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::SecurityWarning => "security",
            Self::Warning => "warning",
            Self::Suggestion => "suggestion",
        }
    }
}

/// One thing that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub code: &'static str,
    pub severity: Severity,
    pub about: &'static str,
}

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $about:literal;)*) => {
        $(pub(super) static $name: Rule =
            Rule { code: $code, severity: Severity::$severity, about: $about };)*
        /// All rules, sorted by code.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    ALLOW_EVERYTHING "ALLOW-EVERYTHING" SecurityWarning "Every action on every resource is allowed.";
    ALLOW_NEVER_FIRES "ALLOW-NEVER-FIRES" Warning "No request meets the Allow: it grants nothing.";
    ALLOW_NOT_ACTION "ALLOW-NOTACTION" SecurityWarning "Allow with NotAction grants actions of every service, also future ones.";
    ALLOW_NOT_RESOURCE "ALLOW-NOTRESOURCE" SecurityWarning "Allow with NotResource grants every other resource, also future ones.";
    ALLOW_WITH_NOT_PRINCIPAL "ALLOW_WITH_NOT_PRINCIPAL" Error "Allow with NotPrincipal lets everyone else in, anonymous callers too.";
    ARN_ACCOUNT_NOT_ALLOWED "ARN_ACCOUNT_NOT_ALLOWED" Warning "ARNs of S3 have no account; with one they match nothing.";
    ARN_REGION_NOT_ALLOWED "ARN_REGION_NOT_ALLOWED" Warning "ARNs of S3 have no region; with one they match nothing.";
    DATA_TYPE_MISMATCH "DATA_TYPE_MISMATCH" Error "The JSON type of an element is wrong.";
    DENY_NEVER_FIRES "DENY-NEVER-FIRES" SecurityWarning "No request meets the Deny: it protects nothing.";
    DENY_TLS_MISSING "DENY-TLS-MISSING" Suggestion "A public bucket policy does not refuse requests without TLS.";
    DUPLICATE_KEYS_WITH_DIFFERENT_CASE "DUPLICATE_KEYS_WITH_DIFFERENT_CASE" Error "A member is there twice, perhaps in another letter case.";
    EMPTY_ARRAY "EMPTY_ARRAY" Error "An element has no values.";
    EMPTY_OBJECT_CONDITION "EMPTY_OBJECT_CONDITION" Suggestion "A condition without keys is no condition.";
    EMPTY_SID_VALUE "EMPTY_SID_VALUE" Suggestion "An empty Sid names nothing.";
    EMPTY_VARIABLE "EMPTY_VARIABLE" Error "A policy variable has no key.";
    EQUIVALENT_TO_NULL_FALSE "EQUIVALENT_TO_NULL_FALSE" Suggestion "The condition only asks that the key is there.";
    FORALL_ALLOW "FORALL-ALLOW" SecurityWarning "ForAllValues holds when the key is absent, so this Allow needs no key at all.";
    FORALLVALUES_WITH_SINGLE_VALUED_KEY "FORALLVALUES_WITH_SINGLE_VALUED_KEY" SecurityWarning "ForAllValues on a single-valued key holds when the key is absent.";
    FORANY_IF_EXISTS "FORANY-IFEXISTS" Warning "ForAnyValue with IfExists has no agreed meaning for an absent key.";
    IMPROVE_IP_RANGE "IMPROVE_IP_RANGE" Suggestion "Bits behind the prefix of a CIDR range are ignored.";
    INVALID_ACTION "INVALID_ACTION" Error "The action does not exist.";
    INVALID_ARN_PREFIX "INVALID_ARN_PREFIX" Error "The resource is neither an ARN nor `*`.";
    INVALID_ARN_RESOURCE "INVALID_ARN_RESOURCE" Error "The resource part of an ARN names no bucket.";
    INVALID_ARN_SERVICE_CASE "INVALID_ARN_SERVICE_CASE" Error "The service of an ARN is written in lower case.";
    INVALID_CONDITION_KEY_FORMAT "INVALID_CONDITION_KEY_FORMAT" Error "A condition key has no namespace.";
    INVALID_CONDITION_MULTIPLE_BOOLEAN "INVALID_CONDITION_MULTIPLE_BOOLEAN" Warning "`true` and `false` together hold for every value.";
    INVALID_CONDITION_OPERATOR "INVALID_CONDITION_OPERATOR" Error "The condition operator does not exist.";
    INVALID_EFFECT "INVALID_EFFECT" Error "The effect is neither Allow nor Deny.";
    INVALID_GLOBAL_CONDITION_KEY "INVALID_GLOBAL_CONDITION_KEY" Warning "The global condition key does not exist.";
    INVALID_PARTITION "INVALID_PARTITION" Warning "The partition of an ARN is not `aws`; it matches nothing here.";
    INVALID_POLICY_ELEMENT "INVALID_POLICY_ELEMENT" Error "The element does not exist or does not belong here.";
    INVALID_PRINCIPAL_FORMAT "INVALID_PRINCIPAL_FORMAT" Error "The principal is not `*`, an account or an ARN.";
    INVALID_PRINCIPAL_KEY "INVALID_PRINCIPAL_KEY" Error "The kind of principal does not exist.";
    INVALID_SERVICE_CONDITION_KEY "INVALID_SERVICE_CONDITION_KEY" Warning "The service has no such condition key.";
    INVALID_SERVICE_IN_ACTION "INVALID_SERVICE_IN_ACTION" Warning "The service is not one of this server; the action never occurs.";
    INVALID_VERSION "INVALID_VERSION" Error "The version of the language does not exist.";
    JSON_SYNTAX_ERROR "JSON_SYNTAX_ERROR" Error "The document is not JSON.";
    LOCKOUT_RISK "LOCKOUT-RISK" SecurityWarning "Everybody is denied to change the bucket policy; only root can undo this.";
    MISSING_ACTION "MISSING_ACTION" Error "The statement has no Action or NotAction.";
    MISSING_ARN_FIELD "MISSING_ARN_FIELD" Error "An ARN has six fields.";
    MISSING_BRACE_IN_VARIABLE "MISSING_BRACE_IN_VARIABLE" Error "A policy variable is not closed.";
    MISSING_EFFECT "MISSING_EFFECT" Error "The statement has no Effect.";
    MISSING_PRINCIPAL "MISSING_PRINCIPAL" Error "A statement of a bucket policy without principal never matches.";
    MISSING_QUALIFIER "MISSING_QUALIFIER" Error "A key with several values needs ForAllValues or ForAnyValue.";
    MISSING_QUOTE_IN_VARIABLE "MISSING_QUOTE_IN_VARIABLE" Error "The default of a policy variable stands in single quotes.";
    MISSING_RESOURCE "MISSING_RESOURCE" Error "The statement has no Resource or NotResource.";
    MISSING_STATEMENT "MISSING_STATEMENT" Error "The policy has no statement.";
    MISSING_VERSION "MISSING_VERSION" Warning "Without Version the policy is read as of 2008, without variables.";
    NULL_WITH_IF_EXISTS "NULL_WITH_IF_EXISTS" Error "Null takes neither IfExists nor a set operator.";
    PERMISSIONS_BY_WILDCARD "PERMISSIONS-BY-WILDCARD" SecurityWarning "A wildcard grants actions that change permissions.";
    POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA" Suggestion "AWS would not take an identity policy of this size.";
    POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA "POLICY_SIZE_EXCEEDS_RESOURCE_POLICY_QUOTA" Error "The policy is larger than the server takes.";
    PRIVILEGE_ESCALATION "PRIVILEGE-ESCALATION" SecurityWarning "Whoever has these actions can give themselves all others.";
    PROFILE_DIVERGENCE "PROFILE-DIVERGENCE" Suggestion "AWS and MinIO decide some request differently by this policy.";
    PUBLIC_ACCESS "PUBLIC-ACCESS" SecurityWarning "Everyone is allowed, without credentials and without condition.";
    REDUNDANT_ACTION "REDUNDANT_ACTION" Suggestion "Another action of the statement covers this one.";
    REDUNDANT_CONDITION_VALUE_NUM "REDUNDANT_CONDITION_VALUE_NUM" Suggestion "A condition value is there twice.";
    REDUNDANT_RESOURCE "REDUNDANT_RESOURCE" Suggestion "Another resource of the statement covers this one.";
    REDUNDANT_STATEMENT "REDUNDANT_STATEMENT" Suggestion "Other statements do everything that this one does.";
    REFUSED "REFUSED" Error "The server refuses the policy.";
    REGO_ERROR "REGO-ERROR" Error "The guardrail does not load.";
    REGO_FAILS "REGO-FAILS" Warning "A rule fails on a plain request, and so denies it.";
    S3_ACTION_NEEDS_STAR "S3-ACTION-NEEDS-STAR" Warning "The action has no bucket; it is granted on `*` only.";
    S3_BUCKET_ACTION_ON_OBJECT_ARN "S3-BUCKET-ACTION-ON-OBJECT-ARN" Warning "An action on buckets with resources that are objects never applies.";
    S3_BUCKET_GLOB_COVERS_OBJECTS "S3-BUCKET-GLOB-COVERS-OBJECTS" SecurityWarning "`*` crosses `/`: a pattern of buckets covers their objects too.";
    S3_OBJECT_ACTION_ON_BUCKET_ARN "S3-OBJECT-ACTION-ON-BUCKET-ARN" Warning "An action on objects with resources that are buckets never applies.";
    S3_PREFIX_WITHOUT_SLASH "S3-PREFIX-WITHOUT-SLASH" Suggestion "A prefix that does not end at a `/` covers neighbours too.";
    S3_TAG_KEY_NOT_SUPPLIED "S3-TAG-KEY-NOT-SUPPLIED" SecurityWarning "The tag is not known when the action is decided, so the Deny never or always applies.";
    S3_VARIABLE_WITHOUT_SLASH "S3-VARIABLE-WITHOUT-SLASH" SecurityWarning "A prefix that ends behind a variable covers those whose name begins alike.";
    SHADOWED_BY "SHADOWED-BY" Warning "Everything that the Allow grants is denied in the same policy.";
    SID_CHARACTERS "SID-CHARACTERS" Suggestion "AWS takes letters and digits only in the Sid of an identity policy.";
    TYPE_MISMATCH "TYPE_MISMATCH" Warning "The operator compares another type than the key has.";
    TYPE_MISMATCH_BOOLEAN "TYPE_MISMATCH_BOOLEAN" Error "The value is neither true nor false.";
    TYPE_MISMATCH_DATE "TYPE_MISMATCH_DATE" Error "The value is not a date.";
    TYPE_MISMATCH_IP_RANGE "TYPE_MISMATCH_IP_RANGE" Error "The value is not an IP address or range.";
    TYPE_MISMATCH_NUMBER "TYPE_MISMATCH_NUMBER" Error "The value is not a number.";
    UNIQUE_SIDS_REQUIRED "UNIQUE_SIDS_REQUIRED" Error "Two statements have the same Sid.";
    UNSUPPORTED_ACTION_FOR_CONDITION_KEY "UNSUPPORTED_ACTION_FOR_CONDITION_KEY" Warning "No action of the statement comes with this condition key.";
    UNSUPPORTED_ELEMENT_COMBINATION "UNSUPPORTED_ELEMENT_COMBINATION" Error "An element and its negation stand together.";
    UNSUPPORTED_PRINCIPAL "UNSUPPORTED_PRINCIPAL" Error "Only a bucket policy names principals.";
    UNSUPPORTED_SPACE_IN_VARIABLE "UNSUPPORTED_SPACE_IN_VARIABLE" Error "A policy variable has a space in its key.";
    UNSUPPORTED_WILDCARD_IN_PRINCIPAL "UNSUPPORTED_WILDCARD_IN_PRINCIPAL" Error "A principal is `*` or has no wildcard.";
    VARIABLE_OF_SEVERAL_VALUES "VARIABLE-OF-SEVERAL-VALUES" Warning "A key with several values has no value as a variable.";
    VARIABLE_UNSUPPORTED_IN_ELEMENT "VARIABLE_UNSUPPORTED_IN_ELEMENT" Error "Variables stand in resources and condition values only.";
    VARIABLE_UNSUPPORTED_IN_VERSION "VARIABLE_UNSUPPORTED_IN_VERSION" Warning "Without Version 2012-10-17 a variable is plain text.";
    WILDCARD_WITHOUT_LIKE_OPERATOR "WILDCARD_WITHOUT_LIKE_OPERATOR" Warning "The operator takes `*` and `?` as plain characters.";
    WORM_BYPASS_GRANTED "WORM-BYPASS-GRANTED" SecurityWarning "Locked objects under GOVERNANCE can be deleted with this grant.";
    WORM_DELETE_VERSION_STAR "WORM-DELETE-VERSION-STAR" SecurityWarning "Old versions of every object can be deleted with this grant.";
}
