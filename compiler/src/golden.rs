// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The golden network model: executes an integer graph layer by layer; knows no hardware.
//!
//! Exact or an error: a value that does not fit where the machine holds it ([`GoldenError`]) is never wrapped.

use crate::check::IrError;
use crate::ir::*;
use hdl_gen::arch::ACC_VALUE_BITS;
use hdl_gen::numfmt::round_scaled;
use std::fmt;

/// What stops a run.
#[derive(Clone, Debug, PartialEq)]
pub enum GoldenError {
    /// The graph breaks its rules.
    Graph(Vec<IrError>),
    /// Not as many inputs as the graph has, or one of another length.
    Input { expected: Vec<usize>, found: Vec<usize> },
    /// An input code lies outside its tensor's type.
    Code { tensor: String, index: usize, value: i32 },
    /// A value needs more than `bits` bits at output `[y, x, channel]` of a node.
    Overflow { node: String, what: &'static str, at: [usize; 3], value: i64, bits: u32 },
}

impl fmt::Display for GoldenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoldenError::Graph(errors) => errors.iter().try_for_each(|e| writeln!(f, "{e}")),
            GoldenError::Input { expected, found } => {
                write!(f, "the graph takes inputs of {expected:?} codes, was given {found:?}")
            }
            GoldenError::Code { tensor, index, value } => {
                write!(f, "input {tensor}: code {value} at {index} is outside the tensor's type")
            }
            GoldenError::Overflow { node, what, at: [y, x, c], value, bits } => {
                write!(f, "{node}: {what} {value} at y {y} x {x} channel {c} needs more than {bits} bits")
            }
        }
    }
}

impl std::error::Error for GoldenError {}

/// `what`, value and width of something that does not fit.
type Misfit = (&'static str, i64, u32);

fn check_bits(what: &'static str, value: i64, bits: u32) -> Result<i64, Misfit> {
    let top = 1i64 << (bits - 1);
    if (-top..top).contains(&value) {
        Ok(value)
    } else {
        Err((what, value, bits))
    }
}

/// Biased value times multiplier, rounded.
fn scale(acc: i64, p: &ChannelParams, rounding: Rounding) -> Result<i64, Misfit> {
    let v = check_bits("biased accumulator", acc + p.bias as i64, ACC_VALUE_BITS)?;
    Ok(round_scaled(v, p, rounding))
}

impl Requant {
    /// The code for an accumulator of `channel`.
    ///
    /// Errors: the biased accumulator exceeds 42 bits, or a raw result 32.
    pub fn apply(&self, acc: i64, channel: usize) -> Result<i32, (&'static str, i64, u32)> {
        let y = scale(acc, self.channel(channel), self.rounding)?;
        if self.raw {
            return Ok(check_bits("raw result", y, 32)? as i32);
        }
        let z =
            y.saturating_add(self.zero_point as i64).clamp(self.clamp.0 as i64, self.clamp.1 as i64) as i32;
        Ok(match &self.table {
            Some(table) => table[(z & 255) as usize] as i32,
            None => z,
        })
    }
}

/// Executes a graph: the inputs' codes (`[y][x][c]`, in the order of `graph.inputs`) give the codes of every tensor, by
/// tensor number.
pub fn run(graph: &Graph, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
    graph.check().map_err(GoldenError::Graph)?;
    check_inputs(graph, inputs)?;
    let mut values = vec![Vec::new(); graph.tensors.len()];
    for (&t, codes) in graph.inputs.iter().zip(inputs) {
        values[t] = codes.clone();
    }
    for node in &graph.nodes {
        let (t, codes) = node_output(graph, node, &values)?;
        values[t] = codes;
    }
    Ok(values)
}

/// The codes of the graph's outputs alone.
pub fn outputs(graph: &Graph, inputs: &[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> {
    let mut values = run(graph, inputs)?;
    Ok(graph.outputs.iter().map(|&t| std::mem::take(&mut values[t])).collect())
}

fn check_inputs(graph: &Graph, inputs: &[Vec<i32>]) -> Result<(), GoldenError> {
    let expected = graph.inputs.iter().map(|&t| graph.tensors[t].len()).collect::<Vec<_>>();
    let found = inputs.iter().map(Vec::len).collect::<Vec<_>>();
    if expected != found {
        return Err(GoldenError::Input { expected, found });
    }
    for (&t, codes) in graph.inputs.iter().zip(inputs) {
        let tensor = &graph.tensors[t];
        if let Some(index) = codes.iter().position(|&c| !tensor.ty.contains(c as i64)) {
            return Err(GoldenError::Code { tensor: tensor.name.clone(), index, value: codes[index] });
        }
    }
    Ok(())
}

fn node_output(g: &Graph, node: &Node, values: &[Vec<i32>]) -> Result<(TensorId, Vec<i32>), GoldenError> {
    let out = node.op.output();
    let shape = g.tensors[out].shape;
    let rows = match &node.op {
        Op::Conv(o) => {
            let conv = ConvRun::new(o, &g.tensors[o.input], shape, &values[o.input]);
            let threads = if conv.macs() > 1 << 20 { threads() } else { 1 };
            by_rows(shape, threads, |y, row| conv.row(y, row))
        }
        Op::Add(o) => elementwise(shape, |i, _| {
            let a = scale((values[o.a][i] as i64) << o.left_shift, &o.params_a, o.sum.rounding)?;
            let b = scale((values[o.b][i] as i64) << o.left_shift, &o.params_b, o.sum.rounding)?;
            o.sum.apply(a + b, i % shape[2])
        }),
        Op::Pool(o) => {
            let input = &g.tensors[o.input];
            by_rows(shape, threads(), |y, row| pool_row(o, input.shape, shape, &values[o.input], y, row))
        }
        Op::Concat(o) => concat(g, o, shape, values),
        Op::Copy(o) => {
            let input = g.tensors[o.input].shape;
            elementwise(shape, |i, [y, x, c]| {
                let at = ((y / o.upsample) * input[1] + x / o.upsample) * input[2] + c + o.first_channel;
                debug_assert!(i < shape.iter().product());
                match &o.requant {
                    Some(q) => q.apply(values[o.input][at] as i64, c),
                    None => Ok(values[o.input][at]),
                }
            })
        }
        Op::Reshape(o) => Ok(values[o.input].clone()),
    };
    let overflow =
        |(at, (what, value, bits))| GoldenError::Overflow { node: node.name.clone(), what, at, value, bits };
    Ok((out, rows.map_err(overflow)?))
}

/// Position and misfit.
type Placed = ([usize; 3], Misfit);

fn elementwise(
    [h, w, c]: [usize; 3],
    f: impl Fn(usize, [usize; 3]) -> Result<i32, Misfit>,
) -> Result<Vec<i32>, Placed> {
    let value = |i: usize| {
        let at = [i / (w * c), i / c % w, i % c];
        f(i, at).map_err(|e| (at, e))
    };
    (0..h * w * c).map(value).collect()
}

fn concat(g: &Graph, o: &Concat, shape: [usize; 3], values: &[Vec<i32>]) -> Result<Vec<i32>, Placed> {
    let mut out = vec![0; shape.iter().product()];
    let mut first = 0;
    for (&t, q) in o.inputs.iter().zip(&o.requants) {
        let channels = g.tensors[t].shape[2];
        for (i, &v) in values[t].iter().enumerate() {
            let (pixel, c) = (i / channels, i % channels);
            let code = match q {
                Some(q) => {
                    q.apply(v as i64, c).map_err(|e| ([pixel / shape[1], pixel % shape[1], first + c], e))?
                }
                None => v,
            };
            out[pixel * shape[2] + first + c] = code;
        }
        first += channels;
    }
    Ok(out)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Fills the output row by row, the rows shared out among threads; the first error (by row) is returned.
fn by_rows<F>(shape: [usize; 3], threads: usize, f: F) -> Result<Vec<i32>, Placed>
where
    F: Fn(usize, &mut [i32]) -> Result<(), Placed> + Sync,
{
    let row = shape[1] * shape[2];
    let mut out = vec![0; shape[0] * row];
    let share = shape[0].div_ceil(threads.clamp(1, shape[0])) * row;
    let part = |first: usize, rows: &mut [i32]| {
        rows.chunks_mut(row).enumerate().try_for_each(|(i, r)| f(first + i, r))
    };
    if share >= out.len() {
        part(0, &mut out)?;
        return Ok(out);
    }
    std::thread::scope(|scope| {
        let spawn = |(i, rows)| scope.spawn(move || part(i * share / row, rows));
        let handles = out.chunks_mut(share).enumerate().map(spawn).collect::<Vec<_>>();
        // A panic in a part is a bug of ours and goes on as one.
        handles.into_iter().try_for_each(|h| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
    })?;
    Ok(out)
}

fn pool_row(
    o: &Pool,
    input: [usize; 3],
    shape: [usize; 3],
    codes: &[i32],
    y: usize,
    row: &mut [i32],
) -> Result<(), Placed> {
    let channels = shape[2];
    for (i, out) in row.iter_mut().enumerate() {
        let (x, c) = (i / channels, i % channels);
        let taps = (0..o.kernel[0] * o.kernel[1]).map(|k| {
            let iy = (y * o.stride[0] + k / o.kernel[1]).wrapping_sub(o.pads[0]);
            let ix = (x * o.stride[1] + k % o.kernel[1]).wrapping_sub(o.pads[1]);
            if iy < input[0] && ix < input[1] {
                codes[(iy * input[1] + ix) * channels + c]
            } else {
                o.pad_code
            }
        });
        *out = match &o.kind {
            PoolKind::Max => taps.max().unwrap_or(o.pad_code),
            PoolKind::Sum(q) => q.apply(taps.map(|v| v as i64).sum(), c).map_err(|e| ([y, x, c], e))?,
        };
    }
    Ok(())
}

/// A convolution made ready: padded input and weights of the narrowest element that computes exactly.
struct ConvRun<'a> {
    op: &'a Conv,
    shape: [usize; 3],
    /// Width of the padded input in pixels.
    padded_width: usize,
    channels: usize,
    data: ConvData,
}

/// Padded input `[y][x][c]` and weights. 16-bit elements with 32-bit sums vectorize well; they serve whenever no partial
/// sum can leave 32 bits. Depthwise weights are stored `[tap][channel]`, others `[oc][ky][kx][ic]`.
enum ConvData {
    Narrow { input: Vec<i16>, weights: Vec<i16> },
    Wide { input: Vec<i32>, weights: Vec<i32> },
}

impl<'a> ConvRun<'a> {
    fn new(op: &'a Conv, input: &Tensor, shape: [usize; 3], codes: &[i32]) -> Self {
        let padded = pad(op, input.shape, codes);
        let padded_width = input.shape[1] + op.pads[1] + op.pads[3];
        let weights = if is_depthwise(op) { tap_major(&op.weights) } else { op.weights.data.clone() };
        let (lo, hi) = input.ty.range();
        let largest = lo.abs().max(hi);
        let taps = op.weights.shape[1..].iter().product::<usize>().max(1);
        let sums = op.weights.data.chunks(taps).map(|w| w.iter().map(|&w| (w as i64).abs()).sum::<i64>());
        let fits = |v: &[i32]| v.iter().all(|&v| i16::try_from(v).is_ok());
        let narrow = sums.max().unwrap_or(0) * largest <= i32::MAX as i64 && fits(&padded) && fits(&weights);
        let data = if narrow {
            let cut = |v: Vec<i32>| v.into_iter().map(|v| v as i16).collect();
            ConvData::Narrow { input: cut(padded), weights: cut(weights) }
        } else {
            ConvData::Wide { input: padded, weights }
        };
        ConvRun { op, shape, padded_width, channels: input.shape[2], data }
    }

    fn macs(&self) -> usize {
        self.shape.iter().product::<usize>() * self.op.weights.shape[1..].iter().product::<usize>()
    }

    fn row(&self, y: usize, out: &mut [i32]) -> Result<(), Placed> {
        let mut acc = vec![0i64; self.shape[2]];
        for (x, pixel) in out.chunks_mut(self.shape[2]).enumerate() {
            match &self.data {
                ConvData::Narrow { input, weights } => self.pixel(input, weights, y, x, &mut acc),
                ConvData::Wide { input, weights } => self.pixel(input, weights, y, x, &mut acc),
            }
            for (c, (code, &sum)) in pixel.iter_mut().zip(&acc).enumerate() {
                *code = self.op.requant.apply(sum, c).map_err(|e| ([y, x, c], e))?;
            }
        }
        Ok(())
    }

    /// The accumulators of all output channels of one pixel.
    fn pixel<T: Element>(&self, input: &[T], weights: &[T], y: usize, x: usize, acc: &mut [i64]) {
        let [oc, kh, kw, icg] = self.op.weights.shape;
        let at = |ky: usize, kx: usize| {
            let py = y * self.op.stride[0] + ky * self.op.dilation[0];
            let px = x * self.op.stride[1] + kx * self.op.dilation[1];
            (py * self.padded_width + px) * self.channels
        };
        acc.fill(0);
        if is_depthwise(self.op) {
            for (tap, w) in weights.chunks(oc).enumerate() {
                let from = at(tap / kw, tap % kw);
                let row = &input[from..from + oc];
                acc.iter_mut().zip(row.iter().zip(w)).for_each(|(a, (&v, &w))| *a += v.times(w));
            }
            return;
        }
        let per_group = oc / self.op.groups;
        // Without dilation and groups the taps of a kernel row are neighbours in memory.
        let run = if self.op.dilation[1] == 1 && self.op.groups == 1 { kw } else { 1 };
        for (c, (a, w)) in acc.iter_mut().zip(weights.chunks(kh * kw * icg)).enumerate() {
            for (i, w) in w.chunks(run * icg).enumerate() {
                let tap = i * run;
                let from = at(tap / kw, tap % kw) + c / per_group * icg;
                *a += T::dot(&input[from..from + w.len()], w);
            }
        }
    }
}

fn is_depthwise(op: &Conv) -> bool {
    op.groups > 1 && op.weights.shape[3] == 1 && op.weights.shape[0] == op.groups
}

/// Weights `[oc][tap]` as `[tap][oc]`.
fn tap_major(w: &Weights) -> Vec<i32> {
    let taps = w.shape[1] * w.shape[2];
    (0..taps).flat_map(|t| (0..w.shape[0]).map(move |c| w.data[c * taps + t])).collect()
}

/// The input with its border of `pad_code`.
fn pad(op: &Conv, [h, w, c]: [usize; 3], codes: &[i32]) -> Vec<i32> {
    let [top, left, bottom, right] = op.pads;
    let row = (w + left + right) * c;
    let mut out = vec![op.pad_code; (h + top + bottom) * row];
    for (y, line) in codes.chunks(w * c).enumerate() {
        let from = (y + top) * row + left * c;
        out[from..from + w * c].copy_from_slice(line);
    }
    out
}

trait Element: std::marker::Copy {
    fn times(self, other: Self) -> i64;
    /// Sum of the products.
    fn dot(a: &[Self], b: &[Self]) -> i64;
}

impl Element for i16 {
    fn times(self, other: i16) -> i64 {
        (self as i32 * other as i32) as i64
    }

    fn dot(a: &[i16], b: &[i16]) -> i64 {
        a.iter().zip(b).map(|(&a, &b)| a as i32 * b as i32).sum::<i32>() as i64
    }
}

impl Element for i32 {
    fn times(self, other: i32) -> i64 {
        self as i64 * other as i64
    }

    fn dot(a: &[i32], b: &[i32]) -> i64 {
        a.iter().zip(b).map(|(&a, &b)| a as i64 * b as i64).sum()
    }
}
