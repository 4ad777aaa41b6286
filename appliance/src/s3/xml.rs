//! XML answers and requests: an escaping writer and a bounded reader without DTD or entities of its own.

#![deny(clippy::indexing_slicing)]

use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::error::{Code, S3Error};

/// Namespace of S3 answers.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Elements below each other at most.
const DEPTH_MAX: usize = 16;
/// Elements of a document at most; DeleteObjects with 1000 keys needs about 4000.
const ELEMENTS_MAX: usize = 64 * 1024;

/// Writes elements in call order.
#[derive(Debug)]
pub struct Writer {
    text: String,
}

impl Writer {
    #[must_use]
    pub fn document() -> Self {
        Self { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") }
    }

    /// Opens the root element in the S3 namespace.
    pub fn root(&mut self, name: &str) {
        self.text.push_str(&format!("<{name} xmlns=\"{NAMESPACE}\">"));
    }

    pub fn open(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
    }

    pub fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    pub fn text(&mut self, name: &str, value: impl std::fmt::Display) {
        self.open(name);
        self.text.push_str(&escape(value.to_string()));
        self.close(name);
    }

    /// Text directly inside the open element.
    pub fn raw_text(&mut self, value: &str) {
        self.text.push_str(&escape(value));
    }

    pub fn optional(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// Whether XML 1.0 can carry this text (production `Char`).
#[must_use]
pub fn is_carriable(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
            && c != '\u{FFFE}'
            && c != '\u{FFFF}'
    })
}

/// One element of a request document; attributes and namespaces are dropped, unknown elements kept and ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Self>,
}

impl Element {
    /// Reads a whole document.
    ///
    /// # Errors
    /// `MalformedXML` for anything that is not one well-formed element tree, for a DTD, for entities beyond the five
    /// of XML, and beyond the depth and element bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::from_reader(bytes);
        reader.config_mut().check_end_names = true;
        let mut open: Vec<Self> = vec![Self::default()];
        let mut elements = 0_usize;
        loop {
            match reader.read_event().map_err(malformed)? {
                Event::Start(start) => {
                    elements += 1;
                    if open.len() > DEPTH_MAX || elements > ELEMENTS_MAX {
                        return Err(Code::MalformedXml.into());
                    }
                    open.push(Self {
                        name: local(start.local_name().as_ref())?,
                        ..Self::default()
                    });
                }
                Event::Empty(start) => {
                    elements += 1;
                    if elements > ELEMENTS_MAX {
                        return Err(Code::MalformedXml.into());
                    }
                    let element =
                        Self { name: local(start.local_name().as_ref())?, ..Self::default() };
                    last(&mut open)?.children.push(element);
                }
                Event::End(_) => {
                    let done = open.pop().ok_or(Code::MalformedXml)?;
                    last(&mut open)?.children.push(done);
                }
                Event::Text(text) => {
                    last(&mut open)?.text.push_str(&text.xml10_content());
                }
                Event::CData(text) => {
                    last(&mut open)?.text.push_str(&text.xml10_content());
                }
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref().map_err(malformed)? {
                        Some(character) => character.to_string(),
                        None => {
                            resolve_xml_entity(&reference).ok_or(Code::MalformedXml)?.to_owned()
                        }
                    };
                    last(&mut open)?.text.push_str(&resolved);
                }
                Event::DocType(_) => {
                    return Err(Code::MalformedXml.because("A DTD is not accepted."));
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
        }
        let mut root = open.pop().ok_or(Code::MalformedXml)?;
        match (open.is_empty(), root.children.len(), root.children.pop()) {
            (true, 1, Some(element)) if root.text.trim().is_empty() => Ok(element),
            _ => Err(Code::MalformedXml.into()),
        }
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Text of a child, without surrounding white space.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

fn last(open: &mut [Element]) -> Result<&mut Element, S3Error> {
    open.last_mut().ok_or_else(|| Code::MalformedXml.into())
}

fn local(name: &str) -> Result<String, S3Error> {
    Ok(name.to_owned())
}

fn malformed(_: impl std::error::Error) -> S3Error {
    Code::MalformedXml.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_nested_elements_cdata_and_references() {
        let document = b"<?xml version='1.0'?><Delete xmlns='x'><Object><Key>a&amp;b&#33;<![CDATA[<c>]]></Key></Object><Quiet/></Delete>";
        let root = Element::parse(document).unwrap();
        assert_eq!(root.name, "Delete");
        assert_eq!(root.child("Object").unwrap().value("Key"), Some("a&b!<c>"));
        assert!(root.child("Quiet").is_some());
    }

    #[test]
    fn refuses_hostile_documents() {
        let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
        // Empty elements count too: two million of them fit into the largest body.
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        let cases: [&[u8]; 9] = [
            b"",
            b"text",
            b"<a>",
            b"<a></b>",
            b"<a/><b/>",
            b"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            b"<a>&unknown;</a>",
            deep.as_bytes(),
            many.as_bytes(),
        ];
        for case in cases {
            assert_eq!(
                Element::parse(case).unwrap_err().code,
                "MalformedXML",
                "{:?}",
                String::from_utf8_lossy(case)
            );
        }
    }

    #[test]
    fn knows_what_xml_cannot_carry() {
        assert!(is_carriable("plain \u{e9}\t\n"));
        assert!(!is_carriable("bell\u{7}"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Element::parse(&bytes);
        }

        #[test]
        fn written_text_reads_back(value in "[ -~\u{a0}-\u{2ff}]{1,64}") {
            let mut xml = Writer::document();
            xml.open("A");
            xml.text("B", &value);
            xml.close("A");
            let root = Element::parse(xml.finish().as_bytes()).unwrap();
            prop_assert_eq!(root.value("B"), Some(value.trim()));
        }
    }
}
