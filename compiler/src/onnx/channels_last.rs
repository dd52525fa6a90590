// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QONNX's operators whose first input, weights and output have the channels in the last axis.

use super::lower::Importer;
use super::model::{Attribute, Node};
use super::value::Value;

pub const CHANNELS_LAST: &str = "qonnx.custom_op.channels_last";

/// What there is of that domain.
pub const LAST_OPERATORS: [&str; 4] = ["AveragePool", "BatchNormalization", "Conv", "MaxPool"];

/// Operators that leave every element in its place.
const PLACE_BY_PLACE: [&str; 17] = [
    "Add",
    "BipolarQuant",
    "Cast",
    "Clip",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Identity",
    "IntQuant",
    "Max",
    "Min",
    "Mul",
    "MultiThreshold",
    "Quant",
    "QuantizeLinear",
    "Relu",
    "Sub",
];

/// Tensors that are followed, at most.
const MOST_FOLLOWED: usize = 16;

impl Importer<'_> {
    /// The operator of the default domain between two transpositions.
    pub fn channels_last(&mut self, number: usize, node: &Node) -> Result<Vec<Value>, String> {
        let (Some(x), [y]) = (node.inputs.first(), &node.outputs[..]) else {
            return Err("has no input, or not one output".into());
        };
        let rank = match self.values.get(x) {
            Some(Value::Float(v)) => v.dims.len() as i64,
            Some(Value::Host(v)) => v.dims.len() as i64,
            _ => return Err("its input is constant".into()),
        };
        if rank < 3 {
            return Err(format!("its input has {rank} axes, must have 3 or more"));
        }
        let turn = |from: &str, to: &str, perm: Vec<i64>| Node {
            name: node.name.clone(),
            op: "Transpose".into(),
            domain: String::new(),
            inputs: vec![from.into()],
            outputs: vec![to.into()],
            attributes: [("perm".to_string(), Attribute::Ints(perm))].into(),
        };
        let (first, last) = (format!("{x} before {y}, channels first"), format!("{y}, channels first"));
        let to_front = turn(x, &first, [0, rank - 1].into_iter().chain(1..rank - 1).collect());
        let to_back = turn(&last, y, [0].into_iter().chain(2..rank).chain([1]).collect());
        let mut plain = Node { domain: String::new(), outputs: vec![last.clone()], ..node.clone() };
        plain.inputs[0] = first;
        let mut steps = vec![to_front];
        if node.op == "Conv" {
            let weights = node.inputs.get(1).ok_or("its weights are missing")?;
            plain.inputs[1] = format!("{weights} before {y}, channels first");
            let perm = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
            steps.push(turn(weights, &plain.inputs[1], perm));
        }
        for node in steps.iter().chain([&plain]) {
            let value = self.evaluate(number, node)?.swap_remove(0);
            self.values.insert(node.outputs[0].clone(), value);
        }
        self.evaluate(number, &to_back)
    }

    /// Whether the tensor of a model input's codes is turned, or read with its channels last, before anything reads its places.
    pub fn lies_channels_last(&self, name: &str, rank: i64) -> bool {
        let to_front: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let (mut names, mut at) = (vec![name], 0);
        while let Some(name) = names.get(at).copied().filter(|_| at < MOST_FOLLOWED) {
            at += 1;
            for node in self.model.nodes.iter().filter(|n| n.inputs.iter().any(|i| i == name)) {
                let turned = node.op == "Transpose"
                    && matches!(node.attributes.get("perm"), Some(Attribute::Ints(p)) if *p == to_front);
                let factor = matches!(node.op.as_str(), "MatMul" | "QLinearMatMul") && node.inputs[0] == name;
                if turned || factor || node.domain == CHANNELS_LAST || node.op == "MaxPoolNHWC" {
                    return true;
                }
                if PLACE_BY_PLACE.contains(&node.op.as_str()) {
                    names.extend(node.outputs.iter().map(String::as_str));
                }
            }
        }
        false
    }
}
