// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running the tools that the hardware tests need.

use hdl_gen::emit::RtlFile;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty folder of this test.
pub fn scratch(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("our own folder");
    }
    fs::create_dir_all(&dir).expect("cargo's folder for tests is writable");
    dir
}

/// Writes the files and returns their names in order.
pub fn write_files(dir: &Path, files: Vec<RtlFile>) -> Vec<String> {
    let write = |f: RtlFile| {
        fs::write(dir.join(&f.name), &f.text).expect("our own folder");
        f.name
    };
    files.into_iter().map(write).collect()
}

/// Runs a tool in `dir`; returns its standard output, panics with all it said when it fails.
pub fn run(dir: &Path, tool: &str, args: &[&str]) -> String {
    let program = if tool.contains('/') { dir.join(tool) } else { tool.into() };
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}; tools/setup.sh test installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {}\n{said}{errors}", args.join(" "));
    said
}
