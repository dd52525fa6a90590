// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random integer graphs and inputs, from a seed; shared by the tests of lowering, machine model and co-simulation.

use brickwork_compiler::ir::*;
use brickwork_compiler::requant;
use hdl_gen::numfmt::float32_multiplier;

/// splitmix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// `lo..=hi`.
    pub fn range(&mut self, lo: i64, hi: i64) -> i64 {
        lo + (self.next() % (hi - lo + 1) as u64) as i64
    }
    pub fn size(&mut self, lo: usize, hi: usize) -> usize {
        self.range(lo as i64, hi as i64) as usize
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
    pub fn pick<T: std::marker::Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }
    /// A code of the type; ends more often than others.
    pub fn code(&mut self, ty: IntType) -> i32 {
        let (lo, hi) = ty.range();
        match self.next() % 8 {
            0 => lo as i32,
            1 => hi as i32,
            _ => self.range(lo, hi) as i32,
        }
    }
}

/// Builds a graph node by node.
pub struct Builder {
    pub graph: Graph,
    pub rng: Rng,
}

/// Where the windows of a convolution lie.
struct Geometry {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
}

/// Longest kernel with its holes.
const MOST_EXTENT: usize = 13;
/// Most bit operations of one convolution, lanes without a channel counted: what a small array does in some 100 000 cycles.
const MOST_WORK: usize = 40_000_000;

impl Builder {
    pub fn new(seed: u64) -> Builder {
        let graph = Graph {
            name: format!("random_{seed}"),
            tensors: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        Builder { graph, rng: Rng::new(seed) }
    }

    pub fn size(&mut self, lo: usize, hi: usize) -> usize {
        self.rng.size(lo, hi)
    }

    pub fn ty(&mut self, bits: u8) -> IntType {
        IntType { bits, signed: self.rng.one_in(2) }
    }

    pub fn act_type(&mut self) -> IntType {
        let bits = match self.rng.one_in(3) {
            true => self.rng.range(1, 16) as u8,
            false => self.rng.pick(&[1, 2, 4, 8]),
        };
        self.ty(bits)
    }

    fn tensor(&mut self, shape: [usize; 3], ty: IntType) -> TensorId {
        let id = self.graph.tensors.len();
        self.graph.tensors.push(Tensor { name: format!("t{id}"), shape, ty, scale: 1.0, zero_point: 0 });
        id
    }

    pub fn shape(&self, t: TensorId) -> [usize; 3] {
        self.graph.tensors[t].shape
    }

    pub fn type_of(&self, t: TensorId) -> IntType {
        self.graph.tensors[t].ty
    }

    pub fn input(&mut self, shape: [usize; 3], ty: IntType) -> TensorId {
        let t = self.tensor(shape, ty);
        self.graph.inputs.push(t);
        t
    }

    fn node(&mut self, op: Op) {
        let name = format!("n{}_{}", self.graph.nodes.len(), op.kind());
        self.graph.nodes.push(Node { name, op });
    }

    /// A requantization that brings `+-span` to about the range of `ty`, with random parameters.
    pub fn requant(&mut self, channels: usize, span: i64, ty: IntType) -> Requant {
        if ty.bits <= 4 && self.rng.one_in(3) {
            return self.thresholds(channels, span, ty);
        }
        if self.rng.one_in(10) {
            return self.extreme_requant(channels, ty);
        }
        let rounding = self.rng.pick(&Rounding::ALL);
        let (lo, hi) = ty.range();
        let target = (hi - lo).max(1) as f64;
        let params = (0..channels)
            .map(|_| {
                let ratio = target / (2 * span.max(1)) as f64 * (0.5 + self.rng.size(0, 300) as f64 / 100.0);
                let (mut shift, mut m) = (0u8, ratio * 2f64.powi(31));
                while m < 2f64.powi(30) && shift < 40 {
                    m *= 2.0;
                    shift += 1;
                }
                let mut multiplier = m.min(i32::MAX as f64) as i32;
                let own = float32_multiplier(ratio as f32).filter(|_| rounding == Rounding::Float32);
                (multiplier, shift) = own.unwrap_or((multiplier, shift));
                let negative = self.rng.one_in(8);
                ChannelParams {
                    bias: self.rng.range(-span / 4 - 1, span / 4 + 1).clamp(-1 << 30, 1 << 30) as i32,
                    multiplier: if negative { -multiplier } else { multiplier },
                    addend: if self.rng.one_in(3) { self.rng.next() as u32 } else { 0 },
                    shift,
                }
            })
            .collect();
        let narrow = self.rng.one_in(3);
        let clamp = match narrow {
            true => (lo + (hi - lo) / 4, hi - (hi - lo) / 8),
            false => (lo, hi),
        };
        let table = self.rng.one_in(8).then(|| (0..256).map(|_| self.rng.code(ty) as i16).collect());
        let table = if ty.bits < 16 { table } else { None };
        Requant {
            channels: params,
            rounding,
            zero_point: self.rng.range(lo, hi) as i32 / 2,
            clamp: (clamp.0 as i32, clamp.1 as i32),
            table,
            raw: false,
        }
    }

    /// A requantization with parameters anywhere in their ranges, ends included.
    fn extreme_requant(&mut self, channels: usize, ty: IntType) -> Requant {
        let (rng, (lo, hi)) = (&mut self.rng, ty.range());
        let params = (0..channels)
            .map(|_| {
                let (bias, multiplier) = (rng.next() as i32 >> 12, rng.next() as i32);
                let (addend, shift) = (rng.next() as u32, rng.size(0, 63) as u8);
                ChannelParams {
                    bias: rng.pick(&[0, 1, -1, i32::MIN, i32::MAX, bias]),
                    multiplier: rng.pick(&[i32::MIN, i32::MAX, 0, 1, -1, multiplier]),
                    addend: rng.pick(&[0, u32::MAX, addend]),
                    shift: rng.pick(&[0, 1, 8, 31, 32, 63, shift]),
                }
            })
            .collect();
        let ends = [rng.range(lo, hi) as i32, rng.range(lo, hi) as i32];
        let zero_point = rng.range(lo, hi) as i32;
        Requant {
            channels: params,
            rounding: rng.pick(&Rounding::ALL),
            zero_point: rng.pick(&[0, -65536, 65535, zero_point]),
            clamp: (ends[0].min(ends[1]), ends[0].max(ends[1])),
            table: None,
            raw: false,
        }
    }

    /// A requantization that counts which of the evenly spaced thresholds of a channel the sum reaches.
    fn thresholds(&mut self, channels: usize, span: i64, ty: IntType) -> Requant {
        let (lo, hi) = ty.range();
        let (limit, count) = (4 * span.clamp(1, 1 << 30), hi - lo);
        let mut channel = || {
            let step = self.rng.range(1, 2 * span.clamp(1, 1 << 28) / count + 1);
            let first = self.rng.range(-span.min(1 << 28), span.min(1 << 28)) - count / 2 * step;
            let reached = |acc: i64| (acc - first).div_euclid(step) + 1;
            let rule = |acc: i64| (lo + reached(acc).clamp(0, count)) as i32;
            let runs = requant::runs(rule, -limit, limit, true).expect("a monotone rule has its runs");
            requant::solve(&runs, lo as i32, (lo as i32, hi as i32), Rounding::Floor)
        };
        let found: Result<Vec<_>, _> = (0..channels).map(|_| channel()).collect();
        Requant {
            // a step of 1 is too steep where other thresholds than the last are reached
            channels: found.unwrap_or_else(|_| vec![requant::identity(Rounding::Floor); channels]),
            rounding: Rounding::Floor,
            zero_point: lo as i32,
            clamp: (lo as i32, hi as i32),
            table: None,
            raw: false,
        }
    }

    fn raw(requant: Requant) -> Requant {
        let channels =
            requant.channels.iter().map(|c| ChannelParams { shift: c.shift.min(2), ..*c }).collect();
        let channels: Vec<ChannelParams> = channels;
        Requant {
            channels: channels
                .into_iter()
                .map(|c| ChannelParams { multiplier: c.multiplier >> 4, ..c })
                .collect(),
            raw: true,
            table: None,
            ..requant
        }
    }

    /// Windows on an image of `h` x `w` pixels.
    fn geometry(&mut self, size: [usize; 2]) -> Geometry {
        let rng = &mut self.rng;
        let stride = [rng.pick(&[1, 1, 2, 3, 4]), rng.pick(&[1, 1, 2, 3, 4])];
        let (padded, thick) = (rng.one_in(2), rng.one_in(4));
        let (mut kernel, mut dilation, mut pads) = ([1; 2], [1; 2], [0; 4]);
        for a in 0..2 {
            let mut k = match rng.next() % 4 {
                0 => 1,
                1 | 2 => rng.size(1, 11),
                _ => 3,
            };
            let mut d = rng.pick(&[1, 1, 1, 2, 3]);
            let extent = |k: usize, d: usize| (k - 1) * d + 1;
            if extent(k, d) > if padded { MOST_EXTENT } else { size[a] } {
                d = 1;
            }
            if !padded {
                k = k.min(size[a]);
            }
            let extent = extent(k, d);
            if padded {
                let most = if thick { extent - 1 } else { extent / 2 };
                let needed = extent.saturating_sub(size[a]);
                pads[a] = rng.size(0, most).max(needed.saturating_sub(extent - 1));
                pads[a + 2] = rng.size(0, most).max(needed.saturating_sub(pads[a]));
            }
            (kernel[a], dilation[a]) = (k, d);
        }
        Geometry { kernel, stride, dilation, pads }
    }

    /// A convolution with random geometry. `raw`: 32-bit result.
    pub fn conv(&mut self, input: TensorId, oc: usize, raw: bool) -> TensorId {
        let [h, w, ic] = self.shape(input);
        let depthwise = self.rng.one_in(4);
        let groups = match depthwise {
            true => ic,
            false if self.rng.one_in(4) => (1..=ic).rev().find(|g| ic % g == 0 && *g <= 4).unwrap_or(1),
            false => 1,
        };
        let oc = oc.next_multiple_of(groups);
        let oc = if depthwise && self.rng.one_in(2) { ic } else { oc };
        let geometry = self.geometry([h, w]);
        let ty = if raw { IntType::RAW } else { self.act_type() };
        self.conv_of(input, oc, groups, geometry, ty)
    }

    /// A convolution of the input's size.
    pub fn conv_same(&mut self, input: TensorId, oc: usize) -> TensorId {
        let k = self.rng.pick(&[1, 3, 3, 5]);
        let geometry = Geometry { kernel: [k; 2], stride: [1; 2], dilation: [1; 2], pads: [k / 2; 4] };
        let ty = self.act_type();
        self.conv_of(input, oc, 1, geometry, ty)
    }

    fn conv_of(&mut self, input: TensorId, oc: usize, groups: usize, g: Geometry, ty: IntType) -> TensorId {
        let [h, w, ic] = self.shape(input);
        let raw = ty == IntType::RAW;
        let (mut oc, mut kernel) = (oc, g.kernel);
        let out = |kernel: [usize; 2]| {
            [0, 1].map(|a| {
                let room = [h, w][a] + g.pads[a] + g.pads[a + 2];
                (room - (kernel[a] - 1) * g.dilation[a] - 1) / g.stride[a] + 1
            })
        };
        let bits = self.type_of(input).bits as usize * 8;
        let work = |oc: usize, kernel: [usize; 2]| {
            let terms = kernel[0] * kernel[1] * (ic / groups).next_multiple_of(8);
            out(kernel).iter().product::<usize>() * terms * oc * bits
        };
        while work(oc, kernel) > MOST_WORK && oc > groups {
            oc = (oc / groups).div_ceil(2) * groups;
        }
        let free = g.pads == [0; 4] && g.dilation == [1; 2];
        while work(oc, kernel) > MOST_WORK && free && kernel != [1; 2] {
            kernel = kernel.map(|k| k.div_ceil(2));
        }
        let (weights, span) = self.weights([oc, kernel[0], kernel[1], ic / groups], input);
        let [oh, ow] = out(kernel);
        let output = self.tensor([oh, ow, oc], ty);
        let requant = match raw {
            true => Self::raw(self.requant(oc, span, IntType { bits: 8, signed: true })),
            false => self.requant(oc, span, ty),
        };
        let pad_code = if self.rng.one_in(2) { 0 } else { self.rng.code(self.graph.tensors[input].ty) };
        self.node(Op::Conv(Conv {
            input,
            output,
            weights,
            stride: g.stride,
            dilation: g.dilation,
            pads: g.pads,
            pad_code: if self.type_of(input).contains(pad_code as i64) { pad_code } else { 0 },
            groups,
            requant,
        }));
        output
    }

    /// Weights of a random width and about the largest sum they make.
    fn weights(&mut self, shape: [usize; 4], input: TensorId) -> (Weights, i64) {
        let n: usize = shape.iter().product();
        let bits = self.rng.pick(&[1, 2, 3, 4, 5, 8, 8, 9, 16]);
        let bipolar = self.rng.one_in(5);
        let ty = if bipolar { IntType { bits: 2, signed: true } } else { self.ty(bits) };
        let data: Vec<i32> = (0..n)
            .map(|_| match bipolar {
                true => self.rng.pick(&[-1, 1]),
                false => self.rng.code(ty),
            })
            .collect();
        let (lo, hi) = self.type_of(input).range();
        let largest = hi.max(-lo) * data.iter().map(|w| w.abs() as i64).max().unwrap_or(1);
        let terms = shape[1..].iter().product::<usize>() as f64;
        (Weights { shape, data, ty, bipolar }, (largest as f64 * terms.sqrt()) as i64)
    }

    /// A pool with random geometry; `plain`: kernel = stride, no pads.
    pub fn pool(&mut self, input: TensorId, max: bool, plain: bool) -> TensorId {
        let [h, w, c] = self.shape(input);
        let kernel = [h, w].map(|n| self.rng.size(1, 4).min(n));
        let stride = if plain { kernel } else { [self.rng.size(1, 3), self.rng.size(1, 3)] };
        let mut pads = [0; 4];
        if !plain && self.rng.one_in(2) {
            for a in 0..4 {
                pads[a] = self.rng.size(0, kernel[a % 2] - 1);
            }
        }
        let out = [0, 1].map(|a| ([h, w][a] + pads[a] + pads[a + 2] - kernel[a]) / stride[a] + 1);
        let ty = if max { self.type_of(input) } else { self.act_type() };
        let output = self.tensor([out[0], out[1], c], ty);
        let (lo, hi) = self.type_of(input).range();
        let span = hi.max(-lo) * (kernel[0] * kernel[1]) as i64;
        let kind = if max { PoolKind::Max } else { PoolKind::Sum(self.requant(1, span, ty)) };
        let pad_code = self.rng.code(self.graph.tensors[input].ty);
        self.node(Op::Pool(Pool { input, output, kernel, stride, pads, pad_code, kind }));
        output
    }

    /// A sum over all pixels.
    pub fn global_sum(&mut self, input: TensorId) -> TensorId {
        let [h, w, c] = self.shape(input);
        let ty = self.act_type();
        let output = self.tensor([1, 1, c], ty);
        let (lo, hi) = self.type_of(input).range();
        let requant = self.requant(1, hi.max(-lo) * (h * w) as i64, ty);
        let kind = PoolKind::Sum(requant);
        self.node(Op::Pool(Pool {
            input,
            output,
            kernel: [h, w],
            stride: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            kind,
        }));
        output
    }

    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let ty = self.act_type();
        let output = self.tensor(self.shape(a), ty);
        let left_shift = self.rng.pick(&[0, 20]);
        let operand = |t: TensorId, b: &mut Builder| {
            let (lo, hi) = b.type_of(t).range();
            let span = hi.max(-lo);
            let mut p = b.requant(1, span, IntType { bits: 12, signed: true }).channels[0];
            if left_shift == 20 {
                p.shift = p.shift.max(8);
            } else {
                p.shift = p.shift.max(1);
            }
            p
        };
        let (params_a, params_b) = (operand(a, self), operand(b, self));
        let mut sum = self.requant(1, 1 << 13, ty);
        if left_shift == 20 {
            sum.channels[0].shift = (sum.channels[0].shift + 14).min(40);
        }
        self.node(Op::Add(Add { a, b, output, left_shift, params_a, params_b, sum }));
        output
    }

    pub fn concat(&mut self, inputs: Vec<TensorId>) -> TensorId {
        let [h, w, _] = self.shape(inputs[0]);
        let c = inputs.iter().map(|t| self.shape(*t)[2]).sum();
        let ty = self.type_of(inputs[0]);
        let output = self.tensor([h, w, c], ty);
        let (lo, hi) = ty.range();
        let common = self.requant(1, (hi - lo) / 2, ty);
        let requants = inputs
            .iter()
            .map(|t| {
                let must = self.type_of(*t) != ty;
                let copies = common.table.is_none() && common.clamp == (lo as i32, hi as i32);
                (must || !copies || self.rng.one_in(2)).then(|| {
                    let channels = self.requant(1, (hi - lo) / 2, ty).channels;
                    Requant { channels, ..common.clone() }
                })
            })
            .collect();
        self.node(Op::Concat(Concat { inputs, output, requants }));
        output
    }

    pub fn copy(&mut self, input: TensorId) -> TensorId {
        let [h, w, c] = self.shape(input);
        let upsample = self.rng.pick(&[1, 1, 2, 3]);
        let first = self.rng.size(0, c - 1);
        let channels = self.rng.size(1, c - first);
        let crop = |rng: &mut Rng, n: usize| if rng.one_in(3) { rng.size(1, n) } else { n };
        let shape = [crop(&mut self.rng, h * upsample), crop(&mut self.rng, w * upsample), channels];
        let requantize = self.rng.one_in(2);
        let ty = if requantize { self.act_type() } else { self.type_of(input) };
        let output = self.tensor(shape, ty);
        let (lo, hi) = self.type_of(input).range();
        let requant = requantize.then(|| self.requant(channels, (hi - lo) / 2, ty));
        self.node(Op::Copy(Copy { input, output, first_channel: first, upsample, requant }));
        output
    }

    pub fn reshape(&mut self, input: TensorId, shape: [usize; 3]) -> TensorId {
        let output = self.tensor(shape, self.type_of(input));
        self.node(Op::Reshape(Reshape { input, output }));
        output
    }

    /// Layers one after another, with branches that come together again.
    pub fn network(&mut self, input: TensorId, size: usize) -> TensorId {
        let mut last = input;
        for _ in 0..self.rng.size(2, 5) {
            let oc = self.size(1, 2 * size);
            let t = last;
            last = match self.rng.next() % 14 {
                0 => self.residual(t),
                1 => {
                    let (max, plain) = (self.rng.one_in(2), self.rng.one_in(2));
                    self.pool(t, max, plain)
                }
                2 => self.pool(t, true, true),
                3 => {
                    let branch = self.conv_same(t, oc.min(size));
                    let parts = match self.rng.next() % 4 {
                        0 => vec![t, branch, t],
                        1 => vec![branch, t],
                        _ => vec![t, branch],
                    };
                    self.concat(parts)
                }
                4 => self.copy(t),
                5 => self.conv_same(t, oc),
                6 => self.rearrange(t),
                _ => self.conv(t, oc, false),
            };
        }
        match self.rng.next() % 4 {
            0 => {
                let mean = self.global_sum(last);
                let oc = self.size(1, 20);
                self.conv(mean, oc, true)
            }
            1 => {
                let n = self.shape(last).iter().product();
                let flat = self.reshape(last, [1, 1, n]);
                let oc = self.size(1, 12);
                let sums = self.conv(flat, oc, true);
                match self.rng.one_in(2) {
                    true => self.rearrange(sums),
                    false => sums,
                }
            }
            _ => last,
        }
    }

    /// One or two layers of any kind on a wide image.
    fn wide(&mut self, input: TensorId, oc: usize) -> TensorId {
        let layer = |b: &mut Builder, t: TensorId| match b.rng.next() % 8 {
            0 => b.residual(t),
            1 => b.pool(t, true, false),
            2 => b.pool(t, false, false),
            3 => b.copy(t),
            4 => {
                let branch = b.conv_same(t, oc);
                b.concat(vec![t, branch])
            }
            5 => b.conv(t, oc, true),
            _ => b.conv(t, oc, false),
        };
        let first = layer(self, input);
        match self.type_of(first).bits <= 16 && self.rng.one_in(2) {
            true => layer(self, first),
            false => first,
        }
    }

    /// The same codes in another shape.
    fn rearrange(&mut self, input: TensorId) -> TensorId {
        let n: usize = self.shape(input).iter().product();
        let divisors: Vec<usize> = (1..=n).filter(|d| n.is_multiple_of(*d)).collect();
        let c = self.rng.pick(&divisors);
        let widths: Vec<usize> = divisors.into_iter().filter(|d| (n / c).is_multiple_of(*d)).collect();
        let w = self.rng.pick(&widths);
        self.reshape(input, [n / c / w, w, c])
    }

    /// A convolution and the sum of its result and its input.
    fn residual(&mut self, input: TensorId) -> TensorId {
        let c = self.shape(input)[2];
        let branch = self.conv_same(input, c);
        // fewer channels than the input's would be too much work to keep
        match self.shape(branch) == self.shape(input) {
            true => self.add(input, branch),
            false => branch,
        }
    }

    /// Makes `out` an output, and some of the other results too.
    fn finish(&mut self, out: TensorId) {
        let results: Vec<TensorId> = self.graph.nodes.iter().map(|n| n.op.output()).collect();
        for t in results {
            if t == out || self.rng.one_in(12) {
                self.graph.outputs.push(t);
            }
        }
        if self.rng.one_in(20) {
            let t = self.rng.pick(&self.graph.inputs.clone());
            self.graph.outputs.push(t);
        }
        if self.rng.one_in(20) {
            self.graph.outputs.push(out);
        }
        if self.rng.one_in(10) && self.type_of(out).bits <= 16 {
            self.copy(out); // nobody reads it
        }
    }

    /// Random codes for all inputs.
    pub fn inputs(&mut self) -> Vec<Vec<i32>> {
        let ids = self.graph.inputs.clone();
        ids.iter()
            .map(|t| {
                let (n, ty) = (self.graph.tensors[*t].len(), self.type_of(*t));
                (0..n).map(|_| self.rng.code(ty)).collect()
            })
            .collect()
    }
}

/// What a random graph consists of.
#[derive(Clone, std::marker::Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Conv,
    RawConv,
    Chain,
    Pool,
    GlobalSum,
    Add,
    Concat,
    Copy,
    Dense,
    Reshape,
    Network,
    /// Rows with so many channels that small banks hold no window of them.
    Wide,
}

impl Kind {
    /// All but `Wide`, which has images of its own.
    #[allow(dead_code)]
    pub const ALL: [Kind; 11] = [
        Kind::Conv,
        Kind::RawConv,
        Kind::Chain,
        Kind::Pool,
        Kind::GlobalSum,
        Kind::Add,
        Kind::Concat,
        Kind::Copy,
        Kind::Dense,
        Kind::Reshape,
        Kind::Network,
    ];
}

/// A random graph and inputs for it. `size`: largest height and width; channels up to twice that and more.
pub fn random_case(seed: u64, kind: Kind, size: usize) -> (Graph, Vec<Vec<i32>>) {
    let mut b = Builder::new(seed);
    let (h, w, c) = (b.size(1, size), b.size(1, size), b.size(1, 2 * size));
    let (h, w, c) = match b.rng.next() % 24 {
        _ if kind == Kind::Wide => (b.size(1, 6), b.size(2 * size, 5 * size), b.size(size, 4 * size)),
        0..=2 => (1, 1, c),
        3 => (1, 1, b.size(1, 20 * size)),
        4 => (b.size(1, 2), b.size(1, 8 * size), c.min(8)),
        5 => (b.size(1, 8 * size), b.size(1, 2), c.min(8)),
        6..=8 => (h, w, 1),
        _ => (h, w, c),
    };
    let ty = b.act_type();
    let x = b.input([h, w, c], ty);
    let oc = b.size(1, 2 * size + 4);
    let out = match kind {
        Kind::Conv => b.conv(x, oc, false),
        Kind::RawConv => b.conv(x, oc, true),
        Kind::Chain => {
            let mut t = x;
            for _ in 0..b.rng.size(2, 4) {
                let oc = b.size(1, 2 * size);
                t = b.conv(t, oc, false);
                if b.rng.one_in(3) {
                    let plain = b.rng.one_in(2);
                    t = b.pool(t, true, plain);
                }
            }
            t
        }
        Kind::Pool => {
            let t = if b.rng.one_in(2) { b.conv(x, oc, false) } else { x };
            let (max, plain) = (b.rng.one_in(2), b.rng.one_in(2));
            b.pool(t, max, plain)
        }
        Kind::GlobalSum => b.global_sum(x),
        Kind::Add => {
            let other = match b.rng.one_in(2) {
                true => {
                    let ty = b.act_type();
                    b.input([h, w, c], ty)
                }
                false => x,
            };
            b.add(x, other)
        }
        Kind::Concat => {
            let mut parts = vec![x];
            for _ in 0..b.rng.size(1, 3) {
                let (c, ty) = (b.size(1, 2 * size), b.act_type());
                parts.push(b.input([h, w, c], ty));
            }
            b.concat(parts)
        }
        Kind::Copy => b.copy(x),
        Kind::Dense => {
            let t = b.conv(x, oc, false);
            let n = b.shape(t).iter().product();
            let flat = b.reshape(t, [1, 1, n]);
            let oc = b.size(1, 20);
            b.conv(flat, oc, true)
        }
        Kind::Reshape => {
            let n: usize = b.shape(x).iter().product();
            let c = (1..=n).rev().filter(|c| n.is_multiple_of(*c)).nth(b.rng.size(0, 3)).unwrap_or(1);
            let t = b.reshape(x, [n / c, 1, c]);
            b.copy(t)
        }
        Kind::Network => b.network(x, size),
        Kind::Wide => b.wide(x, oc),
    };
    b.finish(out);
    let inputs = b.inputs();
    (b.graph, inputs)
}
