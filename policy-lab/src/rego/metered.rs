//! Built-in functions whose one call can make much more than it was given, with a count of what they make.
//!
//! The library looks at the clock between steps and not inside a call, and its limit of memory is one of the whole process.
//! So each of these functions is put before the library's own of the same name: it says from its arguments how much it
//! would make at most, and then calls the library's. What a whole evaluation makes with them is bounded too. A few are here
//! because they end the process over some arguments: a width of ten digits, an empty text to count.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, Value};

use super::place::{self, Written};

/// Bytes that one evaluation may make with these functions.
const MADE_MAX: u64 = 8 * 1024 * 1024;

/// Values that one evaluation may put into lists, sets and objects in loops, those within them included: what is put in
/// twice counts twice, since comparing it takes as long.
const HELD_MAX: u64 = 1_000_000;

/// The function that looks at each member; no name of a rule begins so.
pub(super) const WEIGHED: &str = "__weighed";

/// Digits of a width, a precision or an exponent at most.
const DIGITS_MAX: usize = 3;

/// Bytes of a value in a list, and of a number as text, at most.
const VALUE_BYTES: u64 = 64;
const NUMBER_BYTES: u64 = 400;

/// How much a call makes at most, in bytes.
type Bound = fn(&[Value]) -> u64;

const METERED: [(&str, Bound); 21] = [
    ("array.concat", |args| args.iter().map(members).sum::<u64>().saturating_mul(VALUE_BYTES)),
    ("base64.encode", |args| texts(args).saturating_mul(2)),
    ("concat", |args| {
        let [delimiter, parts] = args else { return u64::MAX };
        weight(parts).saturating_add(weight(delimiter).saturating_mul(members(parts)))
    }),
    ("format_int", |args| texts(args).saturating_mul(4)),
    ("hex.encode", |args| texts(args).saturating_mul(2)),
    ("indexof_n", |args| texts(args).saturating_mul(VALUE_BYTES)),
    ("json.marshal", |args| texts(args).saturating_mul(6)),
    ("json.marshal_with_options", |args| {
        let [value, options] = args else { return u64::MAX };
        // Each value has a line, with the indent as often as it is deep.
        let lines = weight(value).saturating_mul(weight(options));
        weight(value).saturating_mul(6).saturating_add(lines.saturating_mul(16))
    }),
    ("json.unmarshal", |args| texts(args).saturating_mul(VALUE_BYTES)),
    // The digits of a product are those of its factors together, and each factor takes them all once more.
    ("product", |args| args.iter().map(members).sum::<u64>().saturating_pow(2)),
    ("regex.find_n", |args| texts(args).saturating_mul(VALUE_BYTES)),
    ("regex.replace", |args| {
        let [text, _, by] = args else { return u64::MAX };
        // `$0` puts in what was found; finds do not overlap.
        let (places, found) =
            (weight(text).saturating_add(1), weight(text).saturating_mul(weight(by)));
        places.saturating_mul(weight(by)).saturating_add(found)
    }),
    ("regex.split", |args| texts(args).saturating_mul(VALUE_BYTES)),
    ("replace", |args| {
        let [Value::String(text), Value::String(old), Value::String(new)] = args else { return 0 };
        length(text).saturating_add(length(new).saturating_mul(finds(length(text), old)))
    }),
    ("split", |args| texts(args).saturating_mul(VALUE_BYTES)),
    ("sprintf", |args| {
        let [Value::String(format), values] = args else { return 0 };
        let widths = widths(format).map(|widths| widths.saturating_add(length(format)));
        widths.unwrap_or(u64::MAX).saturating_add(weight(values).saturating_mul(6))
    }),
    ("strings.count", |args| match args {
        [_, Value::String(part)] if part.is_empty() => u64::MAX,
        _ => 0,
    }),
    ("strings.replace_n", |args| {
        let [Value::Object(pairs), Value::String(text)] = args else { return 0 };
        let grown = |text: u64, (old, new): (&Value, &Value)| match (old, new) {
            (Value::String(old), Value::String(new)) => {
                text.saturating_add(length(new).saturating_mul(finds(text, old)))
            }
            _ => text,
        };
        pairs.iter().fold(length(text), grown)
    }),
    ("to_number", exponent),
    ("units.parse", exponent),
    ("units.parse_bytes", exponent),
];

/// An engine, and what the functions here made in its evaluation.
pub(super) struct Evaluator {
    engine: Engine,
    made: Arc<AtomicU64>,
    held: Arc<AtomicU64>,
}

impl Evaluator {
    /// # Errors
    /// When the library does not have a function that is metered here.
    pub(super) fn new(prototype: &Engine) -> Result<Self, String> {
        let mut engine = prototype.clone();
        let made = Arc::new(AtomicU64::new(0));
        for (name, bound) in METERED {
            let (builtin, arity) = *BUILTINS.get(name).ok_or_else(|| missing(name))?;
            let (place, operands) = operands(arity)?;
            let made = Arc::clone(&made);
            let call = move |arguments: Vec<Value>| {
                let makes = bound(&arguments);
                let before = made.load(Ordering::Relaxed);
                let all = before.saturating_add(makes);
                if all > MADE_MAX {
                    return Err(TooMuch(name).into());
                }
                made.store(all, Ordering::Relaxed);
                builtin(&place, &operands, &arguments, true).map_err(|error| {
                    // The place is that of the call, which the engine writes around this.
                    Failed(place::message(&error.to_string()).to_owned()).into()
                })
            };
            engine
                .add_extension(name.to_owned(), arity, Box::new(call))
                .map_err(|error| error.to_string())?;
        }
        let held = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&held);
        let weighed = move |mut arguments: Vec<Value>| {
            let value = arguments.pop().unwrap_or(Value::Undefined);
            let all = count.load(Ordering::Relaxed).saturating_add(values(&value));
            if all > HELD_MAX {
                return Err(TooMany.into());
            }
            count.store(all, Ordering::Relaxed);
            Ok(value)
        };
        engine
            .add_extension(WEIGHED.to_owned(), 1, Box::new(weighed))
            .map_err(|error| error.to_string())?;
        Ok(Self { engine, made, held })
    }

    /// Another limit than the one of the engine that it was made from.
    pub(super) fn limit_time(&mut self, timer: ExecutionTimerConfig) {
        self.engine.set_execution_timer_config(timer);
    }

    /// The value of a rule, `data.….name`, for an input; a complaint is about the sources as they were written.
    pub(super) fn eval(
        &mut self,
        rule: String,
        input: Value,
        sources: &[Written],
    ) -> Result<Value, Stopped> {
        self.made.store(0, Ordering::Relaxed);
        self.held.store(0, Ordering::Relaxed);
        self.engine.set_input(input);
        self.engine.eval_rule(rule).map_err(|error| {
            let text = place::complaint(&error.to_string(), sources);
            match error.downcast_ref::<LimitError>() {
                Some(LimitError::TimeLimitExceeded { .. }) => Stopped::ByTime(text),
                _ => Stopped::ByError(text),
            }
        })
    }
}

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error("{0}")]
    ByTime(String),
    #[error("{0}")]
    ByError(String),
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` would make more than a guardrail may")]
struct TooMuch(&'static str);

#[derive(Debug, thiserror::Error)]
#[error("lists made in loops hold more than {HELD_MAX} values")]
struct TooMany;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

fn missing(name: &str) -> String {
    format!("the library has no `{name}`")
}

/// What a built-in function wants to know of the place of its call: here it has none.
fn operands(arity: u8) -> Result<(Span, Vec<Ref<Expr>>), String> {
    let source = Source::from_contents("builtin".to_owned(), String::new());
    let source = source.map_err(|error| error.to_string())?;
    let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
    let null = || Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 };
    Ok((span.clone(), (0..arity).map(|_| Ref::new(null())).collect()))
}

fn length(text: &str) -> u64 {
    text.len() as u64
}

/// Times that a text of some length can have another in it.
fn finds(text: u64, part: &str) -> u64 {
    text.checked_div(length(part)).unwrap_or(text + 1)
}

fn members(value: &Value) -> u64 {
    match value {
        Value::Array(array) => array.len() as u64,
        Value::Set(set) => set.len() as u64,
        Value::Object(object) => object.len() as u64,
        _ => 1,
    }
}

fn texts(arguments: &[Value]) -> u64 {
    arguments.iter().map(weight).fold(0, u64::saturating_add)
}

/// Bytes of a value as text, about: values that stand in it several times count each time. More than is allowed is not
/// counted to its end.
fn weight(value: &Value) -> u64 {
    let mut open = vec![value];
    let mut bytes = 0_u64;
    while let Some(value) = open.pop() {
        bytes = bytes.saturating_add(match value {
            Value::String(text) => length(text).saturating_add(4),
            Value::Number(number) => match number.as_f64() {
                Some(number) if number.is_finite() => NUMBER_BYTES,
                _ => u64::MAX,
            },
            _ => 8,
        });
        if bytes > MADE_MAX {
            return u64::MAX;
        }
        match value {
            Value::Array(array) => open.extend(array.iter()),
            Value::Set(set) => open.extend(set.iter()),
            Value::Object(object) => {
                open.extend(object.iter().flat_map(|(key, value)| [key, value]));
            }
            _ => {}
        }
    }
    bytes
}

/// Values in a value, itself included; not counted to the end when they are too many.
fn values(value: &Value) -> u64 {
    let mut open = vec![value];
    let mut count = 0_u64;
    while let Some(value) = open.pop() {
        count += 1;
        if count > HELD_MAX {
            break;
        }
        match value {
            Value::Array(array) => open.extend(array.iter()),
            Value::Set(set) => open.extend(set.iter()),
            Value::Object(object) => {
                open.extend(object.iter().flat_map(|(key, value)| [key, value]));
            }
            _ => {}
        }
    }
    count
}

/// The source with a call around every member that its rules make, and where in it the additions stand, in order. The call
/// gives back what it is given.
pub(super) fn weighed(text: &str, members: &[Range<usize>]) -> (String, Vec<Range<usize>>) {
    // At one place what ends comes before what begins; the longest begins first and ends last.
    let mut marks: Vec<(usize, bool, usize)> = Vec::new();
    for Range { start, end } in members {
        marks.push((*start, true, usize::MAX - end));
        marks.push((*end, false, usize::MAX - start));
    }
    marks.sort_unstable();
    let mut out = String::with_capacity(text.len() + marks.len() * (WEIGHED.len() + 1));
    let mut added = Vec::with_capacity(marks.len());
    let mut done = 0;
    for (at, begins, _) in marks {
        out.push_str(text.get(done..at).unwrap_or_default());
        done = at;
        let start = out.len();
        match begins {
            true => out.extend([WEIGHED, "("]),
            false => out.push(')'),
        }
        added.push(start..out.len());
    }
    out.push_str(text.get(done..).unwrap_or_default());
    (out, added)
}

/// The widths and precisions of a format together; `None` where one is too large or in digits other than ASCII's.
fn widths(format: &str) -> Option<u64> {
    let mut sum = 0_u64;
    for after in format.split('%').skip(1) {
        let after = after.strip_prefix('.').unwrap_or(after);
        let digits: String = after.chars().take_while(|char| char.is_numeric()).collect();
        if digits.len() > DIGITS_MAX {
            return None;
        }
        if !digits.is_empty() {
            sum = sum.saturating_add(digits.parse().ok()?);
        }
    }
    Some(sum)
}

/// Numbers as text: an exponent of many digits is not written out.
fn exponent(arguments: &[Value]) -> u64 {
    let [Value::String(text)] = arguments else { return 0 };
    let is_long = |(_, exponent): (&str, &str)| {
        exponent.bytes().filter(u8::is_ascii_digit).count() > DIGITS_MAX
    };
    match text.split_once(['e', 'E']).is_some_and(is_long) {
        true => u64::MAX,
        false => length(text),
    }
}
