// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Networks with the shapes, widths and zero points of well-known ones, and random weights.

use brickwork_compiler::ir::*;

const INT8: IntType = IntType { bits: 8, signed: true };
const UINT8: IntType = IntType { bits: 8, signed: false };
const UINT4: IntType = IntType { bits: 4, signed: false };
const INT4: IntType = IntType { bits: 4, signed: true };

/// Names that [`network`] knows.
pub const NAMES: [&str; 6] = ["resnet8", "dscnn", "vww", "autoencoder", "ultranet", "slim320"];

/// Stride and padding of a window.
#[derive(Clone, Copy)]
enum Pad {
    /// Output of size `ceil(input / stride)`, the odd pixel behind.
    Same,
    /// So many pixels all around.
    All(usize),
}

struct Net {
    graph: Graph,
    seed: u64,
    /// Of the weights.
    weights: IntType,
    /// Of hidden tensors.
    ty: IntType,
    rounding: Rounding,
}

impl Net {
    fn new(name: &str, shape: [usize; 3], input: IntType, zero_point: i32) -> (Net, TensorId) {
        let graph =
            Graph { name: name.into(), tensors: vec![], nodes: vec![], inputs: vec![0], outputs: vec![] };
        let seed = name.bytes().map(u64::from).sum();
        let mut net = Net { graph, seed, weights: INT8, ty: INT8, rounding: Rounding::TfLite };
        let input = net.tensor(shape, input, zero_point);
        (net, input)
    }

    /// splitmix64, as a number in `lo..=hi`.
    fn random(&mut self, lo: i32, hi: i32) -> i32 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        lo + ((z ^ (z >> 31)) % (hi - lo + 1) as u64) as i32
    }

    fn tensor(&mut self, shape: [usize; 3], ty: IntType, zero_point: i32) -> TensorId {
        let id = self.graph.tensors.len();
        self.graph.tensors.push(Tensor { name: format!("t{id}"), shape, ty, scale: 1.0, zero_point });
        id
    }

    fn node(&mut self, op: Op) -> TensorId {
        let name = format!("n{}", self.graph.nodes.len());
        let output = op.output();
        self.graph.nodes.push(Node { name, op });
        output
    }

    fn requant(&mut self, channels: usize, span: f64, ty: IntType, zero_point: i32) -> Requant {
        let (lo, hi) = ty.range();
        let ratio = (hi - lo) as f64 / (2.0 * span.max(1.0));
        let shift = (-ratio.log2()).ceil().max(0.0);
        let multiplier = (ratio * (shift + 31.0).exp2()).min(i32::MAX as f64) as i32;
        let channels = (0..channels)
            .map(|_| ChannelParams {
                bias: self.random(-(span as i32) / 4 - 1, span as i32 / 4 + 1),
                multiplier: multiplier - self.random(0, multiplier / 4),
                addend: 0,
                shift: shift as u8,
            })
            .collect();
        let clamp = (lo as i32, hi as i32);
        Requant { channels, rounding: self.rounding, zero_point, clamp, table: None, raw: false }
    }

    /// A convolution; `zero_point`: of the result.
    fn conv(
        &mut self,
        input: TensorId,
        oc: usize,
        kernel: [usize; 2],
        (stride, pad): (usize, Pad),
        depthwise: bool,
        (ty, zero_point): (IntType, i32),
    ) -> TensorId {
        let Tensor { shape: [h, w, ic], ty: x, zero_point: pad_code, .. } = self.graph.tensors[input].clone();
        let groups = if depthwise { ic } else { 1 };
        let mut pads = [0; 4];
        let mut out = [0; 2];
        for (a, size) in [h, w].into_iter().enumerate() {
            match pad {
                Pad::Same => {
                    out[a] = size.div_ceil(stride);
                    let all = ((out[a] - 1) * stride + kernel[a]).saturating_sub(size);
                    (pads[a], pads[a + 2]) = (all / 2, all - all / 2);
                }
                Pad::All(p) => {
                    (pads[a], pads[a + 2]) = (p, p);
                    out[a] = (size + 2 * p - kernel[a]) / stride + 1;
                }
            }
        }
        let shape = [oc, kernel[0], kernel[1], ic / groups];
        let ends = self.weights.range();
        let data: Vec<i32> =
            (0..shape.iter().product()).map(|_| self.random(ends.0 as i32 + 1, ends.1 as i32)).collect();
        let weights = Weights { shape, data, ty: self.weights, bipolar: false };
        let terms = (kernel[0] * kernel[1] * ic / groups) as f64;
        let span = terms.sqrt() * ends.1 as f64 / 2.0 * x.range().1 as f64;
        let raw = ty == IntType::RAW;
        let mut requant = self.requant(oc, span, if raw { INT8 } else { ty }, zero_point);
        if raw {
            let same = ChannelParams { bias: 0, multiplier: i32::MAX, addend: 0, shift: 0 };
            requant = Requant { channels: vec![same; oc], rounding: Rounding::HalfUp, raw, ..requant };
        }
        let output = self.tensor([out[0], out[1], oc], ty, zero_point);
        let stride = [stride; 2];
        let dilation = [1, 1];
        self.node(Op::Conv(Conv {
            input,
            output,
            weights,
            stride,
            dilation,
            pads,
            pad_code,
            groups,
            requant,
        }))
    }

    /// `kernel` x `kernel` with the usual result, ReLU in the clamp.
    fn relu(&mut self, input: TensorId, oc: usize, kernel: usize, stride: usize, pad: Pad) -> TensorId {
        let result = (self.ty, self.ty.range().0 as i32);
        self.conv(input, oc, [kernel; 2], (stride, pad), false, result)
    }

    fn depthwise(&mut self, input: TensorId, stride: usize, pad: Pad) -> TensorId {
        let c = self.graph.tensors[input].shape[2];
        self.conv(input, c, [3, 3], (stride, pad), true, (self.ty, self.ty.range().0 as i32))
    }

    fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let output = self.tensor(self.graph.tensors[a].shape, INT8, -128);
        let mut operand = |t: TensorId| ChannelParams {
            bias: -self.graph.tensors[t].zero_point << 20,
            multiplier: (1 << 30) + self.random(0, 1 << 29),
            addend: 0,
            shift: 0,
        };
        let (params_a, params_b) = (operand(a), operand(b));
        let sum = ChannelParams { bias: 0, multiplier: 1 << 30, addend: 0, shift: 19 };
        let channels = vec![sum];
        let rounding = Rounding::TfLite;
        let sum =
            Requant { channels, rounding, zero_point: -128, clamp: (-128, 127), table: None, raw: false };
        self.node(Op::Add(Add { a, b, output, left_shift: 20, params_a, params_b, sum }))
    }

    /// Average over all pixels.
    fn global_average(&mut self, input: TensorId) -> TensorId {
        let [h, w, c] = self.graph.tensors[input].shape;
        let output = self.tensor([1, 1, c], INT8, -128);
        let n = (h * w) as f64;
        let p = ChannelParams {
            bias: 128 * (h * w) as i32,
            multiplier: ((1u64 << 37) as f64 / n) as i32,
            addend: 0,
            shift: 6,
        };
        let channels = vec![p];
        let rounding = Rounding::HalfUp;
        let requant =
            Requant { channels, rounding, zero_point: -128, clamp: (-128, 127), table: None, raw: false };
        self.node(Op::Pool(Pool {
            input,
            output,
            kernel: [h, w],
            stride: [h, w],
            pads: [0; 4],
            pad_code: 0,
            kind: PoolKind::Sum(requant),
        }))
    }

    fn max_pool(&mut self, input: TensorId) -> TensorId {
        let Tensor { shape: [h, w, c], ty, zero_point, .. } = self.graph.tensors[input];
        let output = self.tensor([h / 2, w / 2, c], ty, zero_point);
        let (kernel, stride) = ([2, 2], [2, 2]);
        self.node(Op::Pool(Pool {
            input,
            output,
            kernel,
            stride,
            pads: [0; 4],
            pad_code: 0,
            kind: PoolKind::Max,
        }))
    }

    fn dense(&mut self, input: TensorId, oc: usize) -> TensorId {
        self.conv(input, oc, [1, 1], (1, Pad::All(0)), false, (INT8, 3))
    }

    fn done(mut self, outputs: Vec<TensorId>) -> (Graph, Vec<i32>) {
        self.graph.outputs = outputs;
        let input = self.graph.tensors[0].clone();
        let (lo, hi) = input.ty.range();
        let codes = (0..input.len()).map(|_| self.random(lo as i32, hi as i32)).collect();
        (self.graph, codes)
    }
}

/// Rows and kernels that small banks hold in parts only: every layer goes in rectangles, some channels at a time.
fn rectangles() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("rectangles", [10, 61, 5], INT8, 3);
    let a = n.relu(x, 24, 3, 1, Pad::Same);
    let b = n.depthwise(a, 2, Pad::Same);
    let c = n.relu(b, 72, 3, 1, Pad::Same);
    let d = n.relu(c, 72, 5, 1, Pad::All(2));
    let e = n.add(c, d);
    let f = n.max_pool(e);
    let g = n.global_average(f);
    let y = n.dense(g, 11);
    n.done(vec![e, y])
}

/// Rows of 70 pixels that the banks of `tiny` hold in no band: three of 40 channels, five of 24, one of 120.
fn wide() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("wide", [6, 70, 40], INT8, -9);
    let a = n.relu(x, 24, 3, 1, Pad::Same);
    let b = n.conv(a, 24, [5, 5], (1, Pad::Same), true, (INT8, 5));
    let c = n.relu(b, 120, 1, 1, Pad::All(0));
    let d = n.dense(c, 40);
    let e = n.add(x, d);
    n.done(vec![b, e])
}

/// A stream longer than a coordinate counts.
fn long() -> (Graph, Vec<i32>) {
    let ty = IntType { bits: 2, signed: false };
    let (mut n, x) = Net::new("long", [1, 2600, 3], ty, 1);
    let a = n.conv(x, 8, [1, 9], (1, Pad::Same), false, (ty, 2));
    let b = n.conv(a, 8, [1, 5], (1, Pad::Same), true, (ty, 0));
    let c = n.conv(b, 9, [1, 4], (2, Pad::Same), false, (INT8, -3));
    let d = n.conv(c, 4, [1, 3], (1, Pad::Same), false, (INT8, 0));
    n.done(vec![b, d])
}

/// A network and an input for it.
pub fn network(name: &str) -> (Graph, Vec<i32>) {
    match name {
        "resnet8" => resnet8(),
        "dscnn" => dscnn(),
        "vww" => vww(),
        "rectangles" => rectangles(),
        "wide" => wide(),
        "long" => long(),
        "autoencoder" => autoencoder(),
        "ultranet" => ultranet(),
        "slim320" => slim320(),
        _ => panic!("{name} is none of {NAMES:?}"),
    }
}

fn resnet8() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("resnet8", [32, 32, 3], INT8, -128);
    let x = n.relu(x, 16, 3, 1, Pad::Same);
    let a = n.relu(x, 16, 3, 1, Pad::Same);
    let a = n.conv(a, 16, [3, 3], (1, Pad::Same), false, (INT8, 4));
    let mut x = n.add(x, a);
    for (c, zero) in [(32, -17), (64, 38)] {
        let a = n.relu(x, c, 3, 2, Pad::Same);
        let a = n.conv(a, c, [3, 3], (1, Pad::Same), false, (INT8, 4));
        let b = n.conv(x, c, [1, 1], (2, Pad::Same), false, (INT8, zero));
        x = n.add(b, a);
    }
    let x = n.global_average(x);
    let x = n.dense(x, 10);
    n.done(vec![x])
}

fn dscnn() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("dscnn", [49, 10, 1], INT8, 83);
    let mut x = n.conv(x, 64, [10, 4], (2, Pad::Same), false, (INT8, -128));
    for _ in 0..4 {
        let a = n.depthwise(x, 1, Pad::Same);
        x = n.relu(a, 64, 1, 1, Pad::Same);
    }
    let x = n.global_average(x);
    let x = n.dense(x, 12);
    n.done(vec![x])
}

fn vww() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("vww", [96, 96, 3], INT8, -128);
    let mut x = n.relu(x, 8, 3, 2, Pad::Same);
    let blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1)];
    for (c, stride) in blocks.into_iter().chain([(128, 1), (128, 1), (256, 2), (256, 1)]) {
        let a = n.depthwise(x, stride, Pad::Same);
        x = n.relu(a, c, 1, 1, Pad::Same);
    }
    let x = n.global_average(x);
    let x = n.dense(x, 2);
    n.done(vec![x])
}

fn autoencoder() -> (Graph, Vec<i32>) {
    let (mut n, mut x) = Net::new("autoencoder", [1, 1, 640], INT8, 89);
    for c in [128, 128, 128, 128, 8, 128, 128, 128, 128] {
        x = n.relu(x, c, 1, 1, Pad::Same);
    }
    let x = n.dense(x, 640);
    n.done(vec![x])
}

fn ultranet() -> (Graph, Vec<i32>) {
    let (mut n, mut x) = Net::new("ultranet", [160, 320, 3], UINT8, 0);
    (n.weights, n.ty, n.rounding) = (INT4, UINT4, Rounding::HalfUp);
    for (i, c) in [16, 32, 64, 64, 64, 64, 64, 64].into_iter().enumerate() {
        x = n.relu(x, c, 3, 1, Pad::All(1));
        if i < 4 {
            x = n.max_pool(x);
        }
    }
    let x = n.conv(x, 36, [1, 1], (1, Pad::All(0)), false, (IntType::RAW, 0));
    n.done(vec![x])
}

fn slim320() -> (Graph, Vec<i32>) {
    let (mut n, x) = Net::new("slim320", [240, 320, 3], INT8, -1);
    n.rounding = Rounding::HalfEven;
    let mut x = n.relu(x, 16, 3, 2, Pad::All(1));
    let mut heads = Vec::new();
    let blocks = [(32, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1)];
    for (c, stride) in blocks {
        let a = n.depthwise(x, stride, Pad::All(1));
        x = n.relu(a, c, 1, 1, Pad::All(0));
    }
    let mut head = |n: &mut Net, x: TensorId, classes: usize, boxes: usize| {
        for c in [classes, boxes] {
            let a = n.depthwise(x, 1, Pad::All(1));
            heads.push(n.dense(a, c));
        }
    };
    head(&mut n, x, 6, 12);
    for (c, stride) in [(128, 2), (128, 1), (128, 1)] {
        let a = n.depthwise(x, stride, Pad::All(1));
        x = n.relu(a, c, 1, 1, Pad::All(0));
    }
    head(&mut n, x, 4, 8);
    for (c, stride) in [(256, 2), (256, 1)] {
        let a = n.depthwise(x, stride, Pad::All(1));
        x = n.relu(a, c, 1, 1, Pad::All(0));
    }
    head(&mut n, x, 4, 8);
    let a = n.relu(x, 64, 1, 1, Pad::All(0));
    let a = n.depthwise(a, 2, Pad::All(1));
    let x = n.relu(a, 256, 1, 1, Pad::All(0));
    for c in [6, 12] {
        heads.push(n.conv(x, c, [3, 3], (1, Pad::All(1)), false, (INT8, 3)));
    }
    n.done(heads)
}
