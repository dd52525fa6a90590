// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules that every integer graph keeps; golden model and lowering rely on them.

use crate::ir::*;
use std::fmt;

/// A broken rule and the node (or tensor, or `graph`) that breaks it.
#[derive(Clone, Debug, PartialEq)]
pub struct IrError {
    pub at: String,
    pub kind: IrErrorKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum IrErrorKind {
    /// A tensor number is not in the graph's list.
    NoSuchTensor { tensor: TensorId },
    /// A tensor is read before a node or the graph's inputs give it.
    NotYetDefined { tensor: String },
    /// Two nodes (or a node and the graph's inputs) write one tensor.
    DefinedTwice { tensor: String },
    /// No node and no input gives the tensor.
    NeverDefined { tensor: String },
    /// The graph has no inputs or no outputs.
    NoInterface,
    /// A dimension, stride, dilation, kernel, group count or factor must be at least 1.
    Zero { what: &'static str },
    /// A number differs from the one that the rest of the graph implies.
    Mismatch { what: &'static str, expected: Vec<usize>, found: Vec<usize> },
    /// Tensors have 1..=16 bits; signed 32-bit ones are raw results, which no operator but reshape reads.
    Width { tensor: String, bits: u8 },
    /// A value lies outside the range that its place allows.
    Range { what: &'static str, value: i64, lo: i64, hi: i64 },
    /// A tensor's type is not the one that the operator gives.
    Type { expected: IntType, found: IntType },
    /// The window is larger than the padded input, or a pad is not smaller than the window.
    Window { what: &'static str, window: usize, room: usize },
}

impl fmt::Display for IrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.kind)
    }
}

impl fmt::Display for IrErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use IrErrorKind::*;
        match self {
            NoSuchTensor { tensor } => write!(f, "tensor number {tensor} does not exist"),
            NotYetDefined { tensor } => write!(f, "reads tensor {tensor} before anything gives it"),
            DefinedTwice { tensor } => write!(f, "tensor {tensor} is given twice"),
            NeverDefined { tensor } => write!(f, "nothing gives tensor {tensor}"),
            NoInterface => write!(f, "a graph needs inputs and outputs"),
            Zero { what } => write!(f, "{what} must be at least 1"),
            Mismatch { what, expected, found } => write!(f, "{what} is {found:?}, must be {expected:?}"),
            Width { tensor, bits } => write!(f, "tensor {tensor} has {bits} bits here, must have 1..=16"),
            Range { what, value, lo, hi } => write!(f, "{what} is {value}, must be in {lo}..={hi}"),
            Type { expected, found } => {
                write!(f, "output type is {}, the operator gives {}", type_name(found), type_name(expected))
            }
            Window { what, window, room } => write!(f, "{what}: window {window}, room {room}"),
        }
    }
}

impl std::error::Error for IrError {}

fn type_name(t: &IntType) -> String {
    format!("{}{}", if t.signed { "int" } else { "uint" }, t.bits)
}

/// Offsets and clamp of a requantization, inclusive: what the hardware's 17- and 18-bit fields hold.
const CODE_RANGE: (i64, i64) = (-65536, 65535);

struct Checker<'g> {
    graph: &'g Graph,
    at: String,
    errors: Vec<IrError>,
}

impl Graph {
    /// Checks every rule of the graph; all errors at once.
    pub fn check(&self) -> Result<(), Vec<IrError>> {
        let mut c = Checker { graph: self, at: "graph".into(), errors: Vec::new() };
        c.tensors();
        if c.numbers() {
            c.order();
            for node in &self.nodes {
                c.at = node.name.clone();
                c.node(&node.op);
            }
        }
        if c.errors.is_empty() {
            Ok(())
        } else {
            Err(c.errors)
        }
    }
}

impl Checker<'_> {
    fn fail(&mut self, kind: IrErrorKind) {
        self.errors.push(IrError { at: self.at.clone(), kind });
    }

    fn tensor(&self, id: TensorId) -> Tensor {
        self.graph.tensors[id].clone()
    }

    fn tensors(&mut self) {
        for t in &self.graph.tensors {
            self.at = format!("tensor {}", t.name);
            self.at_least_one("every dimension", &t.shape);
            if !(1..=16).contains(&t.ty.bits) && t.ty != IntType::RAW {
                self.fail(IrErrorKind::Width { tensor: t.name.clone(), bits: t.ty.bits });
            }
        }
        self.at = "graph".into();
        if self.graph.inputs.is_empty() || self.graph.outputs.is_empty() {
            self.fail(IrErrorKind::NoInterface);
        }
    }

    /// All tensor numbers exist.
    fn numbers(&mut self) -> bool {
        let g = self.graph;
        let of_nodes = g.nodes.iter().flat_map(|n| n.op.inputs().into_iter().chain([n.op.output()]));
        let all = of_nodes.chain(g.inputs.iter().copied()).chain(g.outputs.iter().copied());
        let wrong = all.filter(|&t| t >= g.tensors.len()).collect::<Vec<_>>();
        for &tensor in &wrong {
            self.fail(IrErrorKind::NoSuchTensor { tensor });
        }
        wrong.is_empty()
    }

    /// Every tensor is given once, before it is read.
    fn order(&mut self) {
        let g = self.graph;
        let mut defined = vec![false; g.tensors.len()];
        let name = |t: TensorId| g.tensors[t].name.clone();
        for &t in &g.inputs {
            if std::mem::replace(&mut defined[t], true) {
                self.fail(IrErrorKind::DefinedTwice { tensor: name(t) });
            }
        }
        for node in &g.nodes {
            self.at = node.name.clone();
            for t in node.op.inputs() {
                if !defined[t] {
                    self.fail(IrErrorKind::NotYetDefined { tensor: name(t) });
                }
            }
            let out = node.op.output();
            if std::mem::replace(&mut defined[out], true) {
                self.fail(IrErrorKind::DefinedTwice { tensor: name(out) });
            }
        }
        self.at = "graph".into();
        for t in (0..defined.len()).filter(|&t| !defined[t]) {
            self.fail(IrErrorKind::NeverDefined { tensor: name(t) });
        }
    }

    fn node(&mut self, op: &Op) {
        if !matches!(op, Op::Reshape(_)) {
            for t in op.inputs() {
                let t = self.tensor(t);
                if t.ty.bits > 16 {
                    self.fail(IrErrorKind::Width { tensor: t.name, bits: t.ty.bits });
                }
            }
        }
        match op {
            Op::Conv(o) => self.conv(o),
            Op::Add(o) => self.add(o),
            Op::Pool(o) => self.pool(o),
            Op::Concat(o) => self.concat(o),
            Op::Copy(o) => self.copy(o),
            Op::Reshape(o) => self.reshape(o),
        }
    }

    fn at_least_one(&mut self, what: &'static str, values: &[usize]) {
        if values.contains(&0) {
            self.fail(IrErrorKind::Zero { what });
        }
    }

    fn equal(&mut self, what: &'static str, expected: &[usize], found: &[usize]) {
        if expected != found {
            self.fail(IrErrorKind::Mismatch { what, expected: expected.to_vec(), found: found.to_vec() });
        }
    }

    fn in_range(&mut self, what: &'static str, value: i64, (lo, hi): (i64, i64)) {
        if value < lo || value > hi {
            self.fail(IrErrorKind::Range { what, value, lo, hi });
        }
    }

    fn same_type(&mut self, expected: IntType, found: IntType) {
        if expected != found {
            self.fail(IrErrorKind::Type { expected, found });
        }
    }

    /// Output rows and columns of a window operator; `None` (and an error) where it does not fit.
    fn window(&mut self, input: &Tensor, kernel: [usize; 2], w: &Window) -> Option<[usize; 2]> {
        self.at_least_one("stride", &w.stride);
        self.at_least_one("dilation", &w.dilation);
        self.at_least_one("kernel", &kernel);
        if [w.stride, w.dilation, kernel].iter().any(|v| v.contains(&0)) {
            return None;
        }
        let mut out = [0; 2];
        for axis in 0..2 {
            let extent = (kernel[axis] - 1) * w.dilation[axis] + 1;
            let (before, after) = (w.pads[axis], w.pads[axis + 2]);
            let room = input.shape[axis] + before + after;
            if extent > room {
                self.fail(IrErrorKind::Window {
                    what: "window larger than the padded input",
                    window: extent,
                    room,
                });
                return None;
            }
            let pad = before.max(after);
            if pad >= extent {
                self.fail(IrErrorKind::Window {
                    what: "pad not smaller than the window",
                    window: extent,
                    room: pad,
                });
            }
            out[axis] = (room - extent) / w.stride[axis] + 1;
        }
        self.in_range("pad_code", w.pad_code as i64, input.ty.range());
        Some(out)
    }

    fn conv(&mut self, o: &Conv) {
        let (input, output) = (self.tensor(o.input), self.tensor(o.output));
        let [oc, kh, kw, icg] = o.weights.shape;
        self.at_least_one("groups", &[o.groups]);
        if o.groups == 0 {
            return;
        }
        self.equal("input channels (groups * weights' input channels)", &[o.groups * icg], &[input.shape[2]]);
        self.equal("output channels modulo groups", &[0], &[oc % o.groups]);
        let w = Window { stride: o.stride, dilation: o.dilation, pads: o.pads, pad_code: o.pad_code };
        if let Some([h, w]) = self.window(&input, [kh, kw], &w) {
            self.equal("output shape", &[h, w, oc], &output.shape);
        }
        self.weights(&o.weights);
        self.requant(&o.requant, oc, false, output.ty);
    }

    fn weights(&mut self, w: &Weights) {
        self.equal("number of weights", &[w.shape.iter().product()], &[w.data.len()]);
        self.in_range("weight bits", w.ty.bits as i64, (1, 16));
        if let Some(&value) = w.data.iter().find(|&&v| !w.ty.contains(v as i64)) {
            self.in_range("weight", value as i64, w.ty.range());
        }
        if w.bipolar {
            if let Some(&value) = w.data.iter().find(|&&v| v != 1 && v != -1) {
                self.fail(IrErrorKind::Range { what: "bipolar weight", value: value as i64, lo: -1, hi: 1 });
            }
            self.same_type(IntType { bits: 2, signed: true }, w.ty);
        }
    }

    /// `any`: one entry for all channels is allowed beside one per channel.
    fn requant(&mut self, q: &Requant, channels: usize, any: bool, out: IntType) {
        if !(any && q.channels.len() == 1) {
            self.equal("requantization entries", &[channels], &[q.channels.len()]);
        }
        for p in &q.channels {
            self.in_range("shift", p.shift as i64, (0, 63));
        }
        if q.raw {
            return self.same_type(IntType::RAW, out);
        }
        let (lo, hi) = (q.clamp.0 as i64, q.clamp.1 as i64);
        self.in_range("zero point", q.zero_point as i64, CODE_RANGE);
        self.in_range("lower clamp", lo, (CODE_RANGE.0, hi));
        self.in_range("upper clamp", hi, (lo, CODE_RANGE.1));
        if out.bits > 16 {
            self.fail(IrErrorKind::Width { tensor: "of the output".into(), bits: out.bits });
        }
        match &q.table {
            None => {
                self.in_range("lower clamp", lo, out.range());
                self.in_range("upper clamp", hi, out.range());
            }
            Some(table) => {
                self.equal("table entries", &[256], &[table.len()]);
                for &entry in table.iter().filter(|&&e| !out.contains(e as i64)).take(1) {
                    self.in_range("table entry", entry as i64, out.range());
                }
            }
        }
    }

    fn add(&mut self, o: &Add) {
        let (a, b, output) = (self.tensor(o.a), self.tensor(o.b), self.tensor(o.output));
        self.equal("shape of the second input", &a.shape, &b.shape);
        self.equal("output shape", &a.shape, &output.shape);
        if o.left_shift != 0 && o.left_shift != 20 {
            self.fail(IrErrorKind::Range {
                what: "left shift (0 or 20)",
                value: o.left_shift as i64,
                lo: 0,
                hi: 20,
            });
        }
        for p in [&o.params_a, &o.params_b] {
            self.in_range("shift", p.shift as i64, (0, 63));
        }
        self.requant(&o.sum, 1, true, output.ty);
    }

    fn pool(&mut self, o: &Pool) {
        let (input, output) = (self.tensor(o.input), self.tensor(o.output));
        let w = Window { stride: o.stride, dilation: [1, 1], pads: o.pads, pad_code: o.pad_code };
        if let Some([h, w]) = self.window(&input, o.kernel, &w) {
            self.equal("output shape", &[h, w, input.shape[2]], &output.shape);
        }
        match &o.kind {
            PoolKind::Max => self.same_type(input.ty, output.ty),
            PoolKind::Sum(q) => self.requant(q, 1, true, output.ty),
        }
    }

    fn concat(&mut self, o: &Concat) {
        let output = self.tensor(o.output);
        self.at_least_one("number of inputs", &[o.inputs.len()]);
        self.equal("requantizations", &[o.inputs.len()], &[o.requants.len()]);
        let inputs = o.inputs.iter().map(|&t| self.tensor(t)).collect::<Vec<_>>();
        let channels = inputs.iter().map(|t| t.shape[2]).sum::<usize>();
        self.equal("output channels", &[channels], &[output.shape[2]]);
        for (t, q) in inputs.iter().zip(&o.requants) {
            self.equal("input rows and columns", &output.shape[..2], &t.shape[..2]);
            match q {
                Some(q) => self.requant(q, t.shape[2], true, output.ty),
                None => self.same_type(t.ty, output.ty),
            }
        }
    }

    fn copy(&mut self, o: &Copy) {
        let (input, output) = (self.tensor(o.input), self.tensor(o.output));
        self.at_least_one("upsample", &[o.upsample]);
        for axis in 0..2 {
            let room = input.shape[axis] * o.upsample;
            self.in_range("output rows or columns", output.shape[axis] as i64, (1, room as i64));
        }
        let last = (o.first_channel + output.shape[2]) as i64;
        self.in_range("first channel + output channels", last, (1, input.shape[2] as i64));
        match &o.requant {
            Some(q) => self.requant(q, output.shape[2], true, output.ty),
            None => self.same_type(input.ty, output.ty),
        }
    }

    fn reshape(&mut self, o: &Reshape) {
        let (input, output) = (self.tensor(o.input), self.tensor(o.output));
        self.equal("number of codes", &[input.len()], &[output.len()]);
        self.same_type(input.ty, output.ty);
    }
}

struct Window {
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    pad_code: i32,
}
