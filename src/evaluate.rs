// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a network on a batch of inputs and compares: backend against golden model, golden model against expected values.

use crate::cli::{Backend, Common};
use crate::data::{self, Batch};
use crate::engine::{Engine, Ran};
use crate::report::{Layer, LayerTime, Mismatch, Report};
use crate::Failure;
use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::{Graph, Op};
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::{LayerInfo, Program, TensorInfo};
use brickwork_sim::image::RunResult;
use hdl_gen::Arch;
use std::collections::BTreeMap;
use std::path::Path;

/// Mismatches that are named; the others are counted.
const NAMED: usize = 10;

/// Reads a network. Errors: everything that is wrong with it.
pub fn load_model(path: &Path) -> Result<Imported, Failure> {
    let shown = path.display().to_string();
    import(path).map_err(|errors| {
        let named = errors.iter().all(|e| e.at == shown);
        all(&if named { String::new() } else { format!("{shown}: ") }, &errors)
    })
}

/// Compiles a network. Errors: every layer that cannot be done.
pub fn compile_model(model: &Imported, arch: &Arch, all_tensors: bool) -> Result<Program, Failure> {
    let options = Options { all_tensors, ..Options::default() };
    compile(&model.graph, arch, &options).map_err(|errors| all("", &errors))
}

/// All errors, one per line, each after `place`.
fn all<E: std::fmt::Display>(place: &str, errors: &[E]) -> Failure {
    let lines: Vec<String> = errors.iter().map(|e| format!("{place}{e}")).collect();
    Failure::Other(lines.join("\nerror: "))
}

/// What to run.
pub struct Job<'a> {
    pub model: &'a Imported,
    pub arch: &'a Arch,
    pub common: &'a Common,
    pub inputs: &'a Batch,
    /// Where expected values are looked up; `None`: only backend and golden model are compared.
    pub expected: Option<&'a Batch>,
}

/// One input, with everything that the golden model says about it.
struct Case {
    codes: Vec<Vec<i32>>,
    /// Every tensor.
    golden: Vec<Vec<i32>>,
}

/// The results of one input as the backend computed them.
pub struct Produced {
    /// Model outputs by name.
    pub outputs: Vec<(String, Array)>,
    /// Tensors between the layers, as codes, by name; with `--all-tensors` only.
    pub tensors: Vec<(String, Array)>,
}

/// Counts mismatches and names the first.
#[derive(Default)]
struct Tally {
    count: u64,
    first: Vec<Mismatch>,
}

impl Tally {
    fn add(&mut self, mismatch: impl FnOnce() -> Mismatch) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(mismatch());
        }
    }

    /// Compares the codes of a tensor; `true` if all are equal.
    fn codes(&mut self, input: usize, tensor: &TensorInfo, expected: &[i32], got: &[i32]) -> bool {
        let before = self.count;
        let [_, w, c] = tensor.shape;
        for (i, (e, g)) in expected.iter().zip(got).enumerate().filter(|(_, (e, g))| e != g) {
            self.add(|| Mismatch {
                input,
                layer: tensor.name.clone(),
                at: vec![i / c / w, i / c % w, i % c],
                expected: e.to_string(),
                got: g.to_string(),
                against: "the golden model",
            });
        }
        if expected.len() != got.len() {
            self.add(|| Mismatch {
                input,
                layer: tensor.name.clone(),
                at: vec![],
                expected: format!("{} values", expected.len()),
                got: format!("{} values", got.len()),
                against: "the golden model",
            });
        }
        before == self.count
    }
}

/// Runs the job; returns the report and what the backend computed, input by input.
pub fn evaluate(job: &Job) -> Result<(Report, Vec<Produced>), Failure> {
    let mut tally = Tally::default();
    let cases = cases(job)?;
    for (i, case) in cases.iter().enumerate() {
        compare_expected(job, i, case, &mut tally)?;
    }
    let mut report = empty_report(job, cases.len());
    let produced = match job.common.backend {
        Backend::Golden => {
            report.layers = job.model.graph.nodes.iter().map(|n| graph_layer(&job.model.graph, n)).collect();
            cases.iter().map(|c| golden_results(job, c)).collect()
        }
        _ => on_machine(job, &cases, &mut tally, &mut report)?,
    };
    report.equal = tally.count == 0;
    report.mismatches = tally.count;
    report.first_mismatches = tally.first;
    Ok((report, produced))
}

fn empty_report(job: &Job, inputs: usize) -> Report {
    Report {
        model: job.model.graph.name.clone(),
        config: job.arch.config.name.clone(),
        backend: job.common.backend.name(),
        equal: true,
        inputs,
        mismatches: 0,
        first_mismatches: vec![],
        cycles_predicted: None,
        cycles_measured: None,
        cycle_mismatches: None,
        simulation: None,
        notes: job.model.notes.clone(),
        layers: vec![],
    }
}

/// Encodes the inputs and runs the golden model on them.
fn cases(job: &Job) -> Result<Vec<Case>, Failure> {
    let model = job.model;
    let only = model.inputs.len() == 1;
    let mut length = usize::MAX;
    for input in &model.inputs {
        let array = job.inputs.need(&input.name, "input", only)?;
        length = length.min(data::batch_length(array, &input.dims));
    }
    let count = length.min(job.common.batch_limit.unwrap_or(usize::MAX));
    if count == 0 {
        return Err(Failure::Other(format!("{} holds no inputs", job.inputs.source)));
    }
    let one = |i: usize| {
        let dims = |name: &str| model.inputs.iter().find(|h| h.name == name).map_or(&[][..], |h| &h.dims);
        let find =
            |name: &str| job.inputs.find(name, "input", only).and_then(|a| data::element(a, i, dims(name)));
        let codes = model.encode(find).map_err(|e| Failure::Other(format!("input {i}: {e}")))?;
        let golden =
            golden::run(&model.graph, &codes).map_err(|e| Failure::Other(format!("input {i}: {e}")))?;
        Ok(Case { codes, golden })
    };
    (0..count).map(one).collect()
}

/// The model outputs for codes of the graph's outputs.
fn decoded(model: &Imported, codes: &[Vec<i32>]) -> Vec<(String, Array)> {
    model.results.iter().map(|r| r.name.clone()).zip(model.decode(codes)).collect()
}

fn golden_outputs(model: &Imported, case: &Case) -> Vec<Vec<i32>> {
    model.graph.outputs.iter().map(|&t| case.golden[t].clone()).collect()
}

/// Golden model against the expected values.
fn compare_expected(job: &Job, input: usize, case: &Case, tally: &mut Tally) -> Result<(), Failure> {
    let Some(batch) = job.expected else { return Ok(()) };
    let only = job.model.results.len() == 1;
    for (host, (name, got)) in
        job.model.results.iter().zip(decoded(job.model, &golden_outputs(job.model, case)))
    {
        let array = batch.need(&name, "expected", only)?;
        let expected = data::element(array, input, &host.dims);
        let differ = expected.as_ref().and_then(|e| data::differences(e, &got)).ok_or_else(|| {
            let (found, wanted) = (&array.shape, &host.dims);
            Failure::Other(format!(
                "{}: expected values `{name}` have shape {found:?}, the model gives {wanted:?} per input",
                batch.source
            ))
        })?;
        for (index, expected, got) in differ {
            let layer = format!("output `{name}` of the golden model");
            let against = "the expected values";
            tally.add(|| Mismatch { input, layer, at: vec![index], expected, got, against });
        }
    }
    Ok(())
}

fn golden_results(job: &Job, case: &Case) -> Produced {
    let graph = &job.model.graph;
    let tensor = |t: usize| {
        let shape = graph.tensors[t].shape.to_vec();
        Array::i32(shape, case.golden[t].clone()).ok().map(|a| (graph.tensors[t].name.clone(), a))
    };
    Produced {
        outputs: decoded(job.model, &golden_outputs(job.model, case)),
        tensors: match job.common.all_tensors {
            true => (0..graph.tensors.len()).filter_map(tensor).collect(),
            false => vec![],
        },
    }
}

/// The backends that run programs. The plain program gives cycles and results; the one that stores all tensors tells
/// layer by layer, for the first input or (`--all-tensors`) for every one.
fn on_machine(
    job: &Job,
    cases: &[Case],
    tally: &mut Tally,
    report: &mut Report,
) -> Result<Vec<Produced>, Failure> {
    let program = compile_model(job.model, job.arch, false)?;
    let detailed = compile_model(job.model, job.arch, true);
    if let (Err(e), true) = (&detailed, job.common.all_tensors) {
        return Err(Failure::Other(format!("with all tensors stored: {e}")));
    }
    let mut engine = Engine::new(job.arch, job.common)?;
    let predicted = engine.model(&program, &cases[0].codes)?.result;
    let rtl = job.common.backend == Backend::Rtl;
    let mut exact = BTreeMap::new();
    let mut produced = Vec::new();
    let mut first: Option<RunResult> = None;
    let mut cycles_differ = 0;
    for (i, case) in cases.iter().enumerate() {
        let ran = engine.run(&program, &case.codes)?;
        let results = compare_outputs(job, &program, i, case, &ran, tally);
        cycles_differ +=
            (ran.result.cycles != predicted.cycles || ran.result.marks != predicted.marks) as usize;
        let tensors = match &detailed {
            Ok(p) if i == 0 || job.common.all_tensors => {
                detail(job, p, &mut engine, i, case, tally, &mut exact)?
            }
            _ => vec![],
        };
        produced.push(Produced {
            outputs: results,
            tensors: if job.common.all_tensors { tensors } else { vec![] },
        });
        first.get_or_insert(ran.result);
    }
    let measured = first.filter(|_| rtl);
    report.cycles_predicted = Some(predicted.cycles);
    report.cycles_measured = measured.as_ref().map(|r| r.cycles);
    report.cycle_mismatches = (rtl && job.common.stall == 0).then_some(cycles_differ);
    report.simulation = engine.simulation();
    report.layers = layers(job, &program, &predicted, measured.as_ref(), &engine, &exact);
    Ok(produced)
}

fn compare_outputs(
    job: &Job,
    program: &Program,
    input: usize,
    case: &Case,
    ran: &Ran,
    tally: &mut Tally,
) -> Vec<(String, Array)> {
    let codes = program.unpack_output(&ran.output);
    for (tensor, got) in program.info.outputs.iter().zip(&codes) {
        tally.codes(input, tensor, &case.golden[tensor.id], got);
    }
    decoded(job.model, &codes)
}

/// Runs the program that stores all tensors and compares them; `exact` learns about each tensor.
fn detail(
    job: &Job,
    program: &Program,
    engine: &mut Engine,
    input: usize,
    case: &Case,
    tally: &mut Tally,
    exact: &mut BTreeMap<usize, bool>,
) -> Result<Vec<(String, Array)>, Failure> {
    let ran = engine.run(program, &case.codes)?;
    let outputs = program.info.outputs.iter().zip(program.unpack_output(&ran.output));
    let between = program.unpack_intermediates(&ran.output);
    let mut tensors = Vec::new();
    for (tensor, got) in between.into_iter().chain(outputs) {
        let equal = tally.codes(input, tensor, &case.golden[tensor.id], &got);
        *exact.entry(tensor.id).or_insert(true) &= equal;
        let name = job.model.graph.tensors[tensor.id].name.clone();
        tensors.extend(Array::i32(tensor.shape.to_vec(), got).ok().map(|a| (name, a)));
    }
    Ok(tensors)
}

fn layers(
    job: &Job,
    program: &Program,
    predicted: &RunResult,
    measured: Option<&RunResult>,
    engine: &Engine,
    exact: &BTreeMap<usize, bool>,
) -> Vec<Layer> {
    let busy = engine.watched.busy.as_ref();
    let one = |info: &LayerInfo| {
        let span = measured.unwrap_or(predicted);
        let (first, end) = times(program, span, info).unwrap_or((0, 0));
        let cycles = |r: &RunResult| times(program, r, info).map(|(a, b)| b - a);
        Layer {
            cycles_predicted: cycles(predicted),
            cycles_measured: measured.and_then(cycles),
            utilization: (end > first).then(|| used(job.arch, info, end - first)),
            time: busy.filter(|_| measured.is_some()).map(|b| LayerTime::of(b, first, end)),
            exact: exact_layer(&job.model.graph, info, exact),
            ..described(info)
        }
    };
    program.info.layers.iter().map(one).collect()
}

/// A layer of a program before it has run.
pub fn described(info: &LayerInfo) -> Layer {
    Layer {
        name: info.name.clone(),
        op: info.op.clone(),
        shape: info.shape_out,
        macs: info.macs,
        act_bits: info.act_bits,
        wgt_bits: info.wgt_bits,
        cycles_predicted: None,
        cycles_measured: None,
        utilization: None,
        time: None,
        exact: None,
    }
}

/// Cycles `first..end` of a layer: from the mark of the layer before to its own.
pub fn times(program: &Program, result: &RunResult, layer: &LayerInfo) -> Option<(u64, u64)> {
    let mark = |id: u16| result.marks.iter().find(|(m, _)| *m == id).map(|(_, cycle)| *cycle);
    let index = program.info.layers.iter().position(|l| l.mark == layer.mark)?;
    let first = match index {
        0 => Some(0),
        i => mark(program.info.layers[i - 1].mark),
    };
    first.zip(mark(layer.mark)).filter(|(a, b)| a <= b)
}

/// Share of the array's bit products in `cycles` that the layer's multiply-accumulates need.
pub fn used(arch: &Arch, layer: &LayerInfo, cycles: u64) -> f64 {
    let products = layer.macs as f64 * layer.act_bits as f64 * layer.wgt_bits as f64;
    products / (cycles as f64 * arch.binary_macs() as f64)
}

/// Whether the layer's results were compared and are equal. A layer of a program is named after its node, after both nodes
/// where two are done as one (`conv+pool`), or after the tensor that it copies.
fn exact_layer(graph: &Graph, layer: &LayerInfo, exact: &BTreeMap<usize, bool>) -> Option<bool> {
    let last =
        |name: &str| layer.name.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('+'));
    let node = graph.nodes.iter().find(|n| last(&n.name)).map(|n| n.op.output());
    let tensor = node.or_else(|| graph.tensors.iter().position(|t| t.name == layer.name))?;
    exact.get(&tensor).copied()
}

/// A layer as the graph has it, for the golden model.
fn graph_layer(graph: &Graph, node: &brickwork_compiler::ir::Node) -> Layer {
    let shape = graph.tensors[node.op.output()].shape;
    let input = node.op.inputs().first().map_or(0, |&t| graph.tensors[t].ty.bits as u32);
    let (macs, wgt_bits) = match &node.op {
        Op::Conv(conv) => {
            let [_, kh, kw, ic] = conv.weights.shape;
            let bits = if conv.weights.bipolar { 1 } else { conv.weights.ty.bits as u32 };
            ((shape.iter().product::<usize>() * kh * kw * ic) as u64, bits)
        }
        _ => (0, 0),
    };
    Layer {
        name: node.name.clone(),
        op: node.op.kind().into(),
        shape,
        macs,
        act_bits: input,
        wgt_bits,
        cycles_predicted: None,
        cycles_measured: None,
        utilization: None,
        time: None,
        exact: None,
    }
}
