// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The graph of an ONNX file as plain data: names resolved, tensors decoded, sizes checked.

use super::constant::{ConstData, ConstTensor};
use crate::import::ImportError;
use onnx_rs::ast::{self, AttributeType, DataLocation, DataType, Dimension};
use std::collections::BTreeMap;

/// Elements of the largest tensor that is read.
pub const MAX_ELEMENTS: usize = 1 << 28;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Float(f32),
    Int(i64),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(ConstTensor),
    /// Something else; using it is an error.
    Other,
}

/// One node. `name` is the node's own, or that of its first output.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub op: String,
    pub domain: String,
    /// Empty names are omitted optional inputs.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: BTreeMap<String, Attribute>,
}

/// A graph input: name and shape; a free batch size counts as 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub dims: Vec<usize>,
}

/// A model's graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Version of the default operator set.
    pub opset: i64,
    pub nodes: Vec<Node>,
    pub constants: BTreeMap<String, ConstTensor>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<String>,
    pub notes: Vec<String>,
}

/// Parses and checks a file.
pub fn read(bytes: &[u8]) -> Result<Model, Vec<ImportError>> {
    let file = |reason: String| vec![ImportError::file("file", reason)];
    let parsed = onnx_rs::parse(bytes).map_err(|e| file(format!("not a readable ONNX file: {e}")))?;
    let graph = parsed.graph.as_ref().ok_or_else(|| file("the ONNX file holds no graph".into()))?;
    let mut errors = Vec::new();
    let mut notes = Vec::new();
    if !graph.sparse_initializer.is_empty() {
        errors.push(ImportError::file("graph", "sparse initializers are not supported"));
    }
    let mut constants = BTreeMap::new();
    for t in &graph.initializer {
        match decode(t) {
            Ok(value) => drop(constants.insert(t.name().to_string(), value)),
            Err(reason) => errors.push(ImportError::file(format!("initializer {}", t.name()), reason)),
        }
    }
    let mut inputs = Vec::new();
    for info in graph.non_init_inputs() {
        match input(info, &mut notes) {
            Ok(i) => inputs.push(i),
            Err(reason) => errors.push(ImportError::file(format!("input {}", info.name), reason)),
        }
    }
    let outputs = graph.output.iter().map(|o| o.name.to_string()).collect::<Vec<_>>();
    if outputs.is_empty() || inputs.is_empty() {
        errors.push(ImportError::file("graph", "the model has no inputs or no outputs"));
    }
    let nodes = graph.node.iter().map(|n| node(n, &mut errors)).collect();
    let opset =
        parsed.opset_import.iter().find(|o| matches!(o.domain, "" | "ai.onnx")).map_or(0, |o| o.version);
    if errors.is_empty() {
        Ok(Model { opset, nodes, constants, inputs, outputs, notes })
    } else {
        Err(errors)
    }
}

fn input(info: &ast::ValueInfo, notes: &mut Vec<String>) -> Result<Input, String> {
    match info.tensor_elem_type() {
        Some(DataType::Float) => {}
        Some(other) => return Err(format!("elements of type {other:?}; only float32 inputs are supported")),
        None => return Err("has no tensor type".into()),
    }
    let shape = info.tensor_shape().ok_or("has no shape")?;
    let mut dims = Vec::new();
    for (axis, dim) in shape.dim.iter().enumerate() {
        match dim.value {
            Dimension::Value(v) if v > 0 && (axis > 0 || v == 1) => dims.push(v as usize),
            Dimension::Value(v) if axis == 0 && v > 1 => return Err(format!("batch size is {v}, must be 1")),
            Dimension::Param(p) if axis == 0 => {
                notes.push(format!("input {}: free batch size {p:?} taken as 1", info.name));
                dims.push(1);
            }
            // Some exporters write a free batch as 0.
            Dimension::Value(0) if axis == 0 => {
                notes.push(format!("input {}: batch size 0 taken as 1", info.name));
                dims.push(1);
            }
            ref other => return Err(format!("dimension {axis} is {other:?}, must be a positive number")),
        }
    }
    check_count(&dims)?;
    Ok(Input { name: info.name.to_string(), dims })
}

fn check_count(dims: &[usize]) -> Result<usize, String> {
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| format!("shape {dims:?} is too large"))
}

fn node(n: &ast::Node, errors: &mut Vec<ImportError>) -> Node {
    let name = if n.name.is_empty() { n.output.first().copied().unwrap_or("(unnamed)") } else { n.name };
    let op = n.op_type.as_str().to_string();
    let mut attributes = BTreeMap::new();
    for a in &n.attribute {
        match attribute(a) {
            Ok(value) => drop(attributes.insert(a.name.to_string(), value)),
            Err(reason) => errors.push(ImportError {
                at: name.to_string(),
                operator: Some(op.clone()),
                reason: format!("attribute {}: {reason}", a.name),
            }),
        }
    }
    let own = |names: &[&str]| names.iter().map(|s| s.to_string()).collect();
    let (inputs, outputs) = (own(&n.input), own(&n.output));
    Node { name: name.to_string(), op, domain: n.domain.to_string(), inputs, outputs, attributes }
}

fn attribute(a: &ast::Attribute) -> Result<Attribute, String> {
    Ok(match a.r#type {
        AttributeType::Float => Attribute::Float(a.f),
        AttributeType::Int => Attribute::Int(a.i),
        AttributeType::String => Attribute::Text(String::from_utf8_lossy(a.s).into_owned()),
        AttributeType::Ints => Attribute::Ints(a.ints.clone()),
        AttributeType::Floats => Attribute::Floats(a.floats.clone()),
        AttributeType::Tensor => Attribute::Tensor(decode(a.t.as_ref().ok_or("holds no tensor")?)?),
        _ => Attribute::Other,
    })
}

/// A tensor of the file. float32, and the integer types (as int64).
fn decode(t: &ast::TensorProto) -> Result<ConstTensor, String> {
    if t.data_location() == DataLocation::External {
        return Err("data in another file are not supported".into());
    }
    let dims = t.dims().iter().map(|&d| usize::try_from(d).map_err(|_| format!("dimension {d} is negative")));
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    let count = check_count(&dims)?;
    let empty = |found: usize| {
        if count == 0 {
            Ok(())
        } else {
            Err(format!("{found} of {count} elements are there"))
        }
    };
    let data = match t.data_type() {
        DataType::Float => match t.as_f32() {
            Some(v) => ConstData::F32(v.into_owned()),
            None => empty(0).map(|()| ConstData::F32(vec![]))?,
        },
        DataType::Int64 => match t.as_i64() {
            Some(v) => ConstData::I64(v.into_owned()),
            None => empty(0).map(|()| ConstData::I64(vec![]))?,
        },
        DataType::Int32 => match t.as_i32() {
            Some(v) => ConstData::I64(v.iter().map(|&v| v as i64).collect()),
            None => empty(0).map(|()| ConstData::I64(vec![]))?,
        },
        DataType::Int8 | DataType::Uint8 | DataType::Bool => ConstData::I64(small_integers(t)),
        other => return Err(format!("elements of type {other:?} are not supported")),
    };
    ConstTensor::new(dims, data)
}

/// 8-bit types stand in the raw bytes or, one each, in the 32-bit field (which the parser gives for int32 only, so the
/// count check that follows refuses it).
fn small_integers(t: &ast::TensorProto) -> Vec<i64> {
    let signed = t.data_type() == DataType::Int8;
    let raw = t.as_raw().unwrap_or(&[]);
    if let (true, Some(wide)) = (raw.is_empty(), t.as_i32()) {
        return wide.iter().map(|&v| v as i64).collect();
    }
    raw.iter().map(|&b| if signed { b as i8 as i64 } else { b as i64 }).collect()
}
