//! What guardrails must be before they may decide: repeatable, and complete, since the engine finds an unknown function
//! only when it calls it.

use ipnet::IpNet;
use regorus::{Engine, Value};

use super::place::{self, RegoError, Written};
use super::rules::Piece;
use super::token::{Kind, Token};
use crate::document::line_and_column;

/// Calls without a repeatable answer, or with an effect.
const REFUSED: [(&str, &str); 10] = [
    ("time", "now_ns"),
    ("rand", "intn"),
    ("uuid", "rfc4122"),
    ("opa", "runtime"),
    ("http", "send"),
    ("net", "lookup_ip_addr"),
    ("rego", "parse_module"),
    ("io", "jwt"),
    ("providers", "aws"),
    ("trace", ""),
];

/// Whether what stands behind a name bounds the call.
type IsSmall = fn(&[&Kind]) -> bool;

/// Calls that make as much as their arguments say, in one go: no limit of time holds inside a call, and a list of 10^12
/// numbers ends the process. Each with what may follow its name.
const EXPANDING: [(&str, &str, IsSmall); 4] = [
    ("bits", "lsh", is_small_shift),
    ("net", "cidr_expand", is_small_network),
    ("numbers", "range", is_small_range),
    ("numbers", "range_step", is_small_range),
];

/// Digits of a bound of `numbers.range`, and of a shift, at most.
const RANGE_DIGITS_MAX: usize = 5;
const SHIFT_DIGITS_MAX: usize = 3;

/// Bits that a network may leave open to be written out.
const HOST_BITS_MAX: u8 = 10;

/// Signs in a row at most: the parser calls itself for each.
const MINUS_MAX: usize = 8;

/// Open brackets at most. The library's parser tries each opening bracket as a comprehension first and then again, so its
/// time doubles with each level: 65 of them did not end (found by fuzzing). What people write stays below ten.
pub(super) const NESTING_MAX: usize = 12;

/// Refuses sources that the parser could not finish.
pub(super) fn shallow(file: &str, text: &str, tokens: &[Token]) -> Result<(), RegoError> {
    let mut open = 0_usize;
    let mut minus = 0_usize;
    for token in tokens {
        match token.kind {
            Kind::Sign('[' | '{' | '(') => open += 1,
            Kind::Sign(']' | '}' | ')') => open = open.saturating_sub(1),
            _ => {}
        }
        minus = if token.kind == Kind::Sign('-') { minus + 1 } else { 0 };
        let (message, hint) = if open > NESTING_MAX {
            let message = format!("brackets are nested more than {NESTING_MAX} deep");
            (message, "give what is inside a name, as a rule or with `:=`")
        } else if minus > MINUS_MAX {
            (format!("more than {MINUS_MAX} signs stand in a row"), "leave out those that cancel")
        } else {
            continue;
        };
        let place = line_and_column(text, token.at);
        return Err(RegoError::at(file, place, message).hint(hint));
    }
    Ok(())
}

/// Refuses sources whose answer may differ from one evaluation to the next, or that make what memory may not hold.
pub(super) fn repeatable(file: &str, text: &str, tokens: &[Token]) -> Result<(), RegoError> {
    for (position, token) in tokens.iter().enumerate() {
        let refuse = |message: String, hint: String| {
            let place = line_and_column(text, token.at);
            Err(RegoError::at(file, place, message).hint(hint))
        };
        let not_repeatable = |call: &str| {
            let hint = "what a guardrail may use comes in with `input`, as `input.env.time`";
            refuse(format!("`{call}` has no repeatable answer"), hint.to_owned())
        };
        let Kind::Name(name) = &token.kind else { continue };
        let behind = |steps: usize| tokens.get(position + steps).map(|token| &token.kind);
        // `input.time.now_ns` is a field, not the call.
        let is_field = position > 0
            && tokens.get(position - 1).is_some_and(|token| token.kind == Kind::Sign('.'));
        if is_field {
            continue;
        }
        if matches!(name.as_str(), "print" | "trace") && behind(1) == Some(&Kind::Sign('(')) {
            return not_repeatable(name);
        }
        let (member, end) = match (behind(1), behind(2)) {
            (Some(Kind::Sign('.')), Some(Kind::Name(member))) => (member, position + 3),
            (Some(Kind::Sign('[')), Some(Kind::Text(member))) => (member, position + 4),
            _ => continue,
        };
        if REFUSED.iter().any(|(space, call)| name == space && member == call) {
            return not_repeatable(&format!("{name}.{member}"));
        }
        let found = EXPANDING.iter().find(|(space, call, _)| name == space && member == call);
        let Some((_, _, is_small)) = found else { continue };
        let behind = tokens.get(end..).unwrap_or_default();
        if !is_small(&behind.iter().take(7).map(|token| &token.kind).collect::<Vec<_>>()) {
            let message = format!("`{name}.{member}` makes as much as its arguments say");
            let hint = format!(
                "write its bounds out: ranges up to {RANGE_DIGITS_MAX} digits, networks of {HOST_BITS_MAX} open bits, \
                 shifts by {SHIFT_DIGITS_MAX} digits"
            );
            return refuse(message, hint);
        }
    }
    Ok(())
}

/// `(1, 1000`: two bounds that are written out, with or without a sign.
fn is_small_range(behind: &[&Kind]) -> bool {
    let unsigned: Vec<_> = behind.iter().filter(|kind| ***kind != Kind::Sign('-')).collect();
    match unsigned.as_slice() {
        [
            Kind::Sign('('),
            Kind::Name(from),
            Kind::Sign(','),
            Kind::Name(to),
            Kind::Sign(')' | ','),
            ..,
        ] => [from, to].iter().all(|bound| is_number(bound, RANGE_DIGITS_MAX)),
        _ => false,
    }
}

/// `(x, 10)`.
fn is_small_shift(behind: &[&Kind]) -> bool {
    match behind {
        [Kind::Sign('('), Kind::Name(_), Kind::Sign(','), Kind::Name(by), Kind::Sign(')'), ..] => {
            is_number(by, SHIFT_DIGITS_MAX)
        }
        _ => false,
    }
}

/// `("10.0.0.0/28")`.
fn is_small_network(behind: &[&Kind]) -> bool {
    let [Kind::Sign('('), Kind::Text(network), Kind::Sign(')'), ..] = behind else { return false };
    let open = |network: IpNet| network.max_prefix_len() - network.prefix_len();
    network.parse().is_ok_and(|network| open(network) <= HOST_BITS_MAX)
}

fn is_number(text: &str, digits_max: usize) -> bool {
    text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words that may stand before a parenthesis without being called.
const KEYWORDS: [&str; 9] = ["and", "contains", "else", "every", "if", "in", "not", "some", "with"];

/// Refuses calls of functions that neither the engine nor the guardrails have.
pub(super) fn calls_are_known(
    engine: &Engine,
    package: &str,
    pieces: &[Piece<'_>],
) -> Result<(), RegoError> {
    let is_missing = |call: &str| {
        let answer = engine.clone().eval_query(format!("{call}()"), false);
        answer.is_err_and(|error| error.to_string().contains("could not find function"))
    };
    for piece in pieces {
        for (at, name) in calls(&piece.tokens) {
            if is_missing(&name) && is_missing(&format!("{package}.{name}")) {
                let place = line_and_column(piece.text, at);
                let message = format!("there is no function `{name}`");
                let hint = "a guardrail may call the functions of Rego that need no network, clock or key, and its own";
                return Err(RegoError::at(piece.name, place, message).hint(hint));
            }
        }
    }
    Ok(())
}

/// Dotted names that stand before a parenthesis, and the byte that each begins at.
fn calls(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut calls = Vec::new();
    let mut path: Option<(usize, String)> = None;
    for token in tokens {
        path = match (path, &token.kind) {
            (Some((at, path)), Kind::Sign('.')) => Some((at, path + ".")),
            (Some((at, path)), Kind::Name(name)) if path.ends_with('.') => Some((at, path + name)),
            (Some(call), Kind::Sign('(')) if !KEYWORDS.contains(&call.1.as_str()) => {
                calls.push(call);
                None
            }
            (_, Kind::Name(name)) => Some((token.at, name.clone())),
            _ => None,
        };
    }
    calls
}

/// The engine made ready for its first evaluation, without a limit of time: that a machine is busy is no fault of the
/// guardrails. Refuses those that do not compile.
pub(super) fn compiled(
    mut engine: Engine,
    entry: &str,
    pieces: &[Piece<'_>],
    sources: &[Written],
) -> Result<Engine, RegoError> {
    let first = pieces.first().map_or("guardrails", |piece| piece.name);
    let refuse = |error: &str| match (error, entry.rsplit_once('.')) {
        ("not a valid rule path", Some((package, rule))) => {
            let package = package.strip_prefix("data.").unwrap_or(package);
            let message = format!("no guardrail defines `{rule}` in package `{package}`");
            RegoError::of_file(first, message).hint(match rule {
                "deny" => "write `deny contains {\"id\": \"…\", \"msg\": \"…\"} if { … }`",
                _ => "write `default allow := false`, and when it is true",
            })
        }
        _ => place::located(first, error, sources),
    };
    let compiled = engine.clone().compile_with_entrypoint(&entry.into());
    compiled.map_err(|error| refuse(&error.to_string()))?;
    // Made ready here once, not in each clone.
    engine.eval_query("true".to_owned(), false).map_err(|error| refuse(&error.to_string()))?;
    Ok(engine)
}

/// What the rules answer to an empty input is of no interest, but a variable that is bound nowhere shows only there.
pub(super) fn binds_its_variables(
    first: &str,
    answer: Result<Value, String>,
) -> Result<(), RegoError> {
    match answer {
        // Its place is one of the sources as they were written.
        Err(error) if error.contains("is unsafe") => Err(place::located(first, &error, &[])),
        _ => Ok(()),
    }
}
