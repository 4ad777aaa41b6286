//! JSON in which every member has one meaning.
//!
//! Policies are read by `document::json`, which is stricter than the lines of a log are: there, names that differ in case
//! only are one (headers of a request may be two), and nesting ends early.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value in which no object has a member twice: readers differ in which of the two they take.
pub(super) struct Unambiguous(pub(super) Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
        let mut read = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(Unambiguous(Value::Array(read)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unambiguous, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                return Err(Error::custom(format!("`{name}` is there twice")));
            }
            let Unambiguous(value) = members.next_value()?;
            read.insert(name, value);
        }
        Ok(Unambiguous(Value::Object(read)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_an_error_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"b":2,"a":3}}]"#, r#"{"\u0061":1,"a":2}"#]
        {
            let error = serde_json::from_str::<Unambiguous>(text).err().map(|e| e.to_string());
            assert!(error.is_some_and(|error| error.starts_with("`a` is there twice")), "{text}");
        }
        assert!(serde_json::from_str::<Unambiguous>(r#"[{"a":1},{"a":{"a":2}}]"#).is_ok());
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_the_library_does(
            text in r#"[\[\]{}",:a-f0-9eE+. \\u-]{0,40}"#,
            number in any::<f64>(),
            integer in any::<i64>(),
        ) {
            for text in [text, format!("[{number},{integer},true,null,\"{number}\"]")] {
                let ours = serde_json::from_str::<Unambiguous>(&text).map(|read| read.0);
                let twice = ours.as_ref().is_err_and(|e| e.to_string().contains("is there twice"));
                if !twice {
                    prop_assert_eq!(ours.ok(), serde_json::from_str::<Value>(&text).ok());
                }
            }
        }
    }
}
