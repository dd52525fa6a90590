// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From graph to stages: what is fused, what is only another name, what needs a stage.

use super::error::{CompileError, CompileErrorKind};
use super::fold::Folded;
use super::ops::Context;
use super::stage::Stage;
use super::Options;
use crate::ir::{Conv, Copy, Graph, Node, Op, Pool, PoolKind, Reshape, TensorId, Weights};
use hdl_gen::Arch;

/// The stages of a network in order.
pub struct Prepared {
    pub stages: Vec<Stage>,
    /// The tensor whose memory each tensor shares (itself, if it has its own).
    pub root: Vec<TensorId>,
}

/// How many nodes read each tensor.
pub fn readers(graph: &Graph) -> Vec<usize> {
    let mut n = vec![0; graph.tensors.len()];
    graph.nodes.iter().flat_map(|node| node.op.inputs()).for_each(|t| n[t] += 1);
    n
}

/// Builds the stages. `kept`: tensors that must exist in full (outputs, or all of them).
pub fn prepare(
    folded_graph: &Folded,
    arch: &Arch,
    options: &Options,
    kept: &[bool],
) -> Result<Prepared, Vec<CompileError>> {
    let graph = &folded_graph.graph;
    let cx = Context { arch, graph, packed: true };
    let readers = readers(graph);
    let mut root: Vec<TensorId> = (0..graph.tensors.len()).collect();
    let mut folded = vec![None; graph.tensors.len()];
    let mut fused = vec![false; graph.nodes.len()];
    let mut stages = Vec::new();
    let mut errors = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        if fused[i] {
            continue;
        }
        let stage = match &node.op {
            Op::Conv(conv) => {
                let pool = match options.fuse && !kept[conv.output] && readers[conv.output] == 1 {
                    true => fusable_pool(graph, arch, conv),
                    false => None,
                };
                let folded = folded[conv.input].map(|input| fold_reshape(graph, conv, input));
                let conv = folded.as_ref().unwrap_or(conv);
                let stage = match pool {
                    Some((at, pool)) => {
                        fused[at] = true;
                        let name = format!("{}+{}", node.name, graph.nodes[at].name);
                        cx.conv(&name, conv, Some(pool))
                    }
                    None => cx.conv(&node.name, conv, None),
                };
                match folded_graph.layers.get(&conv.output) {
                    Some((macs, op)) => stage.map(|s| Stage { macs: *macs, op, ..s }),
                    None => stage,
                }
            }
            Op::Add(add) => cx.add(&node.name, add),
            Op::Pool(pool) => cx.pool(&node.name, pool),
            Op::Concat(concat) => cx.concat(&node.name, concat),
            Op::Copy(copy) => cx.copy(&node.name, copy),
            Op::Reshape(r) => {
                if same_memory(graph, arch, r) {
                    root[r.output] = root[r.input];
                    continue;
                }
                if !kept[r.output] && only_dense_readers(graph, r.output) {
                    folded[r.output] = Some(folded[r.input].unwrap_or(r.input));
                    continue;
                }
                cx.reshape(&node.name, r)
            }
        };
        match stage {
            Ok(s) => stages.push(s),
            Err(kind) => errors.push(kind.at(&node.name)),
        }
    }
    match errors.is_empty() {
        true => Ok(Prepared { stages, root }),
        false => Err(errors),
    }
}

/// A copy of an input, where a graph gives one of its inputs as an output.
pub fn copy_stage(graph: &Graph, arch: &Arch, tensor: TensorId) -> Result<Stage, CompileError> {
    let copy = Copy { input: tensor, output: tensor, first_channel: 0, upsample: 1, requant: None };
    let name = &graph.tensors[tensor].name;
    let context = Context { arch, graph, packed: true };
    let stage = context.copy(name, &copy).map_err(|k: CompileErrorKind| k.at(name))?;
    Ok(Stage { export_only: true, ..stage })
}

/// The pool that can be done behind a convolution: it is the only reader, its windows neither overlap nor are padded, and
/// maximum and function table may change places.
pub fn fusable_pool<'g>(graph: &'g Graph, arch: &Arch, conv: &Conv) -> Option<(usize, &'g Pool)> {
    let reads = |n: &Node| n.op.inputs().contains(&conv.output);
    let at = graph.nodes.iter().position(reads)?;
    let Op::Pool(pool) = &graph.nodes[at].op else { return None };
    let window = pool.kernel[0] * pool.kernel[1];
    let plain = matches!(pool.kind, PoolKind::Max) && pool.kernel == pool.stride && pool.pads == [0; 4];
    // with several accumulator areas (lanes beyond the channels of a pass) each takes a window
    let areas = arch.lanes as usize / arch.requant_lanes as usize;
    let fits = window * areas <= arch.acc_depth as usize;
    let (lo, hi) = conv.requant.clamp;
    let monotonic = conv.requant.table.as_ref().is_none_or(|t| {
        let entry = |v: i32| t[(v & 255) as usize];
        (lo..hi).all(|v| entry(v) <= entry(v + 1))
    });
    (plain && fits && monotonic && !conv.requant.raw).then_some((at, pool))
}

/// Whether both shapes have the same plane-words in the same order.
fn same_memory(graph: &Graph, arch: &Arch, r: &Reshape) -> bool {
    let [a, b] = [r.input, r.output].map(|t| graph.tensors[t].shape);
    let lanes = arch.lanes as usize;
    let raw = graph.tensors[r.input].ty.bits > 16;
    raw || a[2] == b[2] || (a[2] % lanes == 0 && b[2] % lanes == 0)
}

/// Whether the tensor is a vector that only dense layers read.
fn only_dense_readers(graph: &Graph, t: TensorId) -> bool {
    let dense = |op: &Op| match op {
        Op::Conv(c) => c.weights.shape[1..3] == [1, 1] && c.groups == 1 && c.pads == [0; 4],
        _ => false,
    };
    graph.tensors[t].shape[..2] == [1, 1]
        && graph.nodes.iter().filter(|n| n.op.inputs().contains(&t)).all(|n| dense(&n.op))
}

/// A dense layer on a flattened tensor is a convolution whose kernel covers the tensor: the weights stay in order.
fn fold_reshape(graph: &Graph, conv: &Conv, input: TensorId) -> Conv {
    let [h, w, c] = graph.tensors[input].shape;
    let weights = Weights { shape: [conv.weights.shape[0], h, w, c], ..conv.weights.clone() };
    Conv { input, weights, stride: [1, 1], dilation: [1, 1], ..conv.clone() }
}
