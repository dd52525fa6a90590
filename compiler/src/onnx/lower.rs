// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Walks the nodes of a model, keeps what every tensor is, and collects the integer graph.

use super::channels_last::{CHANNELS_LAST, LAST_OPERATORS};
use super::constant::ConstTensor;
use super::evaluate::evaluate;
use super::host::{moves_values, prefers_host, split_ranges, tail_nodes, TailNode};
use super::host_layers::averages_before_products;
use super::model::{Model, Node};
use super::value::{Base, FloatValue, HostFrom, HostValue, Pending, Value};
use crate::host::{FloatChain, HostInput, HostOutput};
use crate::import::{HostResult, ImportError, Imported};
use crate::ir::{Graph, IntType, Op, Tensor, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Operator domains that are understood; old exporters name no operator set for theirs.
const DOMAINS: [&str; 6] =
    ["", "ai.onnx", "com.microsoft", "finn.custom_op.general", "onnx.brevitas", "qonnx.custom_op.general"];

/// Operators that are understood, for constants, for activations or behind the network.
const OPERATORS: [&str; 94] = [
    "Abs",
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "BipolarQuant",
    "BitShift",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IntQuant",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "MaxPoolNHWC",
    "Min",
    "Mish",
    "Mul",
    "MultiThreshold",
    "Neg",
    "PRelu",
    "Pad",
    "Pow",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMatMul",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "Quant",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "ThresholdedRelu",
    "TopK",
    "Transpose",
    "Trunc",
    "Unsqueeze",
    "Upsample",
];

/// State of an import.
pub struct Importer<'m> {
    pub model: &'m Model,
    pub values: BTreeMap<String, Value>,
    pub graph: Graph,
    /// Codes that each tensor of the graph can hold.
    pub ranges: Vec<(i64, i64)>,
    pub inputs: Vec<HostInput>,
    pub outputs: Vec<HostOutput>,
    pub notes: Vec<String>,
    /// What the host computes behind the graph.
    pub tail: Vec<TailNode>,
    /// Numbers of the model's nodes behind which nothing for the hardware comes.
    behind: BTreeSet<usize>,
    /// The same where quantizers are the host's work, too.
    at_tail: BTreeSet<usize>,
    /// Numbers of averages that only last products read.
    last_averages: BTreeSet<usize>,
    /// Tensors whose codes are a function of another's: that tensor, its first code, and the codes for it and the next ones.
    pub derived: BTreeMap<TensorId, (TensorId, i64, Vec<i64>)>,
    results: Vec<(String, HostValue)>,
    /// Integer model inputs that are graph inputs already: number, shape, order of elements.
    #[allow(clippy::type_complexity)]
    pub integer_inputs: Vec<((usize, Vec<usize>, Option<Rc<Vec<usize>>>), FloatValue)>,
    /// The node at hand has nothing for the hardware behind it.
    pub at_end: bool,
    /// Nodes whose float sums the reference rounds on the way.
    pub rounded: Vec<String>,
    /// Raw results of operators that wait for no quantizer.
    pub raw: Vec<(Rc<Pending>, TensorId)>,
    /// Convolutions that only add a border, by their output tensors.
    pub borders: Vec<([usize; 4], TensorId)>,
}

/// Turns a model into an integer graph and the host's steps around it.
pub fn lower(name: &str, model: &Model) -> Result<Imported, Vec<ImportError>> {
    let mut errors = unsupported(model);
    let graph =
        Graph { name: name.to_string(), tensors: vec![], nodes: vec![], inputs: vec![], outputs: vec![] };
    let behind = tail_nodes(&model.nodes, false);
    let mut importer = Importer {
        model,
        last_averages: averages_before_products(&model.nodes, &behind),
        values: BTreeMap::new(),
        graph,
        ranges: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: model.notes.clone(),
        tail: Vec::new(),
        behind,
        at_tail: tail_nodes(&model.nodes, true),
        derived: BTreeMap::new(),
        results: Vec::new(),
        integer_inputs: Vec::new(),
        at_end: false,
        rounded: Vec::new(),
        raw: Vec::new(),
        borders: Vec::new(),
    };
    importer.sources();
    for (number, node) in model.nodes.iter().enumerate() {
        importer.run(number, node, &mut errors);
    }
    for output in &model.outputs {
        if let Err(reason) = importer.output(output) {
            errors.push(ImportError::file(format!("output {output}"), reason));
        }
    }
    if errors.is_empty() {
        importer.finish()
    } else {
        Err(errors)
    }
}

fn refused(node: &Node, reason: String) -> ImportError {
    ImportError { at: node.name.clone(), operator: Some(node.op.clone()), reason }
}

/// All nodes whose operator or domain is not understood.
fn unsupported(model: &Model) -> Vec<ImportError> {
    let reason = |n: &Node| {
        if n.domain == CHANNELS_LAST {
            let known = LAST_OPERATORS.contains(&n.op.as_str());
            (!known).then(|| "not supported with channels last".to_string())
        } else if !DOMAINS.contains(&n.domain.as_str()) {
            Some(format!("operator domain {:?} is not supported", n.domain))
        } else if !OPERATORS.contains(&n.op.as_str()) {
            Some("this operator is not supported".to_string())
        } else {
            None
        }
    };
    model.nodes.iter().filter_map(|n| Some(refused(n, reason(n)?))).collect()
}

impl Importer<'_> {
    /// Constants and model inputs.
    fn sources(&mut self) {
        for (name, t) in &self.model.constants {
            self.values.insert(name.clone(), Value::Const(Rc::new(t.clone())));
        }
        for (i, input) in self.model.inputs.iter().enumerate() {
            let (dims, chain) = (input.dims.clone(), FloatChain::default());
            let value = FloatValue { dims, base: Base::Input(i), chain, order: None, int: input.int };
            self.values.insert(input.name.clone(), Value::Float(value));
        }
    }

    /// Gives the node's outputs their values; on an error they count as refused, so that nodes behind say nothing.
    fn run(&mut self, number: usize, node: &Node, errors: &mut Vec<ImportError>) {
        let values = match self.evaluate(number, node) {
            Ok(values) => values,
            Err(reason) => {
                // Unsupported operators are in the list already.
                if !errors.iter().any(|e| e.at == node.name && e.operator.as_ref() == Some(&node.op)) {
                    errors.push(refused(node, reason));
                }
                vec![Value::Refused; node.outputs.len().max(1)]
            }
        };
        for (i, name) in node.outputs.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let value = values.get(i).cloned().unwrap_or(Value::Refused);
            if i >= values.len() && self.is_read(name) {
                errors.push(refused(node, format!("its output {i} is used; only the first is supported")));
            }
            if self.values.insert(name.clone(), value).is_some() {
                errors.push(refused(node, format!("gives tensor {name:?}, which exists already")));
            }
        }
    }

    fn is_read(&self, name: &str) -> bool {
        let by_node = self.model.nodes.iter().any(|n| n.inputs.iter().any(|i| i == name));
        by_node || self.model.outputs.iter().any(|o| o == name)
    }

    /// The values of the node's outputs.
    pub fn evaluate(&mut self, number: usize, node: &Node) -> Result<Vec<Value>, String> {
        if node.outputs.is_empty() {
            return Err("has no outputs".into());
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            if name.is_empty() {
                inputs.push(None);
                continue;
            }
            match self.values.get(name) {
                Some(Value::Refused) => return Ok(vec![Value::Refused; node.outputs.len()]),
                Some(value) => inputs.push(Some(value.clone())),
                None => return Err(format!("reads tensor {name:?}, which nothing before it gives")),
            }
        }
        if node.domain == CHANNELS_LAST {
            return self.channels_last(number, node);
        }
        if !DOMAINS.contains(&node.domain.as_str()) {
            return Err("unsupported domain".into());
        }
        let constants = inputs.iter().map(as_constant).collect::<Vec<_>>();
        if inputs.iter().flatten().all(|v| matches!(v, Value::Const(_))) {
            return match evaluate(node, &constants)? {
                Some(t) => Ok(vec![Value::Const(Rc::new(t))]),
                None => Err("not supported on constants".into()),
            };
        }
        let host_made = inputs.iter().flatten().any(|v| matches!(v, Value::Host(_)));
        if host_made && node.op == "Shape" {
            let Some(Some(Value::Host(v))) = inputs.first() else { return Err("has no input".into()) };
            return Ok(vec![Value::Const(Rc::new(super::constant::shape_of(&v.dims)))]);
        }
        let behind = self.behind.contains(&number);
        self.at_end = behind;
        if host_made || (behind && prefers_host(node)) || node.op == "TopK" {
            return self.on_host(node, &inputs, &constants);
        }
        if self.last_averages.contains(&number) {
            return self.on_host(node, &inputs, &constants);
        }
        if self.at_tail.contains(&number) && super::host::joins_places(node, &inputs) {
            return self.on_host(node, &inputs, &constants);
        }
        if node.op == "Split" {
            let before = (self.graph.tensors.len(), self.graph.nodes.len());
            return match self.split(node, &inputs, &constants) {
                Err(reason) if behind || self.at_tail.contains(&number) => {
                    self.give_up(before);
                    self.on_host(node, &inputs, &constants).map_err(|_| reason)
                }
                done => done,
            };
        }
        let before = (self.graph.tensors.len(), self.graph.nodes.len());
        let done = self.operator(node, &inputs, &constants);
        match done {
            Err(reason) if behind || (self.at_tail.contains(&number) && moves_values(node)) => {
                self.give_up(before);
                self.on_host(node, &inputs, &constants).map_err(|_| reason)
            }
            done => Ok(vec![done?]),
        }
    }

    /// Takes back what a node has begun: tensors and nodes of the graph beyond these numbers.
    fn give_up(&mut self, (tensors, nodes): (usize, usize)) {
        self.graph.tensors.truncate(tensors);
        self.ranges.truncate(tensors);
        self.graph.nodes.truncate(nodes);
        self.derived.retain(|t, _| *t < tensors);
        self.borders.retain(|(_, t)| *t < tensors);
        self.raw.retain(|(_, t)| *t < tensors);
    }

    /// A Split along the channels.
    fn split(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<Vec<Value>, String> {
        let v = super::ops::activation(inputs, 0)?;
        let v = self.no_input(v)?;
        let parts = split_ranges(node, &v.dims, constants)?;
        let mut values = Vec::new();
        for (ranges, name) in parts.iter().zip(&node.outputs) {
            let one = Node { outputs: vec![name.clone()], ..node.clone() };
            values.push(Value::Float(self.cut(&one, v.clone(), ranges)?));
        }
        Ok(values)
    }

    /// A new tensor of the graph with codes `range`.
    pub fn tensor(&mut self, name: &str, shape: [usize; 3], ty: IntType, range: (i64, i64)) -> TensorId {
        let taken = self.graph.tensors.iter().map(|t| t.name.as_str()).collect::<BTreeSet<_>>();
        let name = fresh(name, &taken);
        self.graph.tensors.push(Tensor { name, shape, ty, scale: 1.0, zero_point: 0 });
        self.ranges.push(range);
        self.graph.tensors.len() - 1
    }

    /// A new node of the graph.
    pub fn node(&mut self, name: &str, op: Op) {
        let taken = self.graph.nodes.iter().map(|n| n.name.as_str()).collect::<BTreeSet<_>>();
        let name = fresh(name, &taken);
        self.graph.nodes.push(crate::ir::Node { name, op });
    }

    fn output(&mut self, name: &str) -> Result<(), String> {
        let value = match self.values.get(name) {
            Some(Value::Refused) => return Ok(()),
            Some(Value::Const(_)) => return Err("is constant".into()),
            Some(Value::Float(v)) => v.clone(),
            Some(Value::Host(v)) => {
                self.results.push((name.to_string(), v.clone()));
                return Ok(());
            }
            None => return Err("nothing gives it".into()),
        };
        let output = self.host_output(name, &value)?;
        self.results.push((name.to_string(), output));
        Ok(())
    }

    fn finish(mut self) -> Result<Imported, Vec<ImportError>> {
        for input in &self.model.inputs {
            if !self.inputs.iter().any(|i| i.name == input.name) {
                return Err(vec![ImportError::file(
                    format!("input {}", input.name),
                    "no output depends on it",
                )]);
            }
        }
        self.fold_borders();
        self.sweep();
        self.notes.dedup();
        let show = |e: &crate::check::IrError| ImportError::file(e.at.clone(), e.kind.to_string());
        self.graph.check().map_err(|errors| errors.iter().map(show).collect::<Vec<_>>())?;
        let outputs = self.outputs.len();
        let result = |(name, v): &(String, HostValue)| HostResult {
            name: name.clone(),
            dims: v.dims.clone(),
            value: match v.from {
                HostFrom::Output(i) => i,
                HostFrom::Node(i) => outputs + i,
            },
        };
        let results = self.results.iter().map(result).collect();
        let tail = self.finished_tail();
        if !self.rounded.is_empty() {
            self.notes.push(format!(
                "the reference's own float32 sums are not exact in {}, and depend on its order of additions; the exact \
                 sum, rounded once to float32, stands for them",
                self.rounded.join(", ")
            ));
        }
        Ok(Imported {
            graph: self.graph,
            inputs: self.inputs,
            outputs: self.outputs,
            tail,
            results,
            notes: self.notes,
        })
    }

    /// Convolutions take over the border that another one only adds, where nothing else reads it.
    fn fold_borders(&mut self) {
        for (pads, padded) in std::mem::take(&mut self.borders) {
            let Some(at) = self.graph.nodes.iter().position(|n| n.op.output() == padded) else { continue };
            let Op::Conv(border) = &self.graph.nodes[at].op else { continue };
            let (source, code) = (border.input, border.pad_code);
            let takes = |op: &Op| match op {
                Op::Conv(c) => {
                    let extent = |a: usize| (c.weights.shape[1 + a] - 1) * c.dilation[a] + 1;
                    (c.pads == [0; 4] || c.pad_code == code)
                        && (0..4).all(|i| c.pads[i] + pads[i] < extent(i % 2))
                }
                _ => false,
            };
            let readers = self.graph.nodes.iter().filter(|n| n.op.inputs().contains(&padded));
            let all = readers.clone().count() > 0 && readers.into_iter().all(|n| takes(&n.op));
            if !all || self.graph.outputs.contains(&padded) {
                continue;
            }
            for node in &mut self.graph.nodes {
                if let Op::Conv(c) = &mut node.op {
                    if c.input == padded {
                        c.input = source;
                        c.pad_code = code;
                        (0..4).for_each(|i| c.pads[i] += pads[i]);
                    }
                }
            }
            self.graph.nodes.remove(at);
        }
    }

    /// Takes away nodes whose results nothing reads, and tensors that nothing gives.
    fn sweep(&mut self) {
        loop {
            let read = |t: TensorId| {
                self.graph.outputs.contains(&t) || self.graph.nodes.iter().any(|n| n.op.inputs().contains(&t))
            };
            match self.graph.nodes.iter().position(|n| !read(n.op.output())) {
                Some(at) => drop(self.graph.nodes.remove(at)),
                None => break,
            }
        }
        let mut used = vec![false; self.graph.tensors.len()];
        self.graph.inputs.iter().for_each(|&t| used[t] = true);
        self.graph.nodes.iter().for_each(|n| used[n.op.output()] = true);
        let mut number = vec![0; used.len()];
        let mut kept = Vec::new();
        for (t, tensor) in std::mem::take(&mut self.graph.tensors).into_iter().enumerate() {
            if used[t] {
                number[t] = kept.len();
                kept.push(tensor);
            }
        }
        self.graph.tensors = kept;
        let renumber = |t: &mut TensorId| *t = number[*t];
        self.graph.inputs.iter_mut().for_each(renumber);
        self.graph.outputs.iter_mut().for_each(renumber);
        self.outputs.iter_mut().for_each(|o| renumber(&mut o.tensor));
        self.inputs.iter_mut().for_each(|i| renumber(&mut i.tensor));
        for node in &mut self.graph.nodes {
            node.op.tensors_mut().into_iter().for_each(renumber);
        }
    }
}

fn as_constant(value: &Option<Value>) -> Option<&ConstTensor> {
    match value {
        Some(Value::Const(t)) => Some(t),
        _ => None,
    }
}

/// `name`, or `name_2`, `name_3` ... where it is taken.
fn fresh(name: &str, taken: &BTreeSet<&str>) -> String {
    let numbered = (2..).map(|i| format!("{name}_{i}"));
    let mut candidates = std::iter::once(name.to_string()).chain(numbered);
    candidates.find(|n| !taken.contains(n.as_str())).expect("endless candidates")
}
