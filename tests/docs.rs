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
fn constants_of_the_drivers_are_made_from_the_register_map() {
    let files = [
        ("c", "drivers/c/brickwork_regs.h"),
        ("python", "drivers/python/brickwork/regs.py"),
        ("rust", "drivers/rust/src/regs.rs"),
    ];
    for (language, file) in files {
        let output = brickwork(&["isa", "--constants", language]);
        assert!(output.status.success());
        golden(&repo(file), &String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn schema_file_is_made_from_the_configuration() {
    let output = brickwork(&["schema"]);
    assert!(output.status.success());
    golden(&repo("docs/config.schema.json"), &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn configuration_page_is_made_from_the_schema() {
    let output = brickwork(&["schema", "--markdown"]);
    assert!(output.status.success());
    let page = String::from_utf8(output.stdout).unwrap();
    for field in ["`[array]`", "| `rows` | 1 to 32 | an error |", "| `read_ports` |"] {
        assert!(page.contains(field), "no {field} in\n{page}");
    }
    golden(&repo("docs/configuration.md"), &page);
}

/// Cycles of the shipped network on every configuration. `tests/network.rs` shows that the RTL takes as many.
#[test]
fn results_page_is_what_the_compiler_counts() {
    let dir = common::scratch("results");
    let mut page = String::from(RESULTS_HEAD);
    for config in configs() {
        let program = dir.join("program.bwp");
        let (config, program) = (config.to_str().unwrap(), program.to_str().unwrap());
        let model = "models/TFC_1W2A.onnx";
        let output = brickwork(&["compile", model, "--config", config, "-o", program, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        page.push_str(&result_row(&json));
    }
    golden(&repo("docs/results.md"), &page);
}

const RESULTS_HEAD: &str = "# Cycles\n\n\
    <!-- Made by tests/docs.rs from `brickwork compile --json`; `make bless` writes it. Do not edit. -->\n\n\
    One input of `models/TFC_1W2A.onnx` (MNIST, 784-64-64-64-10, 1-bit weights, 2-bit activations), weights read from memory included,\n\
    memory with 40 cycles latency and no stalls. Counted by the machine model; `make test` runs 40 digits on the RTL of every\n\
    configuration, compares every logit with the reference and every cycle count with these.\n\n\
    | configuration | cycles per layer | cycles | at the configuration's clock |\n|---|---|---|---|\n";

fn result_row(json: &serde_json::Value) -> String {
    let layers = json["layers"].as_array().unwrap();
    let cycles: Vec<String> = layers.iter().map(|l| l["cycles_predicted"].to_string()).collect();
    let micros = json["milliseconds"].as_f64().unwrap() * 1000.0;
    format!(
        "| `{}` | {} | {} | {micros:.1} us |\n",
        json["config"].as_str().unwrap(),
        cycles.join(", "),
        json["cycles_predicted"]
    )
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
