// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork run`.

use super::Outcome;
use crate::cli::{Backend, Run};
use crate::data::{self, Batch};
use crate::engine::{check_configuration, Engine};
use crate::evaluate::{self, Job, Produced};
use crate::report::{Mismatch, Report};
use crate::{generate, Failure};
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::{Program, TensorInfo};
use hdl_gen::Arch;

/// Runs a network or a program; returns what is printed.
pub fn run(arguments: &Run) -> Result<(String, Outcome), Failure> {
    let arch = Arch::new(&generate::load_config(&arguments.common.config)?);
    let inputs = Batch::read(&arguments.input)?;
    let (report, produced) = match arguments.model.extension().and_then(|e| e.to_str()) {
        Some("bwp") => program(arguments, &arch, &inputs)?,
        _ => {
            let model = evaluate::load_model(&arguments.model)?;
            let job = Job {
                model: &model,
                arch: &arch,
                common: &arguments.common,
                inputs: &inputs,
                expected: None,
            };
            evaluate::evaluate(&job)?
        }
    };
    if let Some(path) = &arguments.output {
        data::write(path, &columns(&produced))?;
    }
    Ok(super::finished(&report, arguments.common.json))
}

/// The results of all inputs, by name, each with the batch as its first axis.
fn columns(produced: &[Produced]) -> Vec<(String, Array)> {
    let rows: Vec<Vec<&(String, Array)>> =
        produced.iter().map(|p| p.outputs.iter().chain(&p.tensors).collect()).collect();
    let Some(first) = rows.first() else { return vec![] };
    let mut named: Vec<(String, Array)> = Vec::new();
    for (i, (name, _)) in first.iter().enumerate() {
        let items: Vec<Array> = rows.iter().map(|r| r[i].1.clone()).collect();
        // A tensor may be an output, too, under the same name: keep the first.
        if let Some(array) = data::stack(&items).filter(|_| named.iter().all(|(n, _)| n != name)) {
            named.push((name.clone(), array));
        }
    }
    named
}

/// A compiled program: codes in, codes out. On the RTL, compared with the machine model.
fn program(arguments: &Run, arch: &Arch, inputs: &Batch) -> Result<(Report, Vec<Produced>), Failure> {
    let common = &arguments.common;
    if common.backend == Backend::Golden {
        return Err(Failure::Other(
            "a program holds no network for the golden model; give the model file, or --backend machine"
                .into(),
        ));
    }
    let program = Program::read(&arguments.model).map_err(|e| Failure::file("read", &arguments.model, e))?;
    check_configuration(arch, &program)?;
    let mut engine = Engine::new(arch, common)?;
    let count = count(&program, inputs)?.min(common.batch_limit.unwrap_or(usize::MAX));
    let mut mismatches = Vec::new();
    let mut produced = Vec::new();
    let mut cycles = Vec::new();
    for i in 0..count {
        let codes = codes(&program, inputs, i)?;
        let (ran, model) = (engine.run(&program, &codes)?, engine.model(&program, &codes)?);
        let (got, expected) = (program.unpack_output(&ran.output), program.unpack_output(&model.output));
        for ((tensor, got), expected) in program.info.outputs.iter().zip(&got).zip(&expected) {
            mismatches.extend(differing(i, tensor, expected, got));
        }
        produced.push(Produced { outputs: arrays(&program.info.outputs, got), tensors: vec![] });
        cycles.push((model.result, ran.result));
    }
    let rtl = common.backend == Backend::Rtl;
    let first = cycles.first().ok_or_else(|| Failure::Other(format!("{} holds no inputs", inputs.source)))?;
    let layers = program.info.layers.iter().map(|info| {
        let cycles = |r| evaluate::times(&program, r, info).map(|(a, b)| b - a);
        let mut layer = evaluate::described(info);
        layer.cycles_predicted = cycles(&first.0);
        layer.cycles_measured = rtl.then(|| cycles(&first.1)).flatten();
        layer.utilization = layer.cycles_predicted.filter(|c| *c > 0).map(|c| evaluate::used(arch, info, c));
        layer
    });
    let report = Report {
        model: program.info.name.clone(),
        config: arch.config.name.clone(),
        backend: common.backend.name(),
        equal: mismatches.is_empty(),
        inputs: count,
        mismatches: mismatches.len() as u64,
        cycles_predicted: Some(first.0.cycles),
        cycles_measured: rtl.then_some(first.1.cycles),
        cycle_mismatches: (rtl && common.stall == 0)
            .then(|| cycles.iter().filter(|(m, r)| m.cycles != r.cycles || m.marks != r.marks).count()),
        simulation: engine.simulation(),
        notes: vec![],
        layers: layers.collect(),
        first_mismatches: mismatches.into_iter().take(10).collect(),
    };
    Ok((report, produced))
}

/// Length of the batch.
fn count(program: &Program, inputs: &Batch) -> Result<usize, Failure> {
    let only = program.info.inputs.len() == 1;
    let lengths = program.info.inputs.iter().map(|t| {
        let array = inputs.need(&t.name, "input", only)?;
        Ok(data::batch_length(array, &t.shape))
    });
    Ok(lengths.collect::<Result<Vec<_>, Failure>>()?.into_iter().min().unwrap_or(0))
}

/// Codes of input `i`: integers, `[y][x][c]`.
fn codes(program: &Program, inputs: &Batch, i: usize) -> Result<Vec<Vec<i32>>, Failure> {
    let only = program.info.inputs.len() == 1;
    let one = |t: &TensorInfo| {
        let array = inputs.need(&t.name, "input", only)?;
        let item = data::element(array, i, &t.shape);
        item.and_then(|a| a.to_i32()).ok_or_else(|| {
            Failure::Other(format!(
                "{}: a program takes codes: integers of shape {:?}",
                inputs.source, t.shape
            ))
        })
    };
    program.info.inputs.iter().map(one).collect()
}

fn arrays(tensors: &[TensorInfo], codes: Vec<Vec<i32>>) -> Vec<(String, Array)> {
    let one =
        |(t, c): (&TensorInfo, Vec<i32>)| Array::i32(t.shape.to_vec(), c).ok().map(|a| (t.name.clone(), a));
    tensors.iter().zip(codes).filter_map(one).collect()
}

fn differing(input: usize, tensor: &TensorInfo, expected: &[i32], got: &[i32]) -> Vec<Mismatch> {
    let [_, w, c] = tensor.shape;
    let differ = expected.iter().zip(got).enumerate().filter(|(_, (e, g))| e != g);
    let one = |(i, (e, g)): (usize, (&i32, &i32))| Mismatch {
        input,
        layer: tensor.name.clone(),
        at: vec![i / c / w, i / c % w, i % c],
        expected: e.to_string(),
        got: g.to_string(),
        against: "the machine model",
    };
    differ.map(one).collect()
}
