// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Output files that are written whole or not at all.

use crate::Failure;
use std::fs;
use std::path::Path;

/// Writes a file beside its place and moves it there. Folders that are missing are made.
///
/// Errors: a file operation; what was there stays.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
        return Err(Failure::file("write", path, "it is a folder; give the name of a file"));
    };
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, e))?;
    }
    let partial = path.with_file_name(format!(".{}.new-{}", name.to_string_lossy(), std::process::id()));
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(|e| {
        let _ = fs::remove_file(&partial);
        Failure::file("write", path, e)
    })
}
