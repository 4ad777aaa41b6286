//! The verification itself, in the order in which a request may be refused.

use aws_sigv4::sign::v4::calculate_signature;
use http::{HeaderMap, Method, Uri};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::canonical::{self, Query, Request};
use super::chunk::ChunkSigner;
use super::credential::{SecretKey, Secrets};
use super::failure::{Cause, Evidence, Failure};
use super::guard::{self, Place};
use super::header::Claims;
use super::keys::{Keys, SigningKey};
use super::presign::Presigned;
use super::scope::{self, Moment};
use super::{Authenticated, PayloadKind, Policy, Scheme, Signed};

const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";
/// SHA-256 of nothing: what a client signs that sends neither a body nor its digest.
const EMPTY_SHA256: &[u8] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Verifies requests under one policy and remembers derived keys. One per listener; shared by its connections.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    keys: Keys,
}

/// A claim with its time, before its secret is known.
struct Claim<'a> {
    claims: Claims<'a>,
    moment: Moment<'a>,
    place: Place,
    age_ms: Option<u64>,
    session_token: Option<&'a str>,
}

impl Verifier {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, keys: Keys::default() }
    }

    /// Verifies the head of a request at the Unix time `now_s`.
    ///
    /// # Errors
    /// Whatever looks signed and cannot be verified; see [`Cause`].
    pub fn authenticate(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        secrets: &dyn Secrets,
        now_s: u64,
    ) -> Result<Authenticated, Failure> {
        let query = Query::parse(uri.query());
        let host = guard::host(uri, headers)?;
        let claim = match guard::place(headers, &query)? {
            None => return Ok(Authenticated::Anonymous),
            Some(Place::Header) => self.header_claim(headers, now_s)?,
            Some(Place::Query) => self.presigned_claim(&query, headers, now_s)?,
        };
        let credential = claim.claims.credential;
        let claimed = |cause: Cause| cause.claimed(credential.access_key);
        guard::covered(headers, &claim.claims.signed_headers).map_err(claimed)?;
        let payload = payload_lines(headers, &query, claim.place, &claim.claims.signed_headers)
            .map_err(claimed)?;
        let secret =
            secrets.secret(credential.access_key).ok_or(Cause::UnknownKey).map_err(claimed)?;
        let request = Request {
            method,
            query: &query,
            headers,
            host,
            place: claim.place,
            signed: &claim.claims.signed_headers,
        };
        self.verify(&claim, &request, uri.path(), &payload, secret)
            .map(|signed| Authenticated::Signed(Box::new(signed)))
            .map_err(claimed)
    }

    fn header_claim<'a>(&self, headers: &'a HeaderMap, now_s: u64) -> Result<Claim<'a>, Failure> {
        let claims = Claims::of(headers)?;
        let claimed = |cause: Cause| cause.claimed(claims.credential.access_key);
        let moment = Moment::of(headers).map_err(claimed)?;
        scope::check(&claims.credential, &moment, &self.policy, Place::Header).map_err(claimed)?;
        moment.within(self.policy.skew_s, now_s).map_err(claimed)?;
        let session_token = token_header(headers).map_err(claimed)?;
        Ok(Claim { claims, moment, place: Place::Header, age_ms: None, session_token })
    }

    fn presigned_claim<'a>(
        &self,
        query: &'a Query<'a>,
        headers: &'a HeaderMap,
        now_s: u64,
    ) -> Result<Claim<'a>, Failure> {
        let presigned = Presigned::of(query, &self.policy)?;
        let credential = presigned.claims.credential;
        let claimed = |cause: Cause| cause.claimed(credential.access_key);
        scope::check(&credential, &presigned.moment, &self.policy, Place::Query)
            .map_err(claimed)?;
        presigned.valid_at(now_s, &self.policy).map_err(claimed)?;
        let session_token = match (presigned.session_token, token_header(headers).map_err(claimed)?)
        {
            (Some(_), Some(_)) => {
                return Err(claimed(Cause::Duplicate("x-amz-security-token".into())));
            }
            (in_query, in_header) => in_query.or(in_header),
        };
        let age_ms = now_s.saturating_sub(presigned.moment.unix_s).saturating_mul(1000);
        Ok(Claim {
            claims: presigned.claims,
            moment: presigned.moment,
            place: Place::Query,
            age_ms: Some(age_ms),
            session_token,
        })
    }

    /// Compares the signature with ours for each form that the client may have signed.
    fn verify(
        &self,
        claim: &Claim<'_>,
        request: &Request<'_>,
        raw_path: &str,
        payload: &Payload<'_>,
        secret: SecretKey,
    ) -> Result<Signed, Cause> {
        let credential = &claim.claims.credential;
        let known = self.keys.known(credential, &secret);
        let fresh = known.is_none();
        let key =
            known.unwrap_or_else(|| SigningKey::derive(&secret, credential, claim.moment.unix_s));
        let mut evidence = None;
        for line in payload.lines() {
            // Both forms decode to the same key, so neither lets a signature mean another object.
            let encoded = canonical::path_encoded(raw_path);
            let raw = (encoded != raw_path).then_some(raw_path);
            for path in std::iter::once(&*encoded).chain(raw) {
                let canonical_request = request.canonical(path, line)?;
                let string_to_sign = string_to_sign(claim, &canonical_request);
                let expected = calculate_signature(&key, string_to_sign.as_bytes());
                if bool::from(expected.as_bytes().ct_eq(claim.claims.signature.as_bytes())) {
                    if fresh {
                        self.keys.remember(credential, secret, key.clone());
                    }
                    return Ok(signed(claim, payload.kind, key, &string_to_sign));
                }
                evidence.get_or_insert(Evidence { string_to_sign, canonical_request });
            }
        }
        Err(evidence
            .map_or(Cause::InvalidContentSha256, |evidence| Cause::Mismatch(Box::new(evidence))))
    }
}

fn token_header(headers: &HeaderMap) -> Result<Option<&str>, Cause> {
    let invalid = |_| Cause::HeaderMalformed("x-amz-security-token is not visible ASCII".into());
    headers.get("x-amz-security-token").map(|token| token.to_str().map_err(invalid)).transpose()
}

/// The last line of the canonical request, which says how the body is signed, and a second reading of it.
struct Payload<'a> {
    kind: PayloadKind,
    first: &'a [u8],
    second: Option<&'a [u8]>,
}

impl<'a> Payload<'a> {
    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// A header-signed request without the header has signed an empty body. A presigned URL signs no body unless it says so
/// itself or the header was there when it was made: a client that adds a digest later gets the digest checked, though
/// it is not signed.
fn payload_lines<'a>(
    headers: &'a HeaderMap,
    query: &'a Query<'a>,
    place: Place,
    signed: &[&str],
) -> Result<Payload<'a>, Cause> {
    let value = headers.get("x-amz-content-sha256").map(http::HeaderValue::as_bytes);
    let absent = match place {
        Place::Header => EMPTY_SHA256,
        Place::Query => query.named("X-Amz-Content-Sha256").next().unwrap_or(UNSIGNED),
    };
    let first = value.unwrap_or(absent);
    let kind = PayloadKind::parse(first).ok_or(Cause::InvalidContentSha256)?;
    let added = value.is_some() && !signed.contains(&"x-amz-content-sha256");
    let second = match kind {
        PayloadKind::Sha256(_) if added && absent == UNSIGNED => Some(UNSIGNED),
        _ => None,
    };
    Ok(Payload { kind, first, second })
}

fn string_to_sign(claim: &Claim<'_>, canonical_request: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(canonical_request));
    format!("AWS4-HMAC-SHA256\n{}\n{}\n{digest}", claim.moment.text, claim.claims.credential.scope)
}

fn signed(
    claim: &Claim<'_>,
    payload: PayloadKind,
    key: SigningKey,
    string_to_sign: &str,
) -> Signed {
    let Claims { credential, signature, .. } = &claim.claims;
    let mut digest = Sha256::new_with_prefix(string_to_sign);
    digest.update(signature);
    let chunked = matches!(payload, PayloadKind::SignedChunks { .. });
    Signed {
        access_key: credential.access_key.to_owned(),
        scheme: match claim.place {
            Place::Header => Scheme::Header,
            Place::Query => Scheme::Presigned,
        },
        region: credential.region.to_owned(),
        service: credential.service.to_owned(),
        signed_at: claim.moment.unix_s,
        age_ms: claim.age_ms,
        session_token: claim.session_token.map(str::to_owned),
        payload,
        sig_sha256: hex::encode(digest.finalize()),
        chunk_key: chunked
            .then(|| ChunkSigner::new(key, &claim.moment.text, credential.scope, signature)),
    }
}
