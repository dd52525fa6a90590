// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork compile`, `run`, `verify` and `disasm` on a real network: 40 MNIST digits with the reference's logits.
//! What they refuse: `refusals.rs`; pictures: `pictures.rs`.

mod common;

use brickwork_compiler::npz::{read_npy, read_npz, write_npz, Array, Data};
use common::{brickwork, repo, scratch};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

const MODEL: &str = "models/TFC_1W2A.onnx";
const VECTORS: &str = "models/TFC_1W2A.vectors.npz";
const TINY: &str = "configs/tiny.toml";

fn verify(config: &str, inputs: &str, more: &[&str]) -> Output {
    brickwork(&[&["verify", MODEL, "--config", config, "--inputs", inputs], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{}", text(&output.stdout), text(&output.stderr)))
}

fn path(p: &Path) -> &str {
    p.to_str().expect("a plain path")
}

fn vectors() -> Vec<(String, Array)> {
    read_npz(&repo(VECTORS)).expect("the committed vectors")
}

fn named<'a>(arrays: &'a [(String, Array)], name: &str) -> &'a Array {
    &arrays.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// The logits of all digits on one configuration's RTL, layer by layer for the first, and every cycle count.
fn digits_are_exact(config: &str) {
    let output = verify(config, VECTORS, &["--backend", "rtl", "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["equal"], true);
    assert_eq!(report["inputs"], 40);
    assert_eq!(report["mismatches"], 0);
    assert_eq!(report["cycles_predicted"], report["cycles_measured"]);
    assert_eq!(report["cycle_mismatches"], 0);
    let layers = report["layers"].as_array().expect("layers");
    assert!(layers.len() >= 4, "{report:#}");
    for layer in layers {
        assert_eq!(layer["cycles_predicted"], layer["cycles_measured"], "{layer:#}");
        assert!(layer["cycles_measured"].as_u64().is_some_and(|c| c > 0), "{layer:#}");
        assert_eq!(layer["exact"], true, "{layer:#}");
    }
    assert_eq!(report["labels_met"], 39, "as many as the reference gets right");
    for layer in layers {
        let time = layer["time"].as_object().expect("names of the cycles");
        let named: u64 = time.values().map(|v| v.as_u64().expect("a number")).sum();
        assert_eq!(Some(named), layer["cycles_measured"].as_u64(), "every cycle has one name: {layer:#}");
    }
    let macs: u64 = layers.iter().map(|l| l["macs"].as_u64().expect("macs")).sum();
    assert_eq!(macs, 784 * 64 + 64 * 64 + 64 * 64 + 64 * 10);
}

#[test]
fn tiny_gives_the_references_logits() {
    digits_are_exact(TINY);
}

#[test]
fn zynq7020_gives_the_references_logits() {
    digits_are_exact("configs/zynq7020.toml");
}

#[test]
fn bitfusion_gives_the_references_logits() {
    digits_are_exact("configs/bitfusion.toml");
}

#[test]
fn odd_gives_the_references_logits() {
    digits_are_exact("configs/odd.toml");
}

#[test]
fn ecp5_85f_gives_the_references_logits() {
    digits_are_exact("configs/ecp5_85f.toml");
}

#[test]
fn golden_and_machine_backends_agree_with_the_reference() {
    for backend in ["golden", "machine"] {
        let output = verify(TINY, VECTORS, &["--backend", backend, "--batch-limit", "5", "--json"]);
        let report = json(&output);
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        assert_eq!((&report["equal"], &report["inputs"]), (&Value::from(true), &Value::from(5)));
        assert_eq!(report["cycles_measured"], Value::Null);
        let compared = report["compared"].as_array().expect("a list");
        assert_eq!(compared.len(), if backend == "golden" { 1 } else { 2 }, "{report:#}");
    }
}

#[test]
fn stalling_memory_changes_cycles_but_no_value() {
    let more = [
        "--backend",
        "rtl",
        "--batch-limit",
        "3",
        "--stall",
        "100",
        "--seed",
        "7",
        "--latency",
        "9",
        "--json",
    ];
    let output = verify(TINY, VECTORS, &more);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["equal"], true);
    assert_eq!(report["cycle_mismatches"], Value::Null);
}

/// Vectors with logit `at` changed by one unit in the last place, in a new file.
fn falsified(test: &str, at: usize) -> PathBuf {
    let mut arrays = vectors();
    let expected = arrays.iter_mut().find(|(n, _)| n == "expected").expect("expected values");
    let Data::F32(values) = &mut expected.1.data else { panic!("float logits") };
    values[at] = f32::from_bits(values[at].to_bits() + 1);
    let file = scratch(test).join("false.npz");
    write_npz(&file, &arrays).expect("written");
    file
}

#[test]
fn one_wrong_bit_of_one_logit_is_found_and_named() {
    let file = falsified("network_falsified", 2 * 10 + 3);
    let output = verify(TINY, path(&file), &["--backend", "golden", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!((&report["equal"], &report["mismatches"]), (&Value::from(false), &Value::from(1)));
    let first = &report["first_mismatches"][0];
    assert_eq!((&first["input"], &first["at"]), (&Value::from(2), &serde_json::json!([3])));
    let table = verify(TINY, path(&file), &["--backend", "golden"]);
    assert_eq!(table.status.code(), Some(1));
    let verdict = text(&table.stdout);
    assert!(verdict.contains("DIFFERENT 1 value of 40 inputs"), "{verdict}");
    assert!(verdict.contains("input 2: output `82` of the golden model at [3] is"), "{verdict}");
}

#[test]
fn run_writes_the_logits() {
    let dir = scratch("network_run");
    let expected = vectors();
    let Data::F32(logits) = &named(&expected, "expected").data else { panic!("float logits") };
    for (file, more) in [("y.npz", &[][..]), ("y.npy", &[]), ("all.npz", &["--all-tensors"])] {
        let file = dir.join(file);
        let arguments = ["run", MODEL, "--config", TINY, "--backend", "machine", "--batch-limit", "2"];
        let arguments = [&arguments[..], &["--input", VECTORS, "--output", path(&file)], more].concat();
        let output = brickwork(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let arrays = match file.extension().is_some_and(|e| e == "npy") {
            true => vec![("y".to_string(), read_npy(&file).expect("an array"))],
            false => read_npz(&file).expect("arrays"),
        };
        assert_eq!(arrays[0].1.shape, [2, 10]);
        assert_eq!(arrays[0].1.data, Data::F32(logits[..20].to_vec()));
        assert_eq!(arrays.len() > 1, more.len() == 1, "tensors between the layers");
    }
}

#[test]
fn a_program_file_runs_and_disassembles_as_the_network_does() {
    let dir = scratch("network_program");
    let (program, codes, results) = (dir.join("tfc.bwp"), dir.join("codes.npz"), dir.join("all.npz"));
    let compiled = brickwork(&["compile", MODEL, "--config", TINY, "-o", path(&program), "--json"]);
    assert_eq!(compiled.status.code(), Some(0), "{}", text(&compiled.stderr));
    let report = json(&compiled);
    let listing = text(&brickwork(&["disasm", path(&program)]).stdout);
    assert_eq!(listing.lines().count() as u64, 1 + report["instructions"].as_u64().expect("a number"));
    assert!(listing.lines().nth(1).is_some_and(|l| l.contains("begin hash=0x")), "{listing}");
    assert!(listing.lines().last().is_some_and(|l| l.trim_end().ends_with("end")), "{listing}");

    // The network's input codes are among its tensors.
    let all = ["run", MODEL, "--config", TINY, "--backend", "golden", "--batch-limit", "1", "--all-tensors"];
    let all = brickwork(&[&all[..], &["--input", VECTORS, "--output", path(&results)]].concat());
    assert_eq!(all.status.code(), Some(0), "{}", text(&all.stderr));
    let tensors = read_npz(&results).expect("tensors");
    let inputs: Vec<_> =
        tensors.iter().skip(1).take(1).map(|(_, a)| ("input".to_string(), a.clone())).collect();
    write_npz(&codes, &inputs).expect("written");
    let arguments =
        ["run", path(&program), "--config", TINY, "--backend", "rtl", "--input", path(&codes), "--json"];
    let output = brickwork(&arguments);
    let ran = json(&output);
    assert_eq!(output.status.code(), Some(0), "{ran:#}");
    assert_eq!(ran["cycles_measured"], report["cycles_predicted"]);
}

/// Of a program that was compiled to store them; values as the golden model has them.
#[test]
fn a_program_gives_all_tensors() {
    let dir = scratch("network_program_tensors");
    let (program, codes) = (dir.join("tfc.bwp"), dir.join("codes.npz"));
    let compiled = ["compile", MODEL, "--config", TINY, "-o", path(&program), "--all-tensors"];
    assert_eq!(brickwork(&compiled).status.code(), Some(0));
    let tensors_of = |model: &Path, input: &str, file: &str, backend: &str| {
        let file = dir.join(file);
        let arguments = ["run", path(model), "--config", TINY, "--backend", backend, "--batch-limit", "1"];
        let more = ["--all-tensors", "--input", input, "--output", path(&file)];
        let output = brickwork(&[&arguments[..], &more[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        read_npz(&file).expect("tensors")
    };
    let golden = tensors_of(&repo(MODEL), VECTORS, "golden.npz", "golden");
    write_npz(&codes, &[("input".to_string(), golden[1].1.clone())]).expect("written");
    let machine = tensors_of(&program, path(&codes), "machine.npz", "machine");
    let between: Vec<_> = machine.iter().skip(1).collect();
    assert!(between.len() >= 3, "{} tensors", machine.len());
    for (name, array) in between {
        assert_eq!(array, named(&golden, name), "{name}");
    }
}
