//! Requests as clients sign them: by aws-sigv4's whole signer, or by hand for forms that it does not write.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::{self, calculate_signature, generate_signing_key};
use http::Request;
use sha2::{Digest, Sha256};

use crate::s3::auth::{Authenticated, Failure, Policy, SecretKey, Secrets, Signed, Verifier};

/// Key pair of AWS's published examples.
pub(super) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 20130524T000000Z, the moment of AWS's published examples.
pub(super) const NOW: u64 = 1_369_353_600;
pub(super) const DATE: &str = "20130524T000000Z";

/// Knows one key pair.
pub(super) struct OneKey(pub(super) &'static str, pub(super) &'static str);

impl Secrets for OneKey {
    fn secret(&self, access_key: &str) -> Option<SecretKey> {
        (access_key == self.0).then(|| SecretKey::new(self.1))
    }
}

pub(super) fn verify_at(request: &Request<()>, now_s: u64) -> Result<Authenticated, Failure> {
    verify_with(request, &OneKey(KEY, SECRET), now_s)
}

pub(super) fn verify_with(
    request: &Request<()>,
    secrets: &dyn Secrets,
    now_s: u64,
) -> Result<Authenticated, Failure> {
    let verifier = Verifier::new(Policy::s3(vec!["eu-central-1".to_owned()]));
    verifier.authenticate(request.method(), request.uri(), request.headers(), secrets, now_s)
}

pub(super) fn verify(request: &Request<()>) -> Result<Authenticated, Failure> {
    verify_at(request, NOW)
}

/// The verified signature, or a panic that says why not.
pub(super) fn signed(request: &Request<()>) -> Signed {
    match verify(request) {
        Ok(Authenticated::Signed(signed)) => *signed,
        other => panic!("not signed: {other:?}"),
    }
}

pub(super) fn code(request: &Request<()>) -> &'static str {
    verify(request).expect_err("must be refused").code()
}

pub(super) fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

/// What aws-sigv4 is asked to do besides signing.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) presign: Option<Duration>,
    pub(super) token: Option<String>,
    pub(super) region: &'static str,
    pub(super) body: SignableBody<'static>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            presign: None,
            token: None,
            region: "us-east-1",
            body: SignableBody::UnsignedPayload,
        }
    }
}

/// Signs as the AWS SDK does for S3.
pub(super) fn by_sdk(request: &mut Request<()>, options: Options) {
    let identity = Credentials::new(KEY, SECRET, options.token, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.expires_in = options.presign;
    if options.presign.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
    }
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(options.region)
        .name("s3")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = request.uri().to_string();
    let headers =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let signable =
        SignableRequest::new(request.method().as_str(), &uri, headers, options.body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(request);
}

/// Signs a canonical request that the test wrote itself; its last lines are the signed headers and the payload line.
pub(super) fn by_hand(canonical: &str, scope: &str, date: &str) -> String {
    let digest = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let mut parts = scope.split('/').skip(1);
    let (region, service) = (parts.next().unwrap(), parts.next().unwrap());
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let key = generate_signing_key(SECRET, moment, region, service);
    calculate_signature(key, text.as_bytes())
}

pub(super) const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

pub(super) fn authorization(
    key: &str,
    scope: &str,
    signed_headers: &str,
    signature: &str,
) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={signed_headers},Signature={signature}"
    )
}
