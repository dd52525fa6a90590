// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine model: executes a program on modelled buffers and counts cycles as the RTL does.
//!
//! One cycle after another, register by register where time depends on it; data move all at once when a unit accepts an
//! instruction. Exact for memories that do not stall ([`crate::image::MemoryTiming::stall`] = 0 is assumed).

mod axi;
pub mod buffers;
pub mod compute;
pub mod front;
pub mod load;
pub mod post;
pub mod record;
pub mod unit;

use crate::image::{Counters, Image, RunOptions, RunResult};
use buffers::Buffers;
use compute::{compute_units, PassUnit, WgtUnit};
use front::{Dispatcher, Queues, Stop};
use hdl_gen::isa::{ErrorCode, Instr, Op, Queue};
use hdl_gen::Arch;
use load::LoadUnit;
use post::PostUnit;
use record::Recording;
use unit::{Command, Unit};

/// Cycles without progress, beyond four times the memory's latency, after which a run without watchdog is given up with
/// [`ErrorCode::Watchdog`]: the hardware would wait for ever.
const GIVE_UP_CYCLES: u64 = 1_000_000;

/// A modelled accelerator. Runs follow one another on the same buffers.
#[derive(Clone, Debug)]
pub struct Machine {
    arch: Arch,
    /// Contents of the on-chip memories.
    pub buffers: Buffers,
}

impl Machine {
    /// A machine with empty buffers.
    pub fn new(arch: &Arch) -> Self {
        Machine { arch: arch.clone(), buffers: Buffers::new(arch) }
    }

    /// Runs a program from start to `end` or error.
    pub fn run(&mut self, image: &mut Image, options: &RunOptions) -> RunResult {
        self.finish(Run::new(&self.arch, options), image).0
    }

    /// The same; also says when each instruction was at work.
    pub fn run_recorded(&mut self, image: &mut Image, options: &RunOptions) -> (RunResult, Recording) {
        let mut run = Run::new(&self.arch, options);
        run.recording = Some(Recording::default());
        let (result, mut recording) = self.finish(run, image);
        recording.close(result.cycles);
        (result, recording)
    }

    /// When each instruction of a program is at work: cycles do not depend on values, so none are computed.
    pub fn time(arch: &Arch, program: &[Instr], options: &RunOptions) -> (RunResult, Recording) {
        let mut run = Run::new(arch, options);
        run.values = false;
        run.recording = Some(Recording::default());
        let mut image = Image { program: program.to_vec(), ..Image::default() };
        let (result, mut recording) = Machine::new(arch).finish(run, &mut image);
        recording.close(result.cycles);
        (result, recording)
    }

    /// The cycles alone, as fast as possible.
    pub fn cycles(arch: &Arch, program: &[Instr], options: &RunOptions) -> RunResult {
        let run = Run { values: false, ..Run::new(arch, options) };
        let mut image = Image { program: program.to_vec(), ..Image::default() };
        Machine::new(arch).finish(run, &mut image).0
    }

    fn finish(&mut self, mut run: Run, image: &mut Image) -> (RunResult, Recording) {
        while run.result.is_none() {
            run.cycle(&self.arch, &mut self.buffers, image);
        }
        (run.result.expect("the loop ends with it"), run.recording.unwrap_or_default())
    }
}

/// State of the accelerator in one run.
struct Run {
    now: u64,
    /// Jumps over cycles in which nothing happens.
    skips: bool,
    watchdog: u64,
    give_up: u64,
    dispatcher: Dispatcher,
    queues: Queues,
    load: LoadUnit,
    wgt: WgtUnit,
    pass: PassUnit,
    post: PostUnit,
    /// Something moved in the cycle before.
    progress: bool,
    /// Cycles without progress.
    idle: u64,
    /// A token counter overflowed in the cycle before.
    overflow: bool,
    counters: Counters,
    marks: Vec<(u16, u64)>,
    recording: Option<Recording>,
    /// Instructions work on the buffers; otherwise only time passes.
    values: bool,
    result: Option<RunResult>,
}

impl Run {
    fn new(arch: &Arch, options: &RunOptions) -> Self {
        let (wgt, pass) = compute_units(arch);
        Run {
            now: 0,
            skips: true,
            watchdog: options.watchdog_cycles as u64,
            give_up: GIVE_UP_CYCLES + 4 * options.timing.latency_cycles as u64,
            dispatcher: Dispatcher::new(arch, options),
            queues: Queues::new(arch),
            load: LoadUnit::new(arch, options),
            wgt,
            pass,
            post: PostUnit::new(arch, options),
            progress: true,
            idle: 0,
            overflow: false,
            counters: Counters::default(),
            marks: vec![],
            recording: None,
            values: true,
            result: None,
        }
    }

    /// One clock cycle, or a stretch of cycles in which nothing happens.
    fn cycle(&mut self, arch: &Arch, buffers: &mut Buffers, image: &mut Image) {
        self.watch();
        let offered = Queue::ALL.map(|q| self.queues.offered(q));
        let accepted: [Option<Command>; 4] =
            std::array::from_fn(|q| offered[q].filter(|c| self.ready(Queue::ALL[q], c)));
        let idle = accepted.iter().all(Option::is_none) && !self.overflow;
        if self.skips && idle && self.skip(&offered) {
            return;
        }
        let bank_ready = !self.post.writes_bank();
        let feeds = self.feeds(bank_ready);
        self.count(1, &offered, feeds);
        self.marks.extend(self.post.mark().map(|id| (id, self.now)));
        let pc = self.dispatcher.pc();
        let stop = self.dispatcher.stop();
        let quiet = self.is_quiet();
        let bus_error = self.load.error().map(|pc| (ErrorCode::BusRead, pc)).or(self.post.error());

        if self.values {
            self.execute(&accepted, buffers, image);
        }
        let signals = [
            self.load.tick(accepted[0], bank_ready),
            self.wgt.tick(accepted[1]),
            self.pass.tick(accepted[2]),
            self.post.tick(accepted[3]),
        ];
        self.record(&accepted);
        let mut pushed = None;
        let left = self.dispatcher.tick(arch, &image.program, |queue, command| {
            pushed = self.queues.has_room(queue).then_some((queue, command));
            pushed.is_some()
        });
        let overflow = std::mem::replace(
            &mut self.overflow,
            self.queues.tick(pushed, accepted.map(|a| a.is_some()), signals),
        );

        let bitten = self.bitten();
        let error = match stop {
            _ if bus_error.is_some() => bus_error,
            Some(Stop::BusError) => Some((ErrorCode::BusRead, pc)),
            _ if overflow => Some((ErrorCode::TokenOverflow, pc)),
            Some(Stop::Failed(code)) if quiet => Some((code, pc)),
            _ if bitten => Some((ErrorCode::Watchdog, pc)),
            _ => None,
        };
        if error.is_some() && self.values {
            self.post.abandon(&mut image.regions);
        }
        if error.is_some() || (stop == Some(Stop::End) && quiet) {
            self.finish(error);
        }
        self.idle = if self.progress { 0 } else { self.idle + 1 };
        let taken = accepted.iter().any(Option::is_some);
        self.progress = left || taken || signals != [0; 4] || feeds != [false; 4];
        self.now += 1;
    }

    /// Notes which units are busy in this cycle, and the end of a `post`.
    fn watch(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        let post = self.post.busy();
        recording.busy(self.now, [self.load.busy(), self.wgt.busy(), self.pass.busy(), post]);
        if let Some(pc) = recording.open(Queue::Post).filter(|_| !post) {
            recording.finished(Queue::Post, pc, self.now);
        }
    }

    /// Notes what was accepted and which load was finished in this cycle, after the units' ticks.
    fn record(&mut self, accepted: &[Option<Command>; 4]) {
        let Some(recording) = &mut self.recording else { return };
        for (queue, command) in Queue::ALL.into_iter().zip(accepted) {
            let Some(command) = *command else { continue };
            let cycles = match command.instr.op() {
                Some(Op::Load | Op::Post) => None,
                Some(Op::WgtShift) => Some(self.wgt.cycles_left()),
                Some(Op::Pass) => Some(self.pass.cycles_left()),
                _ => Some(1),
            };
            recording.accepted(queue, command, self.now, cycles);
        }
        if let Some(pc) = self.load.finished() {
            recording.finished(Queue::Load, pc, self.now + 1);
        }
    }

    fn ready(&self, queue: Queue, command: &Command) -> bool {
        match queue {
            Queue::Load => self.load.ready(),
            Queue::Wgt => self.wgt.ready(command.instr),
            Queue::Pass => self.pass.ready(command.instr),
            Queue::Post => self.post.ready(command.instr),
        }
    }

    fn feeds(&self, bank_ready: bool) -> [bool; 4] {
        [self.load.feeds(bank_ready), self.wgt.feeds(), self.pass.feeds(), self.post.feeds()]
    }

    fn execute(&mut self, accepted: &[Option<Command>; 4], buffers: &mut Buffers, image: &mut Image) {
        if let Some(command) = accepted[0] {
            self.load.execute(command.instr, buffers, &image.regions);
        }
        let units: [&mut dyn Unit; 3] = [&mut self.wgt, &mut self.pass, &mut self.post];
        for (unit, command) in units.into_iter().zip(&accepted[1..]) {
            if let Some(command) = command {
                unit.execute(*command, buffers, &mut image.regions);
            }
        }
    }

    /// Every queue is empty, every unit idle, nothing outstanding on the fetch port.
    fn is_quiet(&self) -> bool {
        let units = [self.load.busy(), self.wgt.busy(), self.pass.busy(), self.post.busy()];
        self.queues.are_empty() && units == [false; 4] && self.dispatcher.axi_idle()
    }

    /// Adds `cycles` cycles like the present one to the counters.
    fn count(&mut self, cycles: u32, offered: &[Option<Command>; 4], feeds: [bool; 4]) {
        let pass = Queue::Pass;
        let waits_token = self.queues.head(pass).is_some() && offered[pass.index()].is_none();
        let waits_wgt = offered[pass.index()].is_some_and(|c| self.pass.waits_for_weights(c.instr));
        let c = &mut self.counters;
        for (counter, counts) in [
            (&mut c.load_busy, self.load.busy()),
            (&mut c.wgt_busy, feeds[1]),
            (&mut c.pass_busy, feeds[2]),
            (&mut c.post_busy, feeds[3]),
            (&mut c.pass_wait_token, waits_token),
            (&mut c.pass_wait_wgt, waits_wgt),
        ] {
            *counter += cycles * counts as u32;
        }
    }

    /// Cycles without progress that are too many.
    fn limit(&self) -> u64 {
        if self.watchdog == 0 {
            self.give_up
        } else {
            self.watchdog
        }
    }

    /// The watchdog's error is due in this cycle.
    fn bitten(&self) -> bool {
        !self.progress && self.idle >= self.limit()
    }

    fn finish(&mut self, error: Option<(ErrorCode, u32)>) {
        self.result = Some(RunResult {
            cycles: self.now + 1,
            error,
            marks: std::mem::take(&mut self.marks),
            counters: self.counters,
        });
    }

    /// Jumps over cycles in which nothing changes but time and counters; `false`: there are none.
    fn skip(&mut self, offered: &[Option<Command>; 4]) -> bool {
        let still = self.queues.are_still() && self.dispatcher.stop().is_none_or(|_| !self.is_quiet());
        if !still {
            return false;
        }
        let front = self.dispatcher.quiet_cycles(|q| self.queues.has_room(q));
        let others = front.min(self.wgt.quiet_cycles()).min(self.pass.quiet_cycles()).min(u32::MAX as u64);
        if others == 0 {
            return false;
        }
        let (load, post) = (self.load.quiet_cycles(), self.post.quiet_cycles());
        if load == 0 || post == 0 {
            return self.stream(others, [load, post], offered);
        }
        let feeds = self.feeds(true);
        let moving = feeds != [false; 4];
        // The cycle in which the watchdog bites, and the first one without progress, are stepped.
        let patience = match (moving, self.progress) {
            (true, true) => u64::MAX,
            (false, false) => self.limit().saturating_sub(self.idle),
            _ => 0,
        };
        let cycles = patience.min(others).min(load).min(post);
        if cycles == 0 {
            return false;
        }
        self.count(cycles as u32, offered, feeds);
        self.skip_others(cycles);
        self.load.skip(cycles);
        self.post.skip(cycles);
        self.idle += if moving { 0 } else { cycles };
        self.now += cycles;
        true
    }

    /// Up to `most` cycles in which data stream through the load unit, post-processing or both, and nothing else moves;
    /// `quiet`: for how long either of them does not. `false`: there are none.
    fn stream(&mut self, most: u64, quiet: [u64; 2], offered: &[Option<Command>; 4]) -> bool {
        let [loads, posts] = quiet.map(|cycles| cycles == 0);
        let most = quiet.into_iter().filter(|q| *q > 0).fold(most, u64::min);
        let start = self.now;
        let mut feeds = self.feeds(true);
        while self.now - start < most && self.is_streaming(offered) {
            let bank_ready = !self.post.writes_bank();
            feeds[Queue::Load.index()] = self.load.feeds(bank_ready);
            feeds[Queue::Post.index()] = self.post.feeds();
            self.count(1, offered, feeds);
            let mut signals = 0;
            if loads {
                signals |= self.load.tick(None, bank_ready);
            }
            if posts {
                signals |= self.post.tick(None);
            }
            debug_assert_eq!(signals, 0, "amid a stream");
            self.idle = if self.progress { 0 } else { self.idle + 1 };
            self.progress = feeds != [false; 4];
            self.now += 1;
        }
        let cycles = self.now - start;
        self.skip_others(cycles);
        if !loads {
            self.load.skip(cycles);
        }
        if !posts {
            self.post.skip(cycles);
        }
        cycles > 0
    }

    /// In this cycle load unit and post-processing neither take nor end an instruction, and nothing is to be told.
    fn is_streaming(&self, offered: &[Option<Command>; 4]) -> bool {
        let takes = offered[Queue::Load.index()].is_some() && self.load.ready();
        self.load.is_inside() && self.post.is_inside() && !takes && !self.bitten()
    }

    /// Lets time pass for all but the load unit and post-processing.
    fn skip_others(&mut self, cycles: u64) {
        self.dispatcher.skip(cycles);
        self.wgt.skip(cycles);
        self.pass.skip(cycles);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brickwork_compiler::ir::{Conv, Graph, IntType, Node, Op, Requant, Rounding, Tensor, Weights};
    use brickwork_compiler::lower::{compile, Options};
    use hdl_gen::numfmt::ChannelParams;
    use hdl_gen::Config;

    /// Two convolutions of `channels` channels.
    fn network(channels: usize, side: usize) -> Graph {
        let ty = IntType { bits: 8, signed: true };
        let shape = [side, side, channels];
        let tensor = |name: &str| Tensor { name: name.into(), shape, ty, scale: 1.0, zero_point: 0 };
        let params = ChannelParams { bias: 1, multiplier: 1 << 30, addend: 0, shift: 9 };
        let conv = |input| Conv {
            input,
            output: input + 1,
            weights: Weights {
                shape: [channels, 3, 3, channels],
                data: (0..channels * 9 * channels).map(|i| (i % 251) as i32 - 125).collect(),
                ty,
                bipolar: false,
            },
            stride: [1, 1],
            dilation: [1, 1],
            pads: [1; 4],
            pad_code: 0,
            groups: 1,
            requant: Requant {
                channels: vec![params; channels],
                rounding: Rounding::HalfUp,
                zero_point: 0,
                clamp: (-128, 127),
                table: None,
                raw: false,
            },
        };
        Graph {
            name: "two".into(),
            tensors: ["x", "y", "z"].map(tensor).to_vec(),
            nodes: [0, 1].map(|i| Node { name: format!("{i}"), op: Op::Conv(conv(i)) }).to_vec(),
            inputs: vec![0],
            outputs: vec![2],
        }
    }

    #[test]
    fn skipping_and_leaving_the_data_out_change_no_cycle_and_no_counter() {
        let configs = [
            include_str!("../../../configs/tiny.toml"),
            include_str!("../../../configs/odd.toml"),
            include_str!("../../../configs/bitfusion.toml"),
        ];
        for text in configs {
            let arch = Arch::new(&Config::from_toml(text, "test").expect("a shipped configuration"));
            for (channels, side, all_tensors) in [(5, 9, false), (24, 7, true), (17, 12, true)] {
                let options = Options { all_tensors, ..Options::default() };
                let program = compile(&network(channels, side), &arch, &options).expect("it compiles");
                let mut image = Image::new(&program, &[vec![3; side * side * channels]]).expect("an input");
                for watchdog_cycles in [0, 60] {
                    let options = RunOptions { watchdog_cycles, ..RunOptions::default() };
                    let stepped = Run { skips: false, ..Run::new(&arch, &options) };
                    let expected = Machine::new(&arch).finish(stepped, &mut image).0;
                    let place = format!("{}: {channels} channels, {options:?}", arch.config.name);
                    assert_eq!(Machine::cycles(&arch, &program.instrs, &options), expected, "{place}");
                    assert_eq!(Machine::time(&arch, &program.instrs, &options).0, expected, "{place}");
                    assert_eq!(Machine::new(&arch).run(&mut image, &options), expected, "{place}");
                }
            }
        }
    }
}
