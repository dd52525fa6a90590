// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Output folders that are written whole or not at all.

use crate::Failure;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files of a folder: relative path (with `/`) and text.
pub type Tree = Vec<(String, String)>;

/// Makes `dir` hold the files of `tree`; `marker`, one of them, shows that an earlier run of the same command wrote there.
///
/// Everything is written beside `dir` first and then moved in. Top-level entries of `tree` replace those of `dir`, other
/// files there stay. If anything fails, `dir` is as it was.
///
/// Errors: a file operation, or `dir` has entries of these names but no `marker`.
pub fn write_whole(dir: &Path, tree: &Tree, marker: &str) -> Result<(), Failure> {
    let entries = top_entries(tree);
    refuse_foreign(dir, &entries, marker)?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Failure::file("create", parent, e))?;
    let staging = sibling(dir, "new");
    let staged = stage(&staging, tree).map_err(|e| Failure::file("write to", dir, e));
    let result = staged.and_then(|()| install(&staging, dir, &entries));
    let _ = fs::remove_dir_all(&staging);
    result
}

/// First path components, each once.
fn top_entries(tree: &Tree) -> Vec<String> {
    let mut entries: Vec<String> =
        tree.iter().map(|(p, _)| p.split('/').next().unwrap_or(p).to_string()).collect();
    entries.sort();
    entries.dedup();
    entries
}

fn refuse_foreign(dir: &Path, entries: &[String], marker: &str) -> Result<(), Failure> {
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::file("write to", dir, "it is not a folder; choose another with -o"));
    }
    let taken = entries.iter().find(|e| dir.join(e).exists());
    match taken {
        Some(entry) if !dir.join(marker).is_file() => Err(Failure::file(
            "write to",
            dir,
            format!("`{entry}` is there, but no {marker} of an earlier run; choose another folder with -o"),
        )),
        _ => Ok(()),
    }
}

/// A name beside `dir` that no other process uses.
fn sibling(dir: &Path, role: &str) -> PathBuf {
    let name = dir.file_name().map_or("out".into(), |n| n.to_string_lossy().into_owned());
    dir.with_file_name(format!(".{name}.{role}-{}", std::process::id()))
}

fn stage(staging: &Path, tree: &Tree) -> io::Result<()> {
    for (path, text) in tree {
        let file = staging.join(path);
        fs::create_dir_all(file.parent().unwrap_or(staging))?;
        fs::write(&file, text)?;
    }
    Ok(())
}

fn install(staging: &Path, dir: &Path, entries: &[String]) -> Result<(), Failure> {
    if !dir.exists() {
        return fs::rename(staging, dir).map_err(|e| Failure::file("create", dir, e));
    }
    let old = sibling(dir, "old");
    fs::create_dir_all(&old).map_err(|e| Failure::file("create", &old, e))?;
    let mut done = Vec::new();
    let moved = entries.iter().try_for_each(|entry| {
        swap(&staging.join(entry), &dir.join(entry), &old.join(entry))?;
        done.push(entry);
        Ok(())
    });
    let result = moved.map_err(|e: io::Error| {
        for entry in &done {
            let _ = remove(&dir.join(entry));
            let _ = fs::rename(old.join(entry), dir.join(entry));
        }
        Failure::file("replace files in", dir, e)
    });
    let _ = fs::remove_dir_all(&old);
    result
}

/// Moves `here` to `aside` (if it is there) and `new` to `here`; on an error `here` is as it was.
fn swap(new: &Path, here: &Path, aside: &Path) -> io::Result<()> {
    let had = here.exists();
    if had {
        fs::rename(here, aside)?;
    }
    fs::rename(new, here).inspect_err(|_| {
        if had {
            let _ = fs::rename(aside, here);
        }
    })
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
