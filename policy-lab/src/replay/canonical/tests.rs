use proptest::prelude::*;

use super::{Canonical, Shapes, is_same, stop};

proptest! {
    #[test]
    fn stops_at_the_first_that_is_not_plain(bytes in prop::collection::vec(
        prop_oneof![Just(b'"'), Just(b'\\'), Just(b'#'), Just(b'!'), Just(0x5d), Just(0x1f), Just(0x20), any::<u8>()],
        0..40)) {
        let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        prop_assert_eq!(stop(&bytes, 0), naive);
    }
}

proptest! {
    #[test]
    fn comparing_words_is_comparing_bytes(text in "[ab]{0,40}", at in any::<prop::sample::Index>()) {
        let mut other = text.clone().into_bytes();
        prop_assert!(is_same(text.as_bytes(), &other));
        if !other.is_empty() {
            other[at.index(text.len())] = b'c';
            prop_assert!(!is_same(text.as_bytes(), &other));
        }
    }
}

fn whole<'a>(line: &'a str, shapes: &'a mut Shapes) -> Option<Canonical<'a>> {
    shapes.read(line, 0).and_then(|(record, end)| (end == line.len()).then_some(record))
}

const LINE: &str = r#"{"action":"s3:GetObject","auth":{"by":[],"ctx":[{"k":"aws:TagKeys","v":["a","b\"c"]},{"k":"s3:prefix","v":[]}],"decision":"allow","digest":"ab","reason":"x","us":10},"own":{"tls":true,"x":[0,{}]},"principal":{"arn":"a:b","groups":["g","h"],"type":"IAMUser"},"resources":[{"bucket":"b","key":"k\\"},{"bucket":"c"}]}"#;

/// By its members the first time, by its shape the second.
#[test]
fn a_record_says_the_same_whichever_way_it_is_read() {
    let mut shapes = Shapes::default();
    let other = LINE.replace("\"a\"", "\"longer\"").replace("\"us\":10", "\"us\":7");
    for (line, values) in [(LINE, "a|b\"c"), (LINE, "a|b\"c"), (&other, "longer|b\"c")] {
        let record = whole(line, &mut shapes).expect("canonical");
        let pairs: Vec<_> = record
            .pairs()
            .map(|pair| (pair.name, pair.values().collect::<Vec<_>>().join("|")))
            .collect();
        assert_eq!(pairs, [("aws:TagKeys", values.to_owned()), ("s3:prefix", String::new())]);
        assert_eq!((record.bucket().as_deref(), record.key().as_deref()), (Some("b"), Some("k\\")));
        assert_eq!(record.groups().expect("there").collect::<Vec<_>>(), ["g", "h"]);
        assert_eq!(record.caller()[1].as_deref(), Some("a:b"));
        assert_eq!(shapes.learned, 1);
    }
}

#[test]
fn shapes_are_kept_within_bounds() {
    let mut shapes = Shapes::default();
    for round in 0..3 {
        for members in 0..100 {
            let members: Vec<_> = (0..members).map(|n| format!("\"m{n}\":{round}")).collect();
            let line = format!("{{{}}}", members.join(","));
            assert!(whole(&line, &mut shapes).is_some());
        }
    }
    assert_eq!(shapes.known.len(), super::SHAPES_MAX);
}

#[test]
fn what_is_not_canonical_is_left_to_the_other_reader() {
    let mut shapes = Shapes::default();
    for line in [
        "",
        "[]",
        "{} ",
        r#"{"a": 1}"#,
        r#"{"a":null}"#,
        r#"{"a":01}"#,
        r#"{"a":-1}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1,}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":}"#,
        r#"{"action":"a","action":"a"}"#,
        r#"{"action":7}"#,
        r#"{"auth":{},"auth":{}}"#,
        r#"{"auth":{"ctx":[],"ctx":[]}}"#,
        r#"{"auth":{"ctx":[{"v":[],"k":"a"}]}}"#,
        r#"{"auth":{"ctx":[{"k":"a","v":[1]}]}}"#,
        r#"{"principal":{"groups":[],"groups":[]}}"#,
        r#"{"trunc":[]}"#,
        "{\"a\":\"\u{1}\"}",
    ] {
        assert!(whole(line, &mut shapes).is_none(), "{line}");
        // Nor when a record that looks like it was read before.
        assert!(whole(r#"{"a":1}"#, &mut shapes).is_some());
        assert!(whole(r#"{"a":"x"}"#, &mut shapes).is_some());
        assert!(whole(line, &mut shapes).is_none(), "{line}");
    }
}
