// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Co-simulation: the generated Verilog under Verilator, with a memory model and AXI checks around it.
//!
//! The design runs in a process of its own that speaks a binary protocol ([`protocol`]); memory model and checks are C++
//! (`sim/harness`). [`Cosim`] runs programs; [`session::Session`] gives the single operations.

pub mod cache;
pub mod error;
pub mod harness;
pub mod protocol;
pub mod session;

pub use cache::BuildCost;
pub use error::{CosimError, Violation};
use protocol::{Command, Reply, Stop};
pub use protocol::{LiteAccess, Outstanding, PortStats};
use session::{unexpected, Ran, Session};

use crate::image::{region_base, Counters, Image, MemoryTiming, RunOptions, RunResult, PROGRAM_BASE};
use hdl_gen::emit::{self, RtlFile};
use hdl_gen::isa::{self, ErrorCode, ID_VALUE, REGISTERS, VERSION_VALUE};
use hdl_gen::Arch;
use std::path::PathBuf;
use std::time::Duration;

/// How a simulation is built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// `None`: [`cache::default_dir`].
    pub cache_dir: Option<PathBuf>,
    /// Able to record waveforms: slower to build and to run.
    pub trace: bool,
    /// Draws the contents of registers and memories at power-on.
    pub power_on_seed: u32,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions { cache_dir: None, trace: false, power_on_seed: 1 }
    }
}

/// Where a recording begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFrom {
    /// Value of the cycle counter.
    Cycle(u64),
    /// The `post.mark` of this layer.
    Mark(u16),
}

/// A waveform recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// FST file to write.
    pub path: PathBuf,
    pub from: TraceFrom,
    /// Longest recording in clock cycles.
    pub cycles: u64,
}

/// What only the co-simulation knows of a run.
#[derive(Clone, Debug)]
pub struct CosimOptions {
    pub run: RunOptions,
    /// Give up after so many clock cycles.
    pub max_cycles: u64,
    /// Data beats of all ports together in 256 cycles; 0 = no limit.
    pub beats_per_256: u32,
    /// Needs [`BuildOptions::trace`].
    pub trace: Option<Trace>,
}

/// How a run is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// CTRL bit 1.
    Soft,
    /// The same, and once more after so many cycles.
    SoftTwice { cycles: u64 },
    /// `aresetn` for so many cycles; the memory forgets what is under way, as a reset of the whole system.
    Pin { cycles: u32 },
}

/// What a reset met with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetMoment {
    /// The program had not ended.
    pub running: bool,
    /// Bit per queue whose unit was busy.
    pub busy: u8,
    pub ports: Vec<Outstanding>,
}

impl From<RunOptions> for CosimOptions {
    fn from(run: RunOptions) -> Self {
        CosimOptions { run, max_cycles: 1_000_000_000, beats_per_256: 0, trace: None }
    }
}

/// What the harness saw of a run beside its result.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct RunStats {
    /// Clock cycles simulated from the answered write of CTRL to the interrupt, and the CPU time that they took.
    pub simulated_cycles: u64,
    pub cpu_time: Duration,
    /// Most memory that the simulation process ever had.
    pub peak_bytes: u64,
    /// Per queue (see [`hdl_gen::isa::Queue`]): the cycles `first..end` in which its unit was busy, in order.
    pub busy: [Vec<(u64, u64)>; 4],
    /// The list was too long and ends early.
    pub busy_truncated: bool,
    pub ports: Vec<PortStats>,
}

impl RunStats {
    /// Simulated clock cycles per second of CPU time.
    pub fn cycles_per_second(&self) -> f64 {
        self.simulated_cycles as f64 / self.cpu_time.as_secs_f64().max(1e-9)
    }
}

/// A built simulation of one architecture. Programs run one after another on the same machine: what one leaves in
/// registers and memories the next one finds.
pub struct Cosim {
    arch: Arch,
    executable: cache::Executable,
    power_on_seed: u32,
    session: Option<Session>,
    stats: RunStats,
}

/// Soft resets must be through after so many reads of the status register.
const RESET_POLLS: u32 = 20_000;
const STATUS_BUSY: u32 = isa::STATUS_BUSY.mask();
const STATUS_DONE: u32 = isa::STATUS_DONE.mask();
const STATUS_ERROR: u32 = isa::STATUS_ERROR.mask();
const CTRL_START: u32 = isa::CTRL_START.mask();
const CTRL_RESET: u32 = isa::CTRL_RESET.mask();

impl Cosim {
    /// Generates the Verilog of `arch` and builds its simulation, or finds it in the cache.
    ///
    /// Errors: Verilator or a compiler missing or failing, files.
    pub fn build(arch: &Arch, options: &BuildOptions) -> Result<Cosim, CosimError> {
        Cosim::build_rtl(arch, emit::rtl_files(arch)?, options)
    }

    /// The same for given Verilog files with a module `brickwork_top` that has the ports of `arch`.
    pub fn build_rtl(arch: &Arch, rtl: Vec<RtlFile>, options: &BuildOptions) -> Result<Cosim, CosimError> {
        let dir = options.cache_dir.clone().unwrap_or_else(cache::default_dir);
        let sources =
            cache::Sources { rtl, harness: harness::files(arch)?, trace: options.trace, library: false };
        Ok(Cosim {
            arch: arch.clone(),
            executable: cache::executable(&dir, &sources)?,
            power_on_seed: options.power_on_seed,
            session: None,
            stats: RunStats::default(),
        })
    }

    /// Whether [`Cosim::build`] would find its simulation in the cache. Errors: Verilator missing.
    pub fn is_built(arch: &Arch, options: &BuildOptions) -> Result<bool, CosimError> {
        let dir = options.cache_dir.clone().unwrap_or_else(cache::default_dir);
        let (rtl, harness) = (emit::rtl_files(arch)?, harness::files(arch)?);
        cache::is_built(&dir, &cache::Sources { rtl, harness, trace: options.trace, library: false })
    }

    /// Builds the simulation of `arch` as a shared library with the C interface [`harness::MODEL_HEADER`], or finds it in the
    /// cache: for drivers that run on the Verilog.
    pub fn library(arch: &Arch, options: &BuildOptions) -> Result<PathBuf, CosimError> {
        let dir = options.cache_dir.clone().unwrap_or_else(cache::default_dir);
        let (rtl, harness) = (emit::rtl_files(arch)?, harness::library_files(arch)?);
        let sources = cache::Sources { rtl, harness, trace: false, library: true };
        Ok(cache::executable(&dir, &sources)?.path)
    }

    /// The simulation's executable; Verilog and build log stand beside it.
    pub fn executable(&self) -> &std::path::Path {
        &self.executable.path
    }

    /// What building the executable took, now or when it was built.
    pub fn build_cost(&self) -> &BuildCost {
        &self.executable.cost
    }

    /// Switches the machine off and on: everything in it is lost.
    pub fn power_cycle(&mut self) {
        self.session = None;
    }

    /// Runs a program from start to `end` or error; regions that the machine wrote are updated in `image`. After an error
    /// the machine is soft-reset.
    ///
    /// An error of the *machine* stands in the result; [`CosimError`] is a broken AXI rule, a run that does not end,
    /// a simulation that died.
    pub fn run(&mut self, image: &mut Image, timing: &MemoryTiming) -> Result<RunResult, CosimError> {
        self.run_with(image, &RunOptions { timing: *timing, ..RunOptions::default() }.into())
    }

    /// [`Cosim::run`] with all options.
    pub fn run_with(&mut self, image: &mut Image, options: &CosimOptions) -> Result<RunResult, CosimError> {
        let result = self.start(image, options).and_then(|()| self.complete(image, options));
        self.session = self.session.take().filter(|_| result.is_ok());
        result
    }

    /// Starts a program, resets the machine after `cycles` clock cycles, and waits until it is idle again.
    pub fn run_and_reset(
        &mut self,
        image: &mut Image,
        options: &CosimOptions,
        cycles: u64,
        reset: Reset,
    ) -> Result<ResetMoment, CosimError> {
        let result = self.start(image, options).and_then(|()| self.interrupt(image, cycles, reset));
        self.session = self.session.take().filter(|_| result.is_ok());
        result
    }

    fn interrupt(&mut self, image: &mut Image, cycles: u64, reset: Reset) -> Result<ResetMoment, CosimError> {
        let session = self.session()?;
        let running = session.run(cycles)?.stop == Stop::Cycles;
        let busy = match session.exec(&[Command::Busy])?.pop() {
            Some(Reply::Busy { changes, .. }) => changes.last().map_or(0, |c| c.1),
            other => return Err(unexpected(&other)),
        };
        let moment = ResetMoment { running, busy, ports: session.outstanding()? };
        match reset {
            Reset::Soft => self.soft_reset()?,
            Reset::SoftTwice { cycles } => {
                session.write_all(&[(offset("CTRL"), CTRL_RESET)])?;
                session.run(cycles)?;
                self.soft_reset()?;
            }
            Reset::Pin { cycles } => drop(session.exec(&[Command::Reset { cycles }])?),
        }
        self.read_back(image)?;
        Ok(moment)
    }

    /// Port statistics, busy times and speed of the last complete run.
    pub fn stats(&self) -> &RunStats {
        &self.stats
    }

    /// The simulation process; started, and its identity checked, if there is none.
    pub fn session(&mut self) -> Result<&mut Session, CosimError> {
        if self.session.as_ref().is_none_or(|s| !s.usable()) {
            let mut session = Session::start(&self.executable.path, self.power_on_seed)?;
            check_identity(&mut session, &self.arch)?;
            self.session = Some(session);
        }
        Ok(self.session.as_mut().expect("made above"))
    }

    fn start(&mut self, image: &Image, options: &CosimOptions) -> Result<(), CosimError> {
        self.prepare(image, options)?;
        let writes = [(offset("IRQ_STATUS"), 3), (offset("IRQ_ENABLE"), 3), (offset("CTRL"), CTRL_START)];
        self.session()?.write_all(&writes)
    }

    /// Puts a program into memory and sets all registers but IRQ_STATUS, IRQ_ENABLE and CTRL.
    pub fn prepare(&mut self, image: &Image, options: &CosimOptions) -> Result<(), CosimError> {
        let program: Vec<u8> = image.program.iter().flat_map(|i| i.to_bytes()).collect();
        let timing = options.run.timing;
        let mut setup = vec![
            Command::ClearRegions,
            Command::Region { base: PROGRAM_BASE, bytes: &program },
            Command::Timing {
                latency_cycles: timing.latency_cycles.max(1),
                stall: timing.stall,
                seed: timing.seed,
                beats_per_256: options.beats_per_256,
            },
            Command::Faults(&options.run.faults),
            Command::Monitor,
        ];
        for (i, bytes) in image.regions.iter().enumerate() {
            setup.push(Command::Region { base: region_base(i), bytes });
        }
        let session = self.session()?;
        session.exec(&setup)?;
        start_trace(session, options.trace.as_ref())?;
        let mut writes =
            vec![(offset("PROGRAM"), PROGRAM_BASE as u32), (offset("WATCHDOG"), options.run.watchdog_cycles)];
        writes.extend((0..4).map(|i| (offset("BASE0") + 4 * i, region_base(i as usize) as u32)));
        session.write_all(&writes)
    }

    /// Runs to the end and collects the result.
    fn complete(&mut self, image: &mut Image, options: &CosimOptions) -> Result<RunResult, CosimError> {
        let session = self.session()?;
        let Ran { stop, cycles, cpu_time, peak_bytes } = session.run(options.max_cycles)?;
        match stop {
            Stop::Irq => {}
            Stop::Violation => return Err(unexpected(&stop)), // `exec` has returned the violations
            Stop::Cycles => return Err(CosimError::NotFinished { cycles, why: "the limit was reached" }),
            Stop::Stuck => {
                return Err(CosimError::NotFinished { cycles, why: "nothing moved for a million cycles" });
            }
        }
        let mut result = read_result(session)?;
        let (marks, stats) = read_monitor(session, result.cycles)?;
        result.marks = marks;
        self.stats = RunStats { simulated_cycles: cycles, cpu_time, peak_bytes, ..stats };
        match result.error {
            Some(_) => self.soft_reset()?,
            None => self.finish()?,
        }
        self.read_back(image)?;
        Ok(result)
    }

    /// After a run without error: nothing is outstanding, interrupt and recording are ended.
    fn finish(&mut self) -> Result<(), CosimError> {
        let session = self.session()?;
        session.exec(&[Command::ExpectIdle { when: "the end of the run" }])?;
        session.write_all(&[(offset("IRQ_STATUS"), 3)])?;
        start_trace(session, None)
    }

    /// Soft reset; afterwards the machine is idle and nothing is outstanding on any port.
    pub fn soft_reset(&mut self) -> Result<(), CosimError> {
        let session = self.session()?;
        session.write_all(&[(offset("CTRL"), CTRL_RESET)])?;
        let mut status = STATUS_BUSY;
        for _ in 0..RESET_POLLS {
            status = session.read(offset("STATUS"))?;
            if status & (STATUS_BUSY | STATUS_ERROR) == 0 {
                session.write_all(&[(offset("IRQ_STATUS"), 3)])?;
                session.exec(&[Command::ExpectIdle { when: "the end of a soft reset" }])?;
                return start_trace(session, None);
            }
        }
        Err(CosimError::StillBusy { status })
    }

    /// Copies what the machine wrote.
    pub fn read_back(&mut self, image: &mut Image) -> Result<(), CosimError> {
        let Some(Reply::Dirty(list)) = self.session()?.exec(&[Command::GetDirty])?.pop() else {
            return Err(CosimError::Protocol { detail: "no list of regions".into() });
        };
        for (base, bytes) in list {
            if let Some(i) = (0..4).find(|i| region_base(*i) == base) {
                image.regions[i] = bytes;
            }
        }
        Ok(())
    }
}

/// Offset of a register of the table.
pub fn offset(name: &str) -> u32 {
    REGISTERS
        .iter()
        .find(|r| r.name == name)
        .map(|r| r.offset)
        .expect("the name stands in the register table")
}

fn check_identity(session: &mut Session, arch: &Arch) -> Result<(), CosimError> {
    let expected = [
        ("ID", ID_VALUE),
        ("VERSION", VERSION_VALUE),
        ("HASH_LO", arch.hash as u32),
        ("HASH_HI", (arch.hash >> 32) as u32),
    ];
    for (register, expected) in expected {
        let got = session.read(offset(register))?;
        if got != expected {
            return Err(CosimError::WrongDesign { register, expected, got });
        }
    }
    Ok(())
}

fn start_trace(session: &mut Session, trace: Option<&Trace>) -> Result<(), CosimError> {
    let path = trace.map(|t| t.path.to_string_lossy().into_owned()).unwrap_or_default();
    let (from_cycle, from_mark) = match trace.map(|t| t.from) {
        Some(TraceFrom::Cycle(c)) => (c, -1),
        Some(TraceFrom::Mark(id)) => (0, id as i32),
        None => (0, -1),
    };
    let cycles = trace.map_or(0, |t| t.cycles);
    match session.exec(&[Command::Trace { path: &path, from_cycle, from_mark, cycles }])?.pop() {
        Some(Reply::Trace { ok: true }) => Ok(()),
        Some(Reply::Trace { ok: false }) => Err(CosimError::NoTrace),
        other => Err(unexpected(&other)),
    }
}

/// Cycles, error and counters (no marks) from the registers of a machine that has stopped.
///
/// Errors: the machine runs, or a register reads what it cannot.
pub fn read_result(session: &mut Session) -> Result<RunResult, CosimError> {
    const NAMES: [&str; 11] = [
        "STATUS",
        "ERROR_CODE",
        "ERROR_INSTR",
        "CYCLES_LO",
        "CYCLES_HI",
        "PASS_BUSY",
        "PASS_WAIT_TOKEN",
        "PASS_WAIT_WGT",
        "LOAD_BUSY",
        "POST_BUSY",
        "WGT_BUSY",
    ];
    let v = session.read_all(&NAMES.map(offset))?;
    let error = match v[0] & (STATUS_BUSY | STATUS_DONE | STATUS_ERROR) {
        STATUS_DONE => None,
        s if s & STATUS_ERROR != 0 => Some((error_code(v[1])?, v[2])),
        s => return Err(CosimError::Protocol { detail: format!("interrupt, but STATUS reads 0x{s:x}") }),
    };
    Ok(RunResult {
        cycles: v[3] as u64 | (v[4] as u64) << 32,
        error,
        counters: Counters {
            pass_busy: v[5],
            pass_wait_token: v[6],
            pass_wait_wgt: v[7],
            load_busy: v[8],
            post_busy: v[9],
            wgt_busy: v[10],
        },
        ..RunResult::default()
    })
}

fn error_code(value: u32) -> Result<ErrorCode, CosimError> {
    ErrorCode::from_bits(value)
        .filter(|c| *c != ErrorCode::None)
        .ok_or_else(|| CosimError::Protocol { detail: format!("ERROR_CODE reads {value}") })
}

/// `(layer, cycle)` of each mark.
type Marks = Vec<(u16, u64)>;

fn read_monitor(session: &mut Session, end: u64) -> Result<(Marks, RunStats), CosimError> {
    let replies = session.exec(&[Command::Marks, Command::Busy, Command::Stats])?;
    let [Reply::Marks(marks), Reply::Busy { full, changes }, Reply::Stats(ports)] = &replies[..] else {
        return Err(unexpected(&replies));
    };
    let busy = std::array::from_fn(|q| intervals(changes, 1 << q, end));
    Ok((marks.clone(), RunStats { busy, busy_truncated: *full, ports: ports.clone(), ..RunStats::default() }))
}

/// The cycles `first..end` in which `bit` was set.
fn intervals(changes: &[(u64, u8)], bit: u8, end: u64) -> Vec<(u64, u64)> {
    let (mut list, mut since) = (vec![], None);
    for (cycle, mask) in changes {
        match (since, mask & bit != 0) {
            (None, true) => since = Some(*cycle),
            (Some(first), false) => {
                list.push((first, *cycle));
                since = None;
            }
            _ => {}
        }
    }
    list.extend(since.map(|first| (first, end)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_changes_become_intervals_per_unit() {
        let changes = [(5, 0b0001), (9, 0b0101), (12, 0b0100), (20, 0b0001)];
        assert_eq!(intervals(&changes, 1, 30), [(5, 12), (20, 30)]);
        assert_eq!(intervals(&changes, 4, 30), [(9, 20)]);
        assert!(intervals(&changes, 2, 30).is_empty());
    }
}
