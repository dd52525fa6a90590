// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Walks the operators of a model, keeps what every tensor is, and collects the integer graph and the host's work.

use super::code::CodeOp;
use super::dilation::Batches;
use super::model::{ElementType, Model, Operator};
use crate::host::{CodeMap, FloatChain, FloatRounding, FloatStep, FromInt, HostInput, HostOutput};
use crate::import::{HostResult, ImportError, Imported};
use crate::ir::{Graph, IntType, Node, Op, Reshape, Tensor, TensorId};
use crate::tail::{HostNode, HostOp};
use std::collections::BTreeSet;

/// Codes of all tensors together, at most; the golden model keeps them all.
const MAX_CODES: usize = 1 << 27;

/// Constants for all operators together, at most, beside four for each byte of the file: many operators may share one.
const MORE_CONSTANTS: usize = 1 << 20;

/// Errors that are listed, at most.
const MAX_ERRORS: usize = 1000;

/// What an operator's failure is told as.
pub type Result<T> = std::result::Result<T, String>;

/// A tensor with a border that a following window operator may take as its own padding.
#[derive(Clone, Copy, Debug)]
pub struct Border {
    pub tensor: TensorId,
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    pub code: i32,
}

/// What is known of a tensor of the model.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Nothing has given it.
    Unknown,
    Constant,
    /// A tensor of the integer graph, with the same elements in the same order.
    Codes(TensorId),
    Padded(Border),
    /// Rows and columns in batches.
    Batches(Batches),
    /// What the convolution with this number makes of them.
    BatchedConv(Batches, usize),
    /// A float input of the model.
    Float,
    Host(HostRef),
    /// Integers that only describe shapes; the file tells the shapes that they lead to.
    Shape,
    /// Its operator is refused.
    Refused,
}

/// A value of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRef {
    /// A decoded output of the graph.
    Output(usize),
    /// The result of a host operator.
    Tail(usize),
}

/// Type, scale and zero point of codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    pub ty: IntType,
    pub scale: f32,
    pub zero_point: i32,
}

impl Quant {
    /// Smallest and largest code.
    pub fn range(&self) -> (i32, i32) {
        let (lo, hi) = self.ty.range();
        (lo as i32, hi as i32)
    }
}

/// State of an import.
pub struct Importer<'m> {
    pub model: &'m Model<'m>,
    pub values: Vec<Value>,
    pub graph: Graph,
    inputs: Vec<HostInput>,
    outputs: Vec<HostOutput>,
    /// Host operators (their inputs' numbers come last) and what they read.
    tail: Vec<(HostNode, Vec<HostRef>)>,
    notes: Vec<String>,
    names: BTreeSet<String>,
    codes_left: usize,
    constants_left: usize,
    /// Operators behind which nothing needs the hardware, by their number in the model.
    tail_operators: Vec<bool>,
    /// Number of the operator at hand.
    pub number: usize,
}

/// Turns a model into an integer graph and the host's steps around it.
pub fn lower(name: &str, model: &Model) -> std::result::Result<Imported, Vec<ImportError>> {
    let graph =
        Graph { name: name.to_string(), tensors: vec![], nodes: vec![], inputs: vec![], outputs: vec![] };
    let mut importer = Importer {
        model,
        values: vec![Value::Unknown; model.tensors.len()],
        graph,
        inputs: vec![],
        outputs: vec![],
        tail: vec![],
        notes: model.notes.clone(),
        names: BTreeSet::new(),
        codes_left: MAX_CODES,
        constants_left: MORE_CONSTANTS + 4 * model.bytes,
        tail_operators: super::host::tail_operators(model),
        number: 0,
    };
    let mut errors = Vec::new();
    importer.sources(&mut errors);
    for (number, op) in model.operators.iter().enumerate() {
        importer.number = number;
        if let Err(reason) = importer.run(op) {
            errors.push(ImportError { at: op.name.clone(), operator: Some(op.kind.clone()), reason });
        }
        if errors.len() >= MAX_ERRORS {
            errors.push(ImportError::file("file", "there are more errors than these"));
            return Err(errors);
        }
    }
    let results = importer.results(&mut errors);
    match errors.is_empty() {
        true => importer.finish(results),
        false => Err(errors),
    }
}

/// `[h, w, c]` of a tensor's dimensions, elements in the same order: the last two are w and c.
pub fn image(dims: &[usize]) -> [usize; 3] {
    match dims {
        [] => [1, 1, 1],
        [c] => [1, 1, *c],
        [h @ .., w, c] => [h.iter().product(), *w, *c],
    }
}

impl<'m> Importer<'m> {
    /// Constants and model inputs.
    fn sources(&mut self, errors: &mut Vec<ImportError>) {
        for (i, t) in self.model.tensors.iter().enumerate() {
            if t.data.is_some() {
                self.values[i] = Value::Constant;
            }
        }
        for &t in &self.model.inputs {
            let tensor = &self.model.tensors[t];
            if !matches!(self.values[t], Value::Unknown) {
                errors.push(ImportError::file(format!("input {:?}", tensor.name), "is given twice"));
                continue;
            }
            self.values[t] = match tensor.ty {
                ElementType::Float32 => Value::Float,
                _ => match self.input(t, None) {
                    Ok(id) => Value::Codes(id),
                    Err(reason) => {
                        errors.push(ImportError::file(format!("input {:?}", tensor.name), reason));
                        Value::Refused
                    }
                },
            };
        }
    }

    /// A graph input for the model input `t`; `codes`: the tensor whose quantization makes codes of a float input.
    fn input(&mut self, t: usize, codes: Option<usize>) -> Result<TensorId> {
        let tensor = &self.model.tensors[t];
        let id = self.new_codes(codes.unwrap_or(t))?;
        let quant = self.quant(codes.unwrap_or(t))?;
        let (lo, hi) = quant.range();
        let chain = codes.map(|_| FloatChain {
            steps: vec![
                FloatStep::Div(vec![quant.scale]),
                FloatStep::Round(FloatRounding::HalfAway),
                FloatStep::Add(vec![quant.zero_point as f32]),
                FloatStep::Max(vec![lo as f32]),
                FloatStep::Min(vec![hi as f32]),
            ],
            ..FloatChain::default()
        });
        self.graph.inputs.push(id);
        self.inputs.push(HostInput {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            tensor: id,
            ty: quant.ty,
            chain,
            code: CodeMap::SAME,
            order: None,
        });
        Ok(id)
    }

    fn run(&mut self, op: &Operator<'m>) -> Result<()> {
        let done = self.operator(op);
        for &t in &op.outputs {
            let refused = done.is_err() || matches!(self.values[t], Value::Unknown);
            if refused {
                self.values[t] = Value::Refused;
            }
        }
        done
    }

    fn operator(&mut self, op: &Operator<'m>) -> Result<()> {
        for (i, &t) in op.outputs.iter().enumerate() {
            let again = op.outputs[..i.min(64)].contains(&t);
            if again || !matches!(self.values[t], Value::Unknown) {
                return Err(format!("gives tensor {:?}, which exists already", self.model.tensors[t].name));
            }
        }
        if !super::ops::known(&op.kind) {
            return Err(super::ops::unknown(&op.kind));
        }
        for &t in op.inputs.iter().flatten() {
            match self.values[t] {
                Value::Refused => return Ok(()),
                Value::Unknown if self.model.tensors[t].variable => {
                    return Err("keeps state from one inference to the next".into())
                }
                Value::Unknown => {
                    let name = &self.model.tensors[t].name;
                    return Err(format!("reads tensor {name:?}, which nothing before it gives"));
                }
                _ => {}
            }
        }
        self.dispatch(op)
    }

    /// Tensor number of an operator's input.
    pub fn input_tensor(&self, op: &Operator, i: usize) -> Result<usize> {
        op.inputs.get(i).copied().flatten().ok_or_else(|| format!("its input {i} is missing"))
    }

    /// Tensor number of an operator's only output.
    pub fn output_tensor(&self, op: &Operator) -> Result<usize> {
        match op.outputs[..] {
            [t] => Ok(t),
            _ => Err(format!("it has {} outputs, must have 1", op.outputs.len())),
        }
    }

    /// Type, scale and zero point of a tensor of codes.
    pub fn quant(&self, t: usize) -> Result<Quant> {
        let tensor = &self.model.tensors[t];
        let ty = match tensor.ty {
            ElementType::Int8 => IntType { bits: 8, signed: true },
            ElementType::Uint8 => IntType { bits: 8, signed: false },
            ElementType::Int16 => IntType { bits: 16, signed: true },
            ElementType::Float32 => {
                return Err(format!(
                    "tensor {:?} is float32; convert the model with full integer quantization",
                    tensor.name
                ))
            }
            other => {
                return Err(format!("tensor {:?} is {}, not int8, uint8 or int16", tensor.name, other.name()))
            }
        };
        let q = &tensor.quantization;
        let (&[scale], &[zero_point]) = (&q.scale[..], &q.zero_point[..]) else {
            let what = if q.scale.is_empty() { "no scale" } else { "not one scale and zero point" };
            return Err(format!("tensor {:?} has {what}", tensor.name));
        };
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("tensor {:?} has scale {scale}", tensor.name));
        }
        if !ty.contains(zero_point) {
            return Err(format!("tensor {:?} has zero point {zero_point}, outside its type", tensor.name));
        }
        Ok(Quant { ty, scale, zero_point: zero_point as i32 })
    }

    /// Integers of a constant of the model.
    pub fn constant(&mut self, t: usize) -> Result<Vec<i64>> {
        let tensor = &self.model.tensors[t];
        if !matches!(self.values[t], Value::Constant) {
            return Err(format!("tensor {:?} must be constant", tensor.name));
        }
        if tensor.sparse {
            return Err(format!("constant {:?} is sparse; store it densely", tensor.name));
        }
        self.take_constants(tensor.count().max(tensor.data.map_or(0, <[u8]>::len) / 8))?;
        tensor.integers()
    }

    /// Counts constants that an operator needs.
    pub fn take_constants(&mut self, count: usize) -> Result<()> {
        self.constants_left =
            self.constants_left.checked_sub(count).ok_or("the constants are far more than the file holds")?;
        Ok(())
    }

    /// A new tensor of the graph for the codes of tensor `t` of the model.
    pub fn new_codes(&mut self, t: usize) -> Result<TensorId> {
        let quant = self.quant(t)?;
        let tensor = &self.model.tensors[t];
        self.new_tensor(&tensor.name, image(&tensor.dims), quant)
    }

    pub fn new_tensor(&mut self, name: &str, shape: [usize; 3], quant: Quant) -> Result<TensorId> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let count =
            count.filter(|&n| n > 0).ok_or_else(|| format!("shape {shape:?} of {name:?} is not usable"))?;
        self.codes_left = self.codes_left.checked_sub(count).ok_or("the tensors are too large")?;
        let name = fresh(name, &mut self.names);
        let Quant { ty, scale, zero_point } = quant;
        self.graph.tensors.push(Tensor { name, shape, ty, scale: scale as f64, zero_point });
        Ok(self.graph.tensors.len() - 1)
    }

    /// A new node of the graph; operators' names are unique.
    pub fn node(&mut self, name: &str, op: Op) {
        self.graph.nodes.push(Node { name: name.to_string(), op });
    }

    /// The graph tensor of an operator's input; a border becomes real.
    pub fn codes(&mut self, op: &Operator, i: usize) -> Result<TensorId> {
        let t = self.input_tensor(op, i)?;
        match self.values[t] {
            Value::Codes(id) => Ok(id),
            Value::Padded(border) => {
                let id = self.make_border(&format!("{}_pad{i}", op.name), t, border)?;
                self.values[t] = Value::Codes(id);
                Ok(id)
            }
            _ => Err(self.not_codes(t)),
        }
    }

    /// Why a tensor has no codes in the graph.
    pub fn not_codes(&self, t: usize) -> String {
        let name = &self.model.tensors[t].name;
        match self.values[t] {
            Value::Constant => format!("its input {name:?} is constant"),
            Value::Float => {
                format!("its input {name:?} is float32; convert the model with full integer quantization")
            }
            Value::Host(_) => {
                format!("its input {name:?} is computed by the host, behind the network's integer part")
            }
            Value::Shape => format!("its input {name:?} is a computed shape"),
            Value::Batches(_) | Value::BatchedConv(..) => {
                format!("its input {name:?} stands in batches; BATCH_TO_SPACE_ND must follow its convolution")
            }
            _ => format!("its input {name:?} has no codes"),
        }
    }

    /// Gives an operator's output the elements of a graph tensor, in another shape where it has one.
    pub fn give(&mut self, op: &Operator, t: usize, from: TensorId) -> Result<()> {
        let shape = image(&self.model.tensors[t].dims);
        let (tensor, quant) = (&self.graph.tensors[from], self.quant(t)?);
        if tensor.len() != shape.iter().product::<usize>() || tensor.ty != quant.ty {
            return Err(format!(
                "its output has {} elements of {} bits, its input {} of {}",
                shape.iter().product::<usize>(),
                quant.ty.bits,
                tensor.len(),
                tensor.ty.bits
            ));
        }
        let id = if tensor.shape == shape {
            from
        } else {
            let output = self.new_codes(t)?;
            self.node(&op.name, Op::Reshape(Reshape { input: from, output }));
            output
        };
        self.values[t] = Value::Codes(id);
        Ok(())
    }

    /// The host's value for a tensor, decoded from the graph if it is not on the host yet.
    pub fn host_value(&mut self, t: usize) -> Result<HostRef> {
        match self.values[t] {
            Value::Host(v) => Ok(v),
            Value::Codes(id) => self.decoded(t, id, None),
            Value::Padded(border) => {
                let id = self.make_border(&format!("border_{t}"), t, border)?;
                self.values[t] = Value::Codes(id);
                self.decoded(t, id, None)
            }
            _ => Err(self.not_codes(t)),
        }
    }

    /// A graph output: the codes of tensor `t`, or (`scale` and zero point given) their reals.
    pub fn decoded(&mut self, t: usize, id: TensorId, real: Option<Quant>) -> Result<HostRef> {
        let tensor = &self.model.tensors[t];
        let chain = real.map(|q| FloatChain {
            from_int: Some(FromInt {
                factor: 1,
                offset: vec![-(q.zero_point as i64)],
                scale: vec![q.scale as f64],
            }),
            ..FloatChain::default()
        });
        self.graph.outputs.push(id);
        self.outputs.push(HostOutput {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            tensor: id,
            channels: self.graph.tensors[id].shape[2],
            chain,
            order: None,
        });
        Ok(HostRef::Output(self.outputs.len() - 1))
    }

    /// Nothing behind the operator at hand needs the hardware.
    pub fn at_end(&self) -> bool {
        self.tail_operators.get(self.number).copied().unwrap_or(false)
    }

    /// A host operator on host values; gives the value of tensor `t`.
    pub fn host_node(&mut self, op: &Operator, t: usize, host: HostOp, inputs: Vec<HostRef>) {
        let dims = self.model.tensors[t].dims.clone();
        self.tail.push((HostNode { name: op.name.clone(), op: host, inputs: vec![], dims }, inputs));
        self.values[t] = Value::Host(HostRef::Tail(self.tail.len() - 1));
    }

    pub fn quantize(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        match self.values[x] {
            Value::Float => {
                let id = self.input(x, Some(y))?;
                self.values[y] = Value::Codes(id);
                Ok(())
            }
            Value::Host(v) => {
                let table = CodeOp::requantize(&self.quant(x)?, &self.quant(y)?)?;
                self.host_node(op, y, HostOp::Codes(table), vec![v]);
                Ok(())
            }
            _ => self.requantize(op),
        }
    }

    pub fn dequantize(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let quant = self.quant(x)?;
        match self.values[x] {
            Value::Host(v) => {
                let (scale, zero_point) = (quant.scale, quant.zero_point);
                self.host_node(op, y, HostOp::Codes(CodeOp::Dequantize { scale, zero_point }), vec![v]);
            }
            _ => {
                let id = self.codes(op, 0)?;
                let value = self.decoded(y, id, Some(quant))?;
                self.values[y] = Value::Host(value);
            }
        }
        Ok(())
    }

    fn results(&mut self, errors: &mut Vec<ImportError>) -> Vec<usize> {
        let mut results = Vec::new();
        for &t in &self.model.outputs {
            if matches!(self.values[t], Value::Refused) {
                continue;
            }
            match self.host_value(t) {
                Ok(value) => {
                    self.values[t] = Value::Host(value);
                    results.push(t);
                }
                Err(reason) => {
                    let at = format!("output {:?}", self.model.tensors[t].name);
                    errors.push(ImportError::file(at, reason));
                }
            }
            if errors.len() >= MAX_ERRORS {
                break;
            }
        }
        results
    }

    fn finish(self, results: Vec<usize>) -> std::result::Result<Imported, Vec<ImportError>> {
        for &t in &self.model.inputs {
            let name = &self.model.tensors[t].name;
            let quantized = self.inputs.iter().any(|i| i.name == *name);
            if matches!(self.values[t], Value::Float) && !quantized {
                return Err(vec![ImportError::file(format!("input {name:?}"), "nothing quantizes it")]);
            }
        }
        let show = |e: &crate::check::IrError| ImportError::file(e.at.clone(), e.kind.to_string());
        self.graph.check().map_err(|errors| errors.iter().map(show).collect::<Vec<_>>())?;
        let decoded = self.outputs.len();
        let number = |v: HostRef| match v {
            HostRef::Output(i) => i,
            HostRef::Tail(i) => decoded + i,
        };
        let result = |&t: &usize| {
            let Value::Host(value) = self.values[t] else { return None };
            let tensor = &self.model.tensors[t];
            Some(HostResult { name: tensor.name.clone(), dims: tensor.dims.clone(), value: number(value) })
        };
        let results = results.iter().filter_map(result).collect();
        let Importer { graph, inputs, outputs, tail, notes, .. } = self;
        let numbered = |(node, reads): (HostNode, Vec<HostRef>)| HostNode {
            inputs: reads.into_iter().map(number).collect(),
            ..node
        };
        let tail = tail.into_iter().map(numbered).collect();
        Ok(Imported { graph, inputs, outputs, tail, results, notes })
    }
}

/// `name`, or `name_2`, `name_3` ... where it is taken.
fn fresh(name: &str, taken: &mut BTreeSet<String>) -> String {
    let base = if name.is_empty() { "tensor" } else { name };
    let mut candidate = base.to_string();
    let mut i = taken.len();
    while !taken.insert(candidate.clone()) {
        candidate = format!("{base}_{i}");
        i += 1;
    }
    candidate
}
