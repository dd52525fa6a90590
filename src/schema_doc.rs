// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fields of configuration files as the page `docs/configuration.md`, from the JSON schema.

use hdl_gen::Config;
use serde_json::{Map, Value};
use std::fmt::Write;

const HEAD: &str = "# Configuration files\n\n\
    <!-- Made by `brickwork schema --markdown` from hdl-gen/src/config/; `make bless` writes it. Do not edit. -->\n\n\
    One TOML file describes one accelerator. Begin with the nearest of [configs/](../configs) and run `brickwork gen FILE.toml`:\n\
    it names every rule that the file breaks, with the place and a cure, and prints what the accelerator has and can.\n\
    With `#:schema ../docs/config.schema.json` as its first line, editors that know TOML schemas complete and check the file.\n";

/// The page. A schema of another form than ours gives less text, not an error.
pub fn markdown() -> String {
    let schema: Value = serde_json::from_str(&Config::json_schema()).unwrap_or_default();
    let mut page = String::from(HEAD);
    let empty = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&empty);
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let (sections, plain): (Vec<_>, Vec<_>) = properties.iter().partition(|(_, v)| v.get("$ref").is_some());
    page.push_str(TABLE);
    plain.iter().for_each(|(name, field)| row(&mut page, name, field, required(&schema, name)));
    for (name, section) in sections {
        let target = section["$ref"].as_str().and_then(|r| r.rsplit('/').next()).unwrap_or_default();
        let definition = definitions.get(target).unwrap_or(&Value::Null);
        let optional = if required(&schema, name) { "" } else { " May be left out." };
        let _ = write!(page, "\n## `[{name}]`\n\n{}{optional}\n{TABLE}", text(definition));
        for (name, field) in definition["properties"].as_object().unwrap_or(&empty) {
            row(&mut page, name, field, required(definition, name));
        }
    }
    page
}

const TABLE: &str = "\n| field | value | if missing | meaning |\n|---|---|---|---|\n";

fn required(object: &Value, name: &str) -> bool {
    object["required"].as_array().is_some_and(|list| list.iter().any(|n| n == name))
}

fn text(value: &Value) -> String {
    value["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn row(page: &mut String, name: &str, field: &Value, required: bool) {
    let kind = match field["type"].as_str() {
        Some("integer") => match (&field["minimum"], &field["maximum"]) {
            (Value::Number(low), Value::Number(high)) => format!("{low} to {high}"),
            _ => "integer".into(),
        },
        Some("boolean") => "`true`, `false`".into(),
        Some("string") => "text".into(),
        other => other.unwrap_or_default().into(),
    };
    let missing = match (required, &field["default"]) {
        (true, _) => "an error".into(),
        (false, Value::Null) => String::new(),
        (false, default) => format!("{default}"),
    };
    let _ = writeln!(page, "| `{name}` | {kind} | {missing} | {} |", text(field).replace('|', "\\|"));
}
