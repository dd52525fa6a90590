// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration files: the shipped ones pass, broken ones get the committed messages.

mod common;

use common::{configs, files, golden, repo};
use hdl_gen::config::ConfigErrorKind as K;
use hdl_gen::{Arch, Config};
use std::fs;

fn load(path: &std::path::Path) -> Config {
    let text = fs::read_to_string(path).expect("a readable configuration");
    Config::from_toml(&text, &path.display().to_string()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn shipped_configurations_pass_and_are_named_after_their_files() {
    assert!(configs().len() >= 5);
    for path in configs() {
        let config = load(&path);
        assert_eq!(config.name, path.file_stem().unwrap().to_str().unwrap());
        assert_eq!(config.check(), Ok(()));
    }
}

#[test]
fn shipped_configurations_differ_in_hash() {
    let mut hashes: Vec<u64> = configs().iter().map(|p| Arch::new(&load(p)).hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), configs().len());
}

#[test]
fn every_broken_configuration_gets_its_committed_message() {
    let folder = repo("tests/config_errors");
    let broken = files(&folder, "toml");
    assert!(!broken.is_empty());
    for path in broken {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let errors = Config::from_toml(&text, name).expect_err(name);
        golden(&path.with_extension("txt"), &format!("{errors}\n"));
    }
}

#[test]
fn every_rule_has_a_broken_configuration() {
    let mut seen: Vec<String> = Vec::new();
    for path in files(&repo("tests/config_errors"), "toml") {
        let text = fs::read_to_string(&path).unwrap();
        let errors = Config::from_toml(&text, "x").expect_err("broken").errors;
        seen.extend(errors.iter().map(|e| variant(&e.kind)));
    }
    for rule in ALL_RULES {
        assert!(seen.iter().any(|s| s == rule), "no file in tests/config_errors breaks {rule}");
    }
}

const ALL_RULES: &[&str] = &[
    "Syntax",
    "UnknownField",
    "MissingField",
    "MissingSection",
    "WrongType",
    "OutOfRange",
    "NotPowerOfTwo",
    "NotOneOf",
    "NotIdentifier",
    "ReservedWord",
    "NotPartName",
    "LanesNotRequantMultiple",
    "ColumnsNotGrouped",
    "TooManyColumns",
    "GroupsAgainstLanes",
    "TooManyBricks",
    "BipolarNeedsOneBitBricks",
    "TapsBelowRows",
    "WeightsBelowPass",
    "ParamsBelowPass",
    "TooMuchMemory",
];

/// Name of the variant; the match makes the compiler ask for [`ALL_RULES`] when a rule is added.
fn variant(kind: &K) -> String {
    match kind {
        K::Syntax { .. }
        | K::UnknownField { .. }
        | K::MissingField { .. }
        | K::MissingSection { .. }
        | K::WrongType { .. }
        | K::OutOfRange { .. }
        | K::NotPowerOfTwo { .. }
        | K::NotOneOf { .. }
        | K::NotIdentifier { .. }
        | K::ReservedWord { .. }
        | K::NotPartName { .. }
        | K::LanesNotRequantMultiple { .. }
        | K::ColumnsNotGrouped { .. }
        | K::TooManyColumns { .. }
        | K::GroupsAgainstLanes { .. }
        | K::TooManyBricks { .. }
        | K::BipolarNeedsOneBitBricks { .. }
        | K::TapsBelowRows { .. }
        | K::WeightsBelowPass { .. }
        | K::ParamsBelowPass { .. }
        | K::TooMuchMemory { .. } => {
            let debug = format!("{kind:?}");
            debug.split([' ', '{']).next().unwrap().to_string()
        }
    }
}

/// Every proper prefix and every file with one line or one byte taken away: a result, never a panic, and messages that
/// print.
#[test]
fn damaged_files_give_messages_not_panics() {
    for path in configs() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let without_line = (0..lines.len()).map(|i| [&lines[..i], &lines[i + 1..]].concat().join("\n"));
        let prefixes = (0..text.len()).map(|n| text[..n].to_string());
        let without_byte = (0..text.len()).map(|n| format!("{}{}", &text[..n], &text[n + 1..]));
        for damaged in without_line.chain(prefixes).chain(without_byte) {
            if let Err(e) = Config::from_toml(&damaged, "damaged.toml") {
                assert!(!e.errors.is_empty());
                assert!(e.to_string().starts_with("error: "), "{e}");
            }
        }
    }
}

#[test]
fn parser_and_serde_read_the_same_values() {
    for path in configs() {
        let text = fs::read_to_string(&path).unwrap();
        let by_serde: Config = toml::from_str(&text).unwrap();
        assert_eq!(by_serde, load(&path));
    }
}

#[test]
fn schema_limits_are_those_of_the_rules() {
    let schema: serde_json::Value = serde_json::from_str(&Config::json_schema()).unwrap();
    let base = fs::read_to_string(repo("configs/tiny.toml")).unwrap();
    let base: toml::Table = toml::from_str(&base).unwrap();
    let mut checked = 0;
    for (section, definition) in schema["$defs"].as_object().unwrap() {
        for (field, property) in definition["properties"].as_object().unwrap() {
            let (Some(min), Some(max)) = (property["minimum"].as_i64(), property["maximum"].as_i64()) else {
                assert_ne!(property["type"], "integer", "{section}.{field} has no limits in the schema");
                continue;
            };
            for (value, allowed) in [(min, true), (max, true), (min - 1, false), (max + 1, false)] {
                let section = section.to_lowercase();
                let mut file = base.clone();
                let table = file.entry(&section).or_insert(toml::Table::new().into());
                table.as_table_mut().unwrap().insert(field.clone(), value.into());
                let path = format!("{section}.{field}");
                let refused = match Config::from_toml(&file.to_string(), "x") {
                    Ok(_) => false,
                    Err(e) => e.errors.iter().any(|e| number_of(&e.kind) == Some(&path)),
                };
                assert_eq!(refused, !allowed, "{path} = {value}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 15);
}

/// The field whose limit is broken.
fn number_of(kind: &K) -> Option<&str> {
    match kind {
        K::OutOfRange { field, .. } | K::NotPowerOfTwo { field, .. } | K::NotOneOf { field, .. } => {
            Some(field)
        }
        _ => None,
    }
}
