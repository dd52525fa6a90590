// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs of instructions with any field values, with and without one fault that is put in on purpose.
//!
//! Two kinds. In a *chained* program each instruction waits for the one before: what it leaves in memory is defined, and is
//! compared. In a *wild* one the tokens are random: what it computes depends on who comes first, which the machine model
//! does not know (it moves data when an instruction starts); but no time of the machine depends on data, so end, error,
//! marks and counters are compared all the same.

use crate::coverage::Cause;
use crate::generate;
use crate::illegal;
use crate::rng::Rng;
use brickwork_sim::image::{region_base, Fault, Image, MemoryTiming, RunOptions, PROGRAM_BASE};
use hdl_gen::isa::{ErrorCode, Field, Instr, LoadDst, Op, Queue};
use hdl_gen::Arch;

/// Most steps of a pass, most slots of a post.
const WORK: i64 = 5000;
/// Instructions of [`Fuzzer::define_accumulators`].
const DEFINING: usize = 4;
/// The program and some room behind it: no `load` or `post` touches it.
const PROGRAM_END: u64 = 0x0200_0000;

/// A program, how it runs, and what is comparable.
pub struct Fuzz {
    pub image: Image,
    pub options: RunOptions,
    /// Chained, and nothing in it has undefined results.
    pub defined: bool,
    pub cause: Option<Cause>,
    /// The instructions between what fills the buffers and `end`, without tokens; of a program without fault only.
    body: Option<Body>,
}

struct Body {
    start: usize,
    /// Instructions that define the accumulators.
    fixed: usize,
    list: Vec<Instr>,
}

impl Fuzz {
    /// Chained and without fault: the program without those (the ones that define the accumulators apart) instructions of its body that are not in `keep`.
    pub fn only(&self, keep: &[bool]) -> Option<Fuzz> {
        let body = self.body.as_ref().filter(|_| self.defined)?;
        let (fixed, rest) = body.list.split_at(body.fixed);
        let kept = rest.iter().zip(keep).filter(|(_, keep)| **keep).map(|(i, _)| i);
        let list = fixed.iter().chain(kept).copied().collect();
        let mut image = self.image.clone();
        image.program.truncate(body.start);
        image.program.extend(chain(list));
        image.program.push(Instr::new(Op::End));
        Some(Fuzz { image, options: self.options.clone(), defined: true, cause: None, body: None })
    }

    /// Instructions that can go.
    pub fn len(&self) -> usize {
        self.body.as_ref().map_or(0, |b| b.list.len() - b.fixed)
    }
}

pub fn program(arch: &Arch, seed: u64) -> Fuzz {
    let causes = Cause::all(arch);
    let mut rng = Rng::new(seed ^ 0xf0f0);
    let cause = seed.is_multiple_of(2).then(|| causes[(seed / 2) as usize % causes.len()]);
    let chained = rng.percent(60);
    let mut image = generate::case(arch, seed, 0).image(arch);
    image.program.pop();
    let filled = chained || rng.percent(40);
    if !filled {
        image.program.truncate(1);
    }
    let timing =
        MemoryTiming { latency_cycles: rng.pick(&[1, 1, 2, 5, 11, 40, 90]), ..MemoryTiming::default() };
    let options = RunOptions { timing, watchdog_cycles: 800 + rng.below(1000), faults: vec![] };
    let wgt_log2 = rng.below(4) as i64;
    let mut fuzzer =
        Fuzzer { arch, rng, chained, wgt_log2, state: State::default(), list: vec![], owed: [[0; 4]; 4] };
    if chained {
        fuzzer.define_accumulators();
    }
    for _ in 0..fuzzer.rng.range(4, 40) {
        fuzzer.step();
    }
    let start = image.program.len();
    let fixed = if chained { DEFINING } else { 0 };
    let body = cause.is_none().then(|| Body { start, fixed, list: fuzzer.list.clone() });
    let mut fuzz = Fuzz { image, options, defined: chained, cause, body };
    fuzz.image.program.extend(fuzzer.linked());
    fuzz.image.program.push(Instr::new(Op::End));
    if let Some(cause) = cause {
        inject(&mut fuzz, cause, arch, start, &mut fuzzer.rng);
    }
    fuzz
}

/// What the instructions so far have set.
#[derive(Default)]
struct State {
    shape: Option<Instr>,
    mode: Option<Instr>,
    dram: Option<Cursor>,
    /// A `wgt.shift` waits for its pass.
    loaded: bool,
}

/// Where `post` writes next in memory.
#[derive(Clone)]
struct Cursor {
    row: u32,
    at: u32,
    left: u32,
    words: u32,
    pitch: u32,
}

impl Cursor {
    fn new(i: Instr) -> Self {
        let row = (region_base(i.get("region") as usize) as u32).wrapping_add(i.get("offset") as u32);
        let words = (i.get("words") as u32).max(1);
        Cursor { row, at: row, left: words, words, pitch: i.get("pitch") as u32 * 8 }
    }

    /// Moves on by `words`; `false`: over the program, or around the end of the addresses.
    fn advance(&mut self, mut words: u32) -> bool {
        let mut clear = true;
        while words > 0 {
            let n = words.min(self.left);
            clear &= is_clear(self.at, n);
            self.at = self.at.wrapping_add(8 * n);
            self.left -= n;
            words -= n;
            if self.left == 0 {
                self.row = self.row.wrapping_add(self.pitch);
                (self.at, self.left) = (self.row, self.words);
            }
        }
        clear
    }
}

fn is_clear(start: u32, words: u32) -> bool {
    let end = start as u64 + 8 * words as u64;
    start as u64 >= PROGRAM_END && end < 1 << 32
}

struct Fuzzer<'a> {
    arch: &'a Arch,
    rng: Rng,
    chained: bool,
    wgt_log2: i64,
    state: State,
    list: Vec<Instr>,
    /// Tokens given and not taken, `[from][to]`.
    owed: [[u32; 4]; 4],
}

impl Fuzzer<'_> {
    /// A value of a field: its ends, small ones, or any.
    fn value(&mut self, field: &Field) -> i64 {
        let (lo, hi) = field.range();
        match self.rng.below(10) {
            0 => lo,
            1 => hi,
            2..=4 => self.rng.range(lo.max(-4), hi.min(4)),
            _ => self.rng.range(lo, hi),
        }
    }

    /// An instruction with all its fields drawn.
    fn draw(&mut self, op: Op) -> Instr {
        op.def().fields.iter().fold(Instr::new(op), |i, f| set(i, f.name, self.value(f)))
    }

    /// When all loads are through, every accumulator gets a defined value for weights of `wgt_log2`, every weight register,
    /// too.
    fn define_accumulators(&mut self) {
        self.list.push(Instr::new(Op::LoadNop));
        let (rows, groups) = (self.arch.rows as i64, self.arch.groups as i64);
        let shift = self.draw(Op::WgtShift);
        self.list.push(set(set(shift, "rows", rows), "groups", groups));
        self.list.push(set(Instr::new(Op::PassShape), "n0", self.arch.acc_depth as i64 - 1));
        self.state.shape = self.list.last().copied();
        let pass = set(set(Instr::new(Op::Pass), "swap", 1), "overwrite", 1);
        self.list.push(set(set(pass, "wgt_log2", self.wgt_log2), "steps", 1));
    }

    fn step(&mut self) {
        let op = self.rng.pick(&[
            Op::LoadNop,
            Op::Load,
            Op::Load,
            Op::WgtNop,
            Op::WgtShift,
            Op::WgtShift,
            Op::PassNop,
            Op::PassShape,
            Op::PassShape,
            Op::PassJump01,
            Op::PassJump23,
            Op::Pass,
            Op::Pass,
            Op::Pass,
            Op::PostNop,
            Op::PostMode,
            Op::PostMode,
            Op::PostOut,
            Op::PostDram,
            Op::PostAdd,
            Op::Post,
            Op::Post,
            Op::Post,
            Op::PostMark,
        ]);
        let drawn = self.draw(op);
        let tamed = match op {
            Op::Load => self.load(drawn),
            Op::WgtShift => self.shift(drawn),
            Op::PassShape => self.shape(drawn),
            Op::Pass => self.pass(drawn),
            Op::PostMode => Some(self.mode(drawn)),
            Op::PostDram => Some(self.dram(drawn)),
            Op::Post => self.post(drawn),
            _ => Some(drawn),
        };
        self.list.extend(tamed);
    }

    /// Legal, and not from where the program is.
    fn load(&mut self, i: Instr) -> Option<Instr> {
        let dst = self.rng.pick(&LoadDst::ALL);
        if dst == LoadDst::Table && !self.arch.has_table {
            return None;
        }
        let depth = self.arch.load_depth(dst) as i64;
        let rows = if dst == LoadDst::Act { self.rng.range(1, depth.min(20)) } else { 1 };
        let rows = if rows > 1 && self.rng.percent(10) { depth.min(4095) } else { rows };
        let words = self.rng.range(1, (depth / rows).min(200));
        let words = if self.rng.percent(15) { depth / rows } else { words };
        let base = self.rng.range(0, depth - words * rows);
        let base = if self.rng.percent(20) { depth - words * rows } else { base };
        let i = [("dst", dst as i64), ("words", words), ("rows", rows), ("base", base)]
            .iter()
            .fold(i, |i, (name, value)| set(i, name, *value));
        let i = set(i, "offset", self.offset(i.get("offset")));
        let start = (region_base(i.get("region") as usize) as u32).wrapping_add(i.get("offset") as u32);
        let length = (words as u32) * self.arch.load_beats(dst) * self.arch.load_ports(dst);
        let clear = (0..rows as u32)
            .all(|r| is_clear(start.wrapping_add(r.wrapping_mul(8 * i.get("pitch") as u32)), length));
        clear.then_some(i)
    }

    /// A byte offset: mostly inside a region.
    fn offset(&mut self, any: i64) -> i64 {
        let offset = if self.rng.percent(85) { self.rng.range(0, 20_000) } else { any };
        offset & !7
    }

    /// A second shift without a pass that takes the first one would wait for ever.
    fn shift(&mut self, i: Instr) -> Option<Instr> {
        if self.state.loaded {
            return None;
        }
        self.state.loaded = true;
        let (rows, groups) = (self.arch.rows as i64, self.arch.groups as i64);
        let (r, g) = (self.rng.range(1, rows), self.rng.range(1, groups));
        let all = self.rng.percent(30);
        Some(set(set(i, "rows", if all { rows } else { r }), "groups", if all { groups } else { g }))
    }

    /// At most one loop is long; in a chained program no pass has more pixels than there are accumulators.
    fn shape(&mut self, drawn: Instr) -> Option<Instr> {
        let names = ["n0", "n1", "n2", "n3"];
        let long = self.rng.below(4) as usize;
        let others = if self.rng.percent(50) { 0 } else { 3 };
        let i = names.iter().enumerate().fold(drawn, |i, (n, name)| {
            let value = if n == long { i.get(name) } else { self.rng.range(0, others) };
            set(i, name, value)
        });
        let i = if pixels(i) > WORK || (self.chained && pixels(i) > self.arch.acc_depth as i64) {
            set(
                i,
                names[long],
                if self.chained { 0 } else { 4095 }.min(WORK / pixels(set(i, names[long], 0)) - 1),
            )
        } else {
            i
        };
        if self.chained && pixels(i) > self.arch.acc_depth as i64 {
            return None;
        }
        self.state.shape = Some(i);
        Some(i)
    }

    fn pass(&mut self, i: Instr) -> Option<Instr> {
        let swap = self.state.loaded && self.rng.percent(90);
        let turns = self.state.shape.map_or(1, pixels);
        let i = set(i, "swap", swap as i64);
        let i = if turns * (i.get("steps") + 1) > WORK { set(i, "steps", 0) } else { i };
        // What 8-bit passes leave in the upper half of an accumulator is not defined.
        let i = if self.chained { set(i, "wgt_log2", self.wgt_log2) } else { i };
        let i = if self.chained && self.wgt_log2 != 3 { set(i, "shift8", 0) } else { i };
        self.state.loaded &= !swap;
        Some(i)
    }

    fn mode(&mut self, i: Instr) -> Instr {
        let features = [
            ("table", self.arch.has_table),
            ("add", self.arch.has_add),
            ("bipolar", self.arch.has_sum_column),
        ];
        let mut i = features.iter().filter(|f| !f.1).fold(i, |i, (name, _)| set(i, name, 0));
        if self.chained {
            i = set(i, "wgt_log2", self.wgt_log2);
        }
        if self.rng.percent(60) {
            i = set(i, "int32", 0);
        }
        self.state.mode = Some(i);
        i
    }

    fn dram(&mut self, i: Instr) -> Instr {
        let i = set(i, "offset", self.offset(i.get("offset")));
        let words = self.rng.range(0, 100);
        let i = if self.rng.percent(60) { set(i, "words", words) } else { i };
        let pitch = self.rng.range(0, 200);
        let i = if self.rng.percent(60) { set(i, "pitch", pitch) } else { i };
        self.state.dram = Some(Cursor::new(i));
        i
    }

    /// At most one loop is long. A `post` to memory follows a `post.dram`; in a chained program the gap is long enough.
    fn post(&mut self, drawn: Instr) -> Option<Instr> {
        let names = ["pixels", "window", "tiles", "beats"];
        let long = self.rng.below(4) as usize;
        let mut i = names.iter().enumerate().fold(drawn, |i, (n, name)| {
            let value = if n == long { i.get(name) } else { self.rng.range(0, 2) };
            set(i, name, value)
        });
        let turns = |i: Instr| names.iter().map(|n| i.get(n) + 1).product::<i64>();
        if turns(i) > WORK {
            i = set(i, names[long], WORK / turns(set(i, names[long], 0)) - 1);
        }
        let mode = self.state.mode.unwrap_or(Instr::new(Op::PostMode));
        let (int32, dram) = (mode.flag("int32"), mode.flag("dram") || mode.flag("int32"));
        let beats = ((i.get("tiles") + 1) * (i.get("beats") + 1)) as u32;
        let planes = mode.get("planes") as u32 + 1;
        if self.chained {
            let slots = if mode.flag("add") { 3 } else { i.get("window") as u32 + 1 };
            let gap = self.arch.post_gap(planes, int32, dram, beats, slots) as i64;
            if gap > 15 {
                return None;
            }
            if mode.get("gap") < gap {
                let mode = set(mode, "gap", gap);
                self.state.mode = Some(mode);
                self.list.push(mode);
            }
        }
        if dram {
            let words = match int32 {
                true => beats * self.arch.requant_lanes / 2,
                false => {
                    let blocks = beats.div_ceil(self.arch.block_beats());
                    blocks * planes.div_ceil(4) * self.arch.bank_word_beats()
                }
            };
            if !self.state.dram.as_mut()?.advance(words * (i.get("pixels") as u32 + 1)) {
                self.state.dram = None;
                return None;
            }
        }
        Some(i)
    }

    /// The instructions with tokens.
    fn linked(&mut self) -> Vec<Instr> {
        if !self.chained {
            self.scatter();
            return std::mem::take(&mut self.list);
        }
        chain(std::mem::take(&mut self.list))
    }

    /// Random tokens; most of those that are taken were given before.
    fn scatter(&mut self) {
        for n in 0..self.list.len() {
            let own = queue(self.list[n]);
            for other in Queue::ALL.into_iter().filter(|q| *q != own) {
                let here = &mut self.owed[other.index()][own.index()];
                if (*here > 0 && self.rng.percent(60)) || self.rng.below(400) == 0 {
                    *here = here.saturating_sub(1);
                    self.list[n] = self.list[n].wait(other.bit());
                }
                if self.rng.percent(30) {
                    self.owed[own.index()][other.index()] += 1;
                    self.list[n] = self.list[n].signal(other.bit());
                }
            }
        }
    }
}

/// Each instruction takes a token of the one before, where that is of another queue.
fn chain(mut list: Vec<Instr>) -> Vec<Instr> {
    for n in 1..list.len() {
        let (before, own) = (queue(list[n - 1]), queue(list[n]));
        if before != own {
            list[n - 1] = list[n - 1].signal(own.bit());
            list[n] = list[n].wait(before.bit());
        }
    }
    list
}

fn set(i: Instr, field: &str, value: i64) -> Instr {
    i.with(field, value).unwrap_or_else(|e| panic!("{e}"))
}

fn pixels(shape: Instr) -> i64 {
    ["n0", "n1", "n2", "n3"].iter().map(|n| shape.get(n) + 1).product()
}

fn queue(i: Instr) -> Queue {
    i.op().and_then(|o| o.def().queue).expect("an instruction of a queue")
}

/// Puts `cause` into the program: instructions somewhere from `start` on, faults anywhere.
fn inject(fuzz: &mut Fuzz, cause: Cause, arch: &Arch, start: usize, rng: &mut Rng) {
    let program = &mut fuzz.image.program;
    let end = program.len() - 1;
    let at = rng.range(start as i64, end as i64) as usize;
    match cause {
        Cause::BeginMissing => drop(program.remove(0)),
        Cause::BeginAgain => program.insert(at, program[0]),
        Cause::WrongHash => program[0] = Instr(program[0].0 ^ 1 << rng.below(64)),
        Cause::EndMissing => drop(program.pop()),
        Cause::TokenOverflow(from, to) => {
            let nop = illegal::nop(from).signal(to.bit());
            program.splice(end..end, std::iter::repeat_n(nop, 300));
        }
        Cause::DeadlockWait(own, other) => program.insert(at, illegal::nop(own).wait(other.bit())),
        Cause::DeadlockShift => {
            let shift = set(set(Instr::new(Op::WgtShift), "rows", 1), "groups", 1);
            program.splice(at..at, [shift, shift]);
        }
        Cause::DeadlockSwap => {
            let swap = set(Instr::new(Op::Pass), "swap", 1);
            program.splice(at..at, [swap, swap]);
        }
        Cause::DeadlockDram => {
            let mode = set(Instr::new(Op::PostMode), "int32", 1);
            program.splice(1..1, [mode, Instr::new(Op::Post)]);
        }
        Cause::SlowMemory => {
            fuzz.options.timing.latency_cycles = 300;
            fuzz.options.watchdog_cycles = 1 + rng.below(290);
        }
        Cause::FetchFault { decerr } => {
            let start = PROGRAM_BASE + 8 * rng.below(2 * program.len() as u32) as u64;
            fuzz.options.faults.push(Fault { start, bytes: 1 + rng.below(8) as u64, decerr });
        }
        Cause::LoadFault { port, decerr } => {
            fuzz.options.faults.extend(load_fault(program, arch, port, decerr, rng));
        }
        Cause::StoreFault { decerr } => {
            let i = set(set(Instr::new(Op::PostDram), "region", 2), "words", rng.range(1, 30));
            let i = set(set(i, "offset", 8 * rng.range(0, 600)), "pitch", rng.range(0, 40));
            let mode = set(set(Instr::new(Op::PostMode), "int32", 1), "gap", 15);
            let mode = set(mode, "wgt_log2", fuzz_wgt_log2(program));
            let post = set(set(Instr::new(Op::Post), "pixels", rng.range(0, 40)), "beats", 1);
            program.splice(at..at, [i, mode, post]);
            let start = region_base(2) + i.get("offset") as u64 + rng.below(160) as u64;
            fuzz.options.faults.push(Fault { start, bytes: 1 + rng.below(40) as u64, decerr });
        }
        _ => {
            let bad = illegal::instruction(cause, arch, rng).expect("a cause of one instruction");
            program.insert(at, bad);
        }
    }
    // An instruction of another queue in a chain may come too early.
    let moves = matches!(
        cause,
        Cause::DeadlockSwap | Cause::DeadlockShift | Cause::DeadlockDram | Cause::StoreFault { .. }
    );
    fuzz.defined &= !moves;
}

/// Width of the weights of the first pass.
fn fuzz_wgt_log2(program: &[Instr]) -> i64 {
    program.iter().find(|i| i.op() == Some(Op::Pass)).map_or(0, |i| i.get("wgt_log2"))
}

/// A fault in what some `load` reads on `port`.
fn load_fault(program: &[Instr], arch: &Arch, port: u32, decerr: bool, rng: &mut Rng) -> Option<Fault> {
    let uses = |i: &&Instr| {
        i.op() == Some(Op::Load)
            && LoadDst::from_bits(i.get("dst") as u64).is_some_and(|d| arch.load_ports(d) > port)
    };
    let loads: Vec<Instr> = program.iter().filter(uses).copied().collect();
    if loads.is_empty() {
        return None;
    }
    let i = rng.pick(&loads);
    let dst = LoadDst::from_bits(i.get("dst") as u64)?;
    let beats = i.get("words") as u32 * arch.load_beats(dst);
    let first = region_base(i.get("region") as usize) + i.get("offset") as u64 + 8 * (port * beats) as u64;
    let row = 8 * rng.below(i.get("rows") as u32) as u64 * i.get("pitch") as u64;
    let start = (first + row + 8 * rng.below(beats) as u64) & 0xffff_ffff;
    Some(Fault { start, bytes: 1 + rng.below(16) as u64, decerr })
}

/// The code that `cause` gives.
pub fn code(cause: Cause) -> ErrorCode {
    match cause {
        Cause::UnknownOpcode | Cause::BeginMissing | Cause::BeginAgain | Cause::EndMissing => {
            ErrorCode::BadOpcode
        }
        Cause::WrongHash => ErrorCode::WrongConfig,
        Cause::FetchFault { .. } | Cause::LoadFault { .. } => ErrorCode::BusRead,
        Cause::StoreFault { .. } => ErrorCode::BusWrite,
        Cause::TokenOverflow(..) => ErrorCode::TokenOverflow,
        Cause::DeadlockWait(..)
        | Cause::DeadlockShift
        | Cause::DeadlockSwap
        | Cause::DeadlockDram
        | Cause::SlowMemory => ErrorCode::Watchdog,
        _ => ErrorCode::BadOperand,
    }
}
