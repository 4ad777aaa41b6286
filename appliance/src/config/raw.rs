//! What was written, layer by layer, with the place of each value; nothing is interpreted here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::key::{self, KEYS, Key, Kind, OTHER_VARIABLES};
use super::{ConfigError, Setting, siem, suggest};

/// Largest configuration or secret file; a wrong path should not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where configuration may come from. Given from outside, so that a test needs no real environment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// By name of the key; a list key may have many values.
    pub flags: BTreeMap<&'static str, Vec<String>>,
    pub environment: BTreeMap<String, String>,
    /// The file to read; it must be there.
    pub file: Option<PathBuf>,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the command line"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The winning text of every key.
#[derive(Debug)]
pub(super) struct Written {
    values: BTreeMap<&'static str, (Vec<String>, Origin)>,
    pub(super) siem: Vec<siem::Block>,
    pub(super) warnings: Vec<String>,
}

impl Written {
    /// The text of a single-valued key and where it stands; an empty text is its absence.
    pub(super) fn text(&self, name: &str) -> (&str, &Origin) {
        let (values, origin) = self.list(name);
        (values.first().map_or("", String::as_str), origin)
    }

    pub(super) fn list(&self, name: &str) -> (&[String], &Origin) {
        self.values.get(name).map_or((&[], &Origin::Default), |(values, origin)| (values, origin))
    }

    pub(super) fn setting(&self, key: &'static Key) -> Setting {
        let (values, origin) = self.list(key.name);
        let value = match key.kind {
            Kind::Secret if values.is_empty() => "(generated)".into(),
            Kind::Secret => "(set)".into(),
            Kind::Single | Kind::List => values.join(" "),
        };
        Setting { name: key.name, value, origin: origin.clone() }
    }
}

/// Reads file and environment and lets the strongest layer win, key by key.
pub(super) fn read(sources: &Sources) -> Result<Written, ConfigError> {
    let file = match &sources.file {
        Some(path) => from_text(path, &read_bounded("the configuration file", path)?)?,
        None => Layer::default(),
    };
    layered(sources, file)
}

/// Lays flags and environment over what a file says.
fn layered(sources: &Sources, file: Layer) -> Result<Written, ConfigError> {
    let Layer { values: file, mut siem } = file;
    let mut warnings = unknown_variables(&sources.environment);
    siem.extend(siem::from_environment(&sources.environment, &mut warnings)?);
    let mut values = BTreeMap::new();
    for key in KEYS {
        let winner = match sources.flags.get(key.name) {
            Some(given) => Some((given.clone(), Origin::Flag)),
            None => {
                from_environment(key, &sources.environment)?.or_else(|| file.get(key.name).cloned())
            }
        };
        let default = || match key.default {
            "" => (Vec::new(), Origin::Default),
            text => (vec![text.to_owned()], Origin::Default),
        };
        values.insert(key.name, winner.unwrap_or_else(default));
    }
    if let Some(first) = siem.first() {
        let names = siem.iter().map(siem::Block::described).collect();
        values.insert("siem", (names, first.origin.clone()));
    }
    Ok(Written { values, siem, warnings })
}

type Values = BTreeMap<&'static str, (Vec<String>, Origin)>;

/// What one file says.
#[derive(Default)]
struct Layer {
    values: Values,
    siem: Vec<siem::Block>,
}

fn from_text(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let mut table: Table = text.parse().map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let siem = siem::from_file(path, table.remove("siem"))?;
    let mut values = Values::new();
    flatten(path, "", &table, &mut values)?;
    Ok(Layer { values, siem })
}

/// Walks tables into dotted names. Recursion ends at the first name that begins none of ours.
fn flatten(
    path: &Path,
    prefix: &str,
    table: &Table,
    layer: &mut Values,
) -> Result<(), ConfigError> {
    for (word, value) in table {
        let name = format!("{prefix}{word}");
        match (key::find(&name), value) {
            (Some(key), value) => {
                let origin = Origin::File(path.to_owned());
                let values = values_of(key, value).map_err(|problem| ConfigError::Value {
                    name: key.name,
                    origin: origin.clone(),
                    problem,
                })?;
                layer.insert(key.name, (values, origin));
            }
            (None, Value::Table(inner)) if KEYS.iter().any(|key| starts_table(key, &name)) => {
                flatten(path, &format!("{name}."), inner, layer)?;
            }
            (None, _) => {
                let hint = suggest::hint(&name, KEYS.iter().map(|key| key.name));
                return Err(ConfigError::UnknownKey { name, path: path.to_owned(), hint });
            }
        }
    }
    Ok(())
}

fn starts_table(key: &Key, name: &str) -> bool {
    key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

fn values_of(key: &Key, value: &Value) -> Result<Vec<String>, String> {
    match (key.kind, value) {
        (Kind::List, Value::Array(items)) => items.iter().map(text_of).collect(),
        (_, value) => text_of(value).map(|text| vec![text]),
    }
}

/// The text of one plain value.
pub(super) fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(format!("a {} does not belong here", other.type_str())),
    }
}

fn from_environment(
    key: &Key,
    environment: &BTreeMap<String, String>,
) -> Result<Option<(Vec<String>, Origin)>, ConfigError> {
    for name in key.environment {
        let origin = Origin::Environment((*name).to_owned());
        let plain = environment.get(*name).filter(|text| !text.is_empty());
        let file_name = format!("{name}_FILE");
        let file =
            environment.get(&file_name).filter(|path| key.kind == Kind::Secret && !path.is_empty());
        match (plain, file) {
            (Some(_), Some(_)) => {
                let second = Origin::Environment(file_name);
                return Err(ConfigError::Twice { name: key.name, first: origin, second });
            }
            (Some(text), None) if key.kind == Kind::List => {
                let words = text.split_whitespace().map(ToOwned::to_owned).collect();
                return Ok(Some((words, origin)));
            }
            (Some(text), None) => return Ok(Some((vec![text.clone()], origin))),
            (None, Some(path)) => {
                let text = read_bounded("the secret file", Path::new(path))?;
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                return Ok(Some((vec![text], Origin::Environment(file_name))));
            }
            (None, None) => {}
        }
    }
    Ok(None)
}

/// A mistyped variable would silently not count, so it is at least said.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let known = || KEYS.iter().flat_map(|key| key.environment).chain(OTHER_VARIABLES).copied();
    environment
        .keys()
        .filter(|name| name.starts_with("APPLIANCE_"))
        .filter(|name| !known().any(|word| name.trim_end_matches("_FILE") == word))
        .map(|name| {
            let hint = suggest::hint(name, known());
            format!("the environment variable {name} means nothing here{hint}")
        })
        .collect()
}

pub(super) fn read_bounded(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let failed = |source| ConfigError::Read { what, path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        let large = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB");
        return Err(failed(large));
    }
    Ok(text)
}

/// A file's text and nothing else. See `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(text: &str) -> Result<Written, ConfigError> {
    layered(&Sources::default(), from_text(Path::new("fuzzed.toml"), text)?)
}
