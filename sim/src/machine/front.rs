// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mirror of the front of `control`: program fetch, `dispatcher`, queues, `token_counters`.

use super::axi::{Fifo, Job, Reader};
use super::unit::Command;
use crate::image::{RunOptions, PROGRAM_BASE};
use hdl_gen::emit::control::{fetch_burst_log2, FETCH_FIFO_LOG2};
use hdl_gen::isa::{ErrorCode, Instr, LoadDst, Op, Queue};
use hdl_gen::Arch;

/// Checks one instruction as the dispatcher does; `first`: it is the first of the program.
///
/// Errors, in this order: `BadOpcode` (unknown, or `begin` not first and only first), `WrongConfig`, `BadOperand`.
pub fn check(arch: &Arch, instr: Instr, first: bool) -> Result<(), ErrorCode> {
    let op = instr.op().filter(|op| (*op == Op::Begin) == first).ok_or(ErrorCode::BadOpcode)?;
    if op == Op::Begin && instr.get("hash") as u64 != arch.hash {
        return Err(ErrorCode::WrongConfig);
    }
    let own = op.def().queue.map_or(0xf, Queue::bit);
    let tokens = (instr.wait_mask() | instr.signal_mask()) & own == 0;
    let operands = match op {
        Op::Load => load_is_legal(arch, instr),
        Op::WgtShift => {
            let within = |field: &str, max: u32| (1..=max as i64).contains(&instr.get(field));
            within("rows", arch.rows) && within("groups", arch.groups)
        }
        Op::PostDram => instr.get("offset") % 8 == 0,
        Op::PostMode => {
            let lacks = |field: &str, has: bool| instr.flag(field) && !has;
            !lacks("table", arch.has_table)
                && !lacks("add", arch.has_add)
                && !lacks("bipolar", arch.has_sum_column)
        }
        _ => true,
    };
    (tokens && operands).then_some(()).ok_or(ErrorCode::BadOperand)
}

/// Destination, size, alignment and range of a `load`.
fn load_is_legal(arch: &Arch, instr: Instr) -> bool {
    let dst = LoadDst::from_bits(instr.get("dst") as u64).filter(|d| *d != LoadDst::Table || arch.has_table);
    let Some(dst) = dst else { return false };
    let (words, rows) = (instr.get("words"), instr.get("rows"));
    words >= 1
        && rows >= 1
        && (dst == LoadDst::Act || rows == 1)
        && instr.get("offset") % 8 == 0
        && instr.get("base") + words * rows <= arch.load_depth(dst) as i64
}

/// One half or the whole of an instruction as fetched.
#[derive(Clone, Copy, Debug)]
struct Fetched {
    instr: Instr,
    bus_error: bool,
}

/// What stopped the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `end`
    End,
    /// A check failed: shows when everything before is finished.
    Failed(ErrorCode),
    /// The instruction could not be read: shows at once.
    BusError,
}

/// Program fetch and dispatcher.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    reader: Reader,
    start: bool,
    /// Error of the first half of an instruction, where it has come.
    half: Option<bool>,
    fetched: Option<Fetched>,
    checking: Option<Fetched>,
    /// The instruction in `checking` is legal and its queue was full.
    blocked: bool,
    pc: u32,
    stop: Option<Stop>,
}

impl Dispatcher {
    pub fn new(arch: &Arch, options: &RunOptions) -> Self {
        Dispatcher {
            reader: Reader::new(1 << fetch_burst_log2(arch), 1 << FETCH_FIFO_LOG2, options),
            start: true,
            half: None,
            fetched: None,
            checking: None,
            blocked: false,
            pc: 0,
            stop: None,
        }
    }

    /// Number of the instruction at work, or of the next.
    pub fn pc(&self) -> u32 {
        self.pc
    }
    /// Why nothing more is dispatched.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }
    /// Nothing is outstanding on the fetch port.
    pub fn axi_idle(&self) -> bool {
        self.reader.axi_idle()
    }

    /// One cycle. `push` offers the instruction to its queue (`None`: the dispatcher's own) and says whether it was taken.
    /// Gives whether an instruction has left.
    pub fn tick(
        &mut self,
        arch: &Arch,
        program: &[Instr],
        push: impl FnOnce(Queue, Command) -> bool,
    ) -> bool {
        let stopped = self.stop;
        let mut left = false;
        if let Some(now) = self.checking.filter(|_| stopped.is_none()) {
            match check(arch, now.instr, self.pc == 0) {
                _ if now.bus_error => self.stop = Some(Stop::BusError),
                Err(code) => self.stop = Some(Stop::Failed(code)),
                Ok(()) => {
                    left = self.leave(now.instr, push);
                    self.blocked = !left;
                }
            }
        }
        let check_free = self.checking.is_none() || left;
        let fetch_free = self.fetched.is_none() || check_free;
        let beat = self.reader.head().filter(|_| stopped.is_none() && (self.half.is_none() || fetch_free));
        if check_free {
            self.checking = self.fetched.take();
        }
        if let Some(beat) = beat {
            match self.half.take() {
                None => self.half = Some(beat.error),
                Some(error) => {
                    let index = (beat.address as u64).wrapping_sub(PROGRAM_BASE) / 16;
                    let instr = program.get(index as usize).copied().unwrap_or(Instr(0));
                    self.fetched = Some(Fetched { instr, bus_error: error || beat.error });
                }
            }
        }
        let job = Job { address: (PROGRAM_BASE >> 3) as u32, beats: 1 << 25, rows: 1, pitch: 0 };
        let job = std::mem::take(&mut self.start).then_some(job);
        let flush = matches!(stopped, Some(Stop::End | Stop::Failed(_)));
        self.reader.tick(flush, job, beat.is_some());
        left
    }

    fn leave(&mut self, instr: Instr, push: impl FnOnce(Queue, Command) -> bool) -> bool {
        let op = instr.op().expect("checked");
        let left = op.def().queue.is_none_or(|q| push(q, Command { instr, pc: self.pc }));
        if left {
            self.pc += 1;
            self.stop = (op == Op::End).then_some(Stop::End);
        }
        left
    }

    /// Cycles for which ticks change nothing but the time, as long as the queues stay as they are.
    pub fn quiet_cycles(&self, has_room: impl Fn(Queue) -> bool) -> u64 {
        let taking = self.reader.head().is_some() && (self.half.is_none() || self.fetched.is_none());
        let still = match (self.stop, self.checking) {
            (Some(stop), _) => stop != Stop::BusError,
            (None, None) => self.fetched.is_none() && !taking,
            (None, Some(now)) => {
                let queue = now.instr.op().and_then(|op| op.def().queue);
                self.blocked && !taking && queue.is_some_and(|q| !has_room(q))
            }
        };
        if self.start || !still {
            return 0;
        }
        self.reader.quiet_cycles()
    }

    pub fn skip(&mut self, cycles: u64) {
        self.reader.skip(cycles);
    }
}

/// The queues and the tokens between them.
#[derive(Clone, Debug)]
pub struct Queues {
    fifos: [Fifo<Command>; 4],
    /// `[destination][source]`
    tokens: [[u8; 4]; 4],
}

impl Queues {
    pub fn new(arch: &Arch) -> Self {
        let fifo = Fifo::new(arch.queue_depth as usize);
        Queues { fifos: std::array::from_fn(|_| fifo.clone()), tokens: [[0; 4]; 4] }
    }

    pub fn has_room(&self, queue: Queue) -> bool {
        self.fifos[queue.index()].has_room()
    }
    pub fn are_empty(&self) -> bool {
        self.fifos.iter().all(Fifo::is_empty)
    }
    /// A cycle without push and take changes nothing.
    pub fn are_still(&self) -> bool {
        self.fifos.iter().all(Fifo::is_still)
    }
    /// The first instruction of a queue, with or without its tokens.
    pub fn head(&self, queue: Queue) -> Option<Command> {
        self.fifos[queue.index()].head()
    }
    /// The first instruction of a queue, where its tokens are here.
    pub fn offered(&self, queue: Queue) -> Option<Command> {
        let mask = |c: &Command| c.instr.wait_mask();
        let here = &self.tokens[queue.index()];
        self.head(queue).filter(|c| (0..4).all(|s| mask(c) >> s & 1 == 0 || here[s] != 0))
    }

    /// One cycle: a push, for each queue whether its head is taken, and the signals. Gives whether a counter overflows.
    pub fn tick(&mut self, push: Option<(Queue, Command)>, take: [bool; 4], signals: [u8; 4]) -> bool {
        let mut overflow = false;
        for q in Queue::ALL {
            let d = q.index();
            let taken = self.head(q).filter(|_| take[d]).map_or(0, |c| c.instr.wait_mask());
            for (s, count) in self.tokens[d].iter_mut().enumerate().filter(|(s, _)| *s != d) {
                let (up, down) = (signals[s] >> d & 1, taken >> s & 1);
                overflow |= up == 1 && *count == u8::MAX;
                *count = count.wrapping_add(up).wrapping_sub(down);
            }
            let pushed = push.filter(|(to, _)| *to == q).map(|(_, c)| c);
            self.fifos[d].tick(pushed, take[d]);
        }
        overflow
    }
}
