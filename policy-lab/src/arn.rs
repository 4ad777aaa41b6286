//! Amazon resource names: six fields, the first five without a colon.
//!
//! Source: `arn:partition:service:region:account:resource`; the resource keeps further colons.

/// An ARN, cut but not interpreted: the fields may hold wildcards when it stands in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `None` for a text that does not have six fields or does not start with `arn`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        if fields.next()? != "arn" {
            return None;
        }
        Some(Self {
            partition: fields.next()?,
            service: fields.next()?,
            region: fields.next()?,
            account: fields.next()?,
            resource: fields.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Arn;

    #[test]
    fn resource_keeps_its_colons() {
        let arn = Arn::parse("arn:aws:s3:::bucket/a:b").expect("six fields");
        assert_eq!((arn.service, arn.region, arn.resource), ("s3", "", "bucket/a:b"));
        assert_eq!(Arn::parse("arn:aws:s3::"), None);
        assert_eq!(Arn::parse("*"), None);
    }
}
