// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Vivado scripts of every configuration, run in tclsh against a mock of Vivado (`tools/vivado_mock.tcl`); and that the mock
//! sees mistakes.

mod common;

use common::{brickwork, configs, repo, scratch};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn gen(config: &Path, dir: &Path) {
    let output = brickwork(&["gen", config.to_str().unwrap(), "-o", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn tclsh(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new("tclsh").arg(repo("tools").join(tool)).args(arguments).output();
    output.unwrap_or_else(|e| panic!("tclsh: {e}; tools/setup.sh test installs it"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs the mock on a script of a generated folder.
fn mock(dir: &Path, options: &[&str], script: &str, arguments: &[&str]) -> Output {
    let script = dir.join("vivado").join(script);
    tclsh("vivado_mock.tcl", &[options, &[script.to_str().unwrap()], arguments].concat())
}

fn sound(dir: &Path, script: &str, arguments: &[&str]) {
    let output = mock(dir, &[], script, arguments);
    assert!(output.status.success(), "{} {script} {arguments:?}\n{}", dir.display(), said(&output));
}

#[test]
fn scripts_of_every_configuration_are_sound() {
    let root = scratch("vivado_all");
    let (mut parts, mut systems) = (0, 0);
    for config in configs() {
        let dir: PathBuf = root.join(config.file_stem().unwrap());
        gen(&config, &dir);
        if !dir.join("vivado").exists() {
            continue;
        }
        parts += 1;
        sound(&dir, "synth.tcl", &[]);
        sound(&dir, "package_ip.tcl", &[]);
        if dir.join("vivado/system.tcl").exists() {
            systems += 1;
            sound(&dir, "system.tcl", &["pynq-z2"]);
            sound(&dir, "system.tcl", &["zedboard", "4"]);
        }
    }
    assert!(parts >= 4 && systems >= 3, "{parts} configurations for AMD parts, {systems} systems");
}

/// More read ports than the shipped configurations have.
#[test]
fn scripts_are_sound_with_any_number_of_read_ports() {
    let root = scratch("vivado_ports");
    let text = std::fs::read_to_string(repo("configs/tiny.toml")).unwrap();
    for ports in [1, 2, 4] {
        let config = root.join(format!("ports{ports}.toml"));
        let named = text.replace("name = \"tiny\"", &format!("name = \"ports{ports}\""));
        std::fs::write(&config, format!("{named}\n[axi]\nread_ports = {ports}\n")).unwrap();
        let dir = root.join(format!("ports{ports}"));
        gen(&config, &dir);
        sound(&dir, "package_ip.tcl", &[]);
        sound(&dir, "system.tcl", &["pynq-z2"]);
    }
}

/// The scripts' own checks: missed timing, a run that ends early, an unknown board, no packaged IP.
#[test]
fn scripts_say_what_is_wrong() {
    let dir = scratch("vivado_wrong").join("tiny");
    gen(&repo("configs/tiny.toml"), &dir);
    let fails = |options: &[&str], script: &str, arguments: &[&str], message: &str| {
        let output = mock(&dir, options, script, arguments);
        let said = said(&output);
        assert!(!output.status.success() && said.contains(message), "{script}: {said}");
    };
    fails(&["-slack", "-0.2"], "synth.tcl", &[], "timing is not met: worst setup slack -0.2 ns");
    fails(&[], "system.tcl", &["pynq-z2"], "does not exist");
    sound(&dir, "package_ip.tcl", &[]);
    fails(&[], "system.tcl", &[], "unknown board ''; give one of pynq-z2, zedboard");
    fails(&["-slack", "-0.2"], "system.tcl", &["zedboard"], "timing is not met");
    fails(&["-progress", "72%"], "system.tcl", &["zedboard"], "the run ended early");
}

/// A file that is not there, a port that is not there: the scripts belong to their Verilog.
#[test]
fn scripts_fail_on_other_verilog() {
    let dir = scratch("vivado_verilog").join("tiny");
    gen(&repo("configs/tiny.toml"), &dir);
    let top = dir.join("rtl/brickwork_top.v");
    let text = std::fs::read_to_string(&top).unwrap();
    std::fs::write(&top, text.replace("m_axi_st_awlen", "m_axi_st_length")).unwrap();
    let output = mock(&dir, &[], "package_ip.tcl", &[]);
    assert!(said(&output).contains("no port 'm_axi_st_awlen'"), "{}", said(&output));
    std::fs::remove_file(&top).unwrap();
    for script in ["synth.tcl", "package_ip.tcl"] {
        let output = mock(&dir, &[], script, &[]);
        assert!(!output.status.success() && said(&output).contains("there is no file"), "{}", said(&output));
    }
}

/// Every line left out, every word misspelt, every number one more: seen, but for those that may be.
fn mutate(script: &str, at_least: usize) {
    let dir = scratch(&format!("vivado_mutate_{script}")).join("tiny");
    gen(&repo("configs/tiny.toml"), &dir);
    let path = dir.join("vivado").join(script);
    let output = tclsh("vivado_mutate.tcl", &[path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    println!("{}", said(&output).trim());
    let count = said(&output).split_whitespace().nth(1).and_then(|n| n.parse().ok());
    assert!(count.is_some_and(|n: usize| n > at_least), "{}", said(&output));
}

#[test]
fn mistakes_in_the_synthesis_script_are_seen() {
    mutate("synth.tcl", 150);
}

#[test]
fn mistakes_in_the_packaging_script_are_seen() {
    mutate("package_ip.tcl", 600);
}

#[test]
fn mistakes_in_the_system_script_are_seen() {
    mutate("system.tcl", 900);
}
