// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Simulation executables, built once for each content.
//!
//! The name of an executable is a hash of everything that it is made from (Verilog, harness, flags, version of Verilator). Builds
//! of the same content wait for each other at a lock file; a finished one appears under its name by one rename.

use super::error::CosimError;
use hdl_gen::emit::RtlFile;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::{ResourceUsage, Wait4};

/// Flags that every simulation is verilated with.
///
/// - `-fno-const-bit-op-tree`: the bit-operation-tree optimizer of Verilator 5.006 (Debian 12) gives **wrong results** on
///   XNOR/AND/OR-heavy logic, which this design is made of (upstream issues 4059, 4832, 5186, 6016 and others). Do not remove.
/// - `--x-assign`, `--x-initial`: what has no defined value is random, so that a missing reset shows.
/// - `--output-split`: many small C++ files, so that `make -j` has something to do and the compiler stays small.
/// - no `--threads`: slower at this size, by orders of magnitude when the processors are shared.
const FLAGS: &[&str] = &[
    "--cc",
    "--exe",
    "--prefix",
    "Vtop",
    "--top-module",
    "brickwork_top",
    "-O3",
    "-CFLAGS",
    "-O3",
    "-fno-const-bit-op-tree",
    "--x-assign",
    "unique",
    "--x-initial",
    "unique",
    "--output-split",
    "20000",
    "--output-split-cfuncs",
    "5000",
    "-Wno-fatal",
];
/// Flags of a build that can record waveforms.
const TRACE_FLAGS: &[&str] = &["--trace-fst", "--trace-structs"];
/// Flags of a build as a shared library.
const LIBRARY_FLAGS: &[&str] = &["-CFLAGS", "-fPIC", "-LDFLAGS", "-shared"];
/// The C++ compiler runs with full optimization only on what runs in every cycle.
const MAKE_FLAGS: &[&str] = &["-j", "2", "OPT_FAST=-O3", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2"];
/// Names of the executable and of the file that holds its [`BuildCost`] in their directory.
const EXECUTABLE: &str = "simulation";
const COST: &str = "cost.json";

/// What building a simulation took: Verilator and the C++ compiler.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BuildCost {
    /// From the first step to the end of the last.
    pub seconds: f64,
    /// CPU time of all processes.
    pub cpu_seconds: f64,
    /// Most memory that one process had. The compiler runs twice at a time.
    pub peak_bytes: u64,
}

impl BuildCost {
    fn add(&mut self, wall: Duration, used: &ResourceUsage) {
        self.seconds += wall.as_secs_f64();
        self.cpu_seconds += (used.utime + used.stime).as_secs_f64();
        self.peak_bytes = self.peak_bytes.max(used.maxrss);
    }
}

/// A built simulation.
pub struct Executable {
    pub path: PathBuf,
    pub cost: BuildCost,
}

impl Executable {
    /// What `home` holds, if it is complete.
    fn found(home: &Path) -> Option<Executable> {
        let path = home.join(EXECUTABLE);
        let cost = serde_json::from_slice(&fs::read(home.join(COST)).ok()?).ok()?;
        path.is_file().then_some(Executable { path, cost })
    }
}

/// What a simulation is made from.
pub struct Sources {
    pub rtl: Vec<RtlFile>,
    /// C++ files, the first one has `main`, and settings (`.vlt`).
    pub harness: Vec<RtlFile>,
    pub trace: bool,
    /// A shared library instead of an executable.
    pub library: bool,
}

impl Sources {
    /// Flags beside [`FLAGS`].
    fn flags(&self) -> Vec<&str> {
        let chosen = |wanted, flags: &'static [&'static str]| if wanted { flags } else { &[] };
        [chosen(self.trace, TRACE_FLAGS), chosen(self.library, LIBRARY_FLAGS)].concat()
    }
}

/// Where executables are kept: `$BRICKWORK_CACHE`, else `$XDG_CACHE_HOME/brickwork`, else `$HOME/.cache/brickwork`, else
/// `build/cosim` under the current directory.
pub fn default_dir() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("BRICKWORK_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|d| d.join("brickwork")))
        .or_else(|| var("HOME").map(|d| d.join(".cache/brickwork")))
        .unwrap_or_else(|| PathBuf::from("build/cosim"))
}

/// Whether `dir` has the executable of `sources`. Errors: Verilator missing.
pub fn is_built(dir: &Path, sources: &Sources) -> Result<bool, CosimError> {
    Ok(Executable::found(&dir.join(key(sources)?)).is_some())
}

/// Name of the directory of an executable.
fn key(sources: &Sources) -> Result<String, CosimError> {
    Ok(format!("{:032x}", content_hash(sources, &tool_version()?)))
}

/// The executable of `sources`, built now if it is not in `dir`.
///
/// Errors: Verilator missing or failing, the C++ compiler failing (with the end of the log), files.
pub fn executable(dir: &Path, sources: &Sources) -> Result<Executable, CosimError> {
    let key = key(sources)?;
    fs::create_dir_all(dir).map_err(CosimError::io(format!("make the directory {}", dir.display())))?;
    let dir = dir.canonicalize().map_err(CosimError::io(format!("find {}", dir.display())))?;
    let home = dir.join(&key);
    if let Some(executable) = Executable::found(&home) {
        return Ok(executable);
    }
    let lock_path = dir.join(format!("{key}.lock"));
    let lock =
        fs::File::create(&lock_path).map_err(CosimError::io(format!("make {}", lock_path.display())))?;
    lock.lock().map_err(CosimError::io(format!("lock {}", lock_path.display())))?;
    if let Some(executable) = Executable::found(&home) {
        return Ok(executable);
    }
    let work = dir.join(format!("{key}.tmp"));
    let cost = build(&work, sources)?;
    let _ = fs::remove_dir_all(&home);
    fs::rename(&work, &home).map_err(CosimError::io(format!("rename {}", work.display())))?;
    Ok(Executable { path: home.join(EXECUTABLE), cost })
}

fn verilator() -> String {
    std::env::var("BRICKWORK_VERILATOR").unwrap_or_else(|_| "verilator".into())
}

fn tool_version() -> Result<String, CosimError> {
    let output = Command::new(verilator()).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(o) if o.status.success() => Ok(String::from_utf8_lossy(&o.stdout).into_owned()),
        _ => Err(CosimError::ToolMissing { tool: verilator() }),
    }
}

/// Verilates and compiles in `work`, which holds Verilog, log, cost and executable afterwards, not the objects.
fn build(work: &Path, sources: &Sources) -> Result<BuildCost, CosimError> {
    let _ = fs::remove_dir_all(work);
    let (rtl, obj) = (work.join("rtl"), work.join("obj"));
    for (dir, files) in [(&rtl, &sources.rtl), (&obj, &sources.harness)] {
        fs::create_dir_all(dir).map_err(CosimError::io(format!("make the directory {}", dir.display())))?;
        for f in files {
            let path = dir.join(&f.name);
            fs::write(&path, &f.text).map_err(CosimError::io(format!("write {}", path.display())))?;
        }
    }
    let log = work.join("build.log");
    let mut verilate = Command::new(verilator());
    verilate.current_dir(work).args(FLAGS).args(["--Mdir", "obj"]).arg(&sources.harness[0].name);
    verilate.args(sources.flags());
    let settings = sources.harness.iter().filter(|f| f.name.ends_with(".vlt"));
    verilate.args(settings.map(|f| format!("obj/{}", f.name)));
    verilate.args(sources.rtl.iter().map(|f| format!("rtl/{}", f.name)));
    let mut cost = BuildCost::default();
    run_step("verilator", verilate, &log, &mut cost)?;
    let mut make = Command::new("make");
    make.current_dir(&obj).args(["-f", "Vtop.mk"]).args(MAKE_FLAGS);
    run_step("make", make, &log, &mut cost)?;
    let exe = work.join(EXECUTABLE);
    fs::rename(obj.join("Vtop"), &exe)
        .map_err(CosimError::io(format!("move the executable to {}", exe.display())))?;
    let _ = fs::remove_dir_all(&obj);
    let (path, text) = (work.join(COST), serde_json::to_vec_pretty(&cost).expect("plain data serializes"));
    fs::write(&path, text).map_err(CosimError::io(format!("write {}", path.display())))?;
    Ok(cost)
}

/// Runs one step with its output appended to `log`.
fn run_step(
    step: &'static str,
    mut command: Command,
    log: &Path,
    cost: &mut BuildCost,
) -> Result<(), CosimError> {
    let doing = format!("write {}", log.display());
    let out =
        fs::OpenOptions::new().create(true).append(true).open(log).map_err(CosimError::io(doing.clone()))?;
    let err = out.try_clone().map_err(CosimError::io(doing))?;
    let begin = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
    let end = child.and_then(|mut c| c.wait4()).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => CosimError::ToolMissing { tool: step.into() },
        _ => CosimError::Io { doing: format!("run {step}"), source: e },
    })?;
    cost.add(begin.elapsed(), &end.rusage);
    if end.status.success() {
        return Ok(());
    }
    let text = fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    Err(CosimError::BuildFailed { step, log: log.to_path_buf(), tail })
}

/// 128-bit FNV-1a over everything that goes into an executable.
fn content_hash(sources: &Sources, version: &str) -> u128 {
    let files = sources.rtl.iter().chain(&sources.harness);
    let parts = files.flat_map(|f| [f.name.as_str(), f.text.as_str()]);
    let flags = FLAGS.iter().chain(MAKE_FLAGS).copied().chain(sources.flags());
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for part in parts.chain(flags).chain([version]) {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ byte as u128).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str, trace: bool) -> Sources {
        let file = |name: &str, text: &str| RtlFile { name: name.into(), text: text.into() };
        Sources { rtl: vec![file("a.v", text)], harness: vec![file("h.cpp", "x")], trace, library: false }
    }

    #[test]
    fn the_name_depends_on_content_flags_and_version() {
        let base = content_hash(&sources("a", false), "5.006");
        assert_eq!(base, content_hash(&sources("a", false), "5.006"));
        assert_ne!(base, content_hash(&sources("b", false), "5.006"));
        assert_ne!(base, content_hash(&sources("a", true), "5.006"));
        assert_ne!(base, content_hash(&Sources { library: true, ..sources("a", false) }, "5.006"));
        assert_ne!(base, content_hash(&sources("a", false), "5.048"));
    }
}
