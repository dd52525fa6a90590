// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The mirror of the compute side: `weight_unit` and `pass_unit` with the array behind them.
//!
//! [`compute_units`] gives the two faces. They share the shadow handshake and the weights, so they run in one thread and
//! must tick in step: in every cycle first `ready` (and the other looks), then `execute` and `tick` of both, in any order.
//! Time is kept as cycle numbers, so skipping costs nothing.

mod datapath;

use self::datapath::{Datapath, PassJob};
use super::buffers::Buffers;
use super::unit::{Command, Unit};
use hdl_gen::emit::compute::ComputeTiming;
use hdl_gen::isa::{Instr, Op};
use hdl_gen::Arch;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A cycle that never comes.
const NEVER: u64 = u64::MAX;

/// The shadow registers between the two units, and what they hold.
#[derive(Debug)]
struct Shared {
    data: Datapath,
    /// A `wgt.shift` was accepted and no pass has taken its weights yet.
    loaded: bool,
    /// First cycle in which a pass may take them.
    full_from: u64,
    /// First cycle in which the next `wgt.shift` may be accepted once they are taken.
    free_from: u64,
}

/// The two units of an accelerator that has just been reset; all registers, weights too, are 0.
pub fn compute_units(arch: &Arch) -> (WgtUnit, PassUnit) {
    let shared = Rc::new(RefCell::new(Shared {
        data: Datapath::new(arch),
        loaded: false,
        full_from: 0,
        free_from: 0,
    }));
    let timing = ComputeTiming::new(arch);
    (WgtUnit::new(arch, timing, shared.clone()), PassUnit::new(arch, timing, shared))
}

/// Mirror of `weight_unit`.
#[derive(Debug)]
pub struct WgtUnit {
    timing: ComputeTiming,
    max_rows: u32,
    max_groups: u32,
    shared: Rc<RefCell<Shared>>,
    now: u64,
    /// Words are read in the cycles `work.0 ..= work.1`.
    work: (u64, u64),
    /// Signal of the `wgt.shift` at work.
    mask: u8,
}

impl WgtUnit {
    fn new(arch: &Arch, timing: ComputeTiming, shared: Rc<RefCell<Shared>>) -> Self {
        WgtUnit {
            timing,
            max_rows: arch.rows,
            max_groups: arch.groups,
            shared,
            now: 1,
            work: (0, 0),
            mask: 0,
        }
    }

    fn works(&self) -> bool {
        (self.work.0..=self.work.1).contains(&self.now) && self.work.1 != 0
    }

    /// Cycles until the last word is read.
    pub fn cycles_left(&self) -> u64 {
        (self.work.1 + 1).saturating_sub(self.now)
    }

    /// Rows and groups; the dispatcher has refused what the array does not have.
    fn size(&self, instr: Instr) -> (u32, u32) {
        let clamp = |field: &str, max: u32| (instr.get(field) as u32).clamp(1, max);
        (clamp("rows", self.max_rows), clamp("groups", self.max_groups))
    }

    fn start_shift(&mut self, instr: Instr) {
        let (rows, groups) = self.size(instr);
        self.work = (self.now + 1, self.now + (rows * groups) as u64);
        self.mask = instr.signal_mask();
        let mut shared = self.shared.borrow_mut();
        shared.loaded = true;
        shared.full_from = self.now + self.timing.shift_to_full(rows, groups) as u64;
    }
}

impl Unit for WgtUnit {
    fn ready(&self, instr: Instr) -> bool {
        if instr.op() != Some(Op::WgtShift) {
            return !self.works();
        }
        let shared = self.shared.borrow();
        !shared.loaded && self.now >= shared.free_from && (!self.works() || self.now == self.work.1)
    }

    fn busy(&self) -> bool {
        self.works()
    }

    fn tick(&mut self, accepted: Option<Command>) -> u8 {
        let mut signal = if self.works() && self.now == self.work.1 { self.mask } else { 0 };
        if let Some(Command { instr, .. }) = accepted {
            match instr.op() {
                Some(Op::WgtShift) => self.start_shift(instr),
                _ => signal |= instr.signal_mask(),
            }
        }
        self.now += 1;
        signal
    }

    fn execute(&mut self, command: Command, buffers: &mut Buffers, _regions: &mut [Vec<u8>; 4]) {
        let instr = command.instr;
        if instr.op() == Some(Op::WgtShift) {
            let (rows, groups) = self.size(instr);
            let (addr, tap) = (instr.get("addr") as usize, instr.get("tap") as usize);
            self.shared.borrow_mut().data.shift(buffers, addr, tap, rows as usize, groups as usize);
        }
    }

    fn feeds(&self) -> bool {
        self.works()
    }

    fn quiet_cycles(&self) -> u64 {
        let shared = self.shared.borrow();
        quiet(self.now, &[self.work.0, self.work.1, self.work.1 + 1, shared.free_from, shared.full_from])
    }

    fn skip(&mut self, cycles: u64) {
        self.now += cycles;
    }
}

/// Cycles until the one before the next event; 0 when one is due now.
fn quiet(now: u64, events: &[u64]) -> u64 {
    match events.iter().filter(|e| **e >= now).min() {
        Some(&next) => next.saturating_sub(now + 1),
        None => NEVER - now,
    }
}

/// Operands of the configuration instructions, as staged for the next pass.
#[derive(Clone, Copy, Debug)]
struct Staged {
    shape: Instr,
    jump01: Instr,
    jump23: Instr,
}

impl Staged {
    /// Pixels of a pass.
    fn pixels(&self) -> u64 {
        ["n0", "n1", "n2", "n3"].iter().map(|n| self.shape.get(n) as u64 + 1).product()
    }
}

/// Mirror of `pass_unit`.
#[derive(Debug)]
pub struct PassUnit {
    timing: ComputeTiming,
    acc_mask: i64,
    shared: Rc<RefCell<Shared>>,
    now: u64,
    staged: Staged,
    /// Steps are issued in the cycles `run.0 ..= run.1`.
    run: (u64, u64),
    /// Accumulator and steps field of the last pass.
    previous: (i64, i64),
    /// Signals on their way through the array.
    signals: VecDeque<(u64, u8)>,
    busy_until: u64,
}

impl PassUnit {
    fn new(arch: &Arch, timing: ComputeTiming, shared: Rc<RefCell<Shared>>) -> Self {
        let staged = Staged {
            shape: Instr::new(Op::PassShape),
            jump01: Instr::new(Op::PassJump01),
            jump23: Instr::new(Op::PassJump23),
        };
        PassUnit {
            timing,
            acc_mask: arch.acc_depth as i64 - 1,
            shared,
            now: 1,
            staged,
            run: (0, 0),
            previous: (0, 0),
            signals: VecDeque::new(),
            busy_until: 0,
        }
    }

    fn runs(&self) -> bool {
        (self.run.0..=self.run.1).contains(&self.now) && self.run.1 != 0
    }

    /// Cycles until the last step is issued.
    pub fn cycles_left(&self) -> u64 {
        (self.run.1 + 1).saturating_sub(self.now)
    }

    /// No pass is in progress after this cycle.
    fn open(&self) -> bool {
        !self.runs() || (self.now == self.run.1 && self.now != self.run.0)
    }

    /// No accumulator is read before the last pass has written it.
    fn safe(&self, pass: Instr) -> bool {
        if self.run.1 == 0 || pass.flag("overwrite") {
            return true;
        }
        let distance = self.timing.rmw_distance as u64;
        let same = (pass.get("acc") & self.acc_mask, pass.get("steps")) == self.previous;
        self.now + pass.get("steps") as u64 + 1 >= self.run.1 + distance
            || (same && self.now + 1 >= self.run.0 + distance)
    }

    fn pass_ok(&self, pass: Instr) -> bool {
        self.open() && self.safe(pass)
    }

    fn full(&self) -> bool {
        let shared = self.shared.borrow();
        shared.loaded && self.now >= shared.full_from
    }

    /// A signal that leaves the array `busy_cycles` after its step is issued in cycle `issued`.
    fn launch(&mut self, issued: u64, mask: u8) {
        self.busy_until = issued + self.timing.busy_cycles as u64;
        if mask != 0 {
            self.signals.push_back((self.busy_until, mask));
        }
    }

    fn start_pass(&mut self, pass: Instr) {
        let cycles = self.staged.pixels() * (pass.get("steps") as u64 + 1);
        self.run = (self.now + 1, self.now + cycles);
        self.previous = (pass.get("acc") & self.acc_mask, pass.get("steps"));
        self.launch(self.run.1, pass.signal_mask());
        if pass.flag("swap") {
            let mut shared = self.shared.borrow_mut();
            shared.loaded = false;
            shared.free_from = self.now + 1 + self.timing.free_cycles as u64;
        }
    }
}

impl Unit for PassUnit {
    fn ready(&self, instr: Instr) -> bool {
        match instr.op() {
            Some(Op::Pass) => self.pass_ok(instr) && (!instr.flag("swap") || self.full()),
            _ => self.open() || instr.signal_mask() == 0,
        }
    }

    fn busy(&self) -> bool {
        self.now <= self.busy_until
    }

    fn tick(&mut self, accepted: Option<Command>) -> u8 {
        let signal = match self.signals.front() {
            Some(&(cycle, mask)) if cycle == self.now => {
                self.signals.pop_front();
                mask
            }
            _ => 0,
        };
        if let Some(Command { instr, .. }) = accepted {
            match instr.op() {
                Some(Op::Pass) => self.start_pass(instr),
                op => {
                    match op {
                        Some(Op::PassShape) => self.staged.shape = instr,
                        Some(Op::PassJump01) => self.staged.jump01 = instr,
                        Some(Op::PassJump23) => self.staged.jump23 = instr,
                        _ => {}
                    }
                    if instr.signal_mask() != 0 {
                        self.launch(self.now + 1, instr.signal_mask());
                    }
                }
            }
        }
        self.now += 1;
        signal
    }

    fn execute(&mut self, command: Command, buffers: &mut Buffers, _regions: &mut [Vec<u8>; 4]) {
        let pass = command.instr;
        if pass.op() == Some(Op::Pass) {
            let job = PassJob::new(pass, &self.staged);
            self.shared.borrow_mut().data.pass(buffers, &job);
        }
    }

    fn feeds(&self) -> bool {
        self.runs()
    }

    fn waits_for_weights(&self, instr: Instr) -> bool {
        instr.op() == Some(Op::Pass) && self.pass_ok(instr) && instr.flag("swap") && !self.full()
    }

    fn quiet_cycles(&self) -> u64 {
        let shared = self.shared.borrow();
        let signal = self.signals.front().map_or(0, |s| s.0);
        let gap = (0..=self.timing.rmw_distance as u64)
            .map(|d| self.run.1 + d)
            .find(|c| *c >= self.now)
            .unwrap_or(0);
        let start_gap = (self.run.0 + self.timing.rmw_distance as u64).saturating_sub(1);
        let events = [
            self.run.0,
            self.run.0 + 1,
            start_gap,
            gap,
            self.run.1 + 1,
            signal,
            self.busy_until + 1,
            shared.full_from,
            shared.free_from,
        ];
        quiet(self.now, &events)
    }

    fn skip(&mut self, cycles: u64) {
        self.now += cycles;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdl_gen::Config;

    fn arch(text: &str) -> Arch {
        let config: Config = toml::from_str(text).expect("a configuration of this repository");
        Arch::new(&config)
    }

    fn zynq() -> Arch {
        arch(include_str!("../../../configs/zynq7020.toml"))
    }

    fn with(op: Op, fields: &[(&str, i64)]) -> Instr {
        fields.iter().fold(Instr::new(op), |i, (name, value)| i.with(name, *value).expect("legal"))
    }

    /// Cycles of acceptance of two command lists that are always offered.
    fn acceptances(arch: &Arch, wgt: &[Instr], pass: &[Instr]) -> (Vec<u64>, Vec<u64>) {
        let (mut w, mut p) = compute_units(arch);
        let (mut at_w, mut at_p) = (vec![], vec![]);
        for cycle in 0.. {
            let offer = |unit: &dyn Unit, list: &[Instr], done: &[u64]| {
                list.get(done.len()).filter(|i| unit.ready(**i)).map(|&instr| Command { instr, pc: 0 })
            };
            let (cw, cp) = (offer(&w, wgt, &at_w), offer(&p, pass, &at_p));
            cw.iter().for_each(|_| at_w.push(cycle));
            cp.iter().for_each(|_| at_p.push(cycle));
            w.tick(cw);
            p.tick(cp);
            if at_w.len() == wgt.len() && at_p.len() == pass.len() {
                break;
            }
            assert!(cycle < 1_000_000, "the units stand still");
        }
        (at_w, at_p)
    }

    #[test]
    fn weight_bound_passes_follow_at_the_rate_of_the_shift() {
        let a = zynq();
        let shift = with(Op::WgtShift, &[("rows", a.rows as i64), ("groups", a.groups as i64)]);
        let pass = with(Op::Pass, &[("swap", 1), ("overwrite", 1), ("steps", 7)]);
        let (_, passes) = acceptances(&a, &[shift; 6], &[pass; 6]);
        let period = (a.rows * a.groups + a.groups - a.rows) as u64;
        assert!(passes.windows(2).all(|p| p[1] - p[0] == period), "{passes:?}, expected {period} apart");
    }

    #[test]
    fn passes_of_enough_steps_follow_without_idle_cycle() {
        let a = zynq();
        let shape = with(Op::PassShape, &[("n0", 3), ("n1", 4)]);
        let steps = a.acc_rmw_distance() as i64;
        let pass = |acc: i64| with(Op::Pass, &[("steps", steps - 1), ("acc", acc)]);
        let (_, at) = acceptances(&a, &[], &[shape, pass(0), pass(7), pass(3)]);
        assert!(at[1..].windows(2).all(|p| (p[1] - p[0]) as i64 == 20 * steps), "{at:?}");
    }

    #[test]
    fn one_step_passes_to_the_same_accumulators_follow_without_idle_cycle() {
        let a = zynq();
        let shape = with(Op::PassShape, &[("n0", 9)]);
        let (_, at) = acceptances(&a, &[], &[shape, Instr::new(Op::Pass), Instr::new(Op::Pass)]);
        assert_eq!(at[2] - at[1], 10);
        let moved = with(Op::Pass, &[("acc", 1)]);
        let (_, at) = acceptances(&a, &[], &[shape, Instr::new(Op::Pass), moved]);
        assert_eq!(at[2] - at[1], 10 + a.acc_rmw_distance() as u64 - 1);
    }

    #[test]
    fn a_nop_does_not_overtake_a_pass() {
        let a = zynq();
        let (_, mut p) = compute_units(&a);
        let pass = with(Op::Pass, &[("overwrite", 1)]).signal(1);
        let nop = Instr::new(Op::PassNop).signal(8);
        let mut signals = vec![];
        let mut list = vec![nop, pass];
        for _ in 0..200 {
            let command = list.last().copied().filter(|i| p.ready(*i)).map(|instr| Command { instr, pc: 0 });
            if command.is_some() {
                list.pop();
            }
            signals.push(p.tick(command));
        }
        assert_eq!(signals.iter().filter(|s| **s != 0).copied().collect::<Vec<_>>(), [1, 8]);
        assert!(!p.busy());
    }

    /// What the control sees of both units.
    fn visible(w: &WgtUnit, p: &PassUnit) -> Vec<bool> {
        let pass = |f: &[(&str, i64)]| with(Op::Pass, f);
        let commands = [
            pass(&[]),
            pass(&[("overwrite", 1)]),
            pass(&[("swap", 1), ("overwrite", 1)]),
            pass(&[("steps", 2)]),
        ];
        let shift = with(Op::WgtShift, &[("rows", 1), ("groups", 1)]);
        let mut seen: Vec<bool> =
            commands.iter().flat_map(|c| [p.ready(*c), p.waits_for_weights(*c)]).collect();
        seen.extend([
            w.ready(shift),
            w.ready(Instr::new(Op::WgtNop)),
            w.busy(),
            p.busy(),
            w.feeds(),
            p.feeds(),
        ]);
        seen.push(p.ready(Instr::new(Op::PassNop).signal(1)));
        seen
    }

    #[test]
    fn nothing_visible_happens_in_quiet_cycles() {
        let a = zynq();
        for seed in 0..300u64 {
            let mut state = seed;
            let mut random = |n: i64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as i64 % n
            };
            let (mut w, mut p) = compute_units(&a);
            let mut quiet = 0;
            for _ in 0..400 {
                let before = visible(&w, &p);
                let (mut cw, mut cp) = (None, None);
                if quiet == 0 && random(3) == 0 {
                    let shift =
                        with(Op::WgtShift, &[("rows", 1 + random(9)), ("groups", 1 + random(16))]).signal(1);
                    let fields = [
                        ("swap", random(2)),
                        ("overwrite", random(2)),
                        ("steps", random(9)),
                        ("acc", random(2)),
                    ];
                    let pass = with(Op::Pass, &fields).signal(2);
                    let shape = with(Op::PassShape, &[("n0", random(20))]);
                    cw = Some(shift).filter(|i| w.ready(*i)).map(|instr| Command { instr, pc: 0 });
                    cp = Some([shape, pass][random(2) as usize])
                        .filter(|i| p.ready(*i))
                        .map(|instr| Command { instr, pc: 0 });
                }
                let signals = [w.tick(cw), p.tick(cp)];
                if quiet > 0 {
                    assert_eq!(signals, [0, 0], "seed {seed}");
                    assert_eq!(before, visible(&w, &p), "seed {seed}");
                    quiet -= 1;
                } else {
                    quiet = w.quiet_cycles().min(p.quiet_cycles());
                }
            }
        }
    }

    #[test]
    fn skipping_equals_ticking() {
        let a = zynq();
        let (_, mut ticked) = compute_units(&a);
        let (_, mut skipped) = compute_units(&a);
        let shape = with(Op::PassShape, &[("n0", 99)]);
        let pass = Instr::new(Op::Pass).signal(8);
        for unit in [&mut ticked, &mut skipped] {
            unit.tick(Some(Command { instr: shape, pc: 0 }));
            unit.tick(Some(Command { instr: pass, pc: 1 }));
            unit.tick(None);
        }
        let mut cycle = 0u64;
        while skipped.busy() {
            let n = skipped.quiet_cycles();
            skipped.skip(n);
            (0..n).for_each(|_| assert_eq!(ticked.tick(None), 0));
            assert_eq!(skipped.tick(None), ticked.tick(None));
            cycle += n + 1;
        }
        assert!(!ticked.busy() && cycle > 100);
    }
}
