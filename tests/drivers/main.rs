// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The drivers in C, Rust and Python run a real network on the Verilated accelerator, and treat inputs and results as the
//! compiler does.

#[path = "../common/mod.rs"]
mod common;
mod edges;
mod model;
mod rust;

use common::{repo, scratch};
use model::{Network, Verilated};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command; panics with its output if it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// Compiles C sources below `drivers/c` as strictly as the compiler can.
fn compile_c(sources: &[&str], more: &[&Path], to: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "-I"]).arg(repo("sim/harness"));
    cc.args(sources.iter().map(|s| repo("drivers/c").join(s))).args(more).arg("-o").arg(to);
    run(&mut cc);
}

/// A Python that has NumPy.
fn python() -> PathBuf {
    let works = |p: &&str| {
        Command::new(p).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(works);
    found.map(PathBuf::from).expect("no Python with NumPy; tools/setup.sh test installs it")
}

#[test]
fn the_c_driver_runs_a_network_on_the_rtl() {
    let dir = scratch("driver_c");
    let (network, machine) = (Network::digits(&dir), Verilated::tiny());
    let program = dir.join("cosim");
    let sources = ["brickwork.c", "brickwork_program.c", "tests/cosim.c"];
    compile_c(&sources, &[machine.library()], &program);
    let said = run(Command::new(&program).args([&network.program, &network.cases]));
    // Polling, then with interrupts.
    assert_eq!(said, network.summary().repeat(2));
}

#[test]
fn the_python_driver_runs_a_network_on_the_rtl() {
    let dir = scratch("driver_python");
    let (network, machine) = (Network::digits(&dir), Verilated::tiny());
    let mut command = Command::new(python());
    command.arg(repo("drivers/python/tests/cosim.py")).args([&network.program, &network.cases]);
    command.env("BRICKWORK_MODEL", machine.library()).env("PYTHONDONTWRITEBYTECODE", "1");
    assert_eq!(run(&mut command), network.summary());
}

/// The parts of the C driver that need a board compile: Linux as it is, bare metal against the BSP's declarations.
#[test]
fn the_c_driver_compiles_for_linux_and_bare_metal() {
    let dir = scratch("driver_boards");
    let stand_ins = [
        ("xil_io.h", "typedef unsigned long UINTPTR;\nstatic inline unsigned Xil_In32(UINTPTR a) { return *(volatile unsigned *)a; }\n\
                      static inline void Xil_Out32(UINTPTR a, unsigned v) { *(volatile unsigned *)a = v; }\n"),
        ("xil_cache.h", "typedef long INTPTR;\nvoid Xil_DCacheFlushRange(INTPTR a, unsigned n);\n\
                         void Xil_DCacheInvalidateRange(INTPTR a, unsigned n);\n"),
        ("xtime_l.h", "typedef unsigned long long XTime;\nvoid XTime_GetTime(XTime *t);\n#define COUNTS_PER_SECOND 325000000\n"),
        (
            "bare.c",
            "#include <brickwork_zynq.h>\nstatic uint8_t buffer[4096];\nint main(void) {\n    struct brickwork device;\n\
             struct brickwork_bus bus;\n    struct brickwork_memory memory;\n\
             brickwork_zynq(0x43C00000, buffer, sizeof buffer, &bus, &memory);\n    return brickwork_open(&device, &bus);\n}\n",
        ),
        (
            "linux.c",
            "#include <brickwork_linux.h>\n#include <stdio.h>\nint main(void) {\n    struct brickwork_linux l;\n\
             struct brickwork_bus bus;\n    if (brickwork_linux_open(&l, \"/nonexistent/uio\", \"udmabuf0\", 1, &bus)) puts(l.doing);\n\
             return 0;\n}\n",
        ),
    ];
    for (name, text) in stand_ins {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let headers = repo("drivers/c");
    let cc = |source: &str| {
        let mut cc = Command::new("cc");
        cc.args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
            .arg(&headers)
            .arg("-I")
            .arg(&dir);
        cc.arg(dir.join(source));
        cc
    };
    run(cc("bare.c").args(["-c", "-o"]).arg(dir.join("bare.o")));
    let sources = ["brickwork_linux.c", "brickwork.c", "brickwork_program.c"].map(|s| headers.join(s));
    run(cc("linux.c").args(&sources).arg("-o").arg(dir.join("linux")));
    assert_eq!(run(&mut Command::new(dir.join("linux"))), "open the UIO device\n");
}
