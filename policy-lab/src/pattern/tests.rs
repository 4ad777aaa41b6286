use proptest::prelude::*;

use super::{Glob, Pattern, Syntax, Text};
use crate::Context;

const BOTH: Syntax = Syntax { wildcards: true, variables: true, raw: false };

/// The obvious recursion.
fn model(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', more)), _) => {
            model(more, text) || text.split_first().is_some_and(|(_, rest)| model(pattern, rest))
        }
        (Some(('?', more)), Some((_, rest))) => model(more, rest),
        (Some((a, more)), Some((b, rest))) => a == b && model(more, rest),
        _ => false,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_recursion(pattern in "[ab/é*?]{0,9}", text in "[ab/é]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            Glob::parse(&pattern).matches(text.as_str()),
            model(&chars(&pattern), &chars(&text))
        );
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(text in ".{0,40}", subject in ".{0,20}") {
        if let Ok(pattern) = Pattern::parse(&text, BOTH) {
            let _ = pattern.matches(subject.as_str(), &Context::new());
        }
    }

    /// Whatever a value holds, a variable stands for exactly that value.
    #[test]
    fn values_are_data(value in ".{0,12}", other in ".{0,12}") {
        let mut context = Context::new();
        context.set("aws:username", value.clone());
        let pattern = Pattern::parse("home/${aws:username}/*", BOTH).expect("valid");
        let (inside, outside) = (format!("home/{value}/x"), format!("home/{other}/x"));
        prop_assert!(pattern.matches(inside.as_str(), &context));
        prop_assert_eq!(
            pattern.matches(outside.as_str(), &context),
            outside.starts_with(&format!("home/{value}/"))
        );
    }
}

#[test]
fn hostile_patterns_are_bounded() {
    let pattern = Glob::parse(&format!("{}b", "*a".repeat(500)));
    assert!(!pattern.matches("a".repeat(1024).as_str()));
    assert!(Glob::parse(&"*".repeat(60_000)).matches(""));
}

#[test]
fn variables_defaults_and_escapes() {
    let mut context = Context::new();
    context.set("aws:username", "al*ce");
    context.set_many("aws:groups", vec!["eng".into()]);
    let matches = |pattern: &str, text: &str| {
        Pattern::parse(pattern, BOTH).expect("valid").matches(text, &context)
    };
    assert!(matches("${aws:UserName}", "al*ce"));
    assert!(!matches("${aws:username}", "alXce"));
    assert!(matches("${s3:prefix, 'none'}/*", "none/x"));
    assert!(!matches("${s3:prefix}*", ""), "no value: matches nothing");
    assert!(!matches("${aws:groups}", "eng"), "several-valued keys have no value");
    assert!(matches("${*}${?}${$}*", "*?$tail") && !matches("${*}", "a"));
    let old = Syntax { variables: false, ..BOTH };
    let literal = Pattern::parse("${aws:username}", old).expect("literal text in 2008");
    assert!(literal.matches("${aws:username}", &context));
    for broken in ["${aws:username", "${}", "${user name}", "${aws:username, x}", "${aws:a, 'b'c'}"]
    {
        assert!(Pattern::parse(broken, BOTH).is_err(), "{broken}");
    }
}

proptest! {
    /// A path in pieces is what it is in one piece.
    #[test]
    fn pieces_are_one_text(
        pattern in "[ab/é*?]{0,9}",
        bucket in "[ab]{0,3}",
        key in "[ab/é]{0,6}",
        other in "[ab/é]{0,6}",
    ) {
        let joined = format!("{bucket}/{key}");
        let path = Text::path(&bucket, &key);
        let glob = Glob::parse(&pattern);
        prop_assert_eq!(glob.matches(path), glob.matches(joined.as_str()));
        prop_assert_eq!(path.sorts_from(&other), joined.as_str() >= other.as_str());
        prop_assert_eq!(path.strip_prefix(&other).is_some(), joined.starts_with(&other));
        if glob.matches(path) {
            prop_assert!(joined.starts_with(glob.literal_prefix()));
        }
    }
}

#[test]
fn raw_values_are_patterns() {
    let mut context = Context::new();
    context.set("aws:username", "al*");
    let matches = |pattern: &str, text: &str| {
        let syntax = Syntax { raw: true, ..BOTH };
        Pattern::parse(pattern, syntax).expect("any text").matches(text, &context)
    };
    assert!(matches("home/${aws:username}/*", "home/alice/x"));
    assert!(matches("${s3:prefix}", "${s3:prefix}"), "not a common key");
    assert!(matches("${aws:userid}x", "${aws:userid}x"), "no value");
    assert!(matches("${aws:username", "${aws:username"), "no brace");
}
