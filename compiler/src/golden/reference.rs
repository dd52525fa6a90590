// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The operators as they are defined: one value at a time, in 64 bits. What [`super::Plan`] computes equals this.

use super::{check_inputs, scale, GoldenError, Misfit};
use crate::ir::*;

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
        let operands = node.op.inputs().iter().map(|&t| &values[t][..]).collect::<Vec<_>>();
        values[node.op.output()] = node_codes(graph, node, &operands)?;
    }
    Ok(values)
}

/// The codes that a node gives for those of its inputs, in the order of [`Op::inputs`].
pub fn node_codes(g: &Graph, node: &Node, operands: &[&[i32]]) -> Result<Vec<i32>, GoldenError> {
    let shape = g.tensors[node.op.output()].shape;
    let codes = match &node.op {
        Op::Conv(o) => {
            let conv = PaddedConv::new(o, &g.tensors[o.input], operands[0]);
            each(shape, |[y, x, c]| o.requant.apply(conv.sum(y, x, c), c))
        }
        Op::Add(o) => each(shape, |at| {
            let i = index(shape, at);
            let part = |v: i32, p| scale((v as i64) << o.left_shift, p, o.sum.rounding);
            o.sum.apply(part(operands[0][i], &o.params_a)? + part(operands[1][i], &o.params_b)?, at[2])
        }),
        Op::Pool(o) => {
            let input = g.tensors[o.input].shape;
            each(shape, |at| pool(o, input, operands[0], at))
        }
        Op::Concat(o) => each(shape, |at| concat(g, o, operands, at)),
        Op::Copy(o) => {
            let input = g.tensors[o.input].shape;
            each(shape, |[y, x, c]| {
                let from = [y / o.upsample, x / o.upsample, c + o.first_channel];
                requantized(&o.requant, operands[0][index(input, from)], c)
            })
        }
        Op::Reshape(_) => Ok(operands[0].to_vec()),
    };
    codes.map_err(|(at, (what, value, bits))| GoldenError::Overflow {
        node: node.name.clone(),
        what,
        at,
        value,
        bits,
    })
}

fn index([_, w, c]: [usize; 3], at: [usize; 3]) -> usize {
    (at[0] * w + at[1]) * c + at[2]
}

/// All values of a tensor, each from its `[y, x, channel]`; the first misfit with its place.
fn each(
    [h, w, c]: [usize; 3],
    f: impl Fn([usize; 3]) -> Result<i32, Misfit>,
) -> Result<Vec<i32>, ([usize; 3], Misfit)> {
    let value = |i: usize| {
        let at = [i / (w * c), i / c % w, i % c];
        f(at).map_err(|e| (at, e))
    };
    (0..h * w * c).map(value).collect()
}

fn requantized(q: &Option<Requant>, code: i32, channel: usize) -> Result<i32, Misfit> {
    match q {
        Some(q) => q.apply(code as i64, channel),
        None => Ok(code),
    }
}

fn concat(g: &Graph, o: &Concat, operands: &[&[i32]], [y, x, c]: [usize; 3]) -> Result<i32, Misfit> {
    let mut channel = c;
    for ((&t, q), codes) in o.inputs.iter().zip(&o.requants).zip(operands) {
        let shape = g.tensors[t].shape;
        if channel < shape[2] {
            return requantized(q, codes[index(shape, [y, x, channel])], channel);
        }
        channel -= shape[2];
    }
    unreachable!("a checked graph's concatenation has as many channels as its inputs")
}

fn pool(o: &Pool, input: [usize; 3], codes: &[i32], [y, x, c]: [usize; 3]) -> Result<i32, Misfit> {
    let taps = (0..o.kernel[0] * o.kernel[1]).map(|k| {
        let iy = (y * o.stride[0] + k / o.kernel[1]).wrapping_sub(o.pads[0]);
        let ix = (x * o.stride[1] + k % o.kernel[1]).wrapping_sub(o.pads[1]);
        if iy < input[0] && ix < input[1] {
            codes[index(input, [iy, ix, c])]
        } else {
            o.pad_code
        }
    });
    match &o.kind {
        PoolKind::Max => Ok(taps.max().unwrap_or(o.pad_code)),
        PoolKind::Sum(q) => q.apply(taps.map(|v| v as i64).sum(), c),
    }
}

/// A convolution with its padded input.
struct PaddedConv<'a> {
    op: &'a Conv,
    /// `[h, w, c]` with the border.
    shape: [usize; 3],
    codes: Vec<i32>,
}

impl<'a> PaddedConv<'a> {
    fn new(op: &'a Conv, input: &Tensor, codes: &[i32]) -> Self {
        let [top, left, bottom, right] = op.pads;
        let [h, w, c] = input.shape;
        let shape = [h + top + bottom, w + left + right, c];
        let mut padded = vec![op.pad_code; shape.iter().product()];
        for (y, line) in codes.chunks(w * c).enumerate() {
            let from = index(shape, [y + top, left, 0]);
            padded[from..from + w * c].copy_from_slice(line);
        }
        PaddedConv { op, shape, codes: padded }
    }

    /// The accumulator of output channel `n` at `y`, `x`.
    fn sum(&self, y: usize, x: usize, n: usize) -> i64 {
        let o = self.op;
        let [oc, kh, kw, icg] = o.weights.shape;
        let channel = n / (oc / o.groups) * icg;
        let mut sum = 0;
        for tap in 0..kh * kw {
            let iy = y * o.stride[0] + tap / kw * o.dilation[0];
            let ix = x * o.stride[1] + tap % kw * o.dilation[1];
            let from = index(self.shape, [iy, ix, channel]);
            let weights = &o.weights.data[(n * kh * kw + tap) * icg..][..icg];
            let products =
                self.codes[from..from + icg].iter().zip(weights).map(|(&v, &w)| v as i64 * w as i64);
            sum += products.sum::<i64>();
        }
        sum
    }
}
