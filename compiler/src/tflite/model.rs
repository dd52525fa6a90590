// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The main graph of a TFLite file as plain data: sizes checked, constants as slices of the file.

use super::flatbuffer::{Result as Field, Table};
use crate::import::ImportError;

/// Elements of the largest tensor that is read.
pub const MAX_ELEMENTS: usize = 1 << 26;

/// Tensors, operators, and integers in all lists together, at most: several lists may lie on the same bytes of a file.
const MAX_ITEMS: usize = 1 << 22;

/// Element types. The discriminant is the file's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    Float32,
    Int4,
    Int8,
    Uint8,
    Int16,
    Int32,
    Int64,
    Bool,
    Other(i8),
}

impl ElementType {
    fn new(number: i8) -> ElementType {
        match number {
            0 => ElementType::Float32,
            2 => ElementType::Int32,
            3 => ElementType::Uint8,
            4 => ElementType::Int64,
            6 => ElementType::Bool,
            7 => ElementType::Int16,
            9 => ElementType::Int8,
            17 => ElementType::Int4,
            n => ElementType::Other(n),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ElementType::Float32 => "float32",
            ElementType::Int4 => "int4",
            ElementType::Int8 => "int8",
            ElementType::Uint8 => "uint8",
            ElementType::Int16 => "int16",
            ElementType::Int32 => "int32",
            ElementType::Int64 => "int64",
            ElementType::Bool => "bool",
            ElementType::Other(1) => "float16",
            ElementType::Other(5) => "string",
            ElementType::Other(_) => "of an unsupported type",
        }
    }
}

/// real = scale * (code - zero_point), for the whole tensor or per element of one axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantization {
    pub scale: Vec<f32>,
    pub zero_point: Vec<i64>,
    pub axis: i32,
}

#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub name: String,
    pub dims: Vec<usize>,
    pub ty: ElementType,
    pub quantization: Quantization,
    /// `Some`: a constant's bytes.
    pub data: Option<&'a [u8]>,
    /// State that lives from one inference to the next.
    pub variable: bool,
    pub sparse: bool,
}

/// An operator; `options` as the file has them.
#[derive(Clone)]
pub struct Operator<'a> {
    /// Name for messages and reports: `op03_CONV_2D`.
    pub name: String,
    /// Name of the operator as TFLite writes it.
    pub kind: String,
    /// Tensor numbers; `None` is an omitted input.
    pub inputs: Vec<Option<usize>>,
    pub outputs: Vec<usize>,
    pub options: Option<Table<'a>>,
}

#[derive(Clone)]
pub struct Model<'a> {
    /// Length of the file.
    pub bytes: usize,
    pub tensors: Vec<Tensor<'a>>,
    pub operators: Vec<Operator<'a>>,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    pub notes: Vec<String>,
}

const IDENTIFIER: &[u8] = b"TFL3";

/// Parses and checks a file.
pub fn read(bytes: &[u8]) -> Result<Model<'_>, Vec<ImportError>> {
    let file = |reason: String| vec![ImportError::file("file", reason)];
    if bytes.get(4..8) != Some(IDENTIFIER) {
        return Err(file("not a TFLite file: the identifier TFL3 is missing".into()));
    }
    let damaged = |reason: String| file(format!("not a readable TFLite file: {reason}"));
    let raw = RawModel::read(bytes).map_err(damaged)?;
    raw.checked()
}

struct RawModel<'a> {
    bytes: &'a [u8],
    codes: Vec<Table<'a>>,
    buffers: Vec<Table<'a>>,
    tensors: Vec<Table<'a>>,
    operators: Vec<Table<'a>>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    graphs: usize,
}

impl<'a> RawModel<'a> {
    fn read(bytes: &'a [u8]) -> Field<RawModel<'a>> {
        let root = Table::root(bytes)?;
        let graphs = root.tables(2)?;
        let graph = *graphs.first().ok_or("the file holds no graph")?;
        let raw = RawModel {
            bytes,
            codes: root.tables(1)?,
            buffers: root.tables(4)?,
            tensors: graph.tables(0)?,
            operators: graph.tables(3)?,
            inputs: graph.ints(1)?,
            outputs: graph.ints(2)?,
            graphs: graphs.len(),
        };
        let items = raw.tensors.len() + raw.operators.len() + raw.inputs.len() + raw.outputs.len();
        match items <= MAX_ITEMS {
            true => Ok(raw),
            false => Err(format!("{items} tensors and operators are too many")),
        }
    }

    /// Everything decoded; all errors at once.
    fn checked(self) -> Result<Model<'a>, Vec<ImportError>> {
        let mut errors = Vec::new();
        let mut items = 0;
        let mut tensors = Vec::new();
        for (i, t) in self.tensors.iter().enumerate() {
            let tensor = self.tensor(t, &mut items);
            match tensor {
                Ok(t) => tensors.push(t),
                Err(reason) => errors.push(ImportError::file(format!("tensor {i}"), reason)),
            }
            if items > MAX_ITEMS {
                errors.push(ImportError::file("file", "its lists are too long"));
                return Err(errors);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut operators = Vec::new();
        for (i, op) in self.operators.iter().enumerate() {
            match self.operator(i, op, tensors.len(), &mut items) {
                Ok(op) => operators.push(op),
                Err(reason) => errors.push(ImportError::file(format!("op{i:02}"), reason)),
            }
            if items > MAX_ITEMS {
                errors.push(ImportError::file("file", "its lists are too long"));
                return Err(errors);
            }
        }
        let mut ends = |what: &str, list: &[i32]| {
            let all = list.iter().map(|&i| tensor_number(i, tensors.len())).collect::<Field<Vec<_>>>();
            match all {
                Ok(all) if !all.is_empty() => all,
                Ok(_) => {
                    errors.push(ImportError::file("graph", format!("the model has no {what}")));
                    vec![]
                }
                Err(reason) => {
                    errors.push(ImportError::file("graph", format!("{what}: {reason}")));
                    vec![]
                }
            }
        };
        let inputs = ends("inputs", &self.inputs);
        let outputs = ends("outputs", &self.outputs);
        let mut notes = Vec::new();
        if self.graphs > 1 {
            notes.push(format!("the file has {} graphs; the first is imported", self.graphs));
        }
        match errors.is_empty() {
            true => Ok(Model { bytes: self.bytes.len(), tensors, operators, inputs, outputs, notes }),
            false => Err(errors),
        }
    }

    fn tensor(&self, t: &Table<'a>, items: &mut usize) -> Field<Tensor<'a>> {
        let dims = t.ints(0)?;
        *items += dims.len();
        let dims = dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("dimension {d} is negative")));
        let dims = dims.collect::<Field<Vec<_>>>()?;
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if count.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(format!("shape {dims:?} is too large"));
        }
        let quantization = match t.table(4)? {
            Some(q) => {
                let (scale, zero_point) = (q.floats(2)?, q.longs(3)?);
                *items += scale.len() + zero_point.len();
                Quantization { scale, zero_point, axis: q.int(6, 0)? }
            }
            None => Quantization::default(),
        };
        Ok(Tensor {
            name: t.text(3)?.to_string(),
            dims,
            ty: ElementType::new(t.byte(1)?),
            quantization,
            data: self.data(t.unsigned(2)? as usize)?,
            variable: t.flag(5, false)?,
            sparse: t.table(6)?.is_some(),
        })
    }

    /// A buffer's bytes; empty ones hold nothing constant.
    fn data(&self, number: usize) -> Field<Option<&'a [u8]>> {
        let buffer = self.buffers.get(number).ok_or_else(|| format!("buffer {number} does not exist"))?;
        // Files above 2 GB hold their data behind the flatbuffer, at `offset`; 0 and 1 mean that they do not.
        let (offset, size) = (buffer.long(1)?, buffer.long(2)?);
        let data = if offset > 1 {
            let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
            let range = range.and_then(|(o, s)| self.bytes.get(o..o.checked_add(s)?));
            range.ok_or_else(|| format!("buffer {number} lies outside the file"))?
        } else {
            buffer.bytes(0)?
        };
        Ok((!data.is_empty()).then_some(data))
    }

    fn operator(&self, i: usize, op: &Table<'a>, tensors: usize, items: &mut usize) -> Field<Operator<'a>> {
        let number = op.unsigned(0)? as usize;
        let code = self.codes.get(number).ok_or_else(|| format!("operator code {number} does not exist"))?;
        // The old 8-bit field, and the field that replaced it when there were more than 127 operators.
        let builtin = (code.byte(0)? as i32).max(code.int(3, 0)?);
        let kind = match builtin {
            32 => format!("custom operator {:?}", code.text(1)?),
            n => super::names::operator(n).map_or(format!("operator {n}"), str::to_string),
        };
        let (inputs, outputs) = (op.ints(1)?, op.ints(2)?);
        *items += inputs.len() + outputs.len();
        let input = |&i: &i32| if i == -1 { Ok(None) } else { tensor_number(i, tensors).map(Some) };
        Ok(Operator {
            name: format!("op{i:02}_{}", kind.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
            kind,
            inputs: inputs.iter().map(input).collect::<Field<_>>()?,
            outputs: outputs.iter().map(|&i| tensor_number(i, tensors)).collect::<Field<_>>()?,
            options: if op.byte(3)? == 0 { None } else { op.table(4)? },
        })
    }
}

fn tensor_number(i: i32, tensors: usize) -> Field<usize> {
    usize::try_from(i).ok().filter(|&i| i < tensors).ok_or_else(|| format!("tensor {i} does not exist"))
}

impl Tensor<'_> {
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// The constant's integers. Errors: not an integer constant, or too few bytes.
    pub fn integers(&self) -> Result<Vec<i64>, String> {
        let data = self.data.ok_or_else(|| format!("tensor {:?} is not constant", self.name))?;
        let count = self.count();
        let values: Vec<i64> = match self.ty {
            ElementType::Int8 => data.iter().map(|&b| b as i8 as i64).collect(),
            ElementType::Uint8 | ElementType::Bool => data.iter().map(|&b| b as i64).collect(),
            ElementType::Int16 => words(data, |b: [u8; 2]| i16::from_le_bytes(b) as i64),
            ElementType::Int32 => words(data, |b: [u8; 4]| i32::from_le_bytes(b) as i64),
            ElementType::Int64 => words(data, |b: [u8; 8]| i64::from_le_bytes(b)),
            ElementType::Int4 => {
                let halves = data.iter().flat_map(|&b| [(b << 4) as i8 >> 4, b as i8 >> 4]);
                let mut values = halves.map(|v| v as i64).collect::<Vec<_>>();
                if values.len() == count + 1 {
                    // An odd number of elements leaves half a byte.
                    values.pop();
                }
                values
            }
            other => return Err(format!("constant {:?} is {}, must be integer", self.name, other.name())),
        };
        match values.len() == count {
            true => Ok(values),
            false => Err(format!("constant {:?} has {} of {count} elements", self.name, values.len())),
        }
    }
}

fn words<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    data.chunks_exact(N).map(|c| f(c.try_into().expect("chunks have the size"))).collect()
}
