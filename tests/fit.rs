// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork fit` and what `gen` does with it: the estimate against Yosys, refusal of what cannot fit.

mod common;
#[path = "../compiler/tests/support/random.rs"]
mod random;

use common::{brickwork, configs, repo, scratch};
use random::Random;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn said(arguments: &[&str]) -> String {
    let output = brickwork(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn estimate(config: &Path) -> Value {
    serde_json::from_str(&said(&["fit", config.to_str().unwrap(), "--json"])).expect("JSON")
}

/// A shipped configuration with one line changed.
fn changed(dir: &Path, config: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(repo("configs").join(config)).unwrap();
    assert!(text.contains(from), "{config} has no {from:?}");
    let path = dir.join("changed.toml");
    fs::write(&path, text.replace(from, to)).unwrap();
    path
}

#[test]
fn shipped_configurations_fit_their_devices() {
    for config in configs() {
        let text = said(&["fit", config.to_str().unwrap()]);
        assert!(text.lines().last().unwrap().starts_with("fits "), "{}:\n{text}", config.display());
        let fit = estimate(&config);
        let sum = |key: &str| {
            let of_module = |m: &Value| m["instances"].as_f64().unwrap() * m[key].as_f64().unwrap();
            fit["modules"].as_array().unwrap().iter().map(of_module).sum::<f64>()
        };
        for key in ["lut", "ff", "block_ram", "dsp"] {
            let total = fit["total"][key].as_f64().unwrap();
            assert!(total > 0.0 && (sum(key) - total).abs() < 0.5, "{key} of {}", config.display());
        }
    }
}

#[test]
fn refuses_what_cannot_fit_unless_forced() {
    let dir = scratch("fit_refuse");
    let config = changed(&dir, "zynq7020.toml", "depth = 4096 ", "depth = 8192 ");
    let (config, out) = (config.to_str().unwrap(), dir.join("out"));
    let refused = brickwork(&["gen", config, "-o", out.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("about 202 RAMB36, xc7z020 has 140; --force"), "{error}");
    assert!(!out.exists(), "something was written");
    assert!(said(&["fit", config]).contains("does not fit: about 202 RAMB36"));
    said(&["gen", config, "-o", out.to_str().unwrap(), "--force"]);
    assert!(out.join("rtl/brickwork_top.v").is_file());
}

#[test]
fn an_unknown_part_is_not_refused() {
    let dir = scratch("fit_unknown");
    let config = changed(&dir, "tiny.toml", "xc7z010clg400-1", "my-part");
    let text = said(&["fit", config.to_str().unwrap()]);
    assert!(text.ends_with("The part is not known: no shares, no check.\n"), "{text}");
    said(&["gen", config.to_str().unwrap(), "-o", dir.join("out").to_str().unwrap()]);
}

/// Synthesizes and compares; the relation of estimate to Yosys for each resource.
fn compare(config: &Path, dir: &Path) -> Vec<(&'static str, f64)> {
    said(&["gen", config.to_str().unwrap(), "-o", dir.to_str().unwrap(), "--force"]);
    let status =
        Command::new("python3").arg(repo("tools/synth.py")).arg(dir).status().expect("python3 starts");
    assert!(status.success(), "tools/synth.py failed");
    let report = fs::read_to_string(dir.join("synth/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let fit = estimate(config);
    let relation = |ours: &str, theirs: &str| {
        let (e, m) = (fit["total"][ours].as_f64().unwrap(), report["total"][theirs].as_f64().unwrap());
        println!("{}: {ours} {e:.0} expected, {m} by Yosys", config.display());
        e / m
    };
    let names = [("lut", "lut"), ("ff", "ff"), ("block_ram", "bram36"), ("dsp", "dsp")];
    names.into_iter().map(|(ours, theirs)| (ours, relation(ours, theirs))).collect()
}

/// A random configuration.
fn random_config(r: &mut Random) -> String {
    let lanes = [4, 8, 12, 16, 24][r.below(5)];
    let requant = if lanes % 8 == 0 && r.below(2) == 1 { 8 } else { 4 };
    let brick = 1 + r.below(3) / 2;
    let columns = 8 * requant * (1 + r.below(4)) / brick;
    format!(
        "name = \"drawn\"\n[device]\npart = \"xc7z045ffg900-2\"\nclock_mhz = 100\n\
         [array]\nrows = {}\nlanes = {lanes}\ncolumns = {columns}\nbrick_bits = {brick}\n\
         [banks]\ndepth = {}\n[accumulators]\ndepth = {}\n[weights]\ndepth = {}\n\
         [requantize]\nlanes = {requant}\nparam_depth = {}\ntable = {}\nadd = {}\nbipolar = {}\n\
         [axi]\nread_ports = {}\nburst_beats = {}\n",
        1 + r.below(12),
        512 << r.below(4),
        64 << r.below(4),
        256 << r.below(4),
        128 << r.below(3),
        r.below(2) == 1,
        r.below(2) == 1,
        brick == 1 && r.below(2) == 1,
        1 << r.below(3),
        8 << r.below(3),
    )
}

fn is_valid(config: &Path) -> bool {
    brickwork(&["fit", config.to_str().unwrap()]).status.success()
}

#[test]
#[ignore = "long: synthesizes fifteen accelerators with Yosys"]
fn the_estimate_is_within_ten_percent_of_yosys() {
    let root = scratch("fit_yosys");
    let seed: u64 = std::env::var("BRICKWORK_SEED").map_or(1, |s| s.parse().expect("a number"));
    println!("BRICKWORK_SEED={seed}");
    let mut r = Random::of(seed);
    let mut all: Vec<PathBuf> = configs();
    for i in 0..10 {
        let path = root.join(format!("drawn{i}.toml"));
        // Rules between fields refuse some of what is drawn.
        while fs::write(&path, random_config(&mut r)).is_err() || !is_valid(&path) {}
        all.push(path);
    }
    let mut wrong = Vec::new();
    for config in &all {
        let dir = root.join(config.file_stem().unwrap());
        let bad = compare(config, &dir).into_iter().filter(|(_, r)| !(0.9..=1.1).contains(r));
        wrong.extend(bad.map(|(what, r)| format!("{}: {what} {r:.2}", config.display())));
    }
    assert!(wrong.is_empty(), "BRICKWORK_SEED={seed}\n{}", wrong.join("\n"));
}
