//! ACLs as a bucket without them answers: the owner has everything, and nothing can be granted.
//!
//! Access is a matter of policies, whose decisions can be replayed; an ACL would be a second language beside them. Clients
//! that ask for an ACL, or put the one that says nothing, are answered; whoever wants to grant is refused.
//!
//! # Source
//! Amazon S3 User Guide, "Controlling ownership of objects and disabling ACLs for your bucket".

use http::HeaderMap;

use super::error::S3Error;
use super::request::header;
use super::xml::{Element, Writer};

/// An ACL has at most a hundred grants.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

const FULL_CONTROL: &str = "FULL_CONTROL";

/// The one ACL that there is.
#[must_use]
pub fn document(owner_id: &str, owner_name: &str) -> String {
    let mut xml = Writer::document();
    let owner = |xml: &mut Writer| {
        xml.text("ID", owner_id);
        xml.text("DisplayName", owner_name);
    };
    xml.root("AccessControlPolicy");
    xml.open("Owner");
    owner(&mut xml);
    xml.close("Owner");
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.open(
        "Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"",
    );
    owner(&mut xml);
    xml.close("Grantee");
    xml.text("Permission", FULL_CONTROL);
    xml.close("Grant");
    xml.close("AccessControlList");
    xml.close("AccessControlPolicy");
    xml.finish()
}

/// Accepts an ACL that changes nothing: a canned one that grants nobody else anything (the guard refuses the others),
/// or a document with the owner's own grant.
///
/// # Errors
/// `AccessControlListNotSupported` for a grant to anybody else, `MalformedACLError` for what is no ACL,
/// `MissingSecurityHeader` for none at all.
pub fn accept(headers: &HeaderMap, body: &[u8], owner_id: &str) -> Result<(), S3Error> {
    if body.is_empty() {
        let missing = || {
            let text = "Your request was missing a required header.";
            S3Error::new("MissingSecurityHeader", 400, text)
        };
        return header(headers, "x-amz-acl").map(drop).ok_or_else(missing);
    }
    let malformed = || {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        S3Error::new("MalformedACLError", 400, text)
    };
    let root = Element::parse(body).map_err(|_| malformed())?;
    let list = root.child("AccessControlList").filter(|_| root.name == "AccessControlPolicy");
    let owners = |grant: &Element| {
        let grantee = grant.child("Grantee").and_then(|grantee| grantee.value("ID"));
        grantee == Some(owner_id) && grant.value("Permission") == Some(FULL_CONTROL)
    };
    if list.ok_or_else(malformed)?.all("Grant").all(owners) {
        Ok(())
    } else {
        Err(S3Error::new("AccessControlListNotSupported", 400, "The bucket does not allow ACLs"))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn code(body: &str) -> Option<String> {
        let answer = accept(&HeaderMap::new(), body.as_bytes(), "me");
        answer.err().map(|error| error.code.into_owned())
    }

    #[test]
    fn only_what_grants_nothing_is_accepted() {
        assert_eq!(code(&document("me", "appliance")), None, "what was read may be written");
        let canned = HeaderMap::from_iter([(
            HeaderName::from_static("x-amz-acl"),
            HeaderValue::from_static("private"),
        )]);
        assert!(accept(&canned, b"", "me").is_ok());
        assert_eq!(code("").as_deref(), Some("MissingSecurityHeader"));
        assert_eq!(code("<AccessControlPolicy/>").as_deref(), Some("MalformedACLError"));
        let refused = Some("AccessControlListNotSupported".to_owned());
        assert_eq!(code(&document("you", "appliance")), refused);
        assert_eq!(code(&document("me", "appliance").replace(FULL_CONTROL, "READ")), refused);
        let group = document("me", "a")
            .replace("<ID>me</ID>", "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>");
        assert_eq!(code(&group), refused);
    }
}
