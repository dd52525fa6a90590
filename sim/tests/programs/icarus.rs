// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The generated Verilog under a second simulator: Icarus, an event-driven one that knows X, runs whole programs on the
//! deployed text (no `VERILATOR` define); results, cycles and counters are those of the machine model.

use crate::{fuzz, generate, machines, memory_difference};
use brickwork_sim::cosim::offset;
use brickwork_sim::image::{Counters, Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use hdl_gen::isa::ErrorCode;
use hdl_gen::{emit, Arch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiled bench of an architecture.
struct Bench {
    dir: PathBuf,
}

impl Bench {
    fn build(arch: &Arch) -> Bench {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("icarus_{}", arch.config.name));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("makes a directory");
        let mut files = emit::rtl_files(arch).unwrap_or_else(|e| panic!("{e}"));
        files.push(emit::RtlFile { name: "bench.v".into(), text: bench(arch) });
        for f in &files {
            std::fs::write(dir.join(&f.name), &f.text).expect("writes Verilog");
        }
        let names = files.iter().map(|f| f.name.as_str()).filter(|n| n.ends_with(".v"));
        tool(Command::new("iverilog").args(["-g2005", "-s", "bench", "-o", "bench.vvp"]).args(names), &dir);
        Bench { dir }
    }

    /// Runs a program; `image` gets the memory.
    fn run(&self, image: &mut Image, options: &RunOptions) -> RunResult {
        let hex = |name: String, words: Vec<String>| {
            std::fs::write(self.dir.join(name), words.join("\n")).expect("writes memory");
            words.len()
        };
        let program = image.program.iter().flat_map(|i| [i.0 as u64, (i.0 >> 64) as u64]);
        let words = hex("program.hex".into(), program.map(|w| format!("{w:016x}")).collect());
        let mut arguments = vec![
            format!("+latency={}", options.timing.latency_cycles),
            format!("+watchdog={}", options.watchdog_cycles),
            format!("+words={words}"),
        ];
        for (r, bytes) in image.regions.iter().enumerate() {
            let word = |b: &[u8]| format!("{:016x}", u64::from_le_bytes(b.try_into().expect("8 bytes")));
            let words = hex(format!("region{r}.hex"), bytes.chunks(8).map(word).collect());
            arguments.push(format!("+w{r}={words}"));
        }
        let said = tool(Command::new("vvp").arg("-n").arg("bench.vvp").args(arguments), &self.dir);
        for (r, bytes) in image.regions.iter_mut().enumerate() {
            let path = self.dir.join(format!("after{r}.hex"));
            let text = std::fs::read_to_string(path).expect("the bench writes its memory");
            let words = text.lines().filter(|l| !l.starts_with("//")).map(|l| {
                u64::from_str_radix(l.trim(), 16).unwrap_or_else(|_| panic!("region {r} holds `{l}`"))
            });
            *bytes = words.flat_map(u64::to_le_bytes).collect();
        }
        result(&said)
    }
}

/// The bench with the read ports of `arch`.
fn bench(arch: &Arch) -> String {
    let ports: Vec<String> =
        std::iter::once("if".into()).chain((0..arch.read_ports).map(|p| format!("ld{p}"))).collect();
    let all = |one: &dyn Fn(&str) -> String| ports.iter().map(|p| one(p)).collect::<String>();
    include_str!("../fixtures/top_bench.v")
        .replace(
            "// READ_WIRES",
            &all(&|p| {
                format!("wire [31:0] {p}_araddr; wire [7:0] {p}_arlen; wire {p}_arvalid, {p}_rlast, {p}_rvalid; wire [63:0] {p}_rdata;\n")
            }),
        )
        .replace(
            "// READ_PORTS",
            &all(&|p| {
                let connect = [("araddr", "_araddr"), ("arlen", "_arlen"), ("arvalid", "_arvalid"), ("rdata", "_rdata")]
                    .iter()
                    .chain(&[("rlast", "_rlast"), ("rvalid", "_rvalid")])
                    .map(|(port, wire)| format!(".m_axi_{p}_{port}({p}{wire}), "))
                    .collect::<String>();
                let open = ["arsize", "arburst", "arcache", "arprot", "rready"]
                    .map(|port| format!(".m_axi_{p}_{port}(), "))
                    .concat();
                format!("{connect}{open}.m_axi_{p}_arready(1'b1), .m_axi_{p}_rresp(2'b00),\n")
            }),
        )
        .replace(
            "// READ_MEMORIES",
            &all(&|p| {
                format!("read_memory {p}_memory (.clk(aclk), .araddr({p}_araddr), .arlen({p}_arlen), .arvalid({p}_arvalid), .rdata({p}_rdata), .rlast({p}_rlast), .rvalid({p}_rvalid));\n")
            }),
        )
}

/// Runs a tool; gives what it printed.
fn tool(command: &mut Command, dir: &Path) -> String {
    let output = command.current_dir(dir).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; tools/setup.sh test installs it"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The result from the bench's messages.
fn result(said: &str) -> RunResult {
    assert!(!said.contains("HANG") && !said.contains("ARGUMENTS"), "{said}");
    let mut registers = BTreeMap::new();
    let mut marks = vec![];
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap_or_else(|_| panic!("not a number: {line}"));
        match words.first() {
            Some(&"REG") => drop(registers.insert(number(1) as u32, number(2) as u32)),
            Some(&"MARK") => marks.push((number(1) as u16, number(2))),
            _ => {}
        }
    }
    let get = |name: &str| *registers.get(&offset(name)).unwrap_or_else(|| panic!("no {name} in\n{said}"));
    let code = ErrorCode::from_bits(get("ERROR_CODE")).expect("a code of the table");
    assert_eq!(get("STATUS"), if code == ErrorCode::None { 2 } else { 4 }, "{said}");
    RunResult {
        cycles: get("CYCLES_LO") as u64,
        error: (code != ErrorCode::None).then(|| (code, get("ERROR_INSTR"))),
        marks,
        counters: Counters {
            pass_busy: get("PASS_BUSY"),
            pass_wait_token: get("PASS_WAIT_TOKEN"),
            pass_wait_wgt: get("PASS_WAIT_WGT"),
            load_busy: get("LOAD_BUSY"),
            post_busy: get("POST_BUSY"),
            wgt_busy: get("WGT_BUSY"),
        },
    }
}

fn agrees(arch: &Arch, bench: &Bench, image: &Image, options: &RunOptions, about: &str) -> RunResult {
    let (mut memory, mut modelled) = (image.clone(), image.clone());
    let result = bench.run(&mut memory, options);
    let model = Machine::new(arch).run(&mut modelled, options);
    assert_eq!(model, result, "{}: {about}; model left, Icarus right", arch.config.name);
    assert_eq!(memory_difference(&memory, &modelled), None, "{}: {about}", arch.config.name);
    result
}

/// Legal programs, and chained ones of any fields with and without an error (no bus errors: the bench gives none).
fn programs_agree(name: &str, legal: u64, fuzzed: usize) {
    let arch = machines::arch(name);
    let bench = Bench::build(&arch);
    for seed in 1..=legal {
        let timing = MemoryTiming { latency_cycles: 1 + 13 * seed as u32, ..MemoryTiming::default() };
        let options = RunOptions { timing, watchdog_cycles: 20_000, faults: vec![] };
        let image = generate::case(&arch, 900 + seed, 4).image(&arch);
        let result = agrees(&arch, &bench, &image, &options, &format!("seed {seed}"));
        assert_eq!(result.error, None, "seed {seed}");
    }
    let plain = |f: &fuzz::Fuzz| f.defined && f.options.faults.is_empty() && f.options.watchdog_cycles > 500;
    let cases = (1..).map(|seed| (seed, fuzz::program(&arch, seed))).filter(|(_, f)| plain(f)).take(fuzzed);
    for (seed, f) in cases {
        agrees(&arch, &bench, &f.image, &f.options, &format!("fuzz seed {seed} {:?}", f.cause));
    }
}

#[test]
fn programs_run_under_icarus_as_on_the_model() {
    programs_agree("tiny", 2, 3);
}

#[test]
#[ignore = "long: more programs, other machines"]
fn many_programs_run_under_icarus_as_on_the_model() {
    programs_agree("tiny", 10, 30);
    programs_agree("odd", 3, 6);
    programs_agree("two_bit", 3, 6);
}
