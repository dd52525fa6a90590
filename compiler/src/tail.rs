// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host computes behind the integer graph's outputs: rearrangements, decoding arithmetic, softmax.
//!
//! Values are numbered: first the decoded outputs of the graph, then the results of the nodes in order.

use crate::float_layers::{averages, FloatConv, FloatProduct};
use crate::functions::{softmax, Function};
use crate::npz::{Array, Data};
use crate::tflite::code::CodeOp;
use serde::{Deserialize, Serialize};

/// One operator of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostNode {
    pub name: String,
    pub op: HostOp,
    /// Numbers of values.
    pub inputs: Vec<usize>,
    /// Shape of the result.
    pub dims: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HostOp {
    Constant(Vec<f32>),
    /// On codes, as TFLite computes it.
    Codes(CodeOp),
    /// Same elements, other shape.
    Reshape,
    /// Element i is element `order[i]` of the input: transpositions, slices, repetitions.
    Pick(Vec<u32>),
    /// Inputs behind each other along an axis.
    Concat {
        axis: usize,
    },
    /// Softmax (or its logarithm) along an axis, as ONNX Runtime computes it.
    Softmax {
        axis: usize,
        logarithm: bool,
    },
    Function(Function),
    /// `clamp(round_half_even(x / scale) + zero_point)`, as QuantizeLinear.
    Quantize(HostQuant),
    /// `(code - zero_point) * scale`, as DequantizeLinear.
    Dequantize(HostQuant),
    /// On codes, as ONNX Runtime's QLinearSoftmax: exponentials from a table over the distances to the largest code.
    QuantizedSoftmax {
        axis: usize,
        from: HostQuant,
        to: HostQuant,
    },
    /// The largest (or smallest) elements along an axis, the best first, of equal ones the first; `places`: their numbers.
    Top {
        axis: usize,
        count: usize,
        largest: bool,
        places: bool,
    },
    /// A convolution in float32, in the order of ONNX Runtime's additions.
    Conv(FloatConv),
    /// A product with constant weights in float32, in the order of ONNX Runtime's additions.
    Product(FloatProduct),
    /// The average of each channel's so many values.
    Average(usize),
    /// Two operands, broadcast to the result's shape.
    Binary(Binary),
    /// Number of the largest element along an axis (the first of equal ones; the result keeps the axis with size 1).
    ArgMax {
        axis: usize,
    },
    /// Along an axis, which stays with size 1.
    Reduce {
        axis: usize,
        by: Reduction,
    },
}

/// Scale, zero point, smallest and largest code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostQuant {
    pub scale: f32,
    pub zero_point: i32,
    pub range: (i32, i32),
}

impl HostQuant {
    fn code(&self, x: f32) -> i32 {
        // a NaN becomes the zero point
        let code = ((x / self.scale).round_ties_even() as i64).saturating_add(self.zero_point as i64);
        code.clamp(self.range.0 as i64, self.range.1 as i64) as i32
    }

    fn real(&self, code: i32) -> f32 {
        code.saturating_sub(self.zero_point) as f32 * self.scale
    }

    /// ONNX Runtime's table: `exp(scale * (i - 255 + shift))` for the distance 255 - i to the largest code, where the shift
    /// leaves room for the sum of a row of `count`.
    fn exponentials(&self, count: usize) -> Vec<f32> {
        let scale = self.scale as f64;
        let room = ((f32::MAX / count as f32) as f64).ln() - 5.0;
        let shift = room.max(0.0) / scale;
        (0..256).map(|i| ((i as f64 - 255.0 + shift) * scale).exp() as f32).collect()
    }

    /// Codes of a row's softmax; `to`: of the result. A sum of 0 leaves zeros.
    fn softmax(&self, row: &[i32], to: &HostQuant) -> Vec<i32> {
        let table = self.exponentials(row.len());
        let most = row.iter().copied().max().unwrap_or(0);
        let value = |code: i32| table[(255 - (most - code)).clamp(0, 255) as usize];
        let sum = row.iter().fold(0f32, |sum, c| sum + value(*c));
        let levels = (1.0 / to.scale).floor();
        let code = |c: &i32| {
            let share = (value(*c) * levels / sum).round_ties_even() as i64;
            let share = share.saturating_add(to.zero_point as i64);
            // signed results wrap where the unsigned ones are clamped
            match to.range.0 < 0 {
                true if share > 255 => -1,
                true => share as i8 as i32,
                false => share.min(255) as i32,
            }
        };
        if sum == 0.0 {
            return vec![0; row.len()];
        }
        row.iter().map(code).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
}

impl Binary {
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Pow => (a as f64).powf(b as f64) as f32,
        }
    }
}

impl HostOp {
    /// Name of the kind, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            HostOp::Constant(_) => "constant",
            HostOp::Codes(op) => op.kind(),
            HostOp::Reshape => "reshape",
            HostOp::Pick(_) => "rearrange",
            HostOp::Concat { .. } => "concat",
            HostOp::Softmax { logarithm: false, .. } => "softmax",
            HostOp::Softmax { .. } => "log_softmax",
            HostOp::Function(_) => "function",
            HostOp::Quantize(_) => "quantize",
            HostOp::Dequantize(_) => "dequantize",
            HostOp::QuantizedSoftmax { .. } => "softmax",
            HostOp::Top { .. } => "top_k",
            HostOp::Conv(_) => "convolution",
            HostOp::Product(_) => "product",
            HostOp::Average(_) => "average",
            HostOp::Binary(_) => "arithmetic",
            HostOp::ArgMax { .. } => "arg_max",
            HostOp::Reduce { .. } => "reduce",
        }
    }
}

impl HostNode {
    /// The result for the input values, which have the shapes that the importer saw.
    pub fn run(&self, inputs: &[&Array]) -> Array {
        let first = || inputs[0];
        let data = match &self.op {
            HostOp::Constant(values) => Data::F32(values.clone()),
            HostOp::Codes(op) => op.run(first()),
            HostOp::Reshape => first().data.clone(),
            HostOp::Pick(order) => picked(&first().data, order),
            HostOp::Concat { axis } => concat(inputs, *axis),
            HostOp::Softmax { axis, logarithm } => {
                let mut values = floats(first());
                along(&first().shape, *axis, |places| {
                    let mut line = places.iter().map(|&p| values[p]).collect::<Vec<_>>();
                    softmax(&mut line, *logarithm);
                    places.iter().zip(line).for_each(|(&p, v)| values[p] = v);
                });
                Data::F32(values)
            }
            HostOp::Quantize(q) => Data::I32(floats(first()).into_iter().map(|x| q.code(x)).collect()),
            HostOp::Dequantize(q) => {
                Data::F32(floats(first()).into_iter().map(|c| q.real(c as i32)).collect())
            }
            HostOp::QuantizedSoftmax { axis, from, to } => {
                let mut codes: Vec<i32> = floats(first()).into_iter().map(|c| c as i32).collect();
                along(&first().shape, *axis, |places| {
                    let row = places.iter().map(|&p| codes[p]).collect::<Vec<_>>();
                    let result = from.softmax(&row, to);
                    places.iter().zip(result).for_each(|(&p, v)| codes[p] = v);
                });
                Data::I32(codes)
            }
            HostOp::Top { axis, count, largest, places } => {
                let values = floats(first());
                let (mut numbers, mut best) =
                    (vec![0i64; elements(&self.dims)], vec![0f32; elements(&self.dims)]);
                let mut lines = Vec::new();
                along(&first().shape, *axis, |line| lines.push(line.to_vec()));
                let mut targets = Vec::new();
                along(&self.dims, *axis, |line| targets.push(line.to_vec()));
                for (line, target) in lines.iter().zip(&targets) {
                    let mut order: Vec<usize> = (0..line.len()).collect();
                    let value = |i: usize| if *largest { -values[line[i]] } else { values[line[i]] };
                    order.sort_by(|&a, &b| value(a).total_cmp(&value(b)).then(a.cmp(&b)));
                    for (&i, &to) in order.iter().take(*count).zip(target) {
                        (numbers[to], best[to]) = (i as i64, values[line[i]]);
                    }
                }
                if *places {
                    Data::I64(numbers)
                } else {
                    Data::F32(best)
                }
            }
            HostOp::Conv(conv) => Data::F32(conv.run(&first().shape, &floats(first()))),
            HostOp::Average(count) => Data::F32(averages(&floats(first()), *count)),
            HostOp::Product(product) => Data::F32(product.run(&floats(first()))),
            HostOp::Function(f) => Data::F32(floats(first()).into_iter().map(|x| f.apply(x)).collect()),
            HostOp::Binary(op) => {
                let (a, b) = (spread(inputs[0], &self.dims), spread(inputs[1], &self.dims));
                Data::F32(a.into_iter().zip(b).map(|(a, b)| op.apply(a, b)).collect())
            }
            HostOp::ArgMax { axis } => {
                let (values, mut out) = (floats(first()), Vec::new());
                along(&first().shape, *axis, |places| {
                    let best = (0..places.len()).rev().max_by(|&a, &b| {
                        values[places[a]].partial_cmp(&values[places[b]]).unwrap_or(std::cmp::Ordering::Equal)
                    });
                    out.push(best.unwrap_or(0) as i64);
                });
                Data::I64(out)
            }
            HostOp::Reduce { axis, by } => {
                let (values, mut out) = (floats(first()), Vec::new());
                along(&first().shape, *axis, |places| out.push(by.apply(places.iter().map(|&p| values[p]))));
                Data::F32(out)
            }
        };
        Array { shape: self.dims.clone(), data }
    }
}

fn elements(dims: &[usize]) -> usize {
    dims.iter().product()
}

impl Reduction {
    fn apply(self, values: impl ExactSizeIterator<Item = f32>) -> f32 {
        let count = values.len() as f32;
        match self {
            Reduction::Sum => values.sum(),
            Reduction::Mean => values.sum::<f32>() / count,
            Reduction::Max => values.fold(f32::NEG_INFINITY, f32::max),
            Reduction::Min => values.fold(f32::INFINITY, f32::min),
        }
    }
}

/// Elements as float32; integers are converted.
fn floats(array: &Array) -> Vec<f32> {
    match &array.data {
        Data::F32(v) => v.clone(),
        other => (0..other.len()).map(|i| number(other, i)).collect(),
    }
}

fn number(data: &Data, i: usize) -> f32 {
    match data {
        Data::I8(v) => v[i] as f32,
        Data::U8(v) => v[i] as f32,
        Data::I16(v) => v[i] as f32,
        Data::I32(v) => v[i] as f32,
        Data::I64(v) => v[i] as f32,
        Data::F32(v) => v[i],
        Data::F64(v) => v[i] as f32,
    }
}

macro_rules! picks {
    ($data:expr, $order:expr, $($kind:ident)*) => {
        match $data {
            $(Data::$kind(v) => Data::$kind($order.iter().map(|&i| v[i as usize]).collect()),)*
        }
    };
}

fn picked(data: &Data, order: &[u32]) -> Data {
    picks!(data, order, I8 U8 I16 I32 I64 F32 F64)
}

/// Integers stay integers where all inputs are.
fn concat(inputs: &[&Array], axis: usize) -> Data {
    let outer = inputs[0].shape[..axis].iter().product::<usize>();
    let integers = inputs.iter().map(|a| a.to_i32()).collect::<Option<Vec<_>>>();
    match integers {
        Some(parts) => Data::I32(interleaved(&parts, outer)),
        None => Data::F32(interleaved(&inputs.iter().map(|a| floats(a)).collect::<Vec<_>>(), outer)),
    }
}

fn interleaved<T: Copy>(parts: &[Vec<T>], outer: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for o in 0..outer {
        for part in parts {
            let piece = part.len() / outer;
            out.extend_from_slice(&part[o * piece..(o + 1) * piece]);
        }
    }
    out
}

/// Calls `f` with the places of each line along an axis, in C order of the other axes.
fn along(shape: &[usize], axis: usize, mut f: impl FnMut(&[usize])) {
    let inner = shape[axis + 1..].iter().product::<usize>();
    let outer = shape[..axis].iter().product::<usize>();
    for o in 0..outer {
        for i in 0..inner {
            let places = (0..shape[axis]).map(|k| (o * shape[axis] + k) * inner + i).collect::<Vec<_>>();
            f(&places);
        }
    }
}

/// Elements repeated to `dims`.
fn spread(array: &Array, dims: &[usize]) -> Vec<f32> {
    let values = floats(array);
    if values.len() == dims.iter().product::<usize>() {
        return values;
    }
    let order = broadcast_order(&array.shape, dims).expect("the importer checked the shapes");
    order.into_iter().map(|i| values[i]).collect()
}

/// For each element of `to`, the element of `from` that broadcasting puts there; `None` where the shapes do not fit.
pub fn broadcast_order(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let skip = to.len().checked_sub(from.len())?;
    if from.iter().zip(&to[skip..]).any(|(&f, &t)| f != t && f != 1) {
        return None;
    }
    let count = to.iter().product::<usize>();
    let index = |mut i: usize| {
        let (mut at, mut stride) = (0, 1);
        for axis in (0..to.len()).rev() {
            let along = i % to[axis];
            i /= to[axis];
            if axis >= skip {
                let size = from[axis - skip];
                at += if size == 1 { 0 } else { along * stride };
                stride *= size;
            }
        }
        at
    };
    Some((0..count).map(index).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: HostOp, dims: &[usize]) -> HostNode {
        HostNode { name: "n".into(), op, inputs: vec![], dims: dims.to_vec() }
    }

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array::f32(shape.to_vec(), values.to_vec()).unwrap()
    }

    #[test]
    fn operators_on_a_small_matrix() {
        let x = array(&[2, 3], &[1.0, 5.0, 2.0, -1.0, -3.0, 4.0]);
        let run = |op, dims: &[usize]| node(op, dims).run(&[&x]).data;
        assert_eq!(run(HostOp::ArgMax { axis: 1 }, &[2, 1]), Data::I64(vec![1, 2]));
        let mean = HostOp::Reduce { axis: 0, by: Reduction::Mean };
        assert_eq!(run(mean, &[1, 3]), Data::F32(vec![0.0, 1.0, 3.0]));
        let turned = run(HostOp::Pick(vec![0, 3, 1, 4, 2, 5]), &[3, 2]);
        assert_eq!(turned, Data::F32(vec![1.0, -1.0, 5.0, -3.0, 2.0, 4.0]));
        let joined = node(HostOp::Concat { axis: 1 }, &[2, 6]).run(&[&x, &x]).data;
        let both = [1.0, 5.0, 2.0, 1.0, 5.0, 2.0, -1.0, -3.0, 4.0, -1.0, -3.0, 4.0];
        assert_eq!(joined, Data::F32(both.to_vec()));
        let row = array(&[3], &[1.0, 10.0, 100.0]);
        let product = node(HostOp::Binary(Binary::Mul), &[2, 3]).run(&[&x, &row]).data;
        assert_eq!(product, Data::F32(vec![1.0, 50.0, 200.0, -1.0, -30.0, 400.0]));
    }

    #[test]
    fn the_largest_come_first_and_of_equal_ones_the_first() {
        let x = array(&[2, 4], &[1.0, 5.0, 2.0, 5.0, -1.0, -3.0, 4.0, 0.0]);
        let top = |largest, places| HostOp::Top { axis: 1, count: 2, largest, places };
        let run = |op| node(op, &[2, 2]).run(&[&x]).data;
        assert_eq!(run(top(true, true)), Data::I64(vec![1, 3, 2, 3]));
        assert_eq!(run(top(true, false)), Data::F32(vec![5.0, 5.0, 4.0, 0.0]));
        assert_eq!(run(top(false, true)), Data::I64(vec![0, 2, 1, 0]));
    }

    #[test]
    fn codes_become_reals_and_reals_codes() {
        let q = HostQuant { scale: 0.5, zero_point: 3, range: (-128, 127) };
        let x = array(&[4], &[0.25, 0.75, -1.0, 1000.0]);
        let codes = node(HostOp::Quantize(q), &[4]).run(&[&x]);
        assert_eq!(codes.data, Data::I32(vec![3, 5, 1, 127]));
        assert_eq!(
            node(HostOp::Dequantize(q), &[4]).run(&[&codes]).data,
            Data::F32(vec![0.0, 1.0, -1.0, 62.0])
        );
    }

    #[test]
    fn softmax_sums_to_one_along_its_axis() {
        let x = array(&[2, 3], &[1.0, 5.0, 2.0, -1.0, -3.0, 4.0]);
        let Data::F32(y) = node(HostOp::Softmax { axis: 0, logarithm: false }, &[2, 3]).run(&[&x]).data
        else {
            panic!("floats")
        };
        for c in 0..3 {
            assert!((y[c] + y[3 + c] - 1.0).abs() < 1e-6);
        }
        let Data::F32(l) = node(HostOp::Softmax { axis: 0, logarithm: true }, &[2, 3]).run(&[&x]).data else {
            panic!("floats")
        };
        assert!(y.iter().zip(&l).all(|(y, l)| (y.ln() - l).abs() < 1e-5));
    }
}
