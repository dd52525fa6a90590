// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The golden model against naive loops written from the operators' definitions, and the graph's rules.

#[path = "support/random.rs"]
mod random;

use brickwork_compiler::check::IrErrorKind;
use brickwork_compiler::golden::{outputs, run, GoldenError};
use brickwork_compiler::ir::*;
use random::Random;

impl Random {
    fn size(&mut self, lo: usize, hi: usize) -> usize {
        self.in_range(lo as i64, hi as i64) as usize
    }
    fn ty(&mut self) -> IntType {
        IntType { bits: self.in_range(1, 16) as u8, signed: self.next() & 1 == 1 }
    }
    fn codes(&mut self, count: usize, ty: IntType) -> Vec<i32> {
        let (lo, hi) = ty.range();
        // The ends of the range are the dangerous values: they come often.
        let code = |_| match self.next() % 4 {
            0 => lo as i32,
            1 => hi as i32,
            _ => self.in_range(lo, hi) as i32,
        };
        (0..count).map(code).collect()
    }
    fn params(&mut self) -> ChannelParams {
        ChannelParams {
            bias: self.in_range(-100_000, 100_000) as i32,
            multiplier: self.next() as i32,
            addend: self.next() as u32,
            shift: self.in_range(0, 20) as u8,
        }
    }
    fn requant(&mut self, channels: usize, out: IntType) -> Requant {
        let (lo, hi) = out.range();
        let table = self
            .next()
            .is_multiple_of(4)
            .then(|| self.codes(256, out).into_iter().map(|v| v as i16).collect());
        let table = table.filter(|_| out.bits < 16);
        Requant {
            channels: (0..channels).map(|_| self.params()).collect(),
            rounding: Rounding::ALL[self.size(0, Rounding::ALL.len() - 1)],
            zero_point: self.in_range(-300, 300) as i32,
            clamp: (lo as i32, hi as i32),
            table,
            raw: false,
        }
    }
}

/// Rounding by its definition on exact fractions, independent of numfmt: `n / 2^bits`.
fn divide(n: i128, bits: u32, rounding: Rounding) -> i128 {
    let d = 1i128 << bits;
    let (floor, rest) = (n.div_euclid(d), n.rem_euclid(d));
    match rounding {
        Rounding::Floor => floor,
        Rounding::HalfUp => floor + (2 * rest >= d) as i128,
        Rounding::HalfEven => floor + (2 * rest > d || (2 * rest == d && floor % 2 != 0)) as i128,
        // Ties away from zero.
        Rounding::TfLite => floor + (2 * rest > d || (2 * rest == d && floor >= 0)) as i128,
        // To the last bit of a mantissa of 24 bits that begins with the 16 low bits of the integer part, then to an integer.
        Rounding::Float32 => {
            let whole = (if n < 0 { -n - 1 } else { n }) / d % (1 << 16);
            let behind = 24 - (0..16).rev().find(|&b| whole >> b & 1 == 1).map_or(0, |b| b + 1);
            divide(divide(n, bits - behind, Rounding::HalfEven), behind, Rounding::HalfEven)
        }
    }
}

fn scaled(acc: i64, p: &ChannelParams, rounding: Rounding) -> i128 {
    let product = (acc as i128 + p.bias as i128) * p.multiplier as i128 + p.addend as i128;
    if rounding == Rounding::TfLite {
        let high = divide(product, 31, Rounding::HalfUp);
        return if p.shift == 0 { high } else { divide(high, p.shift as u32, Rounding::TfLite) };
    }
    let shift =
        if rounding == Rounding::Float32 { [0, 8, 16, 24][p.shift as usize / 8 % 4] } else { p.shift as u32 };
    divide(product, 31 + shift, rounding)
}

fn naive_requant(acc: i64, q: &Requant, c: usize) -> i32 {
    let p = if q.channels.len() == 1 { &q.channels[0] } else { &q.channels[c] };
    let y = scaled(acc, p, q.rounding);
    if q.raw {
        return y as i32;
    }
    let z = (y + q.zero_point as i128).max(q.clamp.0 as i128).min(q.clamp.1 as i128);
    match &q.table {
        Some(table) => table[z.rem_euclid(256) as usize] as i32,
        None => z as i32,
    }
}

fn tensor(name: &str, shape: [usize; 3], ty: IntType) -> Tensor {
    Tensor { name: name.into(), shape, ty, scale: 1.0, zero_point: 0 }
}

fn graph(tensors: Vec<Tensor>, inputs: usize, op: Op) -> Graph {
    let outputs = vec![tensors.len() - 1];
    let nodes = vec![Node { name: "op".into(), op }];
    Graph { name: "test".into(), tensors, nodes, inputs: (0..inputs).collect(), outputs }
}

fn random_conv(r: &mut Random) -> (Graph, Vec<i32>) {
    let (kernel, stride, dilation) =
        ([r.size(1, 4), r.size(1, 3)], [r.size(1, 3), r.size(1, 2)], [r.size(1, 2), r.size(1, 3)]);
    let extent = [0, 1].map(|a| (kernel[a] - 1) * dilation[a] + 1);
    let pads = [0, 1, 0, 1].map(|a| r.size(0, extent[a] - 1));
    let size = [0, 1].map(|a| r.size(extent[a], extent[a] + 7));
    let (groups, icg, per_group) = match r.next() % 3 {
        0 => (1, r.size(1, 20), r.size(1, 9)),
        1 => (r.size(2, 9), 1, 1),
        _ => (r.size(1, 3), r.size(1, 4), r.size(1, 3)),
    };
    let (ty, wty, out) = (r.ty(), r.ty(), r.ty());
    let oc = groups * per_group;
    let shape = [size[0], size[1], groups * icg];
    let out_shape = [0, 1].map(|a| (size[a] + pads[a] + pads[a + 2] - extent[a]) / stride[a] + 1);
    let weight_shape = [oc, kernel[0], kernel[1], icg];
    let data = r.codes(weight_shape.iter().product(), wty);
    let conv = Conv {
        input: 0,
        output: 1,
        weights: Weights { shape: weight_shape, data, ty: wty, bipolar: false },
        stride,
        dilation,
        pads,
        pad_code: r.codes(1, ty)[0],
        groups,
        requant: r.requant(oc, out),
    };
    let tensors = vec![tensor("in", shape, ty), tensor("out", [out_shape[0], out_shape[1], oc], out)];
    let codes = r.codes(shape.iter().product(), ty);
    (graph(tensors, 1, Op::Conv(conv)), codes)
}

fn naive_conv(g: &Graph, o: &Conv, input: &[i32]) -> Vec<i32> {
    let ([h, w, c], [oh, ow, oc]) = (g.tensors[0].shape, g.tensors[1].shape);
    let [_, kh, kw, icg] = o.weights.shape;
    let mut out = Vec::new();
    for y in 0..oh {
        for x in 0..ow {
            for n in 0..oc {
                let mut acc = 0i64;
                for ky in 0..kh {
                    for kx in 0..kw {
                        for i in 0..icg {
                            let iy = (y * o.stride[0] + ky * o.dilation[0]) as i64 - o.pads[0] as i64;
                            let ix = (x * o.stride[1] + kx * o.dilation[1]) as i64 - o.pads[1] as i64;
                            let inside = iy >= 0 && iy < h as i64 && ix >= 0 && ix < w as i64;
                            let channel = n / (oc / o.groups) * icg + i;
                            let code = if inside {
                                input[(iy as usize * w + ix as usize) * c + channel]
                            } else {
                                o.pad_code
                            };
                            acc += code as i64 * o.weights.data[((n * kh + ky) * kw + kx) * icg + i] as i64;
                        }
                    }
                }
                out.push(naive_requant(acc, &o.requant, n));
            }
        }
    }
    out
}

#[test]
fn convolutions_are_the_naive_loops() {
    for seed in 1..=300 {
        let mut r = Random(seed * 7919);
        let (g, input) = random_conv(&mut r);
        let Op::Conv(o) = &g.nodes[0].op else { unreachable!() };
        let got = outputs(&g, std::slice::from_ref(&input)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(got[0], naive_conv(&g, o, &input), "seed {seed}");
    }
}

#[test]
fn large_convolutions_in_threads_are_the_naive_loops() {
    let mut r = Random(5);
    let ty = IntType { bits: 8, signed: true };
    for groups in [1, 32] {
        let weights = Weights {
            shape: [32, 3, 3, 32 / groups],
            data: r.codes(9 * 1024 / groups, ty),
            ty,
            bipolar: false,
        };
        let requant = r.requant(32, ty);
        let (stride, dilation, pads) = ([1, 1], [1, 1], [1; 4]);
        let conv =
            Conv { input: 0, output: 1, weights, stride, dilation, pads, pad_code: -7, groups, requant };
        let g = graph(
            vec![tensor("in", [37, 21, 32], ty), tensor("out", [37, 21, 32], ty)],
            1,
            Op::Conv(conv.clone()),
        );
        let input = r.codes(37 * 21 * 32, ty);
        assert_eq!(
            outputs(&g, std::slice::from_ref(&input)).unwrap()[0],
            naive_conv(&g, &conv, &input),
            "groups {groups}"
        );
    }
}

#[test]
fn pools_are_the_naive_loops() {
    for seed in 1..=200 {
        let mut r = Random(seed * 104_729);
        let (kernel, stride) = ([r.size(1, 3), r.size(1, 4)], [r.size(1, 3), r.size(1, 3)]);
        let pads = [0, 1, 0, 1].map(|a| r.size(0, kernel[a] - 1));
        let shape = [r.size(4, 9), r.size(4, 9), r.size(1, 5)];
        let out = [0, 1].map(|a: usize| (shape[a] + pads[a] + pads[a + 2] - kernel[a]) / stride[a] + 1);
        let ty = r.ty();
        let sum = r.next() & 1 == 1;
        let out_ty = if sum { r.ty() } else { ty };
        let kind = if sum { PoolKind::Sum(r.requant(1, out_ty)) } else { PoolKind::Max };
        let pool = Pool { input: 0, output: 1, kernel, stride, pads, pad_code: r.codes(1, ty)[0], kind };
        let tensors = vec![tensor("in", shape, ty), tensor("out", [out[0], out[1], shape[2]], out_ty)];
        let g = graph(tensors, 1, Op::Pool(pool.clone()));
        let input = r.codes(shape.iter().product(), ty);
        let mut expected = Vec::new();
        for (y, x, c) in
            (0..out[0]).flat_map(|y| (0..out[1]).flat_map(move |x| (0..shape[2]).map(move |c| (y, x, c))))
        {
            let mut window = Vec::new();
            for (ky, kx) in (0..kernel[0]).flat_map(|a| (0..kernel[1]).map(move |b| (a, b))) {
                let iy = (y * stride[0] + ky) as i64 - pads[0] as i64;
                let ix = (x * stride[1] + kx) as i64 - pads[1] as i64;
                let inside = (0..shape[0] as i64).contains(&iy) && (0..shape[1] as i64).contains(&ix);
                let at = || input[(iy as usize * shape[1] + ix as usize) * shape[2] + c];
                window.push(if inside { at() } else { pool.pad_code });
            }
            expected.push(match &pool.kind {
                PoolKind::Max => *window.iter().max().unwrap(),
                PoolKind::Sum(q) => naive_requant(window.iter().map(|&v| v as i64).sum(), q, 0),
            });
        }
        assert_eq!(outputs(&g, &[input]).unwrap()[0], expected, "seed {seed}");
    }
}

#[test]
fn additions_are_the_definition() {
    for seed in 1..=100 {
        let mut r = Random(seed * 15_485_863);
        let shape = [r.size(1, 4), r.size(1, 4), r.size(1, 6)];
        let (ta, tb, out) = (r.ty(), r.ty(), r.ty());
        let left_shift = if r.next() & 1 == 1 { 20 } else { 0 };
        let mut params = || ChannelParams { shift: r.in_range(8, 20) as u8, ..r.params() };
        let (params_a, params_b) = (params(), params());
        let add = Add { a: 0, b: 1, output: 2, left_shift, params_a, params_b, sum: r.requant(1, out) };
        let count = shape.iter().product();
        let (a, b) = (r.codes(count, ta), r.codes(count, tb));
        let g = graph(
            vec![tensor("a", shape, ta), tensor("b", shape, tb), tensor("s", shape, out)],
            2,
            Op::Add(add.clone()),
        );
        let part = |v: i32, p| scaled((v as i64) << left_shift, p, add.sum.rounding) as i64;
        let sum =
            |(&a, &b): (&i32, &i32)| naive_requant(part(a, &params_a) + part(b, &params_b), &add.sum, 0);
        let expected = a.iter().zip(&b).map(sum).collect::<Vec<_>>();
        assert_eq!(outputs(&g, &[a, b]).unwrap()[0], expected, "seed {seed}");
    }
}

#[test]
fn concatenations_copies_and_reshapes() {
    let mut r = Random(9);
    let ty = IntType { bits: 6, signed: true };
    let (a, b) = (r.codes(2 * 3 * 2, ty), r.codes(2 * 3 * 4, ty));
    let q = r.requant(4, ty);
    let op = Op::Concat(Concat { inputs: vec![0, 1], output: 2, requants: vec![None, Some(q.clone())] });
    let tensors = vec![tensor("a", [2, 3, 2], ty), tensor("b", [2, 3, 4], ty), tensor("ab", [2, 3, 6], ty)];
    let got = outputs(&graph(tensors, 2, op), &[a.clone(), b.clone()]).unwrap();
    for pixel in 0..6 {
        assert_eq!(got[0][pixel * 6..pixel * 6 + 2], a[pixel * 2..pixel * 2 + 2]);
        for c in 0..4 {
            assert_eq!(got[0][pixel * 6 + 2 + c], naive_requant(b[pixel * 4 + c] as i64, &q, c));
        }
    }

    let q = r.requant(1, ty);
    let op = Op::Copy(Copy { input: 0, output: 1, first_channel: 1, upsample: 2, requant: Some(q.clone()) });
    let g = graph(vec![tensor("b", [2, 3, 4], ty), tensor("up", [3, 5, 2], ty)], 1, op);
    let got = outputs(&g, std::slice::from_ref(&b)).unwrap();
    for (y, x, c) in (0..3).flat_map(|y| (0..5).flat_map(move |x| (0..2).map(move |c| (y, x, c)))) {
        let code = b[(y / 2 * 3 + x / 2) * 4 + c + 1];
        assert_eq!(got[0][(y * 5 + x) * 2 + c], naive_requant(code as i64, &q, c), "y {y} x {x} c {c}");
    }

    let op = Op::Reshape(Reshape { input: 0, output: 1 });
    let g = graph(vec![tensor("b", [2, 3, 4], ty), tensor("flat", [1, 1, 24], ty)], 1, op);
    assert_eq!(run(&g, std::slice::from_ref(&b)).unwrap(), [b.clone(), b]);
}

#[test]
fn values_that_do_not_fit_are_errors() {
    let ty = IntType { bits: 16, signed: false };
    let weights = Weights {
        shape: [1, 1, 1, 2],
        data: vec![32767, 32767],
        ty: IntType { bits: 16, signed: true },
        bipolar: false,
    };
    let params = ChannelParams { bias: 0, multiplier: i32::MAX, addend: 1 << 30, shift: 0 };
    let requant = Requant {
        channels: vec![params],
        rounding: Rounding::Floor,
        zero_point: 0,
        clamp: (0, 0),
        table: None,
        raw: true,
    };
    let (stride, dilation, pads) = ([1, 1], [1, 1], [0; 4]);
    let conv = Conv { input: 0, output: 1, weights, stride, dilation, pads, pad_code: 0, groups: 1, requant };
    let g =
        graph(vec![tensor("in", [1, 2, 2], ty), tensor("out", [1, 2, 1], IntType::RAW)], 1, Op::Conv(conv));
    let error = outputs(&g, &[vec![0, 1, 65535, 65535]]).unwrap_err();
    let (what, value) = ("raw result", 2 * 32767 * 65535 - 2);
    assert_eq!(error, GoldenError::Overflow { node: "op".into(), what, at: [0, 1, 0], value, bits: 32 });
    assert_eq!(outputs(&g, &[vec![0, 1, 2, 3]]).unwrap(), [[32767, 5 * 32767]]);
    let error = outputs(&g, &[vec![0, 1, 2, 65536]]).unwrap_err();
    assert_eq!(error, GoldenError::Code { tensor: "in".into(), index: 3, value: 65536 });
    let error = outputs(&g, &[vec![0, 1, 2]]).unwrap_err();
    assert_eq!(error, GoldenError::Input { expected: vec![4], found: vec![3] });
}

/// The rules that a changed graph breaks.
fn broken(change: impl Fn(&mut Graph, &mut Conv)) -> Vec<IrErrorKind> {
    let ty = IntType { bits: 4, signed: true };
    let weights = Weights { shape: [2, 3, 3, 2], data: vec![1; 36], ty, bipolar: false };
    let requant = Random(3).requant(2, ty);
    let (stride, dilation, pads) = ([1, 1], [1, 1], [1; 4]);
    let mut conv =
        Conv { input: 0, output: 1, weights, stride, dilation, pads, pad_code: 0, groups: 1, requant };
    conv.requant.table = None;
    let mut g =
        graph(vec![tensor("in", [5, 5, 2], ty), tensor("out", [5, 5, 2], ty)], 1, Op::Conv(conv.clone()));
    assert_eq!(g.check(), Ok(()));
    change(&mut g, &mut conv);
    g.nodes[0].op = Op::Conv(conv);
    let errors = g.check().expect_err("must be refused");
    assert!(errors.iter().all(|e| !e.at.is_empty() && !e.kind.to_string().is_empty()));
    errors.into_iter().map(|e| e.kind).collect()
}

#[test]
fn graphs_that_break_a_rule_are_refused() {
    use IrErrorKind::*;
    let range = |what, value, lo, hi| Range { what, value, lo, hi };
    assert_eq!(broken(|_, c| c.input = 7), [NoSuchTensor { tensor: 7 }]);
    assert!(broken(|_, c| c.input = 1).contains(&NotYetDefined { tensor: "out".into() }));
    assert!(broken(|g, _| g.inputs.push(1)).contains(&DefinedTwice { tensor: "out".into() }));
    assert!(broken(|g, _| g.inputs.clear()).contains(&NoInterface));
    assert!(
        broken(|g, _| g.tensors.push(g.tensors[0].clone())).contains(&NeverDefined { tensor: "in".into() })
    );
    assert!(broken(|g, _| g.tensors[0].shape[1] = 0).contains(&Zero { what: "every dimension" }));
    assert!(broken(|_, c| c.stride = [0, 1]).contains(&Zero { what: "stride" }));
    assert!(broken(|_, c| c.groups = 0).contains(&Zero { what: "groups" }));
    assert!(broken(|g, _| g.tensors[0].ty.bits = 17).contains(&Width { tensor: "in".into(), bits: 17 }));
    assert_eq!(broken(|_, c| c.pad_code = 8), [range("pad_code", 8, -8, 7)]);
    assert_eq!(broken(|_, c| c.weights.data[3] = -9), [range("weight", -9, -8, 7)]);
    assert_eq!(broken(|_, c| c.requant.clamp = (-8, 8)), [range("upper clamp", 8, -8, 7)]);
    assert_eq!(broken(|_, c| c.requant.channels[1].shift = 64), [range("shift", 64, 0, 63)]);
    assert_eq!(broken(|_, c| c.requant.zero_point = 65536), [range("zero point", 65536, -65536, 65535)]);
    assert_eq!(
        broken(|_, c| c.pads = [3, 1, 1, 1]),
        [
            Window { what: "pad not smaller than the window", window: 3, room: 3 },
            Mismatch { what: "output shape", expected: vec![7, 5, 2], found: vec![5, 5, 2] }
        ]
    );
    let entries = |found| Mismatch { what: "requantization entries", expected: vec![2], found: vec![found] };
    assert_eq!(broken(|_, c| c.requant.channels.truncate(1)), [entries(1)]);
    let count = |found| Mismatch { what: "number of weights", expected: vec![36], found: vec![found] };
    assert_eq!(broken(|_, c| c.weights.data.truncate(35)), [count(35)]);
    let bipolar = broken(|_, c| (c.weights.bipolar, c.weights.data[5]) = (true, 0));
    assert!(bipolar.contains(&range("bipolar weight", 0, -1, 1)), "{bipolar:?}");
    let raw = broken(|_, c| c.requant.raw = true);
    assert_eq!(raw, [Type { expected: IntType::RAW, found: IntType { bits: 4, signed: true } }]);
    assert_eq!(broken(|_, c| c.requant.table = Some(vec![0; 255])).len(), 1);
}
