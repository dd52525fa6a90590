// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork gen`: what it writes, how it fails.

mod common;

use common::{brickwork, configs, scratch};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn gen(config: &Path, dir: &Path) -> std::process::Output {
    brickwork(&["gen", config.to_str().unwrap(), "-o", dir.to_str().unwrap()])
}

/// Every file below `dir`: path and content.
fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn writes_listed_files_and_all_numbers() {
    let root = scratch("gen_all");
    for config in configs() {
        let dir = root.join(config.file_stem().unwrap());
        let output = gen(&config, &dir);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = snapshot(&dir);
        let list = String::from_utf8(files["rtl/files.f"].clone()).unwrap();
        for name in list.lines() {
            assert!(files.contains_key(&format!("rtl/{name}")), "{name} is listed but not there");
        }
        let others = files.keys().filter(|name| !name.starts_with("vivado/")).count();
        assert_eq!(others, list.lines().count() + 2, "files that are not listed");
        let json: serde_json::Value = serde_json::from_slice(&files["config.json"]).unwrap();
        assert_eq!(json["top"], "brickwork_top");
        assert_eq!(json["name"], config.file_stem().unwrap().to_str().unwrap());
        assert_eq!(json["hash"].as_str().unwrap().len(), 16);
        assert_eq!(json["arch"]["groups"].as_u64(), Some(groups(&json)));
        assert_eq!(json["files"].as_array().unwrap().len(), list.lines().count());
        let part = json["arch"]["config"]["device"]["part"].as_str().unwrap();
        assert_eq!(files.contains_key("vivado/synth.tcl"), part.starts_with("xc"), "{part}");
    }
}

fn groups(json: &serde_json::Value) -> u64 {
    let array = &json["arch"]["config"]["array"];
    array["columns"].as_u64().unwrap() * array["brick_bits"].as_u64().unwrap() / 8
}

/// Fields that the header of a module explains. Arithmetic leaves, printed from rust-hdl, are combinational.
const HEADER: [&str; 4] = ["Formats", "Latency", "Reset", "Maps to"];

#[test]
fn every_file_is_one_module_with_a_full_header() {
    let root = scratch("gen_headers");
    for config in configs() {
        let dir = root.join(config.file_stem().unwrap());
        assert!(gen(&config, &dir).status.success());
        for (name, bytes) in snapshot(&dir.join("rtl")) {
            let Some(module) = name.strip_suffix(".v") else { continue };
            let text = String::from_utf8(bytes).unwrap();
            let place = format!("{} {name}", config.display());
            let header: String =
                text.lines().take_while(|l| l.starts_with("//")).map(|l| format!("{l}\n")).collect();
            assert!(header.contains("SPDX-License-Identifier"), "{place}:\n{header}");
            assert!(header.contains(&format!("\n// {module} : ")), "{place}:\n{header}");
            let leaf = header.contains("Printed from rust-hdl");
            let fields = if leaf { &["Latency", "Maps to"][..] } else { &HEADER };
            for field in fields {
                assert!(header.contains(&format!("\n// {field}")), "{place} has no {field}:\n{header}");
            }
            let modules: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("module ")).collect();
            let own = |l: &&str| l.strip_prefix(module).is_some_and(|rest| rest.starts_with([' ', '(']));
            assert_eq!(modules.iter().filter(|l| own(l)).count(), 1, "{place}");
            assert!(leaf || modules.len() == 1, "{place}: {modules:?}");
            let untidy = text.lines().find(|l| l.ends_with(' ') || l.contains('\t') || l.len() > 160);
            assert_eq!(untidy, None, "{place}");
        }
    }
}

#[test]
fn writes_the_same_bytes_twice_and_over_itself() {
    let root = scratch("gen_twice");
    let config = common::repo("configs/zynq7020.toml");
    for dir in ["a", "b", "a"] {
        assert!(gen(&config, &root.join(dir)).status.success());
    }
    assert_eq!(snapshot(&root.join("a")), snapshot(&root.join("b")));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "nothing is left beside the folders");
}

#[test]
fn takes_under_two_seconds() {
    let root = scratch("gen_time");
    for config in configs() {
        // The fastest of a few: neighbours on the machine are not what is measured.
        let took = |_| {
            let start = Instant::now();
            assert!(gen(&config, &root.join("x")).status.success());
            start.elapsed()
        };
        let fastest = (0..5).map(took).find(|t| *t < Duration::from_secs(2));
        assert!(fastest.is_some(), "{}: never in under 2 s", config.display());
    }
}

#[test]
fn keeps_other_files_of_the_folder_and_drops_stale_ones() {
    let dir = scratch("gen_keep").join("out");
    let config = common::repo("configs/tiny.toml");
    assert!(gen(&config, &dir).status.success());
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    fs::write(dir.join("rtl/stale.v"), "old").unwrap();
    assert!(gen(&config, &dir).status.success());
    assert_eq!(fs::read_to_string(dir.join("notes.txt")).unwrap(), "mine");
    assert!(!dir.join("rtl/stale.v").exists());
}

#[test]
fn refuses_a_folder_of_somebody_else() {
    let dir = scratch("gen_foreign");
    fs::create_dir(dir.join("rtl")).unwrap();
    fs::write(dir.join("rtl/mine.v"), "module mine; endmodule").unwrap();
    let before = snapshot(&dir);
    let output = gen(&common::repo("configs/tiny.toml"), &dir);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("`rtl` is there") && message.contains("-o"), "{message}");
    assert_eq!(snapshot(&dir), before);
}

#[test]
fn a_broken_configuration_writes_nothing() {
    let root = scratch("gen_broken");
    let output = gen(&common::repo("tests/config_errors/many_at_once.toml"), &root.join("out"));
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("many_at_once.toml:9:8"), "{message}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let root = scratch("gen_blocked");
    fs::write(root.join("file"), "in the way").unwrap();
    for dir in ["file", "file/below"] {
        let output = gen(&common::repo("configs/tiny.toml"), &root.join(dir));
        assert_eq!(output.status.code(), Some(2), "{dir}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: cannot "));
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

#[test]
fn a_missing_configuration_names_the_file() {
    let output = brickwork(&["gen", "no/such.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read no/such.toml"));
}
