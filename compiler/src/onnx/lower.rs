// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Walks the nodes of a model, keeps what every tensor is, and collects the integer graph.

use super::constant::{evaluate, ConstTensor};
use super::model::{Model, Node};
use super::value::{Base, FloatValue, Value};
use crate::host::{FloatChain, HostInput, HostOutput};
use crate::import::{plain_results, ImportError, Imported};
use crate::ir::{Graph, IntType, Op, Tensor, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Operator domains that are understood; old exporters name no operator set for theirs.
const DOMAINS: [&str; 5] =
    ["", "ai.onnx", "onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general"];

/// Operators that are understood, for constants or for activations.
const OPERATORS: [&str; 36] = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "BipolarQuant",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "IntQuant",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Pow",
    "Quant",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Shape",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
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
}

/// Turns a model into an integer graph and the host's steps around it.
pub fn lower(name: &str, model: &Model) -> Result<Imported, Vec<ImportError>> {
    let mut errors = unsupported(model);
    let graph =
        Graph { name: name.to_string(), tensors: vec![], nodes: vec![], inputs: vec![], outputs: vec![] };
    let mut importer = Importer {
        model,
        values: BTreeMap::new(),
        graph,
        ranges: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: model.notes.clone(),
    };
    importer.sources();
    for node in &model.nodes {
        importer.run(node, &mut errors);
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
        if !DOMAINS.contains(&n.domain.as_str()) {
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
            let value = FloatValue { dims, base: Base::Input(i), chain, order: None };
            self.values.insert(input.name.clone(), Value::Float(value));
        }
    }

    /// Gives the node's outputs their values; on an error they count as refused, so that nodes behind say nothing.
    fn run(&mut self, node: &Node, errors: &mut Vec<ImportError>) {
        let value = match self.evaluate(node) {
            Ok(value) => value,
            Err(reason) => {
                // Unsupported operators are in the list already.
                if !errors.iter().any(|e| e.at == node.name && e.operator.as_ref() == Some(&node.op)) {
                    errors.push(refused(node, reason));
                }
                Value::Refused
            }
        };
        for (i, name) in node.outputs.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            // Only first outputs are supported; one that is used although it is another is refused where it is read.
            let value = if i == 0 { value.clone() } else { Value::Refused };
            if i > 0 && self.is_read(name) {
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

    fn evaluate(&mut self, node: &Node) -> Result<Value, String> {
        let mut inputs = Vec::new();
        for name in &node.inputs {
            if name.is_empty() {
                inputs.push(None);
                continue;
            }
            match self.values.get(name) {
                Some(Value::Refused) => return Ok(Value::Refused),
                Some(value) => inputs.push(Some(value.clone())),
                None => return Err(format!("reads tensor {name:?}, which nothing before it gives")),
            }
        }
        if !DOMAINS.contains(&node.domain.as_str()) {
            return Err("unsupported domain".into());
        }
        let constants = inputs.iter().map(as_constant).collect::<Vec<_>>();
        if inputs.iter().flatten().all(|v| matches!(v, Value::Const(_))) {
            return match evaluate(node, &constants)? {
                Some(t) => Ok(Value::Const(Rc::new(t))),
                None => Err("not supported on constants".into()),
            };
        }
        self.operator(node, &inputs, &constants)
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
            None => return Err("nothing gives it".into()),
        };
        let tensor = self.result_tensor(name, &value)?;
        let channels = self.graph.tensors[tensor].shape[2];
        self.graph.outputs.push(tensor);
        self.outputs.push(HostOutput {
            name: name.to_string(),
            dims: value.dims.clone(),
            tensor,
            channels,
            chain: Some(value.chain),
            order: value.order.map(|o| o.to_vec()),
        });
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
        self.notes.dedup();
        let show = |e: &crate::check::IrError| ImportError::file(e.at.clone(), e.kind.to_string());
        self.graph.check().map_err(|errors| errors.iter().map(show).collect::<Vec<_>>())?;
        let results = plain_results(&self.outputs);
        Ok(Imported {
            graph: self.graph,
            inputs: self.inputs,
            outputs: self.outputs,
            tail: vec![],
            results,
            notes: self.notes,
        })
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
