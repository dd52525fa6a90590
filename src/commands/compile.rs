// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork compile`.

use crate::cli::Compile;
use crate::evaluate;
use crate::report::facts::{Evidence, Facts};
use crate::report::traffic::load_bytes;
use crate::report::{page, Layer};
use crate::{generate, out_file, table, Failure};
use brickwork_compiler::program::Program;
use brickwork_sim::image::{MemoryTiming, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::Arch;
use serde::Serialize;
use std::path::PathBuf;

/// What the compiler says about a program.
#[derive(Debug, Serialize)]
struct CompileReport {
    model: String,
    config: String,
    program: String,
    /// The report page, if one was written.
    page: Option<String>,
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
    let page = arguments.page.path(&arch.config.name, &arguments.model)?;
    let evidence = predict(&arch, program)?;
    out_file::write_whole(&path, &evidence.program.to_bytes())?;
    if let Some(page) = &page {
        page::write(page, &Facts::new(&arch, &evidence, Some(&model), None, &model.notes))?;
    }
    let mut report = report(&arch, &evidence, path.display().to_string());
    report.page = page.map(|p| p.display().to_string());
    report.notes = model.notes;
    Ok(if arguments.json { json(&report)? } else { text(&report) })
}

fn default_path(arch: &Arch, arguments: &Compile) -> PathBuf {
    let stem = arguments.model.file_stem().map_or("program".into(), |s| s.to_string_lossy().into_owned());
    PathBuf::from("build").join(&arch.config.name).join(format!("{stem}.bwp"))
}

/// One run on the machine model; its cycles do not depend on the values.
fn predict(arch: &Arch, program: Program) -> Result<Evidence, Failure> {
    let (predicted, recording) = Machine::time(arch, &program.instrs, &RunOptions::default());
    match predicted.error {
        None => {
            Ok(Evidence { program, predicted, recording, measured: None, timing: MemoryTiming::default() })
        }
        Some((code, pc)) => Err(Failure::Other(format!(
            "the compiled program stops: {code}, at instruction {pc}; this is a defect of the compiler"
        ))),
    }
}

fn report(arch: &Arch, evidence: &Evidence, path: String) -> CompileReport {
    let (program, cycles) = (&evidence.program, evidence.predicted.cycles);
    let info = &program.info;
    CompileReport {
        model: info.name.clone(),
        config: arch.config.name.clone(),
        program: path,
        page: None,
        instructions: program.instrs.len(),
        constant_bytes: program.constants.len(),
        input_bytes: info.input_bytes,
        output_bytes: info.output_bytes,
        scratch_bytes: info.scratch_bytes,
        bytes_loaded: program.instrs.iter().map(|i| load_bytes(arch, *i)).sum(),
        cycles_predicted: cycles,
        milliseconds: cycles as f64 / (arch.config.device.clock_mhz as f64 * 1e3),
        notes: vec![],
        layers: evidence.layers(arch),
    }
}

fn json(report: &CompileReport) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(Failure::other)?;
    text.push('\n');
    Ok(text)
}

fn text(r: &CompileReport) -> String {
    let notes: String = r.notes.iter().map(|n| format!("note: {n}\n")).collect();
    let page = r.page.as_ref().map_or(String::new(), |p| format!("report   {p}\n"));
    format!(
        "{} for {}\n\n{}\n{notes}{} cycles, {:.3} ms\n\
         memory   constants {} bytes, input {}, output {}, scratch {}; loads read {} bytes\n\
         written  {}: {} instructions\n{page}",
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
