// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork compile`.

use crate::cli::Compile;
use crate::evaluate::{self, timed};
use crate::report::Layer;
use crate::{generate, out_file, table, Failure};
use brickwork_compiler::program::Program;
use brickwork_sim::image::{Image, RunOptions, RunResult};
use brickwork_sim::machine::Machine;
use hdl_gen::isa::{LoadDst, Op};
use hdl_gen::Arch;
use serde::Serialize;
use std::path::PathBuf;

/// What the compiler says about a program.
#[derive(Debug, Serialize)]
struct CompileReport {
    model: String,
    config: String,
    program: String,
    instructions: usize,
    constant_bytes: usize,
    input_bytes: usize,
    output_bytes: usize,
    scratch_bytes: usize,
    /// Bytes that loads read in one run, instructions not counted.
    bytes_loaded: u64,
    /// Cycles of one run with the default memory and no stalls.
    cycles_predicted: u64,
    milliseconds: f64,
    notes: Vec<String>,
    layers: Vec<Layer>,
}

/// Writes the program; returns what is printed.
pub fn run(arguments: &Compile) -> Result<String, Failure> {
    let arch = Arch::new(&generate::load_config(&arguments.config)?);
    let path = arguments.output.clone().unwrap_or_else(|| default_path(&arch, arguments));
    if path.extension().is_none_or(|e| e != "bwp") {
        return Err(Failure::file("write", &path, "the name of a program file must end in .bwp"));
    }
    let model = evaluate::load_model(&arguments.model)?;
    let program = evaluate::compile_model(&model, &arch, arguments.all_tensors)?;
    let result = predict(&arch, &program)?;
    out_file::write_whole(&path, &program.to_bytes())?;
    let mut report = report(&arch, &program, &result, path.display().to_string());
    report.notes = model.notes;
    Ok(if arguments.json { json(&report)? } else { text(&report) })
}

fn default_path(arch: &Arch, arguments: &Compile) -> PathBuf {
    let stem = arguments.model.file_stem().map_or("program".into(), |s| s.to_string_lossy().into_owned());
    PathBuf::from("build").join(&arch.config.name).join(format!("{stem}.bwp"))
}

/// One run on the machine model; its cycles do not depend on the values, so all inputs are 0 bits.
fn predict(arch: &Arch, program: &Program) -> Result<RunResult, Failure> {
    let info = &program.info;
    let regions = [
        program.constants.clone(),
        vec![0; info.input_bytes],
        vec![0; info.output_bytes],
        vec![0; info.scratch_bytes],
    ];
    let mut image = Image { program: program.instrs.clone(), regions };
    let result = Machine::new(arch).run(&mut image, &RunOptions::default());
    match result.error {
        None => Ok(result),
        Some((code, pc)) => Err(Failure::Other(format!(
            "the compiled program stops: {code}, at instruction {pc}; this is a defect of the compiler"
        ))),
    }
}

fn report(arch: &Arch, program: &Program, result: &RunResult, path: String) -> CompileReport {
    let info = &program.info;
    let layers = info.layers.iter().map(|l| timed(arch, program, l, result, None));
    CompileReport {
        model: info.name.clone(),
        config: arch.config.name.clone(),
        program: path,
        instructions: program.instrs.len(),
        constant_bytes: program.constants.len(),
        input_bytes: info.input_bytes,
        output_bytes: info.output_bytes,
        scratch_bytes: info.scratch_bytes,
        bytes_loaded: bytes_loaded(arch, program),
        cycles_predicted: result.cycles,
        milliseconds: result.cycles as f64 / (arch.config.device.clock_mhz as f64 * 1e3),
        notes: vec![],
        layers: layers.collect(),
    }
}

fn bytes_loaded(arch: &Arch, program: &Program) -> u64 {
    let loads = program.instrs.iter().filter(|i| i.op() == Some(Op::Load));
    let bytes = loads.filter_map(|i| {
        let dst = LoadDst::from_bits(i.get("dst") as u64)?;
        let beats = (arch.load_beats(dst) * arch.load_ports(dst)) as u64;
        Some(i.get("words") as u64 * i.get("rows") as u64 * beats * hdl_gen::arch::BEAT_BYTES)
    });
    bytes.sum()
}

fn json(report: &CompileReport) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(Failure::other)?;
    text.push('\n');
    Ok(text)
}

fn text(r: &CompileReport) -> String {
    let notes: String = r.notes.iter().map(|n| format!("note: {n}\n")).collect();
    format!(
        "{} for {}\n\n{}\n{notes}{} cycles, {:.3} ms\n\
         memory   constants {} bytes, input {}, output {}, scratch {}; loads read {} bytes\n\
         written  {}: {} instructions\n",
        r.model,
        r.config,
        table::layers(&r.layers),
        r.cycles_predicted,
        r.milliseconds,
        r.constant_bytes,
        r.input_bytes,
        r.output_bytes,
        r.scratch_bytes,
        r.bytes_loaded,
        r.program,
        r.instructions
    )
}
