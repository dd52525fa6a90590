// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `testbenches/post/bench.cpp` as a process.

use brickwork_sim::image::region_base;
use hdl_gen::Arch;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What happened in a run.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// `f|b CYCLE`, `s CYCLE MASK`, `m CYCLE ID`, `e CYCLE CODE PC`, hexadecimal, in time order.
    pub events: Vec<String>,
    /// Plane-words and memory words that are not 0.
    pub contents: BTreeMap<String, u64>,
    /// Broken bus rules.
    pub rules: Vec<String>,
}

/// A running bench.
pub struct Bench {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    input: String,
}

impl Bench {
    pub fn start(arch: &Arch, name: &str) -> Self {
        let exe = build(arch, name);
        let mut child = Command::new(exe)
            .args(["+verilator+rand+reset+2", "+verilator+seed+1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Bench { child, stdin, stdout, input: String::new() }
    }

    /// Lines that the next run sends first.
    pub fn input(&mut self) -> &mut String {
        &mut self.input
    }

    pub fn run(&mut self, lines: &str) -> Outcome {
        self.stdin.write_all(self.input.as_bytes()).expect("the bench reads");
        self.stdin.write_all(lines.as_bytes()).expect("the bench reads");
        self.stdin.flush().expect("the bench reads");
        self.input.clear();
        let mut outcome = Outcome::default();
        for line in self.stdout.by_ref().lines() {
            let line = line.expect("the bench writes text");
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "end" => return outcome,
                "rule" => outcome.rules.push(line),
                "bank" | "mem" => {
                    let (value, at) = words.split_last().expect("a value");
                    let value = u64::from_str_radix(value, 16).expect("hexadecimal");
                    outcome.contents.insert(at.join(" "), value);
                }
                _ => outcome.events.push(line),
            }
        }
        panic!("the bench stopped: {:?}", self.child.wait());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(arch: &Arch, name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("post_{name}"));
    let mut files: Vec<(String, String)> = hdl_gen::emit::post::files(arch)
        .expect("the templates render")
        .into_iter()
        .map(|f| (f.name, f.text))
        .collect();
    let verilog: Vec<String> = files.iter().map(|f| f.0.clone()).collect();
    for (name, text) in [
        ("bench.cpp", include_str!("../../../testbenches/post/bench.cpp")),
        ("axi.h", include_str!("../../harness/axi.h")),
        ("memory.h", include_str!("../../harness/memory.h")),
    ] {
        files.push((name.into(), text.into()));
    }
    files.push(("shape.h".into(), shape(arch)));
    // A fault of tools/mutate.py goes into the Verilog on its way to Verilator: with it the bench is another one.
    let fault =
        std::env::var("BRICKWORK_MUTANT").map(|path| fs::read_to_string(path).expect("a fault is readable"));
    files.push(("fault.json".into(), fault.unwrap_or_default()));
    let all: String = files.iter().map(|f| format!("{}\n{}\n", f.0, f.1)).collect();
    let (stamp, exe) = (dir.join("built_from"), dir.join("obj/Vpost_unit"));
    if exe.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == all) {
        return exe;
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory for the bench");
    for (name, text) in &files {
        fs::write(dir.join(name), text).expect("write a source");
    }
    verilate(&dir, &verilog);
    fs::write(stamp, all).expect("write the stamp");
    exe
}

fn verilate(dir: &Path, verilog: &[String]) {
    // -fno-const-bit-op-tree: the bit-operation optimiser of Verilator 5.006 gives wrong results
    let output = Command::new("verilator")
        .current_dir(dir)
        .args(["--cc", "--exe", "--build", "-Wall", "-O3", "-fno-const-bit-op-tree", "--x-assign", "unique"])
        .args(["--x-initial", "unique", "--top-module", "post_unit", "--Mdir", "obj", "-CFLAGS", "-I.."])
        .arg("bench.cpp")
        .args(verilog)
        .output()
        .expect("verilator is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "verilator: {text}{}", String::from_utf8_lossy(&output.stdout));
}

fn shape(arch: &Arch) -> String {
    let mut text = format!(
        "static constexpr int LANES = {}, ACC_WORDS = {}, ACC_DEPTH = {}, BANK_DEPTH = {}, MAX_BURST = {};\n",
        arch.lanes,
        (arch.groups * 144).div_ceil(32),
        arch.acc_depth,
        arch.bank_depth,
        arch.burst_beats
    );
    for r in 0..4 {
        text += &format!("static constexpr unsigned long long BASE{r} = {:#x};\n", region_base(r));
    }
    text
}
