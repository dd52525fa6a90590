// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The graph of an ONNX file as plain data: names resolved, tensors decoded, sizes checked.

use super::constant::{ConstData, ConstTensor};
use crate::import::ImportError;
use crate::ir::IntType;
use onnx_rs::ast::{self, AttributeType, DataLocation, DataType, Dimension};
use std::collections::BTreeMap;

/// Elements of the largest tensor that is read from a file, which holds them.
const MAX_STORED: usize = 1 << 28;

/// Elements of the largest tensor that arises: activations, and constants made of others.
pub const MAX_ELEMENTS: usize = 1 << 24;

/// Graphs (or types) within each other, at most.
const MAX_DEPTH: usize = 64;

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
    /// `None`: float32.
    pub int: Option<IntType>,
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
    if !shallow(bytes, Message::Model, 0) {
        return Err(file(format!("graphs or types lie more than {MAX_DEPTH} deep within each other")));
    }
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
    if outputs.is_empty() || (inputs.is_empty() && errors.is_empty()) {
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
    let int = match info.tensor_elem_type() {
        Some(DataType::Float) => None,
        Some(
            t @ (DataType::Int8
            | DataType::Uint8
            | DataType::Int16
            | DataType::Uint16
            | DataType::Int4
            | DataType::Uint4),
        ) => int_type(t),
        Some(other) => {
            return Err(format!(
                "elements of type {other:?}; float32 and integers of at most 16 bits are supported"
            ))
        }
        None => return Err("has no tensor type".into()),
    };
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
            // Some exporters write a free batch as 0 or -1.
            Dimension::Value(v @ (0 | -1)) if axis == 0 => {
                notes.push(format!("input {}: batch size {v} taken as 1", info.name));
                dims.push(1);
            }
            Dimension::Value(v) => return Err(format!("dimension {axis} is {v}, must be a positive number")),
            Dimension::Param(p) => {
                return Err(format!(
                    "dimension {axis} is free ({p:?}); fix it: python3 -m onnxruntime.tools.make_dynamic_shape_fixed"
                ))
            }
        }
    }
    check_count(&dims, MAX_ELEMENTS)?;
    Ok(Input { name: info.name.to_string(), dims, int })
}

/// Messages of the file format that can lie within themselves.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Value,
    Type,
    TypePart,
}

impl Message {
    /// What field `number` holds, if that leads on.
    fn field(self, number: u64) -> Option<Message> {
        Some(match (self, number) {
            (Message::Model, 7) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Model, 25) => Message::Function,
            (Message::Graph, 1) | (Message::Function, 7) => Message::Node,
            (Message::Graph, 11..=13) => Message::Value,
            (Message::Node, 5) | (Message::Function, 11) => Message::Attribute,
            (Message::Attribute, 14 | 15) | (Message::Value, 2) | (Message::TypePart, 1 | 2) => Message::Type,
            (Message::Type, 4 | 5 | 9) => Message::TypePart,
            _ => return None,
        })
    }
}

/// The parser goes into every graph within a graph; a file must not take it deeper than its stack. What is damaged is the
/// parser's to tell.
fn shallow(bytes: &[u8], message: Message, depth: usize) -> bool {
    if depth > 4 * MAX_DEPTH {
        return false;
    }
    let mut at = 0;
    while let Some(tag) = varint(bytes, &mut at) {
        let length = match tag & 7 {
            0 => {
                if varint(bytes, &mut at).is_none() {
                    return true;
                }
                continue;
            }
            1 => 8,
            5 => 4,
            2 => match varint(bytes, &mut at) {
                Some(length) => length,
                None => return true,
            },
            _ => return true,
        };
        let end = usize::try_from(length).ok().and_then(|l| at.checked_add(l)).filter(|&e| e <= bytes.len());
        let Some(end) = end else { return true };
        if let (2, Some(inner)) = (tag & 7, message.field(tag >> 3)) {
            if !shallow(&bytes[at..end], inner, depth + 1) {
                return false;
            }
        }
        at = end;
    }
    true
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= ((byte & 127) as u64) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// Errors: an activation of this shape would be too large.
pub fn check_activation(shape: &[usize]) -> Result<(), String> {
    check_count(shape, MAX_ELEMENTS).map(drop)
}

fn check_count(dims: &[usize], most: usize) -> Result<usize, String> {
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.filter(|&n| n <= most).ok_or_else(|| format!("shape {dims:?} is too large"))
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
    let count = check_count(&dims, MAX_STORED)?;
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
        DataType::Int8 | DataType::Uint8 | DataType::Int16 | DataType::Uint16 | DataType::Bool => {
            ConstData::I64(small_integers(t))
        }
        DataType::Int4 | DataType::Uint4 => ConstData::I64(nibbles(t, count)),
        other => return Err(format!("elements of type {other:?} are not supported")),
    };
    let mut tensor = ConstTensor::new(dims, data)?;
    tensor.int = int_type(t.data_type());
    Ok(tensor)
}

/// The integers of an element type; `None` for all others.
fn int_type(t: DataType) -> Option<IntType> {
    let (bits, signed) = match t {
        DataType::Bool => (1, false),
        DataType::Uint4 => (4, false),
        DataType::Int4 => (4, true),
        DataType::Uint8 => (8, false),
        DataType::Int8 => (8, true),
        DataType::Uint16 => (16, false),
        DataType::Int16 => (16, true),
        DataType::Uint32 => (32, false),
        DataType::Int32 => (32, true),
        DataType::Int64 => (64, true),
        _ => return None,
    };
    Some(IntType { bits, signed })
}

/// The integer type of an ONNX element type number.
pub fn int_type_numbered(number: i64) -> Option<IntType> {
    int_type(DataType::try_from(i32::try_from(number).ok()?).ok()?)
}

/// 8- and 16-bit types stand in the raw bytes or, one each, in the 32-bit field.
fn small_integers(t: &ast::TensorProto) -> Vec<i64> {
    let raw = t.as_raw().unwrap_or(&[]);
    if let (true, Some(wide)) = (raw.is_empty(), t.as_i32()) {
        return wide.iter().map(|&v| v as i64).collect();
    }
    let pairs = || raw.chunks_exact(2).map(|b| [b[0], b[1]]);
    match t.data_type() {
        DataType::Int8 => raw.iter().map(|&b| b as i8 as i64).collect(),
        DataType::Int16 => pairs().map(|b| i16::from_le_bytes(b) as i64).collect(),
        DataType::Uint16 => pairs().map(|b| u16::from_le_bytes(b) as i64).collect(),
        _ => raw.iter().map(|&b| b as i64).collect(),
    }
}

/// 4-bit types: two in a byte, the first in the low half; in the raw bytes or, a byte each, in the 32-bit field.
fn nibbles(t: &ast::TensorProto, count: usize) -> Vec<i64> {
    let bytes = match (t.as_raw(), t.as_i32()) {
        (Some(raw), _) => raw.to_vec(),
        (None, Some(wide)) => wide.iter().map(|&v| v as u8).collect(),
        (None, None) => vec![],
    };
    let halves = bytes.iter().flat_map(|&b| [b & 15, b >> 4]).take(count);
    let signed = t.data_type() == DataType::Int4;
    halves.map(|h| if signed && h > 7 { h as i64 - 16 } else { h as i64 }).collect()
}
