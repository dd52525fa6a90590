// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs programs on the machine model and on the RTL.

use crate::cli::{Backend, Common};
use crate::progress::Progress;
use crate::report::{Busy, Simulation};
use crate::{waves, Failure};
use brickwork_compiler::program::Program;
use brickwork_sim::cosim::{BuildOptions, Cosim, CosimOptions, Trace, TraceFrom};
use brickwork_sim::image::{Image, MemoryTiming, RunOptions, RunResult};
use brickwork_sim::machine::record::Recording;
use brickwork_sim::machine::Machine;
use hdl_gen::Arch;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What one run of a program gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Memory region 2.
    pub output: Vec<u8>,
    pub result: RunResult,
    /// Of the machine model; empty for the RTL.
    pub recording: Recording,
}

/// What only the RTL tells.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Busy times of the first run.
    pub busy: Option<Busy>,
    pub simulated_cycles: u64,
    pub cpu_time: Duration,
    pub peak_bytes: u64,
    /// GTKWave's save file of the recording.
    pub waves: Option<PathBuf>,
}

impl Watched {
    /// The busy times of the first run; those of the machine model where the RTL's were too many to keep.
    pub fn busy_or(&self, model: &Recording) -> Busy {
        self.busy.clone().unwrap_or_else(|| model.busy.clone())
    }
}

/// The two machines, one of which may not be there.
pub struct Engine {
    arch: Arch,
    options: RunOptions,
    trace: Option<(std::path::PathBuf, String, u64)>,
    cosim: Option<Cosim>,
    pub watched: Watched,
}

impl Engine {
    /// Builds what the backend needs. Errors: the simulation cannot be built.
    pub fn new(arch: &Arch, common: &Common) -> Result<Engine, Failure> {
        let timing = MemoryTiming { latency_cycles: common.latency, stall: common.stall, seed: common.seed };
        let cosim = match common.backend {
            Backend::Rtl => Some(simulation(arch, common.trace.is_some())?),
            _ => None,
        };
        Ok(Engine {
            arch: arch.clone(),
            options: RunOptions { timing, ..RunOptions::default() },
            trace: common.trace.clone().map(|path| (path, common.trace_from.clone(), common.trace_cycles)),
            cosim,
            watched: Watched::default(),
        })
    }

    /// Runs a program on the machine model.
    pub fn model(&self, program: &Program, inputs: &[Vec<i32>]) -> Result<Ran, Failure> {
        let mut image = self.image(program, inputs)?;
        let (result, recording) = Machine::new(&self.arch).run_recorded(&mut image, &self.options);
        Ok(Ran { recording, ..finished("machine model", program, image, result)? })
    }

    /// Runs a program on the RTL; on the machine model if there is no RTL. The first run is recorded if that was asked for.
    pub fn run(&mut self, program: &Program, inputs: &[Vec<i32>]) -> Result<Ran, Failure> {
        let trace = self.trace.take().map(|t| recording(t, program)).transpose()?;
        let mut image = self.image(program, inputs)?;
        let Some(cosim) = &mut self.cosim else { return self.model(program, inputs) };
        let recording = trace.as_ref().map(|t: &Trace| t.path.clone());
        let options = CosimOptions { trace, ..self.options.clone().into() };
        let result = cosim.run_with(&mut image, &options).map_err(Failure::other)?;
        if let Some(recording) = recording {
            self.watched.waves = Some(waves::write(&self.arch, &recording)?);
        }
        let stats = cosim.stats();
        self.watched.simulated_cycles += stats.simulated_cycles;
        self.watched.cpu_time += stats.cpu_time;
        self.watched.peak_bytes = self.watched.peak_bytes.max(stats.peak_bytes);
        if self.watched.busy.is_none() && !stats.busy_truncated {
            self.watched.busy = Some(stats.busy.clone());
        }
        finished("RTL", program, image, result)
    }

    /// The memory's timing.
    pub fn timing(&self) -> MemoryTiming {
        self.options.timing
    }

    /// Speed and cost of the simulation; `None` without RTL.
    pub fn simulation(&self) -> Option<Simulation> {
        let build = self.cosim.as_ref()?.build_cost();
        let watched = &self.watched;
        Some(Simulation {
            cycles_per_second: watched.simulated_cycles as f64 / watched.cpu_time.as_secs_f64().max(1e-9),
            peak_bytes: watched.peak_bytes,
            build: *build,
        })
    }

    fn image(&self, program: &Program, inputs: &[Vec<i32>]) -> Result<Image, Failure> {
        check_configuration(&self.arch, program)?;
        Image::new(program, inputs).map_err(Failure::other)
    }
}

/// The simulation of a configuration, built if it is new.
fn simulation(arch: &Arch, trace: bool) -> Result<Cosim, Failure> {
    let build = BuildOptions { trace, ..BuildOptions::default() };
    if Cosim::is_built(arch, &build).map_err(Failure::other)? {
        return Cosim::build(arch, &build).map_err(Failure::other);
    }
    let name = &arch.config.name;
    let text = format!("building the simulation of {name} with Verilator (once; a minute or two)");
    if !std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "{text} ...");
    }
    let _progress = Progress::spinner(text);
    Cosim::build(arch, &build).map_err(Failure::other)
}

/// Errors: the program is for another configuration.
pub fn check_configuration(arch: &Arch, program: &Program) -> Result<(), Failure> {
    let info = &program.info;
    if info.arch_hash == arch.hash {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "the program was compiled for configuration {} ({:016x}), not for {} ({:016x}); compile it again",
        info.arch_name, info.arch_hash, arch.config.name, arch.hash
    )))
}

/// The result of a run without an error of the machine.
fn finished(who: &str, program: &Program, image: Image, result: RunResult) -> Result<Ran, Failure> {
    let [_, _, output, _] = image.regions;
    match result.error {
        None => Ok(Ran { output, result, recording: Recording::default() }),
        Some((code, pc)) => {
            let instr = program.instrs.get(pc as usize).map_or("(none)".into(), ToString::to_string);
            Err(Failure::Other(format!("the {who} stopped: {code}, at instruction {pc}: {instr}")))
        }
    }
}

/// The recording of `--trace FILE --trace-from CYCLE|LAYER --trace-cycles N`.
fn recording(
    (path, from, cycles): (std::path::PathBuf, String, u64),
    program: &Program,
) -> Result<Trace, Failure> {
    let from = match from.parse::<u64>() {
        Ok(cycle) => TraceFrom::Cycle(cycle),
        Err(_) => TraceFrom::Mark(mark_of(program, &from)?),
    };
    Ok(Trace { path, from, cycles })
}

fn mark_of(program: &Program, layer: &str) -> Result<u16, Failure> {
    let layers = &program.info.layers;
    layers.iter().find(|l| l.name == layer).map(|l| l.mark).ok_or_else(|| {
        let names: Vec<&str> = layers.iter().map(|l| l.name.as_str()).collect();
        Failure::Other(format!("--trace-from: no layer `{layer}`; the program has {}", names.join(", ")))
    })
}
