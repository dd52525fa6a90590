// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `compute_core` under Verilator against its mirror: every signal pulse and acceptance in the same cycle, every
//! accumulator bit equal, over random programs.

#[path = "programs/rng.rs"]
#[allow(dead_code)] // this bench takes what it needs
mod rng;

use brickwork_sim::machine::buffers::{Buffers, Tap};
use brickwork_sim::machine::compute::{compute_units, PassUnit, WgtUnit};
use brickwork_sim::machine::unit::{Command as Order, Unit};
use hdl_gen::isa::{Instr, Op};
use hdl_gen::{emit, Arch, Config};
use rng::Rng;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn arch(toml_text: &str) -> Arch {
    let config: Config = toml::from_str(toml_text).expect("a configuration of this repository");
    Arch::new(&config)
}

/// The verilated bench of one configuration.
fn build(arch: &Arch) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compute_core_{}", arch.config.name));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the temporary directory of the tests is writable");
    let mut files = emit::array::files(arch).expect("array renders");
    files.extend(emit::compute::files(arch).expect("compute renders"));
    let mut verilate = Command::new("verilator");
    // -fno-const-bit-op-tree: Verilator 5.006 computes wrong values without it
    verilate
        .current_dir(&dir)
        .args(["--cc", "--exe", "--build", "-O3", "-CFLAGS", "-O2", "-fno-const-bit-op-tree"])
        .args([
            "--x-assign",
            "unique",
            "--x-initial",
            "unique",
            "--output-split",
            "20000",
            "--output-split-cfuncs",
            "5000",
        ])
        .args(["--top-module", "compute_core", "--Mdir", "obj", "-Wall", "-o", "bench", "-j", "2", "tb.cpp"]);
    for f in &files {
        std::fs::write(dir.join(&f.name), &f.text).expect("writable");
        verilate.arg(&f.name);
    }
    std::fs::write(dir.join("tb.cpp"), include_str!("../../testbenches/compute/compute_core_tb.cpp"))
        .expect("writable");
    let out = verilate.output().expect("verilator is installed");
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    dir.join("obj/bench")
}

/// Contents of the on-chip memories that a program reads.
fn random_buffers(arch: &Arch, rng: &mut Rng) -> Buffers {
    let mut b = Buffers::new(arch);
    let lanes = (1u64 << arch.lanes) - 1;
    let column = if arch.act_bits == 64 { u64::MAX } else { (1u64 << arch.act_bits) - 1 };
    b.banks.iter_mut().for_each(|w| *w = rng.next() & lanes);
    b.wgt.iter_mut().for_each(|w| *w = rng.next() & column);
    for tap in &mut b.taps {
        let far = rng.percent(5);
        let mut offset = || if far { rng.range(-512, 511) } else { rng.range(-3, 3) } as i16;
        *tap = Tap { dy: offset(), dx: offset(), addr: rng.next() as i16 };
    }
    b
}

/// Bits from fields, low field first.
fn packed(fields: impl Iterator<Item = u64>, width: u32) -> String {
    let mut bits: Vec<bool> = Vec::new();
    for f in fields {
        bits.extend((0..width).map(|i| f >> i & 1 == 1));
    }
    let words = bits.chunks(32).map(|c| c.iter().enumerate().fold(0u32, |w, (i, b)| w | (*b as u32) << i));
    words.map(|w| format!(" {w:x}")).collect()
}

fn load_script(arch: &Arch, b: &Buffers) -> String {
    let mut s = String::new();
    for (i, word) in b.banks.chunks(4).enumerate() {
        let _ = writeln!(s, "bank 15 {i}{}", packed(word.iter().copied(), arch.lanes));
    }
    for (i, word) in b.wgt.chunks(arch.group_columns as usize).enumerate() {
        let _ = writeln!(s, "wbuf {i}{}", packed(word.iter().copied(), arch.act_bits));
    }
    for (i, t) in b.taps.iter().enumerate() {
        let value = t.addr as u16 as u64 | (t.dy as u64 & 0x3ff) << 16 | (t.dx as u64 & 0x3ff) << 26;
        let _ = writeln!(s, "tap {i}{}", packed(std::iter::once(value), 36));
    }
    s
}

/// Commands of both queues with the idle cycles before each offer.
#[derive(Clone, Default)]
struct Program {
    wgt: Vec<(u32, Instr)>,
    pass: Vec<(u32, Instr)>,
}

/// Gaps of a program: none, few, many.
#[derive(Clone, Copy)]
struct Pace(u32);

impl Pace {
    fn gap(self, rng: &mut Rng) -> u32 {
        if rng.percent(self.0) {
            rng.range(0, 60) as u32
        } else {
            0
        }
    }
}

fn with(op: Op, fields: &[(&str, i64)]) -> Instr {
    fields
        .iter()
        .fold(Instr::new(op), |i, (name, value)| i.with(name, *value).expect("the test draws legal values"))
}

fn shift(arch: &Arch, rng: &mut Rng, full: bool) -> Instr {
    let (rows, groups) = (arch.rows as i64, arch.groups as i64);
    let pick = |rng: &mut Rng, max: i64| if full || rng.percent(30) { max } else { rng.range(1, max) };
    let fields = [
        ("addr", rng.range(0, 0xffff)),
        ("rows", pick(rng, rows)),
        ("groups", pick(rng, groups)),
        ("tap", rng.range(0, 0xfff)),
    ];
    with(Op::WgtShift, &fields).signal(rng.next() as u8 & 0xd)
}

fn shape(rng: &mut Rng, most_pixels: i64) -> Instr {
    let mut left = most_pixels;
    let mut n = [0i64; 4];
    for count in &mut n {
        *count = if rng.percent(50) { rng.range(1, left.min(9)) } else { 1 };
        left /= *count;
    }
    if rng.percent(20) {
        n.reverse();
    }
    let fields = [
        ("n0", n[0] - 1),
        ("n1", n[1] - 1),
        ("n2", n[2] - 1),
        ("n3", n[3] - 1),
        ("h", if rng.percent(10) { 4095 } else { rng.range(0, 12) }),
        ("w", if rng.percent(10) { 4095 } else { rng.range(0, 12) }),
        ("pad", rng.range(0, 0xffff)),
    ];
    with(Op::PassShape, &fields)
}

fn jumps(rng: &mut Rng, op: Op, names: [&str; 6]) -> Instr {
    let fields = names.map(|n| match n.starts_with("da") {
        true => (n, rng.range(-0x8000, 0x7fff)),
        false => (n, if rng.percent(5) { rng.range(-2048, 2047) } else { rng.range(-3, 3) }),
    });
    with(op, &fields)
}

/// A program in the making.
struct Draw<'a> {
    arch: &'a Arch,
    rng: &'a mut Rng,
    pace: Pace,
    /// Short passes with few configuration instructions and swaps between them: what meets hazards.
    dense: bool,
    program: Program,
}

impl Draw<'_> {
    fn push_pass(&mut self, instr: Instr) {
        let gap = self.pace.gap(self.rng);
        self.program.pass.push((gap, instr));
    }
    fn push_wgt(&mut self, instr: Instr) {
        let gap = self.pace.gap(self.rng);
        self.program.wgt.push((gap, instr));
    }

    /// Two full loads of weights and a pass over all accumulators: nothing depends on the past afterwards.
    fn prologue(&mut self) {
        let n0 = ("n0", self.arch.acc_depth as i64 - 1);
        self.push_pass(with(Op::PassShape, &[n0, ("h", 4095), ("w", 4095)]));
        for _ in 0..2 {
            let full = shift(self.arch, self.rng, true);
            self.push_wgt(full);
            self.push_pass(with(Op::Pass, &[("swap", 1), ("overwrite", 1), ("wgt_log2", 1)]));
        }
    }

    fn configure(&mut self) {
        let percent = if self.dense { 12 } else { 40 };
        if self.rng.percent(percent) {
            let instr = shape(self.rng, if self.dense { 3 } else { self.arch.acc_depth.min(64) as i64 });
            self.push_pass(instr);
        }
        if self.rng.percent(percent) {
            let instr = jumps(self.rng, Op::PassJump01, ["da0", "dy0", "dx0", "da1", "dy1", "dx1"]);
            let signal = if self.rng.percent(20) { self.rng.next() as u8 & 0xb } else { 0 };
            self.push_pass(instr.signal(signal));
        }
        if self.rng.percent(percent) {
            let instr = jumps(self.rng, Op::PassJump23, ["da2", "dy2", "dx2", "da3", "dy3", "dx3"]);
            self.push_pass(instr);
        }
        if self.rng.percent(percent / 3) {
            let signal = self.rng.next() as u8 & 0xb;
            self.push_pass(Instr::new(Op::PassNop).signal(signal));
        }
        if self.rng.percent(10) {
            let signal = self.rng.next() as u8 & 0xd;
            self.push_wgt(Instr::new(Op::WgtNop).signal(signal));
        }
    }

    fn pass(&mut self, previous: Option<Instr>) -> Instr {
        let brick = self.arch.brick_bits as i64;
        let swap = self.rng.percent(if self.dense { 5 } else { 40 });
        if swap {
            let instr = shift(self.arch, self.rng, false);
            self.push_wgt(instr);
        }
        let rng = &mut *self.rng;
        let wgt_log2 = rng.range(brick - 1, 3);
        let max_steps = 16 / brick;
        let steps_less_one = if rng.percent(40) {
            0
        } else {
            rng.range(0, if self.dense { 4.min(max_steps - 1) } else { max_steps - 1 })
        };
        let last_acc = if self.dense {
            2
        } else if rng.percent(20) {
            4095
        } else {
            7
        };
        let fields = [
            ("addr", rng.range(0, 0xffff)),
            ("y", rng.range(-4, 12)),
            ("x", rng.range(-4, 12)),
            ("acc", rng.range(0, last_acc)),
            ("steps", steps_less_one),
            ("act_signed", rng.range(0, 1)),
            ("wgt_log2", wgt_log2),
            ("wgt_signed", rng.range(0, 1)),
            ("swap", swap as i64),
            ("overwrite", rng.percent(35) as i64),
            ("shift8", (wgt_log2 == 3 && rng.percent(30)) as i64),
        ];
        let mut instr = with(Op::Pass, &fields);
        if let Some(p) = previous.filter(|_| rng.percent(40)) {
            for name in ["acc", "steps"] {
                instr = instr.with(name, p.get(name)).expect("legal before");
            }
        }
        instr.signal(if rng.percent(60) { rng.next() as u8 & 0xb } else { 0 })
    }
}

fn random_program(arch: &Arch, rng: &mut Rng, passes: usize) -> Program {
    let pace = Pace([0, 10, 60][rng.next() as usize % 3]);
    let dense = rng.percent(35);
    let mut draw = Draw { arch, rng, pace, dense, program: Program::default() };
    draw.prologue();
    if dense {
        let small = shape(draw.rng, 3);
        draw.push_pass(small);
    }
    let mut previous = None;
    for _ in 0..passes {
        draw.configure();
        let pass = draw.pass(previous);
        draw.push_pass(pass);
        previous = Some(pass);
    }
    draw.program
}

fn program_script(arch: &Arch, p: &Program, max_cycles: u32) -> String {
    let mut s = String::new();
    for (gap, instr) in &p.wgt {
        let _ = writeln!(s, "wgt {gap} {:032x}", instr.0);
    }
    let mut before = None;
    for (gap, instr) in &p.pass {
        let walk = (instr.op() == Some(Op::Pass))
            .then(|| (instr.get("acc") % i64::from(arch.acc_depth), instr.get("steps")));
        let same = walk.is_some() && walk == before;
        let _ = writeln!(s, "pass {gap} {:032x} {}", instr.0, u8::from(same));
        before = walk.or(before);
    }
    let _ = writeln!(s, "run {max_cycles}");
    s
}

/// A queue as the bench plays it.
struct Queue {
    offers: VecDeque<(u32, Instr)>,
    waited: u32,
}

impl Queue {
    fn new(list: &[(u32, Instr)]) -> Self {
        Queue { offers: list.iter().copied().collect(), waited: 0 }
    }
    fn offer(&self) -> Option<Instr> {
        self.offers.front().filter(|(gap, _)| self.waited >= *gap).map(|o| o.1)
    }
    fn step(&mut self, taken: bool) {
        if taken {
            self.offers.pop_front();
            self.waited = 0;
        } else {
            self.waited += 1;
        }
    }
}

/// The model's units with both queues.
struct Model {
    wgt: WgtUnit,
    pass: PassUnit,
    queues: [Queue; 2],
    regions: [Vec<u8>; 4],
}

impl Model {
    fn new(arch: &Arch, program: &Program) -> Self {
        let (wgt, pass) = compute_units(arch);
        Model {
            wgt,
            pass,
            queues: [Queue::new(&program.wgt), Queue::new(&program.pass)],
            regions: Default::default(),
        }
    }

    /// One cycle; what the bench prints for it, and whether it is the last.
    fn cycle(&mut self, buffers: &mut Buffers) -> (u32, bool) {
        let (wgt_offer, pass_offer) = (self.queues[0].offer(), self.queues[1].offer());
        let order = |instr| Order { instr, pc: 0 };
        let wgt_order = wgt_offer.filter(|i| self.wgt.ready(*i)).map(order);
        let pass_order = pass_offer.filter(|i| self.pass.ready(*i)).map(order);
        let idle = self.queues.iter().all(|q| q.offers.is_empty()) && !self.wgt.busy() && !self.pass.busy();
        let flags = (wgt_order.is_some() as u32)
            | (pass_order.is_some() as u32) << 1
            | (self.wgt.busy() as u32) << 10
            | (self.pass.busy() as u32) << 11
            | (self.wgt.feeds() as u32) << 12
            | (self.pass.feeds() as u32) << 13
            | (pass_offer.is_some_and(|i| self.pass.waits_for_weights(i)) as u32) << 14;
        if let Some(o) = wgt_order {
            self.wgt.execute(o, buffers, &mut self.regions);
        }
        if let Some(o) = pass_order {
            self.pass.execute(o, buffers, &mut self.regions);
        }
        let pass_signal = self.pass.tick(pass_order) as u32;
        let wgt_signal = self.wgt.tick(wgt_order) as u32;
        self.queues[0].step(wgt_order.is_some());
        self.queues[1].step(pass_order.is_some());
        (flags | wgt_signal << 2 | pass_signal << 6, idle)
    }

    fn run(&mut self, buffers: &mut Buffers, max_cycles: u32) -> Vec<u32> {
        let mut trace = Vec::new();
        loop {
            let (flags, idle) = self.cycle(buffers);
            trace.push(flags);
            if idle || trace.len() as u32 >= max_cycles {
                return trace;
            }
        }
    }
}

/// Runs the bench on a script; one vector of numbers per answer.
fn run_bench(bench: &Path, script: String) -> Vec<Vec<u32>> {
    let mut child = Command::new(bench)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bench was built");
    let mut input = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let out = child.wait_with_output().expect("the bench runs");
    writer.join().expect("no panic").expect("the bench reads its script");
    assert!(out.status.success(), "the bench failed");
    let hex = |s: &str| u32::from_str_radix(s, 16).expect("the bench prints hexadecimal numbers");
    let mut answers: Vec<Vec<u32>> = Vec::new();
    for line in String::from_utf8(out.stdout).expect("text").lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some("run") => answers.push(vec![]),
            Some("acc") => answers.push(words.map(hex).collect()),
            _ => answers.last_mut().expect("a run began").push(hex(line)),
        }
    }
    answers
}

/// Pixels whose accumulators have only the lower halves of their words defined: 8-bit weights, not overwritten since.
fn low_halves(arch: &Arch, program: &Program) -> Vec<bool> {
    let mut low = vec![false; arch.acc_depth as usize];
    let mut pixels = 1;
    for (_, instr) in &program.pass {
        match instr.op() {
            Some(Op::PassShape) => {
                pixels = ["n0", "n1", "n2", "n3"].iter().map(|n| instr.get(n) as usize + 1).product()
            }
            Some(Op::Pass) => {
                for m in 0..pixels {
                    let pixel = &mut low[(instr.get("acc") as usize + m) % arch.acc_depth as usize];
                    let wide = instr.get("wgt_log2") == 3;
                    *pixel = wide || (*pixel && !instr.flag("overwrite"));
                }
            }
            _ => {}
        }
    }
    low
}

fn compare_accumulators(arch: &Arch, model: &Buffers, low: &[bool], answers: &[Vec<u32>], what: &str) {
    for (pixel, answer) in answers.iter().enumerate() {
        let bit = |i: usize| answer[i / 32] >> (i % 32) & 1;
        for group in 0..arch.groups as usize {
            let bits = if low[pixel] { 72 } else { 144 };
            let got: Vec<u32> = (0..bits).map(|i| bit(group * 144 + i)).collect();
            let expected: Vec<u32> =
                (0..bits).map(|i| (model.acc_value(group, pixel, i as u32, 1) & 1) as u32).collect();
            assert_eq!(got, expected, "{what}: group {group}, pixel {pixel} (bits, low first)");
        }
        if arch.has_sum_column {
            let got = *answer.last().expect("the sum is last");
            assert_eq!(got, model.sum[pixel] as u32 & 0x3_ffff, "{what}: sum column, pixel {pixel}");
        }
    }
}

/// A random run cut short by a reset, then a whole one; the whole one must not notice.
fn check(arch: &Arch, bench: &Path, seed: u64, passes: usize) -> usize {
    let mut rng = Rng::new(seed);
    let buffers = random_buffers(arch, &mut rng);
    let cut = rng.range(1, 2000) as u32;
    let first = random_program(arch, &mut rng, 4);
    let program = random_program(arch, &mut rng, passes);
    check_programs(
        arch,
        bench,
        buffers,
        (&first, cut),
        &program,
        &format!("{} seed {seed}", arch.config.name),
    )
}

/// Runs `first` for some cycles, then `program` to its end, on bench and model. Returns the cycles of the latter.
fn check_programs(
    arch: &Arch,
    bench: &Path,
    mut buffers: Buffers,
    first: (&Program, u32),
    program: &Program,
    what: &str,
) -> usize {
    const FOREVER: u32 = 10_000_000;
    let mut script = load_script(arch, &buffers);
    script += &program_script(arch, first.0, first.1);
    script += "drop\n";
    script += &program_script(arch, program, FOREVER);
    for pixel in 0..arch.acc_depth {
        let _ = writeln!(script, "acc {pixel}");
    }
    let answers = run_bench(bench, script);
    let first_trace = Model::new(arch, first.0).run(&mut buffers.clone(), first.1);
    let trace = Model::new(arch, program).run(&mut buffers, FOREVER);
    compare_traces(&answers[0], &first_trace, &format!("{what}, first run"));
    compare_traces(&answers[1], &trace, what);
    compare_accumulators(arch, &buffers, &low_halves(arch, program), &answers[2..], what);
    trace.len()
}

/// The next pass, with other bounds, is accepted before row 0 has seen the bounds of a pass of two steps.
fn keeps_the_bounds_of_a_short_pass(arch: &Arch, bench: &Path) {
    let mut rng = Rng::new(1);
    let buffers = random_buffers(arch, &mut rng);
    let mut draw = Draw { arch, rng: &mut rng, pace: Pace(0), dense: false, program: Program::default() };
    draw.prologue();
    for (acc, h) in [(0, 4095), (2, 0), (4, 4095), (6, 0)] {
        draw.push_pass(with(Op::PassShape, &[("n0", 1), ("h", h), ("w", h), ("pad", 0xffff)]));
        let start = [("y", 600), ("x", 600), ("addr", 13 * acc), ("acc", acc)];
        draw.push_pass(
            with(Op::Pass, &start).with("overwrite", 1).and_then(|i| i.with("wgt_log2", 1)).expect("legal"),
        );
    }
    let program = draw.program;
    check_programs(arch, bench, buffers, (&program, 1), &program, &format!("{}, bounds", arch.config.name));
}

fn compare_traces(got: &[u32], expected: &[u32], what: &str) {
    let wrong = got.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(cycle) = wrong {
        panic!("{what}: cycle {cycle}: RTL {:015b}, model {:015b}", got[cycle], expected[cycle]);
    }
    assert_eq!(got.len(), expected.len(), "{what}: length of the run");
}

fn check_config(toml_text: &str, seeds: std::ops::Range<u64>, passes: usize) {
    let arch = arch(toml_text);
    let bench = build(&arch);
    keeps_the_bounds_of_a_short_pass(&arch, &bench);
    let cycles: usize = seeds.clone().map(|seed| check(&arch, &bench, seed, passes)).sum();
    println!("{}: seeds {seeds:?}, {cycles} cycles equal", arch.config.name);
}

/// Seeds of a test: `BRICKWORK_SEED` begins elsewhere, `BRICKWORK_LONG` takes more.
fn seeds() -> std::ops::Range<u64> {
    let start = std::env::var("BRICKWORK_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    start..start + if long() { 200 } else { 12 }
}

fn long() -> bool {
    std::env::var_os("BRICKWORK_LONG").is_some()
}

#[test]
fn tiny_equals_its_model() {
    check_config(include_str!("../../configs/tiny.toml"), seeds(), 60);
}

#[test]
fn odd_sizes_equal_their_model() {
    check_config(include_str!("../../configs/odd.toml"), seeds(), 60);
}

#[test]
fn two_bit_bricks_equal_their_model() {
    let text = include_str!("../../configs/tiny.toml")
        .replace("name = \"tiny\"", "name = \"tiny_two\"")
        .replace("brick_bits = 1", "brick_bits = 2");
    check_config(&text, seeds(), 60);
}

#[test]
fn one_group_and_many_rows_equal_their_model() {
    let text = include_str!("../../configs/tiny.toml")
        .replace("name = \"tiny\"", "name = \"tall\"")
        .replace("rows = 3", "rows = 13")
        .replace("lanes = 8", "lanes = 4");
    check_config(&text, seeds(), 60);
}

#[test]
fn zynq7020_equals_its_model_long() {
    if !long() {
        println!("takes minutes: set BRICKWORK_LONG=1");
        return;
    }
    check_config(include_str!("../../configs/zynq7020.toml"), 1..20, 60);
}

#[test]
fn bitfusion_equals_its_model_long() {
    if !long() {
        println!("takes minutes: set BRICKWORK_LONG=1");
        return;
    }
    check_config(include_str!("../../configs/bitfusion.toml"), 1..20, 60);
}
