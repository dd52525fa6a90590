// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages that are made from the code are up to date.

mod common;

use common::{brickwork, configs, golden, repo};

#[test]
fn isa_page_is_made_from_the_instruction_table() {
    let output = brickwork(&["isa", "--markdown"]);
    assert!(output.status.success());
    golden(&repo("docs/isa.md"), &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn schema_file_is_made_from_the_configuration() {
    let output = brickwork(&["schema"]);
    assert!(output.status.success());
    golden(&repo("docs/config.schema.json"), &String::from_utf8(output.stdout).unwrap());
}

/// The README's table of configurations says what `gen` counts.
#[test]
fn readme_rows_are_what_gen_counts() {
    let readme = std::fs::read_to_string(repo("README.md")).unwrap();
    let dir = common::scratch("readme");
    for config in configs() {
        let output = brickwork(&["gen", config.to_str().unwrap(), "-o", dir.to_str().unwrap(), "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = readme_row(&json);
        assert!(readme.contains(&row), "README.md should have the row\n{row}");
    }
}

fn readme_row(json: &serde_json::Value) -> String {
    let arch = &json["arch"];
    let number = |v: &serde_json::Value| v.as_u64().unwrap();
    let name = json["name"].as_str().unwrap();
    let part = arch["config"]["device"]["part"].as_str().unwrap();
    let part = match part.starts_with("xc7z") {
        true => &part[..7],
        false => &part[..9],
    };
    let brick = number(&arch["brick_bits"]);
    let macs = |bits: u64| match bits < brick {
        true => "-".to_string(),
        false => thousands(number(&json["binary_macs_per_cycle"]) / (bits * bits)),
    };
    let bits: u64 = json["memory_bits"].as_object().unwrap().values().map(number).sum();
    format!(
        "| [`{name}`](configs/{name}.toml) | {part} | {} x {} x {} | {brick}x{brick} | {} / {} / {} / {} | {} kbit |",
        arch["rows"],
        arch["lanes"],
        arch["columns"],
        macs(1),
        macs(2),
        macs(4),
        macs(8),
        thousands(bits.div_ceil(1024)),
    )
}

/// `18432` as `18 432`.
fn thousands(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{} {:03}", thousands(n / 1000), n % 1000),
    }
}
