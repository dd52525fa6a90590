// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From TOML to values and their places. Collects every error instead of stopping at the first.

use super::error::{ConfigError, ConfigErrorKind as K, ConfigErrors};
use super::rules::{self, Number};
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Reads a configuration; see [`Config::from_toml`].
pub fn from_toml(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
    let fail = |mut errors: Vec<ConfigError>| {
        errors.sort_by_key(|e| e.at.start);
        ConfigErrors { file_name: file_name.into(), text: text.into(), errors }
    };
    let (document, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(fail(syntax.iter().map(|e| syntax_error(e, text)).collect()));
    }
    let mut reader = Reader::new(document.get_ref(), text.len());
    let config = reader.config();
    reader.refuse_unknown();
    let violations = rules::check(&config, &|field| reader.bad.contains(field));
    let broken = violations.into_iter().map(|v| reader.locate(v));
    let errors: Vec<_> = broken.collect::<Vec<_>>().into_iter().chain(reader.errors).collect();
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(fail(errors))
    }
}

fn syntax_error(error: &toml::de::Error, text: &str) -> ConfigError {
    let at = error.span().unwrap_or(text.len()..text.len());
    ConfigError { at, context: vec![], kind: K::Syntax { message: error.message().into() } }
}

/// Splits `array.rows` into section and key; top-level fields have the section "".
fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or(("", path))
}

struct Reader<'a> {
    root: &'a DeTable<'a>,
    /// Where something that is not there would have been.
    end: usize,
    errors: Vec<ConfigError>,
    /// Fields asked for, in order.
    known: Vec<&'static str>,
    /// Fields whose value cannot be used.
    bad: BTreeSet<&'static str>,
    /// Values by field.
    spans: BTreeMap<&'static str, Range<usize>>,
    missing_sections: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a DeTable<'a>, end: usize) -> Self {
        Reader {
            root,
            end,
            errors: vec![],
            known: vec![],
            bad: BTreeSet::new(),
            spans: BTreeMap::new(),
            missing_sections: BTreeSet::new(),
        }
    }

    /// All fields. A field in `bad` holds a value of no meaning.
    fn config(&mut self) -> Config {
        let (axi, queues) = (Axi::default(), Queues::default());
        Config {
            name: self.text("name"),
            device: Device {
                part: self.text("device.part"),
                clock_mhz: self.number("device.clock_mhz", None),
            },
            array: Array {
                rows: self.number("array.rows", None),
                lanes: self.number("array.lanes", None),
                columns: self.number("array.columns", None),
                brick_bits: self.number("array.brick_bits", None),
            },
            banks: Banks { depth: self.number("banks.depth", None) },
            accumulators: Accumulators { depth: self.number("accumulators.depth", None) },
            weights: Weights {
                depth: self.number("weights.depth", None),
                taps: self.number("weights.taps", Some(default_taps())),
            },
            requantize: Requantize {
                lanes: self.number("requantize.lanes", None),
                param_depth: self.number("requantize.param_depth", None),
                table: self.flag("requantize.table"),
                add: self.flag("requantize.add"),
                bipolar: self.flag("requantize.bipolar"),
            },
            axi: Axi {
                data_bits: self.number("axi.data_bits", Some(axi.data_bits)),
                read_ports: self.number("axi.read_ports", Some(axi.read_ports)),
                burst_beats: self.number("axi.burst_beats", Some(axi.burst_beats)),
            },
            queues: Queues { depth: self.number("queues.depth", Some(queues.depth)) },
        }
    }

    fn number(&mut self, path: &'static str, default: Option<u32>) -> u32 {
        let Some(value) = self.value(path, default.is_none()) else {
            return default.unwrap_or(0);
        };
        let DeValue::Integer(integer) = value else {
            self.wrong_type(path, "an integer", value);
            return 0;
        };
        let Ok(value) = i128::from_str_radix(integer.as_str(), integer.radix()) else {
            self.wrong_type(path, "an integer below 2^32", value);
            return 0;
        };
        let number = Number::find(path).expect("every number has its limit");
        if let Some(kind) = number.check(value) {
            self.refuse(path, kind);
            return 0;
        }
        value as u32 // the limit is below 2^32
    }

    fn text(&mut self, path: &'static str) -> String {
        match self.value(path, true) {
            Some(DeValue::String(s)) => s.to_string(),
            Some(other) => {
                self.wrong_type(path, "a string", other);
                String::new()
            }
            None => String::new(),
        }
    }

    /// A switch that is on unless written otherwise.
    fn flag(&mut self, path: &'static str) -> bool {
        match self.value(path, false) {
            Some(DeValue::Boolean(b)) => *b,
            Some(other) => {
                self.wrong_type(path, "true or false", other);
                true
            }
            None => true,
        }
    }

    /// The value of a field; `None` (and `bad` where it is required) if there is none.
    fn value(&mut self, path: &'static str, required: bool) -> Option<&'a DeValue<'a>> {
        self.known.push(path);
        let (section, key) = split(path);
        let found = match self.table(section, required) {
            Ok(table) => table.get(key),
            Err(reported) => {
                if required || reported {
                    self.bad.insert(path);
                }
                return None;
            }
        };
        match found {
            Some(value) => {
                self.spans.insert(path, value.span());
                Some(value.get_ref())
            }
            None if required => {
                let at = self.section_span(section);
                self.errors.push(ConfigError { at, context: vec![], kind: K::MissingField { field: path } });
                self.bad.insert(path);
                None
            }
            None => None,
        }
    }

    /// The table of a section. `Err(true)`: an error about it stands already.
    fn table(&mut self, section: &'static str, required: bool) -> Result<&'a DeTable<'a>, bool> {
        if section.is_empty() {
            return Ok(self.root);
        }
        let first = !self.missing_sections.contains(section);
        match self.root.get(section) {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Ok(table),
                other => {
                    if first {
                        self.missing_sections.insert(section);
                        let kind =
                            K::WrongType { field: section, expected: "a section", found: found(other) };
                        self.errors.push(ConfigError { at: value.span(), context: vec![], kind });
                    }
                    Err(true)
                }
            },
            None if required => {
                if first {
                    self.missing_sections.insert(section);
                    let at = self.end..self.end;
                    self.errors.push(ConfigError {
                        at,
                        context: vec![],
                        kind: K::MissingSection { section },
                    });
                }
                Err(true)
            }
            None => Err(false),
        }
    }

    /// The header of a section.
    fn section_span(&self, section: &str) -> Range<usize> {
        match section {
            "" => 0..0,
            s => self.root.get(s).map_or(self.end..self.end, |v| v.span()),
        }
    }

    fn wrong_type(&mut self, field: &'static str, expected: &'static str, value: &DeValue<'_>) {
        self.refuse(field, K::WrongType { field, expected, found: found(value) });
    }

    fn refuse(&mut self, field: &'static str, kind: K) {
        self.bad.insert(field);
        let at = self.spans.get(field).cloned().unwrap_or(self.end..self.end);
        self.errors.push(ConfigError { at, context: vec![], kind });
    }

    fn refuse_unknown(&mut self) {
        let mut found = Vec::new();
        for (key, value) in self.root.iter() {
            let section = key.get_ref().as_ref();
            let fields = keys_of(&self.known, section);
            match value.get_ref() {
                DeValue::Table(table) if !fields.is_empty() => {
                    let keys = table.keys().filter(|k| !fields.contains(&k.get_ref().as_ref()));
                    found.extend(
                        keys.map(|k| unknown(format!("{section}.{}", k.get_ref()), k.span(), &fields)),
                    );
                }
                _ if !fields.is_empty() || self.known.contains(&section) => {}
                _ => found.push(unknown(section.to_string(), key.span(), &top_names(&self.known))),
            }
        }
        self.errors.extend(found);
    }

    /// Puts a broken rule at the place of its first field that the file has.
    fn locate(&self, violation: rules::Violation) -> ConfigError {
        let section = split(violation.fields[0]).0;
        let here = self.spans.get(violation.fields[0]).cloned();
        let others = violation.fields[1..].iter();
        let context = others.filter_map(|f| self.spans.get(f).map(|s| (s.clone(), *f))).collect();
        ConfigError { at: here.unwrap_or_else(|| self.section_span(section)), context, kind: violation.kind }
    }
}

/// A value, as people would name it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("the string {s:?}"),
        DeValue::Integer(i) => format!("the integer {i}"),
        DeValue::Float(f) => format!("the number {f}"),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(d) => format!("the time {d}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Keys of a section.
fn keys_of(known: &[&'static str], section: &str) -> Vec<&'static str> {
    let parts = known.iter().filter_map(|p| p.split_once('.'));
    parts.filter(|(s, _)| *s == section).map(|(_, key)| key).collect()
}

/// Top-level keys and sections.
fn top_names(known: &[&'static str]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = known.iter().map(|p| p.split('.').next().unwrap_or(p)).collect();
    names.dedup();
    names
}

fn unknown(field: String, at: Range<usize>, known: &[&'static str]) -> ConfigError {
    let key = field.rsplit('.').next().unwrap_or(&field);
    let nearest = known.iter().map(|k| (distance(key, k), *k)).min().filter(|(d, k)| *d * 2 <= k.len());
    let kind = K::UnknownField { nearest: nearest.map(|(_, k)| k), known: known.to_vec(), field };
    ConfigError { at, context: vec![], kind }
}

/// Edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.bytes().enumerate() {
            let replaced = diagonal + (ca != cb) as usize;
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
