// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network made ready to run many times.

use super::codes::{byte_offset, Codes, Sink};
use super::conv::Packed;
use super::depthwise::{is_depthwise, Depthwise};
use super::isa::Instructions;
use super::pointwise::{Lookup, Maximum, Sum};
use super::window::Window;
use super::{check_inputs, reference, GoldenError};
use crate::ir::*;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Multiply-accumulates from which on a layer of a single input is shared out among threads.
const SHARED_MACS: usize = 1 << 20;
/// Parts of such a layer for each thread.
const PARTS: usize = 4;

/// A network made ready: every layer packed for the processor's instructions, or, where a value may need more than 32
/// bits, left to [`reference`].
#[derive(Debug)]
pub struct Plan<'g> {
    graph: &'g Graph,
    with: Instructions,
    steps: Vec<Step>,
    /// Workspaces that no run uses now.
    spare: Mutex<Vec<Workspace>>,
}

#[derive(Clone, Debug)]
enum Step {
    Conv(Packed),
    Depthwise(Depthwise),
    Sum(Sum),
    Maximum,
    /// One per input.
    Concat(Vec<Lookup>),
    Copy(Lookup),
    Reshape,
    Reference,
}

/// The memory of one run, to be used again.
#[derive(Debug)]
struct Workspace {
    tensors: Vec<Codes>,
    /// Padded input of every step that needs one.
    images: Vec<Vec<u8>>,
}

impl<'g> Plan<'g> {
    /// Errors: the graph breaks its rules.
    pub fn new(graph: &'g Graph) -> Result<Plan<'g>, GoldenError> {
        Self::with(graph, Instructions::best())
    }

    /// A plan for certain instructions. The results do not depend on them.
    pub fn with(graph: &'g Graph, with: Instructions) -> Result<Plan<'g>, GoldenError> {
        graph.check().map_err(GoldenError::Graph)?;
        let step = |node: &Node| Self::step(graph, with, node).unwrap_or(Step::Reference);
        Ok(Plan { graph, with, steps: graph.nodes.iter().map(step).collect(), spare: Mutex::default() })
    }

    /// Nodes that no fast path serves.
    pub fn by_reference(&self) -> Vec<&'g str> {
        let all = self.steps.iter().zip(&self.graph.nodes);
        all.filter(|(s, _)| matches!(s, Step::Reference)).map(|(_, n)| n.name.as_str()).collect()
    }

    fn step(graph: &Graph, with: Instructions, node: &Node) -> Option<Step> {
        let tensor = |t: TensorId| &graph.tensors[t];
        let output = tensor(node.op.output());
        Some(match &node.op {
            Op::Conv(o) if is_depthwise(o) => {
                Step::Depthwise(Depthwise::of_conv(o, tensor(o.input), output)?)
            }
            Op::Conv(o) => Step::Conv(Packed::new(o, tensor(o.input), output, with)?),
            Op::Add(o) => Step::Sum(Sum::new(o, tensor(o.a).ty, tensor(o.b).ty)?),
            Op::Pool(o) => match &o.kind {
                PoolKind::Max => byte_offset(output.ty).map(|_| Step::Maximum)?,
                PoolKind::Sum(q) => Step::Depthwise(Depthwise::of_sum(o, q, tensor(o.input), output)?),
            },
            Op::Concat(o) => {
                let parts = o.inputs.iter().zip(&o.requants);
                Step::Concat(
                    parts.map(|(&t, q)| Lookup::new(q.as_ref(), tensor(t).ty)).collect::<Option<_>>()?,
                )
            }
            Op::Copy(o) => Step::Copy(Lookup::new(o.requant.as_ref(), tensor(o.input).ty)?),
            Op::Reshape(_) => Step::Reshape,
        })
    }

    /// The codes of every tensor, by tensor number, for one input; large layers in threads.
    pub fn run(&self, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
        self.execute(inputs, true, |tensors| tensors.iter().map(Codes::get).collect())
    }

    /// The codes of the graph's outputs, for one input; large layers in threads.
    pub fn outputs(&self, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
        self.execute(inputs, true, |tensors| self.collect(tensors))
    }

    /// [`Plan::outputs`] without threads, for callers that share out inputs among threads themselves.
    pub fn outputs_in_this_thread(&self, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
        self.execute(inputs, false, |tensors| self.collect(tensors))
    }

    /// The codes of the graph's outputs for every input of a batch, the inputs shared out among threads.
    ///
    /// Errors: that of the first input that has one.
    pub fn batch(&self, inputs: &[Vec<Vec<i32>>]) -> Result<Vec<Vec<Vec<i32>>>, GoldenError> {
        match inputs {
            [one] => Ok(vec![self.outputs(one)?]),
            _ => {
                let results = inputs.par_iter().map(|input| self.outputs_in_this_thread(input));
                results.collect::<Vec<_>>().into_iter().collect()
            }
        }
    }

    fn collect(&self, tensors: &[Codes]) -> Vec<Vec<i32>> {
        self.graph.outputs.iter().map(|&t| tensors[t].get()).collect()
    }

    /// Runs the network; `results` reads the tensors.
    fn execute<R>(
        &self,
        inputs: &[Vec<i32>],
        threads: bool,
        results: impl FnOnce(&[Codes]) -> R,
    ) -> Result<R, GoldenError> {
        check_inputs(self.graph, inputs)?;
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = spare.unwrap_or_else(|| self.workspace());
        let done = self.execute_in(&mut workspace, inputs, threads && rayon::current_num_threads() > 1);
        let results = done.map(|()| results(&workspace.tensors));
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        results
    }

    fn workspace(&self) -> Workspace {
        let image = |(step, node): (&Step, &Node)| {
            let input = node.op.inputs()[0];
            let offset = byte_offset(self.graph.tensors[input].ty).unwrap_or(0);
            step.window().map_or(Vec::new(), |w| w.buffer(offset))
        };
        Workspace {
            tensors: self.graph.tensors.iter().map(Codes::new).collect(),
            images: self.steps.iter().zip(&self.graph.nodes).map(image).collect(),
        }
    }

    fn execute_in(
        &self,
        workspace: &mut Workspace,
        inputs: &[Vec<i32>],
        threads: bool,
    ) -> Result<(), GoldenError> {
        for (&t, codes) in self.graph.inputs.iter().zip(inputs) {
            workspace.tensors[t].set(codes);
        }
        for (i, node) in self.graph.nodes.iter().enumerate() {
            let mut image = std::mem::take(&mut workspace.images[i]);
            let mut output = std::mem::take(&mut workspace.tensors[node.op.output()]);
            let done = self.node(i, node, &workspace.tensors, &mut image, &mut output, threads);
            workspace.images[i] = image;
            workspace.tensors[node.op.output()] = output;
            done?;
        }
        Ok(())
    }

    fn node(
        &self,
        i: usize,
        node: &Node,
        tensors: &[Codes],
        image: &mut [u8],
        output: &mut Codes,
        threads: bool,
    ) -> Result<(), GoldenError> {
        let step = &self.steps[i];
        if let Some(window) = step.window() {
            let codes = &tensors[node.op.inputs()[0]];
            let image = padded(window, codes, image);
            let large = threads && macs(self.graph, node) >= SHARED_MACS;
            let parts = if large { PARTS * rayon::current_num_threads() } else { 1 };
            let pixel = self.graph.tensors[node.op.output()].shape[2];
            shared(output.sink(), pixel, parts, |first, sink| match step {
                Step::Depthwise(d) => d.run(self.with, image, first, sink),
                Step::Conv(c) => c.run(image, first, sink),
                _ => {}
            });
            return Ok(());
        }
        match (step, &node.op) {
            (Step::Sum(s), Op::Add(o)) => {
                if let (Some(a), Some(b)) = (tensors[o.a].bytes(), tensors[o.b].bytes()) {
                    s.run(self.with, a, b, output.sink());
                }
            }
            (Step::Maximum, Op::Pool(o)) => self.maximum(o, &tensors[o.input], output.sink()),
            (Step::Concat(parts), Op::Concat(o)) => self.concat(o, parts, tensors, output.sink()),
            (Step::Copy(lookup), Op::Copy(o)) => self.copy(o, lookup, &tensors[o.input], output.sink()),
            (Step::Reshape, Op::Reshape(o)) => output.clone_from(&tensors[o.input]),
            _ => {
                let operands = node.op.inputs().iter().map(|&t| tensors[t].get()).collect::<Vec<_>>();
                let operands = operands.iter().map(Vec::as_slice).collect::<Vec<_>>();
                output.set(&reference::node_codes(self.graph, node, &operands)?);
            }
        }
        Ok(())
    }

    fn maximum(&self, op: &Pool, codes: &Codes, sink: Sink) {
        let (input, columns) = (&self.graph.tensors[op.input], self.graph.tensors[op.output].shape[1]);
        if let Sink::Bytes(out, _) = sink {
            self.with.run(Maximum { op, input, codes, first: 0, columns, out });
        }
    }

    fn concat(&self, o: &Concat, parts: &[Lookup], tensors: &[Codes], mut sink: Sink) {
        let channels = self.graph.tensors[o.output].shape[2];
        let mut first = 0;
        for (&t, lookup) in o.inputs.iter().zip(parts) {
            let own = self.graph.tensors[t].shape[2];
            let bytes = tensors[t].bytes().unwrap_or(&[]);
            for (pixel, bytes) in bytes.chunks_exact(own).enumerate() {
                lookup.pixel(bytes, pixel * channels + first, &mut sink);
            }
            first += own;
        }
    }

    fn copy(&self, o: &crate::ir::Copy, lookup: &Lookup, codes: &Codes, mut sink: Sink) {
        let [_, width, channels] = self.graph.tensors[o.input].shape;
        let [_, w, c] = self.graph.tensors[o.output].shape;
        let Some(bytes) = codes.bytes() else { return };
        for pixel in 0..sink.len() / c {
            let (y, x) = (pixel / w / o.upsample, pixel % w / o.upsample);
            let from = (y * width + x) * channels + o.first_channel;
            lookup.pixel(&bytes[from..from + c], pixel * c, &mut sink);
        }
    }
}

impl Step {
    fn window(&self) -> Option<&Window> {
        match self {
            Step::Conv(c) => Some(&c.window),
            Step::Depthwise(d) => Some(&d.window),
            _ => None,
        }
    }
}

/// The padded input of a step.
fn padded<'a>(window: &Window, codes: &'a Codes, image: &'a mut [u8]) -> &'a [u8] {
    match codes {
        Codes::Bytes { data, .. } if window.is_plain() => data,
        _ => {
            window.fill(codes, image);
            image
        }
    }
}

fn macs(graph: &Graph, node: &Node) -> usize {
    match &node.op {
        Op::Conv(o) => graph.tensors[o.output].len() * o.weights.shape[1..].iter().product::<usize>(),
        op => graph.tensors[op.output()].len(),
    }
}

/// Calls `f` with the number of the first pixel and the codes of each of at most `parts` parts, in threads where there are
/// several.
fn shared(sink: Sink, channels: usize, parts: usize, f: impl Fn(usize, Sink) + Sync) {
    let pixels = sink.len() / channels;
    if parts < 2 {
        return f(0, sink);
    }
    let share = pixels.div_ceil(parts);
    sink.parts(share * channels).into_par_iter().enumerate().for_each(|(i, sink)| f(i * share, sink));
}
