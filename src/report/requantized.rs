// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How accumulators become codes, layer by layer, and why that is exact.

use super::graph::layer_of;
use super::traffic;
use brickwork_compiler::import::Imported;
use brickwork_compiler::ir::{IntType, Node, Op, PoolKind, Requant};
use brickwork_compiler::program::Program;
use brickwork_compiler::requant::{acc_bounds, runs, Output};
use hdl_gen::isa::{Op as Instruction, Queue};
use serde::Serialize;

/// Codes up to whose number the thresholds are listed.
const LISTED_CODES: usize = 16;

#[derive(Clone, Debug, Serialize)]
pub struct Requantized {
    pub name: String,
    pub op: &'static str,
    /// Index of the program's layer.
    pub layer: Option<usize>,
    pub rounding: String,
    pub zero_point: i32,
    pub clamp: (i32, i32),
    /// A 256-entry function follows.
    pub table: bool,
    /// 32-bit results, nothing of the above.
    pub raw: bool,
    /// `[bias, multiplier, addend, shift]` of each channel; one entry serves all.
    pub channels: Vec<[i64; 4]>,
    pub accumulator: Option<Accumulator>,
    /// Accumulator values of the first channel at which the code changes, where there are few codes.
    pub thresholds: Vec<i64>,
    /// Different codes of the first channel, before any table.
    pub codes: usize,
    pub proof: String,
}

/// What sums can occur, by interval arithmetic with the weights themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Accumulator {
    pub least: i64,
    pub most: i64,
    /// Of two's complement that hold them, and that the accumulator has.
    pub bits: u32,
    pub room: Option<u32>,
}

/// All requantizations of a network.
pub fn all(model: &Imported, program: &Program) -> Vec<Requantized> {
    let one = |node: &Node| requant(&node.op).map(|q| Requantized::new(model, program, node, q));
    model.graph.nodes.iter().filter_map(one).collect()
}

fn requant(op: &Op) -> Option<&Requant> {
    match op {
        Op::Conv(c) => Some(&c.requant),
        Op::Add(a) => Some(&a.sum),
        Op::Pool(p) => match &p.kind {
            PoolKind::Sum(q) => Some(q),
            PoolKind::Max => None,
        },
        Op::Copy(c) => c.requant.as_ref(),
        Op::Concat(c) => c.requants.iter().flatten().next(),
        Op::Reshape(_) => None,
    }
}

impl Requantized {
    fn new(model: &Imported, program: &Program, node: &Node, q: &Requant) -> Requantized {
        let layer = layer_of(program, node);
        let bounds = bounds(model, &node.op);
        let accumulator = bounds.as_ref().map(|b| accumulator(b, layer.and_then(|l| room(program, l))));
        let (thresholds, codes) = match bounds.as_ref().and_then(|b| b.first()) {
            Some(&range) if !q.raw => thresholds(q, range),
            _ => (vec![], 0),
        };
        Requantized {
            name: node.name.clone(),
            op: node.op.kind(),
            layer,
            rounding: format!("{:?}", q.rounding),
            zero_point: q.zero_point,
            clamp: q.clamp,
            table: q.table.is_some(),
            raw: q.raw,
            channels: q.channels.iter().map(entry).collect(),
            proof: proof(accumulator.as_ref(), q),
            accumulator,
            thresholds,
            codes,
        }
    }
}

fn entry(p: &brickwork_compiler::ir::ChannelParams) -> [i64; 4] {
    [p.bias as i64, p.multiplier as i64, p.addend as i64, p.shift as i64]
}

/// Least and largest sum of each output channel.
fn bounds(model: &Imported, op: &Op) -> Option<Vec<(i64, i64)>> {
    let range = |t: usize| model.graph.tensors[t].ty.range();
    match op {
        Op::Conv(c) => Some(acc_bounds(&c.weights, range(c.input))),
        Op::Pool(p) => {
            let (lo, hi) = range(p.input);
            let n = (p.kernel[0] * p.kernel[1]) as i64;
            Some(vec![(n * lo, n * hi)])
        }
        Op::Copy(c) => Some(vec![range(c.input)]),
        _ => None,
    }
}

fn accumulator(bounds: &[(i64, i64)], room: Option<u32>) -> Accumulator {
    let least = bounds.iter().map(|b| b.0).min().unwrap_or(0);
    let most = bounds.iter().map(|b| b.1).max().unwrap_or(0);
    let ty = IntType::holding(least, most);
    Accumulator { least, most, bits: ty.bits as u32 + !ty.signed as u32, room }
}

/// Bits of an accumulator value in the weight mode of a layer's passes.
fn room(program: &Program, layer: usize) -> Option<u32> {
    use hdl_gen::arch::{ACC_SEG_BITS, ACC_VALUE_BITS};
    let owners = traffic::layers_of(program, Queue::Pass);
    let passes = traffic::of_queue(program, Queue::Pass).zip(owners);
    let mut own = passes.filter(|(i, l)| *l == layer && i.op() == Some(Instruction::Pass));
    let log2 = own.next()?.0.get("wgt_log2") as usize;
    Some([ACC_SEG_BITS, 36, ACC_VALUE_BITS, ACC_VALUE_BITS][log2])
}

/// Where the code of the first channel changes, and how many codes there are.
fn thresholds(q: &Requant, (lo, hi): (i64, i64)) -> (Vec<i64>, usize) {
    let output = Output { zero_point: q.zero_point, clamp: q.clamp, rounding: q.rounding };
    let found = runs(|acc| output.code(acc, q.channel(0)), lo, hi, true).unwrap_or_default();
    let listed = found.len() <= LISTED_CODES;
    let starts = found.iter().skip(1).map(|r| r.first);
    (if listed { starts.collect() } else { vec![] }, found.len())
}

fn proof(accumulator: Option<&Accumulator>, q: &Requant) -> String {
    let sums = match accumulator {
        Some(Accumulator { least, most, bits, room: Some(room) }) => format!(
            "No sum of inputs and weights leaves {least}..={most}: {bits} bits of {room}, so nothing overflows. "
        ),
        Some(Accumulator { least, most, bits, .. }) => {
            format!("No sum leaves {least}..={most} ({bits} bits). ")
        }
        None => String::new(),
    };
    let rule = match q.raw {
        true => "The 32-bit sum is the result; nothing is rounded.",
        false => "Multiplier, shift and rounding are the reference's own (TFLite, ONNX in float32), or were found by search; those of ONNX are verified against its float rule at every sum that can occur, and a layer where none are exact is refused.",
    };
    format!("{sums}{rule}")
}
