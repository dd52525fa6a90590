// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is left to the host: the float operators behind everything that the hardware does.

use super::arithmetic::{binary, function_step, normalization};
use super::constant::{
    axis, int, ints, new_shape, permutation, slice_order, slice_ranges, transpose_order, ConstTensor,
};
use super::lower::Importer;
use super::model::{check_activation, Node, MAX_ELEMENTS};
use super::ops::optional;
use super::value::{FloatValue, HostFrom, HostValue, Value};
use crate::functions::Function;
use crate::host::{FloatStep, HostOutput};
use crate::tail::{broadcast_order, Binary, HostNode, HostOp, Reduction};
use std::collections::{BTreeMap, BTreeSet};

/// Operators that need the hardware, or make codes: what comes before one of them is no host's work.
const MACHINE: [&str; 25] = [
    "AveragePool",
    "BipolarQuant",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "IntQuant",
    "MatMul",
    "MatMulInteger",
    "MaxPool",
    "MaxPoolNHWC",
    "MultiThreshold",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearMatMul",
    "QLinearMul",
    "Quant",
    "QuantizeLinear",
    "Trunc",
];

/// Of these, what the host does where nothing for the hardware comes behind.
const QUANTIZERS: [&str; 2] = ["QLinearConcat", "QuantizeLinear"];

/// Operators that the host does wherever nothing but the host's work follows.
const HOST_FIRST: [&str; 13] = [
    "ArgMax",
    "Concat",
    "Exp",
    "Gather",
    "LogSoftmax",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Sigmoid",
    "Softmax",
    "Split",
    "Tanh",
];

/// A node of the host's part while its inputs' final numbers are not known.
pub struct TailNode {
    pub name: String,
    pub op: HostOp,
    pub inputs: Vec<HostFrom>,
    pub dims: Vec<usize>,
}

/// Numbers of the nodes behind which no operator of the machine comes. `quantizers`: QuantizeLinear is none.
pub fn tail_nodes(nodes: &[Node], quantizers: bool) -> BTreeSet<usize> {
    let machine = |number: usize| {
        let op = nodes[number].op.as_str();
        let host = op == "GlobalAveragePool" && averages_floats(nodes, number);
        MACHINE.contains(&op) && !(quantizers && QUANTIZERS.contains(&op)) && !host
    };
    let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, n) in nodes.iter().enumerate() {
        n.inputs.iter().for_each(|name| readers.entry(name).or_default().push(i));
    }
    // Nodes stand in an order in which they can be executed; a reader before its writer is refused elsewhere.
    let mut tail = BTreeSet::new();
    for (i, n) in nodes.iter().enumerate().rev() {
        let behind = n.outputs.iter().filter_map(|o| readers.get(o.as_str())).flatten();
        let hosts = |&r: &usize| tail.contains(&r) && !machine(r);
        if behind.into_iter().all(hosts) {
            tail.insert(i);
        }
    }
    tail
}

/// A global average of what a convolution gives, which nothing has quantized.
fn averages_floats(nodes: &[Node], number: usize) -> bool {
    let mut at = number;
    for _ in 0..8 {
        let made = match nodes[at].op.as_str() {
            "Conv" => return true,
            "GlobalAveragePool" if at != number => return false,
            "GlobalAveragePool" | "Relu" | "Clip" | "LeakyRelu" | "Dropout" | "Identity" => {
                let name = nodes[at].inputs.first();
                name.and_then(|i| nodes[..at].iter().rposition(|n| n.outputs.contains(i)))
            }
            _ => return false,
        };
        let Some(before) = made else { return false };
        at = before;
    }
    false
}

/// The host may do this node where the hardware cannot and only quantizers come behind.
pub fn moves_values(node: &Node) -> bool {
    !MACHINE.contains(&node.op.as_str()) || node.op == "QLinearConcat"
}

/// Joins along another axis than the channels'.
pub fn joins_places(node: &Node, inputs: &[Option<Value>]) -> bool {
    let rank = inputs.iter().flatten().find_map(|v| match v {
        Value::Float(v) => Some(v.dims.len() as i64),
        _ => None,
    });
    let along = int(node, "axis", 1).unwrap_or(1);
    matches!(node.op.as_str(), "Concat" | "QLinearConcat")
        && rank.is_some_and(|r| along != 1 && along != 1 - r)
}

/// `dims` as rows and what lies in each.
pub fn split_dims(dims: &[usize], along: usize) -> Vec<usize> {
    vec![dims[..along].iter().product(), dims[along..].iter().product()]
}

/// The host does this node rather than the hardware.
pub fn prefers_host(node: &Node) -> bool {
    HOST_FIRST.contains(&node.op.as_str())
}

impl Importer<'_> {
    /// The decoded output of the integer graph that gives the value.
    pub fn host_output(&mut self, name: &str, v: &FloatValue) -> Result<HostValue, String> {
        let v = &self.no_input(v.clone())?;
        let tensor = self.result_tensor(name, v)?;
        let channels = self.graph.tensors[tensor].shape[2];
        let order = v.order.as_ref().map(|o| o.to_vec());
        let output = HostOutput {
            name: name.to_string(),
            dims: v.dims.clone(),
            tensor,
            channels,
            chain: Some(v.chain.clone()),
            order,
        };
        let same = |o: &HostOutput| {
            o.tensor == tensor && o.dims == output.dims && o.chain == output.chain && o.order == output.order
        };
        let number = match self.outputs.iter().position(same) {
            Some(number) => number,
            None => {
                self.graph.outputs.push(tensor);
                self.outputs.push(output);
                self.outputs.len() - 1
            }
        };
        Ok(HostValue { from: HostFrom::Output(number), dims: v.dims.clone() })
    }

    pub fn host_node(
        &mut self,
        name: &str,
        op: HostOp,
        inputs: &[&HostValue],
        dims: Vec<usize>,
    ) -> HostValue {
        let inputs = inputs.iter().map(|v| v.from).collect();
        self.tail.push(TailNode { name: name.to_string(), op, inputs, dims: dims.clone() });
        HostValue { from: HostFrom::Node(self.tail.len() - 1), dims }
    }

    pub fn host_input(&mut self, node: &Node, i: usize, value: &Option<Value>) -> Result<HostValue, String> {
        match value {
            Some(Value::Host(v)) => Ok(v.clone()),
            Some(Value::Float(v)) => self.host_output(&node.inputs[i], v),
            Some(Value::Const(t)) => {
                let op = HostOp::Constant(t.floats()?.to_vec());
                Ok(self.host_node(&node.inputs[i], op, &[], t.dims.clone()))
            }
            _ => Err(format!("input {i} is missing")),
        }
    }

    /// The node as the host's work: the values of its outputs.
    pub fn on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<Vec<Value>, String> {
        let name = node.outputs.first().cloned().unwrap_or_default();
        let known = inputs.iter().flatten().map(|v| match v {
            Value::Float(v) => v.dims.clone(),
            Value::Host(v) => v.dims.clone(),
            Value::Const(t) => t.dims.clone(),
            Value::Refused => vec![],
        });
        let dims = known.into_iter().next().ok_or("has no inputs")?;
        let operands = constants.get(1..).unwrap_or(&[]);
        if let Some(new) = new_shape(node, &dims, operands)? {
            let x = self.host_input(node, 0, &inputs[0])?;
            return Ok(vec![Value::Host(self.host_node(&name, HostOp::Reshape, &[&x], new))]);
        }
        if let Some(value) = self.codes_on_host(node, inputs, constants)? {
            return Ok(vec![Value::Host(value)]);
        }
        let result = match node.op.as_str() {
            "TopK" => return self.top_on_host(node, inputs, constants),
            "Cast" if int(node, "to", 0)? == 1 => self.host_input(node, 0, &inputs[0])?,
            "Transpose" => {
                let perm = permutation(node, dims.len())?;
                let new = perm.iter().map(|&p| dims[p]).collect();
                self.picked(node, inputs, new, transpose_order(&dims, &perm))?
            }
            "Slice" => {
                let (new, order) = slice_order(&dims, &slice_ranges(node, &dims, operands)?);
                self.picked(node, inputs, new, order)?
            }
            "Gather" => {
                let indices = constants.get(1).copied().flatten().ok_or("its indices are not constant")?;
                let (new, order) = gathered(&dims, indices, int(node, "axis", 0)?)?;
                self.picked(node, inputs, new, order)?
            }
            "DepthToSpace" | "SpaceToDepth" => {
                let (new, order) = super::shuffles::shuffled_order(node, &dims)?;
                self.picked(node, inputs, new, order)?
            }
            "Split" => return self.split_on_host(node, inputs, &dims, constants),
            "Softmax" | "LogSoftmax" => self.softmax(node, inputs, &dims)?,
            "Concat" => self.concat_on_host(node, inputs)?,
            "ArgMax" => {
                let along = axis(int(node, "axis", 0)?, dims.len())?;
                if int(node, "select_last_index", 0)? != 0 {
                    return Err("select_last_index is not supported".into());
                }
                self.reduced(node, inputs, &dims, along, HostOp::ArgMax { axis: along })?
            }
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" => {
                let axes = match optional(node, constants, 1, "list of axes")? {
                    Some(t) => t.integers()?.to_vec(),
                    None => ints(node, "axes")?.unwrap_or_default(),
                };
                let [along] = axes[..] else { return Err("a single axis is supported".into()) };
                let along = axis(along, dims.len())?;
                let by = match node.op.as_str() {
                    "ReduceSum" => Reduction::Sum,
                    "ReduceMean" => Reduction::Mean,
                    "ReduceMax" => Reduction::Max,
                    _ => Reduction::Min,
                };
                self.reduced(node, inputs, &dims, along, HostOp::Reduce { axis: along, by })?
            }
            "Conv" => self.convolution_on_host(node, inputs, constants)?,
            "GlobalAveragePool" if dims.len() > 2 => {
                let count = dims[2..].iter().product::<usize>();
                let mut new = vec![1; dims.len()];
                new[..2].copy_from_slice(&dims[..2]);
                let x = self.host_input(node, 0, &inputs[0])?;
                self.host_node(&name, HostOp::Average(count.max(1)), &[&x], new)
            }
            "Gemm" | "MatMul" => self.product_on_host(node, inputs, constants)?,
            "BatchNormalization" => {
                let [factor, offset] = normalization(node, &dims, constants)?;
                let x = self.host_input(node, 0, &inputs[0])?;
                let scaled = self.with_constant(&name, &x, Binary::Mul, &factor)?;
                self.with_constant(&name, &scaled, Binary::Add, &offset)?
            }
            "Relu" => self.with_number(node, inputs, Binary::Max, 0.0)?,
            "Neg" => self.with_number(node, inputs, Binary::Mul, -1.0)?,
            "Clip" => self.clip_on_host(node, inputs, constants)?,
            op => match (binary(op), function_step(node)?) {
                (Some(op), _) => self.binary_on_host(node, inputs, op)?,
                (None, Some(FloatStep::Function(f))) => self.function_on_host(node, inputs, f)?,
                (None, Some(FloatStep::Slope(c))) => {
                    self.function_on_host(node, inputs, Function::LeakyRelu(c[0]))?
                }
                _ => return Err("not supported behind the network".into()),
            },
        };
        Ok(vec![Value::Host(result)])
    }

    fn picked(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        dims: Vec<usize>,
        order: Vec<usize>,
    ) -> Result<HostValue, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        let order = order.into_iter().map(|i| u32::try_from(i).map_err(|_| "too large".to_string()));
        let op = HostOp::Pick(order.collect::<Result<_, _>>()?);
        Ok(self.host_node(&node.outputs[0], op, &[&x], dims))
    }

    /// Before operator set 13 all axes from `axis` on are one.
    fn softmax(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        dims: &[usize],
    ) -> Result<HostValue, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        let (name, logarithm) = (&node.outputs[0], node.op == "LogSoftmax");
        let flat = self.model.opset < 13;
        let along = axis(int(node, "axis", if flat { 1 } else { -1 })?, dims.len())?;
        if !flat || along + 1 == dims.len() {
            let op = HostOp::Softmax { axis: along, logarithm };
            return Ok(self.host_node(name, op, &[&x], dims.to_vec()));
        }
        let two = split_dims(dims, along);
        let x = self.host_node(name, HostOp::Reshape, &[&x], two.clone());
        let y = self.host_node(name, HostOp::Softmax { axis: 1, logarithm }, &[&x], two);
        Ok(self.host_node(name, HostOp::Reshape, &[&y], dims.to_vec()))
    }

    fn concat_on_host(&mut self, node: &Node, inputs: &[Option<Value>]) -> Result<HostValue, String> {
        let mut parts = Vec::new();
        for (i, v) in inputs.iter().enumerate() {
            parts.push(self.host_input(node, i, v)?);
        }
        self.joined_on_host(node, parts)
    }

    /// Parts behind each other along the node's axis.
    pub fn joined_on_host(&mut self, node: &Node, parts: Vec<HostValue>) -> Result<HostValue, String> {
        if parts.is_empty() {
            return Err("has no inputs".into());
        }
        let first = parts[0].dims.clone();
        let along = axis(int(node, "axis", 0)?, first.len())?;
        let fits = |v: &HostValue| {
            v.dims.len() == first.len() && (0..first.len()).all(|i| i == along || v.dims[i] == first[i])
        };
        if first.is_empty() || !parts.iter().all(fits) {
            return Err("shapes do not fit together".into());
        }
        let mut dims = first.clone();
        dims[along] = parts.iter().map(|v| v.dims[along]).sum();
        check_activation(&dims)?;
        let parts = parts.iter().collect::<Vec<_>>();
        Ok(self.host_node(&node.outputs[0], HostOp::Concat { axis: along }, &parts, dims))
    }

    fn split_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        dims: &[usize],
        constants: &[Option<&ConstTensor>],
    ) -> Result<Vec<Value>, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        let mut values = Vec::new();
        for (ranges, name) in split_ranges(node, dims, constants)?.iter().zip(&node.outputs) {
            let (new, order) = slice_order(dims, ranges);
            let op = HostOp::Pick(order.into_iter().map(|i| i as u32).collect());
            values.push(Value::Host(self.host_node(name, op, &[&x], new)));
        }
        Ok(values)
    }

    fn reduced(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        dims: &[usize],
        along: usize,
        op: HostOp,
    ) -> Result<HostValue, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        let mut kept = dims.to_vec();
        *kept.get_mut(along).ok_or("a scalar cannot be reduced")? = 1;
        let y = self.host_node(&node.outputs[0], op, &[&x], kept.clone());
        if int(node, "keepdims", 1)? != 0 {
            return Ok(y);
        }
        kept.remove(along);
        Ok(self.host_node(&node.outputs[0], HostOp::Reshape, &[&y], kept))
    }

    fn binary_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        op: Binary,
    ) -> Result<HostValue, String> {
        let [a, b] = inputs else { return Err(format!("{} inputs; 2 are supported", inputs.len())) };
        let (a, b) = (self.host_input(node, 0, a)?, self.host_input(node, 1, b)?);
        let rank = a.dims.len().max(b.dims.len());
        let at = |d: &[usize], i: usize| (i + d.len()).checked_sub(rank).map_or(1, |i| d[i]);
        let dims = (0..rank).map(|i| at(&a.dims, i).max(at(&b.dims, i))).collect::<Vec<_>>();
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let fits = count.is_some_and(|n| n <= MAX_ELEMENTS)
            && [&a, &b].iter().all(|v| broadcast_order(&v.dims, &dims).is_some());
        if !fits {
            return Err(format!("shapes {:?} and {:?} do not fit", a.dims, b.dims));
        }
        Ok(self.host_node(&node.outputs[0], HostOp::Binary(op), &[&a, &b], dims))
    }

    fn with_number(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        op: Binary,
        number: f32,
    ) -> Result<HostValue, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        Ok(self.numbered(&node.outputs[0], &x, op, number))
    }

    /// A constant that has x's rank.
    fn with_constant(
        &mut self,
        name: &str,
        x: &HostValue,
        op: Binary,
        c: &ConstTensor,
    ) -> Result<HostValue, String> {
        let c = self.host_node(name, HostOp::Constant(c.floats()?.to_vec()), &[], c.dims.clone());
        Ok(self.host_node(name, HostOp::Binary(op), &[x, &c], x.dims.clone()))
    }

    fn numbered(&mut self, name: &str, x: &HostValue, op: Binary, number: f32) -> HostValue {
        let c = self.host_node(name, HostOp::Constant(vec![number]), &[], vec![]);
        self.host_node(name, HostOp::Binary(op), &[x, &c], x.dims.clone())
    }

    fn clip_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<HostValue, String> {
        let mut x = self.host_input(node, 0, &inputs[0])?;
        for (i, name, op) in [(1, "min", Binary::Max), (2, "max", Binary::Min)] {
            let bound = match optional(node, constants, i, name)? {
                Some(c) => Some(c.scalar()?),
                None if node.attributes.contains_key(name) => Some(super::constant::float(node, name, 0.0)?),
                None => None,
            };
            if let Some(b) = bound {
                x = self.numbered(&node.outputs[0], &x, op, b);
            }
        }
        Ok(x)
    }

    fn function_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        f: Function,
    ) -> Result<HostValue, String> {
        let x = self.host_input(node, 0, &inputs[0])?;
        let dims = x.dims.clone();
        Ok(self.host_node(&node.outputs[0], HostOp::Function(f), &[&x], dims))
    }

    /// The nodes with final numbers, and a note that says what the host does.
    pub fn finished_tail(&mut self) -> Vec<HostNode> {
        let outputs = self.outputs.len();
        let nodes = std::mem::take(&mut self.tail);
        let number = |from: &HostFrom| match from {
            HostFrom::Output(i) => *i,
            HostFrom::Node(i) => outputs + i,
        };
        let finish = |n: TailNode| HostNode {
            name: n.name,
            op: n.op,
            inputs: n.inputs.iter().map(number).collect(),
            dims: n.dims,
        };
        let nodes = nodes.into_iter().map(finish).collect::<Vec<_>>();
        let listed = |n: &&HostNode| !matches!(n.op, HostOp::Constant(_));
        let list = nodes.iter().filter(listed).map(|n| format!("{} ({})", n.name, n.op.kind()));
        let list = list.collect::<Vec<_>>();
        if !list.is_empty() {
            self.notes.push(format!("the host computes: {}", list.join(", ")));
        }
        nodes
    }
}

/// Places of a Gather along an axis with constant indices.
pub fn gathered(
    dims: &[usize],
    indices: &ConstTensor,
    along: i64,
) -> Result<(Vec<usize>, Vec<usize>), String> {
    let along = axis(along, dims.len())?;
    let size = *dims.get(along).ok_or("a scalar has nothing to gather from")?;
    let picks =
        indices.integers()?.iter().map(|&i| axis(i, size).map_err(|_| format!("index {i} of {size}")));
    let picks = picks.collect::<Result<Vec<_>, _>>()?;
    let inner = dims[along + 1..].iter().product::<usize>();
    let outer = dims[..along].iter().product::<usize>();
    if outer.saturating_mul(inner).saturating_mul(picks.len()) > MAX_ELEMENTS || picks.is_empty() {
        return Err("nothing to gather, or too much".into());
    }
    let mut order = Vec::new();
    for o in 0..outer {
        for &p in &picks {
            order.extend((0..inner).map(|i| (o * size + p) * inner + i));
        }
    }
    Ok(([&dims[..along], &indices.dims, &dims[along + 1..]].concat(), order))
}

/// First element, step and number of elements along one axis.
type Range = (usize, i64, usize);

/// The part that each output of a Split takes.
pub fn split_ranges(
    node: &Node,
    dims: &[usize],
    constants: &[Option<&ConstTensor>],
) -> Result<Vec<Vec<Range>>, String> {
    let along = axis(int(node, "axis", 0)?, dims.len())?;
    let size = *dims.get(along).ok_or("a scalar cannot be split")?;
    let parts = node.outputs.len().max(1);
    let sizes = match optional(node, constants, 1, "list of sizes")? {
        Some(t) => Some(t.integers()?.to_vec()),
        None => ints(node, "split")?,
    };
    let sizes = match sizes {
        Some(list) => list.iter().map(|&s| usize::try_from(s).unwrap_or(0)).collect::<Vec<_>>(),
        None => {
            let each = size.div_ceil(parts);
            (0..parts).map(|i| each.min(size.saturating_sub(i * each))).collect()
        }
    };
    let total = sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s));
    if sizes.len() != parts || total != Some(size) || sizes.contains(&0) {
        return Err(format!("{size} entries along axis {along} cannot be split into {sizes:?}"));
    }
    let mut first = 0;
    let range = |s: &usize| {
        let mut ranges = dims.iter().map(|&d| (0, 1, d)).collect::<Vec<_>>();
        ranges[along] = (first, 1, *s);
        first += s;
        ranges
    };
    Ok(sizes.iter().map(range).collect())
}
