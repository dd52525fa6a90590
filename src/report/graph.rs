// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network as a picture: nodes in ranks from the inputs down, edges with the widths of their tensors.

use super::layered::{self, Shape};
use brickwork_compiler::import::Imported;
use brickwork_compiler::ir::{IntType, Node, Op, TensorId};
use brickwork_compiler::program::{LayerInfo, Program};
use serde::Serialize;

/// Coordinates are units of the SVG.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    pub width: f64,
    pub height: f64,
    pub nodes: Vec<Block>,
    pub edges: Vec<Edge>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// `input`, `output`, or the kind of an operator.
    pub kind: String,
    pub title: String,
    /// Kernel, shape, widths.
    pub detail: String,
    /// Index of the program's layer that does it.
    pub layer: Option<usize>,
    /// Middle of the block, and its size.
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub tensor: String,
    /// Type and shape, e.g. `u4 40x80x32`.
    pub label: String,
    pub points: Vec<[f64; 2]>,
}

const BLOCK: (f64, f64) = (210.0, 44.0);
const GAP: (f64, f64) = (36.0, 42.0);

/// `s8`, `u4`, `s32`.
pub fn type_name(ty: IntType) -> String {
    format!("{}{}", if ty.signed { "s" } else { "u" }, ty.bits)
}

/// `40x80x32`.
pub fn shape_name(shape: [usize; 3]) -> String {
    shape.map(|n| n.to_string()).join("x")
}

/// The node whose result a layer of a program makes. A layer is named after its node, after both nodes where two are done
/// as one (`conv+pool`), or after the tensor that it copies.
pub fn makes(layer: &LayerInfo, node: &Node) -> bool {
    let rest = layer.name.strip_suffix(node.name.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('+'))
}

/// The layer in which a node is done.
pub fn layer_of(program: &Program, node: &Node) -> Option<usize> {
    let layers = &program.info.layers;
    let does = |l: &LayerInfo| makes(l, node) || l.name.split('+').any(|part| part == node.name);
    layers.iter().position(does)
}

impl Network {
    pub fn new(model: &Imported, program: &Program) -> Network {
        let graph = &model.graph;
        let mut blocks: Vec<Block> = Vec::new();
        let mut maker: Vec<Option<usize>> = vec![None; graph.tensors.len()];
        let tensor = |t: TensorId| {
            let t = &graph.tensors[t];
            format!("{} {}", type_name(t.ty), shape_name(t.shape))
        };
        for (input, host) in graph.inputs.iter().zip(&model.inputs) {
            maker[*input] = Some(blocks.len());
            blocks.push(block("input", &host.name, tensor(*input), None));
        }
        let mut edges: Vec<(usize, usize, TensorId)> = Vec::new();
        for node in &graph.nodes {
            let to = blocks.len();
            edges.extend(node.op.inputs().into_iter().filter_map(|t| Some((maker[t]?, to, t))));
            maker[node.op.output()] = Some(to);
            blocks.push(block(node.op.kind(), &node.name, detail(model, node), layer_of(program, node)));
        }
        for output in &graph.outputs {
            let to = blocks.len();
            edges.extend(maker[*output].map(|from| (from, to, *output)));
            let host = match model.tail.len() {
                0 => String::new(),
                n => format!(", then {n} operators on the host"),
            };
            blocks.push(block(
                "output",
                &graph.tensors[*output].name,
                format!("{}{host}", tensor(*output)),
                None,
            ));
        }
        place(blocks, &edges, tensor, |t| graph.tensors[t].name.clone())
    }
}

fn block(kind: &str, title: &str, detail: String, layer: Option<usize>) -> Block {
    let (w, h) = BLOCK;
    Block { kind: kind.into(), title: title.into(), detail, layer, x: 0.0, y: 0.0, w, h }
}

/// Kernel and widths of an operator.
fn detail(model: &Imported, node: &Node) -> String {
    match &node.op {
        Op::Conv(c) => {
            let [oc, kh, kw, _] = c.weights.shape;
            let bits = if c.weights.bipolar { "±1".into() } else { type_name(c.weights.ty) };
            let input = type_name(model.graph.tensors[c.input].ty);
            let stride = if c.stride == [1, 1] { String::new() } else { format!(" /{}", c.stride[0]) };
            let groups = if c.groups == 1 { String::new() } else { format!(" x{} groups", c.groups) };
            format!("{kh}x{kw}{stride} to {oc}{groups}, {input} x {bits}")
        }
        Op::Pool(p) => format!("{}x{} /{}", p.kernel[0], p.kernel[1], p.stride[0]),
        Op::Copy(c) if c.upsample > 1 => format!("upsample x{}", c.upsample),
        _ => String::new(),
    }
}

fn place(
    mut blocks: Vec<Block>,
    edges: &[(usize, usize, TensorId)],
    label: impl Fn(TensorId) -> String,
    name: impl Fn(TensorId) -> String,
) -> Network {
    let pairs: Vec<(usize, usize)> = edges.iter().map(|e| (e.0, e.1)).collect();
    let shape = Shape { block: BLOCK, gap: GAP };
    let placed = layered::place(blocks.len(), &pairs, &shape);
    for (block, [x, y]) in blocks.iter_mut().zip(&placed.nodes) {
        (block.x, block.y) = (*x, *y);
    }
    let edges = edges.iter().zip(placed.edges).map(|(&(from, to, t), points)| Edge {
        from,
        to,
        tensor: name(t),
        label: label(t),
        points,
    });
    Network { width: placed.width, height: placed.height, edges: edges.collect(), nodes: blocks }
}
