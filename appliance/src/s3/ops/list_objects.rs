//! `GET /bucket`: listings, V1 and V2, as range scans.

use audit::Class;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use storage::{ListRequest, Listing};

use crate::authz::{Check, Effect, Permit};
use crate::s3::error::{Code, S3Error};
use crate::s3::object_headers::xml_date;
use crate::s3::request::Call;
use crate::s3::route::{Operation, Response};
use crate::s3::{answer, xml};

/// Source: S3 API reference: at most 1000 entries, and that by default.
const KEYS_MAX: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const UNENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'*');

#[derive(Debug)]
pub struct ListObjects;

impl Operation for ListObjects {
    const NAME: &'static str = "ListObjects";
    const ACTION: &'static str = "s3:ListBucket";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        list_checks(call, Self::ACTION)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let marker = call.query.get("marker").unwrap_or_default().to_owned();
        let page = Page::read(&permit, &call, Some(marker.clone())).await?;
        let mut document = page.open_document("ListBucketResult");
        document.text("Prefix", page.encode(&page.prefix)?);
        document.text("Marker", page.encode(&marker)?);
        page.write_bounds(&mut document)?;
        if let Some(next) = &page.listing.next {
            document.text("NextMarker", page.encode(next)?);
        }
        page.write_entries(&mut document, Owner::Always(&call))?;
        document.close("ListBucketResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}

#[derive(Debug)]
pub struct ListObjectsV2;

impl Operation for ListObjectsV2 {
    const NAME: &'static str = "ListObjectsV2";
    const ACTION: &'static str = "s3:ListBucket";
    const CLASS: Class = Class::Mgmt;
    const EFFECT: Effect = Effect::Read;

    fn checks(call: &Call) -> Result<Vec<Check>, S3Error> {
        if call.query.get("list-type") != Some("2") {
            return Err(Code::InvalidArgument.because("list-type must be 2"));
        }
        list_checks(call, Self::ACTION)
    }

    async fn run(permit: Permit<Self>, call: Call) -> Result<Response, S3Error> {
        let token = call.query.get("continuation-token").map(ToOwned::to_owned);
        let start_after = call.query.get("start-after").map(ToOwned::to_owned);
        let resume = match &token {
            Some(token) => Some(decode_token(token)?),
            None => start_after.clone(),
        };
        let page = Page::read(&permit, &call, resume).await?;
        let mut document = page.open_document("ListBucketResult");
        document.text("Prefix", page.encode(&page.prefix)?);
        if let Some(start_after) = &start_after {
            document.text("StartAfter", page.encode(start_after)?);
        }
        document.text("KeyCount", page.listing.objects.len() + page.listing.prefixes.len());
        page.write_bounds(&mut document)?;
        document.optional("ContinuationToken", token);
        let next = page.listing.next.as_ref().map(|next| BASE64.encode(next));
        document.optional("NextContinuationToken", next);
        let owner = match call.query.get("fetch-owner") {
            Some("true") => Owner::Always(&call),
            _ => Owner::Never,
        };
        page.write_entries(&mut document, owner)?;
        document.close("ListBucketResult");
        Ok(answer::xml(StatusCode::OK, document.finish()))
    }
}

/// The check of a listing: its prefix, delimiter and bound are condition keys, each present only if asked.
///
/// # Errors
/// As [`Call::check`].
pub fn list_checks(call: &Call, action: &str) -> Result<Vec<Check>, S3Error> {
    let mut context = call.context();
    for (parameter, key) in
        [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter"), ("max-keys", "s3:max-keys")]
    {
        if let Some(value) = call.query.get(parameter) {
            context.set(key, value.to_owned());
        }
    }
    Ok(vec![call.check_on(action, Class::Mgmt, call.target.resource(), context)?])
}

enum Owner<'a> {
    Always(&'a Call),
    Never,
}

/// One page of a listing and how it is to be written.
struct Page {
    bucket: String,
    prefix: String,
    delimiter: Option<String>,
    keys_max: usize,
    encoding: Encoding,
    listing: Listing,
}

impl Page {
    async fn read<O>(
        permit: &Permit<O>,
        call: &Call,
        start_after: Option<String>,
    ) -> Result<Self, S3Error> {
        let bucket = call.bucket()?;
        let prefix = call.query.get("prefix").unwrap_or_default().to_owned();
        let delimiter =
            call.query.get("delimiter").filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let keys_max = call.query.number("max-keys", KEYS_MAX, KEYS_MAX)?;
        let encoding = Encoding::of(call)?;
        let request = ListRequest {
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            start_after: start_after.filter(|text| !text.is_empty()),
            max: keys_max,
        };
        let listing = permit.store().list(request).await?;
        Ok(Self {
            bucket: bucket.as_str().to_owned(),
            prefix,
            delimiter,
            keys_max,
            encoding,
            listing,
        })
    }

    fn open_document(&self, root: &str) -> xml::Writer {
        let mut document = xml::Writer::document();
        document.root(root);
        document.text("Name", &self.bucket);
        document
    }

    fn write_bounds(&self, document: &mut xml::Writer) -> Result<(), S3Error> {
        document.text("MaxKeys", self.keys_max);
        if let Some(delimiter) = &self.delimiter {
            document.text("Delimiter", self.encode(delimiter)?);
        }
        document.text("IsTruncated", self.listing.truncated);
        if self.encoding == Encoding::Url {
            document.text("EncodingType", "url");
        }
        Ok(())
    }

    fn write_entries(&self, document: &mut xml::Writer, owner: Owner<'_>) -> Result<(), S3Error> {
        for object in &self.listing.objects {
            document.open("Contents");
            document.text("Key", self.encode(object.key.as_str())?);
            document.text("LastModified", xml_date(object.modified_us));
            document.text("ETag", format!("\"{}\"", object.etag));
            document.text("Size", object.size);
            if let Owner::Always(call) = &owner {
                document.open("Owner");
                document.text("ID", call.app.owner_id());
                document.text("DisplayName", call.app.owner_name());
                document.close("Owner");
            }
            document.text("StorageClass", object.storage_class.as_deref().unwrap_or("STANDARD"));
            document.close("Contents");
        }
        for prefix in &self.listing.prefixes {
            document.open("CommonPrefixes");
            document.text("Prefix", self.encode(prefix)?);
            document.close("CommonPrefixes");
        }
        Ok(())
    }

    fn encode(&self, text: &str) -> Result<String, S3Error> {
        self.encoding.apply(text)
    }
}

/// How keys are written in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// What `encoding-type` asks for.
    ///
    /// # Errors
    /// `InvalidArgument` for any other type than `url`.
    pub fn of(call: &Call) -> Result<Self, S3Error> {
        match call.query.get("encoding-type") {
            None | Some("") => Ok(Self::Plain),
            Some(kind) if kind.eq_ignore_ascii_case("url") => Ok(Self::Url),
            Some(_) => {
                Err(Code::InvalidArgument.because("Invalid Encoding Method specified in Request"))
            }
        }
    }

    /// Writes a key.
    ///
    /// # Errors
    /// `InvalidArgument` for a key that XML 1.0 cannot carry and that the client did not ask to be encoded.
    pub fn apply(self, text: &str) -> Result<String, S3Error> {
        match self {
            Self::Url => Ok(utf8_percent_encode(text, UNENCODED).to_string()),
            Self::Plain if xml::is_carriable(text) => Ok(text.to_owned()),
            Self::Plain => Err(Code::InvalidArgument.because(
                "A key has characters that XML cannot carry; ask with encoding-type=url.",
            )),
        }
    }
}

fn decode_token(token: &str) -> Result<String, S3Error> {
    BASE64.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Code::InvalidArgument.because("The continuation token provided is incorrect")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_junk_is_refused() {
        assert_eq!(decode_token(&BASE64.encode("a/\u{e9} b")).unwrap(), "a/\u{e9} b");
        assert_eq!(decode_token("!!").unwrap_err().code, "InvalidArgument");
    }

    #[test]
    fn keys_are_written_as_asked() {
        assert_eq!(Encoding::Url.apply("a b/+\u{e9}\u{1}").unwrap(), "a%20b/%2B%C3%A9%01");
        assert_eq!(Encoding::Plain.apply("a b").unwrap(), "a b");
        assert_eq!(Encoding::Plain.apply("\u{1}").unwrap_err().code, "InvalidArgument");
    }
}
