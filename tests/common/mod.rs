// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the tests of this folder share.
#![allow(dead_code)] // each test file uses its part

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the repository.
pub fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shipped configurations, in order of name.
pub fn configs() -> Vec<PathBuf> {
    files(&repo("configs"), "toml")
}

/// Files of a folder with this extension, in order of name.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|e| e.expect("a readable folder").path());
    let mut found: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

/// Compares `text` with a committed file; with `BLESS=1` in the environment (`make bless`) it writes the file instead.
pub fn golden(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some_and(|v| v == "1") {
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} differs from what is made now (`make bless` rewrites it, then read the change):\n{text}",
        path.display()
    );
}

/// Runs the `brickwork` command of this build in the repository's folder.
pub fn brickwork(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_brickwork"))
        .args(arguments)
        .current_dir(repo(""))
        .output()
        .expect("the command starts")
}

/// A fresh folder below Cargo's folder for test files.
pub fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    dir
}
