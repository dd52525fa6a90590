// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever valid configuration is drawn: its Verilog passes `verilator --lint-only -Wall`, Icarus and Yosys' elaboration.

use crate::machines::drawn_from_all;
use hdl_gen::{emit, Arch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes the Verilog of `arch`; gives the folder and the names of the files.
fn generate(arch: &Arch) -> (PathBuf, Vec<String>) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lint_{}", arch.config.name));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("makes a directory");
    let files = emit::rtl_files(arch).unwrap_or_else(|e| panic!("{e}"));
    for f in &files {
        std::fs::write(dir.join(&f.name), &f.text).expect("writes Verilog");
    }
    (dir, files.into_iter().map(|f| f.name).filter(|n| n.ends_with(".v")).collect())
}

/// Runs a tool on all files; panics if it fails or warns.
fn passes(arch: &Arch, dir: &Path, files: &[String], tool: &str, arguments: &str) {
    let mut command = Command::new(tool);
    command.args(arguments.split_whitespace()).args(files).current_dir(dir);
    let output = command.output().unwrap_or_else(|e| panic!("{tool}: {e}; tools/setup.sh test installs it"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && !said.contains("%Warning"),
        "{tool} {arguments}: {said}\n{:#?}",
        arch.config
    );
}

fn lint(arch: &Arch, yosys: bool) {
    let (dir, files) = generate(arch);
    let verilator = "--lint-only -Wall -fno-const-bit-op-tree --top-module brickwork_top";
    passes(arch, &dir, &files, "verilator", verilator);
    passes(arch, &dir, &files, "iverilog", "-g2005 -t null -s brickwork_top");
    if yosys {
        passes(arch, &dir, &files, "verilator", &format!("{verilator} -UVERILATOR"));
        let script = format!(
            "read_verilog -noautowire {}; hierarchy -check -top brickwork_top; proc; \
             select -assert-none t:$dlatch t:$adlatch t:$dlatchsr; check -assert",
            files.join(" ")
        );
        let output = Command::new("yosys").args(["-q", "-p", &script]).current_dir(&dir).output();
        let output = output.unwrap_or_else(|e| panic!("yosys: {e}; tools/setup.sh test installs it"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "yosys: {said}\n{:#?}", arch.config);
    }
    std::fs::remove_dir_all(dir).expect("removes the directory");
}

#[test]
fn drawn_configurations_have_no_complaint() {
    (101..=102).for_each(|seed| lint(&drawn_from_all(seed), false));
}

#[test]
#[ignore = "long: ten random machines through Verilator, Icarus and Yosys"]
fn many_drawn_configurations_have_no_complaint() {
    (1..=10).for_each(|seed| lint(&drawn_from_all(seed), true));
}
