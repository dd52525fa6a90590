// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a compiled program on a batch of codes. On the RTL, compared with the machine model.

use crate::cli::{Backend, Common};
use crate::compare::Tally;
use crate::data::{self, Batch};
use crate::engine::{check_configuration, Engine, Ran};
use crate::evaluate::{Evaluated, Produced};
use crate::progress::Progress;
use crate::report::facts::Evidence;
use crate::report::Report;
use crate::Failure;
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::{Program, TensorInfo};
use brickwork_sim::image::RunResult;
use hdl_gen::Arch;

/// Codes in, codes out.
///
/// Errors: the golden model was asked for, another configuration's program, inputs that do not fit, a machine that stops.
pub fn run(program: &Program, arch: &Arch, common: &Common, inputs: &Batch) -> Result<Evaluated, Failure> {
    let info = &program.info;
    if common.backend == Backend::Golden {
        let cure = "give the model file, or use --backend machine or rtl";
        return Err(Failure::Other(format!("a program holds no network for the golden model; {cure}")));
    }
    if common.all_tensors && info.intermediates.is_empty() && info.layers.len() > 1 {
        return Err(Failure::Other(
            "the program does not store all tensors; compile it with --all-tensors".into(),
        ));
    }
    check_configuration(arch, program)?;
    let count = count(program, inputs)?.min(common.batch_limit());
    let rtl = common.backend == Backend::Rtl;
    let mut engine = Engine::new(arch, common)?;
    let mut report = Report::new(&info.name, &arch.config, common.backend.name(), count);
    report.compared = if rtl { vec!["RTL with machine model".into()] } else { vec![] };
    let progress = Progress::bar(format!("{} on the {}", info.name, common.backend.title()), count);
    let (mut tally, mut produced) = (Tally::default(), Vec::new());
    let mut first: Option<(Ran, RunResult)> = None;
    let mut cycles_differ = 0;
    for i in 0..count {
        let codes = codes(program, inputs, i)?;
        let ran = engine.run(program, &codes)?;
        let model = if rtl { engine.model(program, &codes)? } else { ran.clone() };
        compare(program, i, [&model.output, &ran.output], &mut tally);
        produced.push(results(program, &ran.output, common.all_tensors));
        let same = model.result.cycles == ran.result.cycles && model.result.marks == ran.result.marks;
        cycles_differ += usize::from(!same);
        first.get_or_insert((model, ran.result));
        progress.step();
    }
    let evidence = first.map(|(predicted, measured)| Evidence {
        program: program.clone(),
        measured: rtl.then(|| (measured, engine.watched.busy_or(&predicted.recording))),
        predicted: predicted.result,
        recording: predicted.recording,
        timing: engine.timing(),
    });
    if let Some(evidence) = &evidence {
        report.layers = evidence.layers(arch);
        report.cycles_predicted = Some(evidence.predicted.cycles);
        report.cycles_measured = evidence.measured.as_ref().map(|m| m.0.cycles);
    }
    report.cycle_mismatches = (rtl && common.stall == 0).then_some(cycles_differ);
    report.simulation = engine.simulation();
    report.waves = engine.watched.waves.as_ref().map(|p| p.display().to_string());
    report.count(tally);
    Ok(Evaluated { report, produced, evidence })
}

/// With the batch in front.
fn dims(t: &TensorInfo) -> [usize; 4] {
    [1, t.shape[0], t.shape[1], t.shape[2]]
}

/// Length of the batch.
fn count(program: &Program, inputs: &Batch) -> Result<usize, Failure> {
    let only = program.info.inputs.len() == 1;
    let lengths = program.info.inputs.iter().map(|t| {
        let array = inputs.need(&t.name, "input", only)?;
        inputs.length(array, &t.name, &dims(t)).map_err(|e| not_codes(e, &[t]))
    });
    Ok(lengths.collect::<Result<Vec<_>, Failure>>()?.into_iter().min().unwrap_or(0))
}

/// Adds what a program takes, and the way out.
fn not_codes(error: impl std::fmt::Display, tensors: &[&TensorInfo]) -> Failure {
    let one = |t: &&TensorInfo| {
        let sign = if t.ty.signed { "signed" } else { "unsigned" };
        format!("`{}`: {sign} {}-bit integers {:?}", t.name, t.ty.bits, t.shape)
    };
    let wanted: Vec<String> = tensors.iter().map(one).collect();
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Failure::Other(format!(
        "{text}; a program takes codes ({}). Run the model file to give the network's own inputs",
        wanted.join(", ")
    ))
}

/// Codes of input `i`: integers, `[y][x][c]`.
fn codes(program: &Program, inputs: &Batch, i: usize) -> Result<Vec<Vec<i32>>, Failure> {
    let only = program.info.inputs.len() == 1;
    let one = |t: &TensorInfo| {
        let array = inputs.need(&t.name, "input", only)?;
        let item = data::element(array, i, &dims(t)).and_then(|a| a.to_i32());
        item.ok_or_else(|| not_codes(format!("{}: the array is {}", inputs.source, data::kind(array)), &[t]))
    };
    program.info.inputs.iter().map(one).collect()
}

fn compare(program: &Program, input: usize, [expected, got]: [&[u8]; 2], tally: &mut Tally) {
    let against = "the machine model";
    let (e, g) = (program.unpack_output(expected), program.unpack_output(got));
    for ((tensor, e), g) in program.info.outputs.iter().zip(&e).zip(&g) {
        tally.codes(input, tensor, against, [e, g]);
    }
    let (e, g) = (program.unpack_intermediates(expected), program.unpack_intermediates(got));
    for ((tensor, e), (_, g)) in e.iter().zip(&g) {
        tally.codes(input, tensor, against, [e, g]);
    }
}

fn results(program: &Program, output: &[u8], all_tensors: bool) -> Produced {
    let array = |t: &TensorInfo, codes| Array::i32(t.shape.to_vec(), codes).ok().map(|a| (t.name.clone(), a));
    let outputs = program.info.outputs.iter().zip(program.unpack_output(output));
    let between = program.unpack_intermediates(output);
    Produced {
        outputs: outputs.filter_map(|(t, c)| array(t, c)).collect(),
        tensors: between.into_iter().filter(|_| all_tensors).filter_map(|(t, c)| array(t, c)).collect(),
    }
}
