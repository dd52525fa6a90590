// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `tools/setup.sh` installs what is missing, and only that. Run against a PATH with stand-ins for apt-get and sudo.
#![cfg(unix)]

mod common;

use common::{repo, scratch};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder for PATH with the everyday tools, these stand-ins for tools that are there, and an apt-get that logs its
/// arguments and "installs" a verilator.
fn path_with(test: &str, tools: &[&str], verilator: Option<&str>) -> PathBuf {
    let bin = scratch(test);
    for tool in ["sh", "awk", "sort", "head", "printf", "id", "cat", "chmod", "env"] {
        let real = ["/bin", "/usr/bin"].iter().map(|d| Path::new(d).join(tool)).find(|p| p.exists());
        symlink(real.unwrap_or_else(|| panic!("no {tool}")), bin.join(tool)).unwrap();
    }
    for tool in tools {
        script(&bin, tool, "exit 0");
    }
    if let Some(version) = verilator {
        script(&bin, "verilator", &format!("echo 'Verilator {version} 2023-01-22 rev (Debian)'"));
    }
    let install = "printf '#!/bin/sh\\necho Verilator 5.006\\n' > \"${0%/*}/verilator\"; chmod +x \"${0%/*}/verilator\"";
    script(&bin, "apt-get", &format!("echo \"$*\" >> \"${{0%/*}}/log\"; {install}"));
    script(&bin, "sudo", "exec \"$@\"");
    bin
}

fn script(bin: &Path, name: &str, body: &str) {
    let file = bin.join(name);
    fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn setup(bin: &Path, arguments: &[&str]) -> Output {
    let script = repo("tools/setup.sh");
    Command::new("/bin/sh").arg(script).args(arguments).env_clear().env("PATH", bin).output().unwrap()
}

fn log(bin: &Path) -> String {
    fs::read_to_string(bin.join("log")).unwrap_or_default()
}

#[test]
fn installs_what_is_missing_and_nothing_else() {
    let bin = path_with("setup_missing", &["cargo", "g++", "make", "yosys"], None);
    let output = setup(&bin, &["test"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = log(&bin);
    assert!(log.contains("verilator") && log.contains("iverilog"), "{log}");
    assert!(!log.contains("yosys") && !log.contains("g++") && !log.contains(" make"), "{log}");
}

#[test]
fn says_which_packages_are_missing_where_apt_get_is() {
    let bin = path_with("setup_no_apt", &["cargo", "g++", "make"], None);
    fs::remove_file(bin.join("apt-get")).unwrap();
    let output = setup(&bin, &[]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("install by hand: verilator"), "{message}");
}

#[test]
fn refuses_an_old_verilator() {
    let bin = path_with("setup_old", &["cargo", "g++", "make"], Some("4.038"));
    let output = setup(&bin, &[]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("verilator 4.038 is older than 5.006"), "{message}");
    let new = path_with("setup_new", &["cargo", "g++", "make"], Some("5.020"));
    assert!(setup(&new, &[]).status.success());
}

#[test]
fn needs_rust() {
    let bin = path_with("setup_no_rust", &["g++", "make"], Some("5.006"));
    let output = setup(&bin, &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cargo is missing"));
    assert!(!output.status.success() && log(&bin).is_empty());
}
