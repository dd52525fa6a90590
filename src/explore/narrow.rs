// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A network with other widths: the same layers, whose codes and weights have as many bits as one likes.
//!
//! The values mean nothing afterwards; time, memory and traffic are those of a network that was trained like this. A weight
//! that is not 0 stays so, as the array leaves out what is 0 throughout.

use brickwork_compiler::ir::{Conv, Graph, IntType, Op, PoolKind, Requant, TensorId, Weights};

/// Bits of the activations that a layer reads, and of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    pub act: u8,
    pub wgt: u8,
}

/// The network in which node `i` reads and weighs with `widths(i)`, where that gives something. Inputs and outputs of the network
/// stay as they are.
pub fn narrow(graph: &Graph, widths: &dyn Fn(usize) -> Option<Widths>) -> Graph {
    let bits = tensor_bits(graph, widths);
    let mut out = graph.clone();
    for (t, bits) in bits.iter().enumerate() {
        out.tensors[t].ty.bits = *bits;
    }
    let types: Vec<IntType> = out.tensors.iter().map(|t| t.ty).collect();
    for (i, node) in out.nodes.iter_mut().enumerate() {
        retype(&mut node.op, &types);
        if let (Op::Conv(conv), Some(w)) = (&mut node.op, widths(i)) {
            conv.weights = reweigh(&conv.weights, w.wgt);
        }
    }
    out
}

/// Bits of every tensor: what its readers want, at least what is copied into it.
fn tensor_bits(graph: &Graph, widths: &dyn Fn(usize) -> Option<Widths>) -> Vec<u8> {
    let given: Vec<u8> = graph.tensors.iter().map(|t| t.ty.bits).collect();
    let fixed = |t: TensorId| graph.inputs.contains(&t) || graph.outputs.contains(&t) || given[t] > 16;
    let mut wanted: Vec<Option<u8>> = (0..given.len()).map(|t| fixed(t).then_some(given[t])).collect();
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        let output = node.op.output();
        for t in node.op.inputs().into_iter().filter(|t| !fixed(*t)) {
            let want = match copies(&node.op, t) {
                true => wanted[output].unwrap_or(given[output]),
                false => widths(i).map_or(given[t], |w| w.act),
            };
            wanted[t] = Some(wanted[t].map_or(want, |n| n.max(want)));
        }
    }
    let mut bits: Vec<u8> = wanted.iter().zip(&given).map(|(w, g)| w.unwrap_or(*g)).collect();
    for node in &graph.nodes {
        let output = node.op.output();
        for t in node.op.inputs().into_iter().filter(|t| copies(&node.op, *t)) {
            bits[output] = bits[output].max(bits[t]);
        }
    }
    bits
}

/// Whether codes of `input` go through an operator as they are.
fn copies(op: &Op, input: TensorId) -> bool {
    match op {
        Op::Reshape(_) => true,
        Op::Pool(p) => matches!(p.kind, PoolKind::Max),
        Op::Copy(c) => c.requant.is_none(),
        Op::Concat(c) => {
            c.inputs.iter().zip(&c.requants).any(|(t, requant)| *t == input && requant.is_none())
        }
        Op::Conv(_) | Op::Add(_) => false,
    }
}

/// Makes results and pad codes fit the types of their tensors.
fn retype(op: &mut Op, types: &[IntType]) {
    let clip = |code: &mut i32, t: TensorId| {
        let (lo, hi) = types[t].range();
        *code = (*code as i64).clamp(lo, hi) as i32;
    };
    match op {
        Op::Conv(c) => {
            clip(&mut c.pad_code, c.input);
            limit(&mut c.requant, types[c.output]);
        }
        Op::Add(a) => limit(&mut a.sum, types[a.output]),
        Op::Pool(p) => {
            clip(&mut p.pad_code, p.input);
            if let PoolKind::Sum(requant) = &mut p.kind {
                limit(requant, types[p.output]);
            }
        }
        Op::Concat(c) => c.requants.iter_mut().flatten().for_each(|r| limit(r, types[c.output])),
        Op::Copy(c) => c.requant.iter_mut().for_each(|r| limit(r, types[c.output])),
        Op::Reshape(_) => {}
    }
}

fn limit(requant: &mut Requant, ty: IntType) {
    let (lo, hi) = ty.range();
    let clip = |v: i64| v.clamp(lo, hi);
    if !requant.raw {
        requant.clamp = (clip(requant.clamp.0 as i64) as i32, clip(requant.clamp.1 as i64) as i32);
    }
    if let Some(table) = &mut requant.table {
        table.iter_mut().for_each(|v| *v = clip(*v as i64) as i16);
    }
}

/// Weights of `bits` bits; 1: -1 and +1.
fn reweigh(weights: &Weights, bits: u8) -> Weights {
    let signed = weights.ty.signed;
    if bits == 1 {
        let data = weights.data.iter().map(|w| if *w < 0 { -1 } else { 1 }).collect();
        return Weights { shape: weights.shape, data, ty: IntType { bits: 2, signed: true }, bipolar: true };
    }
    let ty = IntType { bits, signed };
    let down = weights.ty.bits.saturating_sub(bits);
    let (lo, hi) = ty.range();
    let narrow = |w: i32| match ((w >> down) as i64).clamp(lo, hi) as i32 {
        0 if w != 0 => 1,
        v => v,
    };
    Weights {
        shape: weights.shape,
        data: weights.data.iter().map(|w| narrow(*w)).collect(),
        ty,
        bipolar: false,
    }
}

/// Bits of a layer's weights, as they are counted: 1 for -1 and +1.
pub fn weight_bits(conv: &Conv) -> u64 {
    if conv.weights.bipolar {
        1
    } else {
        conv.weights.ty.bits as u64
    }
}
