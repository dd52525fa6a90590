// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs with one fault.

use crate::coverage::Cause;
use crate::fuzz;
use crate::rng::Rng;
use crate::task::Case;
use brickwork_sim::image::{region_base, Fault, Image, MemoryTiming, RunOptions, PROGRAM_BASE};
use hdl_gen::isa::{ErrorCode, Instr, LoadDst, Op, Queue, INSTRUCTIONS};
use hdl_gen::Arch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadOpcode,
    BadOperand,
    MissingBegin,
    SecondBegin,
    WrongHash,
    MissingEnd,
    Deadlock,
    TokenOverflow,
    BusRead,
    BusWrite,
    BusFetch,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::BadOpcode,
        Kind::BadOperand,
        Kind::MissingBegin,
        Kind::SecondBegin,
        Kind::WrongHash,
        Kind::MissingEnd,
        Kind::Deadlock,
        Kind::TokenOverflow,
        Kind::BusRead,
        Kind::BusWrite,
        Kind::BusFetch,
    ];
}

/// An illegal program and the error that it must give.
pub struct Illegal {
    pub image: Image,
    pub options: RunOptions,
    pub code: ErrorCode,
    /// Instruction of the error, where it follows from the program alone.
    pub number: Option<u32>,
}

/// How legal and illegal programs of `seed` run; half of them with stalls.
pub fn options(seed: u64) -> RunOptions {
    let stall = if seed.is_multiple_of(2) { 70 } else { 0 };
    let timing = MemoryTiming { latency_cycles: 1 + (seed % 50) as u32, stall, seed };
    RunOptions { timing, watchdog_cycles: 4000, faults: vec![] }
}

/// `case` with a fault. `None`: it has no place for one of this kind.
pub fn spoil(kind: Kind, arch: &Arch, case: &Case, seed: u64) -> Option<Illegal> {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut image = case.image(arch);
    let mut options = options(seed);
    let end = image.program.len() - 1;
    let at = std::iter::repeat_with(|| 1 + rng.below(end as u32) as usize)
        .find(|at| can_finish(&image.program[..*at]))
        .expect("everything before the last instruction can finish");
    let (code, number) = match kind {
        Kind::BadOpcode => {
            image.program[at] = illegal_opcode(&mut rng);
            (ErrorCode::BadOpcode, Some(at))
        }
        Kind::BadOperand => {
            image.program[at] = illegal_operand(arch, &mut rng);
            (ErrorCode::BadOperand, Some(at))
        }
        Kind::MissingBegin => {
            image.program.remove(0);
            (ErrorCode::BadOpcode, Some(0))
        }
        Kind::SecondBegin => {
            image.program[at] = image.program[0];
            (ErrorCode::BadOpcode, Some(at))
        }
        Kind::WrongHash => {
            image.program[0] = Instr(image.program[0].0 ^ 1 << rng.below(64));
            (ErrorCode::WrongConfig, Some(0))
        }
        Kind::MissingEnd => {
            image.program.pop();
            (ErrorCode::BadOpcode, Some(end))
        }
        Kind::Deadlock => {
            image.program.insert(end, waits_forever(&mut rng));
            (ErrorCode::Watchdog, None)
        }
        Kind::TokenOverflow => {
            let nop = Instr::new(Op::PostNop).signal(Queue::Load.bit());
            image.program.splice(end..end, std::iter::repeat_n(nop, 300));
            (ErrorCode::TokenOverflow, None)
        }
        Kind::BusRead => {
            let load = constant_load(&image, at)?;
            options.faults.push(fault(region_base(0) + image.program[load].get("offset") as u64, &mut rng));
            (ErrorCode::BusRead, Some(load))
        }
        Kind::BusWrite => {
            image.program.iter().find(|i| i.op() == Some(Op::PostMode) && i.flag("dram"))?;
            let everything = |r| Fault { start: region_base(r), bytes: 1 << 24, decerr: rng.percent(50) };
            options.faults.extend([2, 3].map(everything));
            // Loads from there would fail, too.
            if image.program.iter().any(|i| i.op() == Some(Op::Load) && i.get("region") >= 2) {
                return None;
            }
            (ErrorCode::BusWrite, None)
        }
        Kind::BusFetch => {
            options.faults.push(fault(PROGRAM_BASE + 16 * at as u64, &mut rng));
            (ErrorCode::BusRead, None)
        }
    };
    Some(Illegal { image, options, code, number: number.map(|n| n as u32) })
}

/// A `wgt.shift` ends only when the pass that takes the weights of the one before has begun: a program that stops between
/// two such passes may leave one hanging.
fn can_finish(start: &[Instr]) -> bool {
    let shifts = start.iter().filter(|i| i.op() == Some(Op::WgtShift)).count();
    let swaps = start.iter().filter(|i| i.op() == Some(Op::Pass) && i.flag("swap")).count();
    shifts <= swaps + 1
}

fn fault(start: u64, rng: &mut Rng) -> Fault {
    Fault { start, bytes: 8, decerr: rng.percent(50) }
}

fn illegal_opcode(rng: &mut Rng) -> Instr {
    loop {
        let candidate = Instr((rng.next() as u128) << 64 | rng.next() as u128);
        if candidate.op().is_none() {
            return candidate;
        }
    }
}

/// An instruction that is refused for its operands.
fn illegal_operand(arch: &Arch, rng: &mut Rng) -> Instr {
    let all: Vec<Cause> =
        Cause::all(arch).into_iter().filter(|c| fuzz::code(*c) == ErrorCode::BadOperand).collect();
    let cause = rng.pick(&all);
    instruction(cause, arch, rng).expect("bad operands are causes of one instruction")
}

/// The instruction that is refused because of `cause`, if that is a matter of one instruction.
pub fn instruction(cause: Cause, arch: &Arch, rng: &mut Rng) -> Option<Instr> {
    let with = |op, fields: &[(&str, i64)]| {
        fields.iter().fold(Instr::new(op), |i, (f, v)| i.with(f, *v).unwrap_or_else(|e| panic!("{e}")))
    };
    let shift = |rows: i64, groups: i64| with(Op::WgtShift, &[("rows", rows), ("groups", groups)]);
    let load = |dst: i64, base: i64, words: i64, rows: i64| {
        with(Op::Load, &[("dst", dst), ("base", base), ("words", words), ("rows", rows)])
    };
    let (rows, groups) = (arch.rows as i64, arch.groups as i64);
    let offset = if rng.percent(50) { rng.range(1, 7) } else { u32::MAX as i64 };
    let own = |queue: Queue, rng: &mut Rng| {
        let ops: Vec<Op> = INSTRUCTIONS.iter().filter(|i| i.queue == Some(queue)).map(|i| i.op).collect();
        match rng.pick(&ops) {
            Op::Load => load(0, 0, 1, 1),
            Op::WgtShift => shift(1, 1),
            op => Instr::new(op),
        }
    };
    Some(match cause {
        Cause::UnknownOpcode => illegal_opcode(rng),
        Cause::OwnWait(queue) => own(queue, rng).wait(queue.bit()),
        Cause::OwnSignal(queue) => own(queue, rng).signal(queue.bit()),
        Cause::EndWait => Instr::new(Op::End).wait(1 << rng.below(4)),
        Cause::EndSignal => Instr::new(Op::End).signal(1 << rng.below(4)),
        Cause::LoadDestination => load(rng.pick(&[5, 6, 7, 7]), 0, 1, 1),
        Cause::LoadNoTable => load(LoadDst::Table as i64, 0, 1, 1),
        Cause::LoadNoWords => load(rng.range(0, 3), 0, 0, 1),
        Cause::LoadNoRows => load(rng.range(0, 3), 0, 1, 0),
        Cause::LoadManyRows(dst) => load(dst as i64, 0, 1, rng.range(2, 16)),
        Cause::LoadOffset => with(Op::Load, &[("offset", offset), ("words", 1), ("rows", 1)]),
        Cause::LoadRange(dst) => {
            let depth = arch.load_depth(dst) as i64;
            let words = rng.range(1, 4);
            match rng.below(if dst == LoadDst::Act { 8 } else { 4 }) {
                0 => load(dst as i64, depth.min(65535) - words + 1, words.max(2), 1),
                1 => load(dst as i64, 65535, 2.max((depth - 65535) + 1), 1),
                2 => load(dst as i64, depth - 3, 4, 1),
                3 => load(dst as i64, depth.min(65535), 65535, 1),
                4..=6 => load(dst as i64, 0, (depth / 4095 + 1).min(65535), 4095),
                _ => load(dst as i64, 1, (depth / 4).max(1), 4),
            }
        }
        Cause::ShiftNoRows => shift(0, rng.range(1, groups)),
        Cause::ShiftRows => shift(rng.pick(&[rows + 1, 63]), rng.range(1, groups)),
        Cause::ShiftNoGroups => shift(rng.range(1, rows), 0),
        Cause::ShiftGroups => shift(rng.range(1, rows), rng.pick(&[groups + 1, 255, 255, 255])),
        Cause::NoTable => with(Op::PostMode, &[("table", 1)]),
        Cause::NoAdd => with(Op::PostMode, &[("add", 1)]),
        Cause::NoBipolar => with(Op::PostMode, &[("bipolar", 1)]),
        Cause::DramOffset => with(Op::PostDram, &[("offset", offset), ("words", 1)]),
        _ => return None,
    })
}

/// The instruction of a queue that moves tokens only.
pub fn nop(queue: Queue) -> Instr {
    Instr::new(match queue {
        Queue::Load => Op::LoadNop,
        Queue::Wgt => Op::WgtNop,
        Queue::Pass => Op::PassNop,
        Queue::Post => Op::PostNop,
    })
}

fn waits_forever(rng: &mut Rng) -> Instr {
    let own = rng.pick(&Queue::ALL);
    let others: Vec<Queue> = Queue::ALL.into_iter().filter(|q| *q != own).collect();
    nop(own).wait(rng.pick(&others).bit())
}

/// The next load from region 0 at or behind `at`, around the end of the program.
fn constant_load(image: &Image, at: usize) -> Option<usize> {
    let n = image.program.len();
    (at..at + n).map(|i| i % n).find(|i| {
        let x = image.program[*i];
        x.op() == Some(Op::Load) && x.get("region") == 0
    })
}
