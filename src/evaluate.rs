// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a network on a batch of inputs and compares: backend against golden model, golden model against expected values.

use crate::cli::{Backend, Common};
use crate::compare::Tally;
use crate::data::{self, Batch};
use crate::engine::{Engine, Ran};
use crate::progress::Progress;
use crate::report::facts::Evidence;
use crate::report::graph::makes;
use crate::report::{Busy, Layer, LayerTime, Report};
use crate::{classes, Failure};
use brickwork_compiler::golden::Plan;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::{Graph, Op};
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::Array;
use brickwork_compiler::program::{LayerInfo, Program};
use brickwork_sim::image::RunResult;
use hdl_gen::Arch;
use std::collections::BTreeMap;
use std::path::Path;

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

/// Reads a program file.
pub fn load_program(path: &Path) -> Result<Program, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file("read", path, e))?;
    Program::from_bytes(&bytes).map_err(|e| Failure::file("read", path, e))
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
    /// Names of a classifier's classes.
    pub class_names: &'a [String],
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

/// What came of a job.
pub struct Evaluated {
    pub report: Report,
    /// What the backend computed, input by input.
    pub produced: Vec<Produced>,
    /// The program and its times, where one ran.
    pub evidence: Option<Evidence>,
}

/// Runs the job, input by input.
pub fn evaluate(job: &Job) -> Result<Evaluated, Failure> {
    let count = count(job)?;
    let backend = job.common.backend;
    let mut report = Report::new(&job.model.graph.name, &job.arch.config, backend.name(), count);
    report.notes = job.model.notes.clone();
    report.compared = compared(job);
    let mut runner = match backend {
        Backend::Golden => None,
        _ => Some(Runner::new(job)?),
    };
    let plan = Plan::new(&job.model.graph).map_err(|e| Failure::Other(e.to_string()))?;
    let progress = Progress::bar(format!("{} on the {}", job.model.graph.name, backend.title()), count);
    let mut tally = Tally::default();
    let mut produced = Vec::new();
    for i in 0..count {
        let case = case(job, &plan, i)?;
        compare_expected(job, i, &case, &mut tally)?;
        produced.push(match &mut runner {
            None => golden_results(job, &case),
            Some(runner) => runner.run(i, &case, &mut tally)?,
        });
        progress.step();
    }
    let evidence = match runner {
        None => {
            report.layers = job.model.graph.nodes.iter().map(|n| graph_layer(&job.model.graph, n)).collect();
            None
        }
        Some(runner) => runner.report(&mut report),
    };
    classify(job, &produced, &mut report);
    report.count(tally);
    Ok(Evaluated { report, produced, evidence })
}

/// What is held against what.
fn compared(job: &Job) -> Vec<String> {
    let backend = job.common.backend;
    let machine = (backend != Backend::Golden).then(|| format!("{} with golden model", backend.title()));
    let expected = job.expected.map(|_| "golden model with expected values".to_string());
    machine.into_iter().chain(expected).collect()
}

/// Number of inputs to run. Errors: an array is missing, has another shape, or is shorter than another.
fn count(job: &Job) -> Result<usize, Failure> {
    let (model, inputs) = (job.model, job.inputs);
    let mut lengths = Vec::new();
    for input in &model.inputs {
        let array = inputs.need(&input.name, "input", model.inputs.len() == 1)?;
        lengths.push((inputs, &input.name, inputs.length(array, &input.name, &input.dims)?));
    }
    for (batch, result) in job.expected.iter().flat_map(|b| model.results.iter().map(move |r| (*b, r))) {
        let array = batch.need(&result.name, "expected", model.results.len() == 1)?;
        lengths.push((batch, &result.name, batch.length(array, &result.name, &result.dims)?));
    }
    let Some(&(first, name, length)) = lengths.first() else {
        return Err(Failure::Other("the model has no inputs".into()));
    };
    let limit = job.common.batch_limit();
    match lengths.iter().find(|(_, _, n)| *n != length && length.min(*n) < limit) {
        Some((other, of, n)) => Err(Failure::Other(format!(
            "{} has {length} of `{name}`, but {} has {n} of `{of}`; the numbers must be equal",
            first.source, other.source
        ))),
        None => Ok(length.min(limit)),
    }
}

/// Encodes input `i` and runs the golden model on it.
fn case(job: &Job, plan: &Plan, i: usize) -> Result<Case, Failure> {
    let model = job.model;
    let only = model.inputs.len() == 1;
    let dims = |name: &str| model.inputs.iter().find(|h| h.name == name).map_or(&[][..], |h| &h.dims);
    let find =
        |name: &str| job.inputs.find(name, "input", only).and_then(|a| data::element(a, i, dims(name)));
    let wrong = |e: &dyn std::fmt::Display| Failure::Other(format!("{}: input {i}: {e}", job.inputs.source));
    let codes = model.encode(find).map_err(|e| wrong(&e))?;
    let golden = plan.run(&codes).map_err(|e| wrong(&e))?;
    Ok(Case { codes, golden })
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
    let outputs = decoded(job.model, &golden_outputs(job.model, case));
    for (host, (name, got)) in job.model.results.iter().zip(outputs) {
        let array = batch.need(&name, "expected", only)?;
        let expected = data::element(array, input, &host.dims);
        expected.and_then(|e| tally.output(input, &name, &e, &got)).ok_or_else(|| {
            Failure::Other(format!("{}: no values for `{name}` of input {input}", batch.source))
        })?;
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

/// The highest classes of a classifier, and how many labels they meet.
fn classify(job: &Job, produced: &[Produced], report: &mut Report) {
    if !classes::is_classifier(job.model) {
        return;
    }
    let scores = produced.iter().filter_map(|p| p.outputs.first());
    let top: Vec<_> = scores.map(|(_, scores)| classes::top(scores, job.class_names)).collect();
    let labels = job.inputs.find("labels", "labels", false).and_then(classes::labels);
    report.labels_met = labels.filter(|l| l.len() >= produced.len()).map(|labels| {
        let best = top.iter().map(|t| t.first().map(|c| c.class));
        best.zip(labels).filter(|(best, label)| *best == Some(*label)).count()
    });
    // A comparison says what differs; what the scores are, `run` says.
    if job.expected.is_none() {
        report.top_classes = top;
    }
}

/// The backends that run programs. The plain program gives cycles and results; the one that stores all tensors tells
/// layer by layer, for the first input or (`--all-tensors`) for every one.
struct Runner<'a> {
    job: &'a Job<'a>,
    program: Program,
    detailed: Option<Program>,
    engine: Engine,
    /// The first input on the machine model, and on the RTL.
    predicted: Option<Ran>,
    measured: Option<RunResult>,
    /// Inputs that took other cycles than the first was predicted to take.
    cycles_differ: usize,
    /// Tensors that were compared: all values equal.
    exact: BTreeMap<usize, bool>,
    notes: Vec<String>,
}

impl<'a> Runner<'a> {
    fn new(job: &'a Job) -> Result<Runner<'a>, Failure> {
        let program = compile_model(job.model, job.arch, false)?;
        let (detailed, notes) = match compile_model(job.model, job.arch, true) {
            Ok(program) => (Some(program), vec![]),
            Err(e) if job.common.all_tensors => {
                return Err(Failure::Other(format!("with all tensors stored: {e}")));
            }
            Err(e) => (None, vec![format!("layers are not compared one by one: {e}")]),
        };
        Ok(Runner {
            job,
            program,
            detailed,
            engine: Engine::new(job.arch, job.common)?,
            predicted: None,
            measured: None,
            cycles_differ: 0,
            exact: BTreeMap::new(),
            notes,
        })
    }

    fn rtl(&self) -> bool {
        self.job.common.backend == Backend::Rtl
    }

    fn run(&mut self, i: usize, case: &Case, tally: &mut Tally) -> Result<Produced, Failure> {
        let ran = self.engine.run(&self.program, &case.codes)?;
        let outputs = self.compare_outputs(i, case, &ran, tally);
        if self.predicted.is_none() {
            let predicted = match self.rtl() {
                true => self.engine.model(&self.program, &case.codes)?,
                false => ran.clone(),
            };
            self.measured = self.rtl().then(|| ran.result.clone());
            self.predicted = Some(predicted);
        }
        let as_predicted = self
            .predicted
            .as_ref()
            .is_some_and(|p| p.result.cycles == ran.result.cycles && p.result.marks == ran.result.marks);
        self.cycles_differ += usize::from(!as_predicted);
        let every = self.job.common.all_tensors;
        let tensors = if i == 0 || every { self.detail(i, case, tally)? } else { vec![] };
        Ok(Produced { outputs, tensors: if every { tensors } else { vec![] } })
    }

    fn compare_outputs(
        &self,
        input: usize,
        case: &Case,
        ran: &Ran,
        tally: &mut Tally,
    ) -> Vec<(String, Array)> {
        let codes = self.program.unpack_output(&ran.output);
        for (tensor, got) in self.program.info.outputs.iter().zip(&codes) {
            tally.codes(input, tensor, AGAINST, [&case.golden[tensor.id], got]);
        }
        decoded(self.job.model, &codes)
    }

    /// Runs the program that stores all tensors and compares them.
    fn detail(
        &mut self,
        input: usize,
        case: &Case,
        tally: &mut Tally,
    ) -> Result<Vec<(String, Array)>, Failure> {
        let Some(program) = &self.detailed else { return Ok(vec![]) };
        let ran = self.engine.run(program, &case.codes)?;
        let outputs = program.info.outputs.iter().zip(program.unpack_output(&ran.output));
        let between = program.unpack_intermediates(&ran.output);
        let mut tensors = Vec::new();
        for (tensor, got) in between.into_iter().chain(outputs) {
            let equal = tally.codes(input, tensor, AGAINST, [&case.golden[tensor.id], &got]);
            *self.exact.entry(tensor.id).or_insert(true) &= equal;
            let name = self.job.model.graph.tensors[tensor.id].name.clone();
            tensors.extend(Array::i32(tensor.shape.to_vec(), got).ok().map(|a| (name, a)));
        }
        Ok(tensors)
    }

    /// What all runs gave.
    fn report(self, report: &mut Report) -> Option<Evidence> {
        let predicted = self.predicted?;
        let measured = self.measured.map(|r| (r, self.engine.watched.busy_or(&predicted.recording)));
        let evidence = Evidence {
            program: self.program,
            predicted: predicted.result,
            recording: predicted.recording,
            measured,
            timing: self.engine.timing(),
        };
        report.cycles_predicted = Some(evidence.predicted.cycles);
        report.cycles_measured = evidence.measured.as_ref().map(|(r, _)| r.cycles);
        let counted = self.job.common.backend == Backend::Rtl && self.job.common.stall == 0;
        report.cycle_mismatches = counted.then_some(self.cycles_differ);
        report.simulation = self.engine.simulation();
        report.waves = self.engine.watched.waves.as_ref().map(|p| p.display().to_string());
        let exact = |info: &LayerInfo| exact_layer(&self.job.model.graph, info, &self.exact);
        let layers = evidence.layers(self.job.arch).into_iter().zip(&evidence.program.info.layers);
        report.layers = layers.map(|(layer, info)| Layer { exact: exact(info), ..layer }).collect();
        report.notes.extend(self.notes);
        Some(evidence)
    }
}

const AGAINST: &str = "the golden model";

/// A layer of a program with the cycles that were predicted and, on the RTL, measured; where they went in the measured run,
/// if there is one.
pub fn timed(
    arch: &Arch,
    program: &Program,
    info: &LayerInfo,
    (predicted, busy): (&RunResult, &Busy),
    measured: Option<(&RunResult, &Busy)>,
) -> Layer {
    let cycles = |r: &RunResult| times(program, r, info).map(|(first, end)| end - first);
    let mut layer = described(info);
    layer.cycles_predicted = cycles(predicted);
    layer.cycles_measured = measured.and_then(|(r, _)| cycles(r));
    let span = layer.cycles_measured.or(layer.cycles_predicted).filter(|c| *c > 0);
    layer.utilization = span.map(|cycles| ideal(arch, info) / cycles as f64);
    let (result, busy) = measured.unwrap_or((predicted, busy));
    let span = times(program, result, info);
    layer.time =
        span.map(|(first, end)| LayerTime::of(busy, first, end, info.stream_cycles, ideal(arch, info)));
    layer
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

/// Cycles that the layer's multiply-accumulates would take if every brick worked in every cycle.
pub fn ideal(arch: &Arch, layer: &LayerInfo) -> f64 {
    layer.macs as f64 * layer.act_bits as f64 * layer.wgt_bits as f64 / arch.binary_macs() as f64
}

/// Whether the layer's results were compared and are equal.
fn exact_layer(graph: &Graph, layer: &LayerInfo, exact: &BTreeMap<usize, bool>) -> Option<bool> {
    let node = graph.nodes.iter().find(|n| makes(layer, n)).map(|n| n.op.output());
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
