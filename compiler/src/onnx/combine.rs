// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on several activations: sums, concatenations, and products of values that come from the same codes.

use super::constant::int;
use super::emit::{CodeSpec, MAX_FACTOR};
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::{activation, waiting};
use super::value::{image_order, odd_part, Base, FloatValue, IntegerView, Pending, PendingOp, Value};
use crate::host::{CodeTable, FloatChain, FloatStep, FromInt, IntStep};
use crate::ir::{Add, ChannelParams, Concat, Op, Requant, Rounding, TensorId};
use crate::tail::Binary;
use hdl_gen::numfmt::round_scaled;
use std::rc::Rc;

/// Pairs of codes that are tried to prove a sum.
const MAX_PAIRS: i64 = 1 << 20;

/// Fraction bits of the operands of a sum, at most; they have 32 bits in all.
const FRACTION: i32 = 20;

impl Importer<'_> {
    /// The sum of two quantized tensors.
    pub fn add(&mut self, node: &Node, a: FloatValue, b: FloatValue) -> Result<FloatValue, String> {
        if a.dims != b.dims {
            return Err(format!("shapes {:?} and {:?} differ", a.dims, b.dims));
        }
        if a.int.is_some() != b.int.is_some() {
            return Err("a float and an integer are added".into());
        }
        let (a, ta, va) = self.integers(&format!("{}_a", node.name), &a)?;
        let (b, tb, vb) = self.integers(&format!("{}_b", node.name), &b)?;
        if a.order != b.order || self.graph.tensors[ta].shape != self.graph.tensors[tb].shape {
            return Err("its inputs lie differently in memory".into());
        }
        let ([x], [y]) = (&va[..], &vb[..]) else {
            return Err("scales that differ from channel to channel".into());
        };
        let shape = self.graph.tensors[ta].shape;
        let (dims, order) = (a.dims.clone(), a.order.clone());
        let Some((fa, fb, scale)) = common_scale(x.scale, y.scale) else {
            let pairs = [ta, tb].map(|t| self.ranges[t].1 - self.ranges[t].0 + 1);
            if pairs[0].saturating_mul(pairs[1]) > MAX_PAIRS {
                return Err(format!(
                    "scales {} and {} are no small multiples of a common one, and the codes are too wide to try \
                     all pairs; quantize both alike",
                    x.scale, y.scale
                ));
            }
            let op = PendingOp::Sum2 { a, b };
            let base = self.pending(node, op, shape, vec![(0, 0)]);
            return Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int: None });
        };
        let (ia, ib) = (x.integers(self.ranges[ta]), y.integers(self.ranges[tb]));
        let largest = [ia.0, ia.1].map(|v| (v * fa).unsigned_abs()).into_iter().max().unwrap_or(0)
            + [ib.0, ib.1].map(|v| (v * fb).unsigned_abs()).into_iter().max().unwrap_or(0);
        self.note_rounding(node, largest * odd_part(scale as f32));
        let (factor_a, factor_b) = (fa * x.factor, fb * y.factor);
        if factor_a > MAX_FACTOR || factor_b > MAX_FACTOR {
            return Err("the factors of its inputs are too large".into());
        }
        let (ra, rb) = (self.ranges[ta], self.ranges[tb]);
        let bound = (factor_a * ra.0 + factor_b * rb.0, factor_a * ra.1 + factor_b * rb.1);
        let offset = fa * x.offset + fb * y.offset;
        let (factor_a, factor_b) = (factor_a as i32, factor_b as i32);
        let op = PendingOp::Add { a: ta, b: tb, factor_a, factor_b };
        if let Some(ty) = a.int {
            let base = self.pending(node, op, shape, vec![bound]);
            let chain = FloatChain::integers(vec![IntStep::Add(vec![offset])]);
            let v = FloatValue { dims, base, chain, order, int: Some(ty) };
            self.integer_range(&v)?;
            return Ok(v);
        }
        let pending = Pending { name: node.name.clone(), op, shape, bounds: vec![bound], linear: None };
        let from_int = FromInt { factor: 1, offset: vec![offset], scale: vec![scale] };
        Ok(waiting(dims, pending, from_int, order))
    }

    pub fn pending(&self, node: &Node, op: PendingOp, shape: [usize; 3], bounds: Vec<(i64, i64)>) -> Base {
        Base::Pending(Rc::new(Pending { name: node.name.clone(), op, shape, bounds, linear: None }))
    }

    /// Sum, product or other combination of two activations.
    pub fn combination(
        &mut self,
        node: &Node,
        op: Binary,
        a: FloatValue,
        b: FloatValue,
    ) -> Result<FloatValue, String> {
        if let Some(v) = self.function_of_codes(op, &a, &b) {
            return Ok(v);
        }
        match op {
            Binary::Add => self.add(node, a, b),
            Binary::Sub if a.int.is_none() && b.int.is_none() => {
                self.add(node, a, b.then(FloatStep::Mul(vec![-1.0])))
            }
            _ => {
                Err("two activations; only their sum is supported (or what depends on one of them alone)"
                    .into())
            }
        }
    }

    /// Two values of the same codes, such as x times sigmoid(x), are one function of them.
    fn function_of_codes(&self, op: Binary, a: &FloatValue, b: &FloatValue) -> Option<FloatValue> {
        let (Base::Codes(t), Base::Codes(u)) = (&a.base, &b.base) else { return None };
        if t != u || a.order != b.order || a.dims != b.dims || a.int.is_some() || b.int.is_some() {
            return None;
        }
        let (lo, hi) = self.ranges[*t];
        let width = a.chain.width().max(b.chain.width());
        if (hi - lo + 1).saturating_mul(width as i64) > MAX_PAIRS {
            return None;
        }
        let value = |v: i64, c: usize| op.apply(a.chain.eval_int(v, c), b.chain.eval_int(v, c));
        let values = (0..width).map(|c| (lo..=hi).map(|v| value(v, c)).collect()).collect();
        let chain = FloatChain { table: Some(CodeTable { first: lo, values }), ..FloatChain::default() };
        Some(FloatValue { chain, ..a.clone() })
    }

    /// Codes of a sum of two values that have nothing to do with each other: a line in both codes, proven for all pairs.
    pub fn sum_of_two(
        &mut self,
        name: &str,
        p: &Pending,
        a: &FloatValue,
        b: &FloatValue,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (Base::Codes(ta), Base::Codes(tb)) = (&a.base, &b.base) else {
            return Err("its inputs are not quantized".into());
        };
        if chain.width() != 1 {
            return Err("a sum followed by different constants per channel is not supported".into());
        }
        let sum = PairSum::new((a, self.ranges[*ta]), (b, self.ranges[*tb]), chain, spec)?;
        let (found, differing) = sum.search();
        if let Some(d) = differing.first() {
            self.notes.push(format!(
                "{}: {} of {} pairs of codes differ from the float reference, by its rounding: {} and {} give {} \
                 instead of {}",
                p.name,
                differing.len(),
                sum.codes.len(),
                d.a,
                d.b,
                d.got,
                d.expected
            ));
        }
        let output = self.new_codes(name, p.shape, spec);
        let op = Add {
            a: *ta,
            b: *tb,
            output,
            left_shift: 20,
            params_a: found.a,
            params_b: found.b,
            sum: Requant {
                channels: vec![found.sum],
                rounding: Rounding::HalfEven,
                zero_point: 0,
                clamp: spec.clamp,
                table: None,
                raw: false,
            },
        };
        self.node(&p.name, Op::Add(op));
        Ok(output)
    }

    /// Channels behind each other.
    pub fn concat(&mut self, node: &Node, inputs: &[Option<Value>]) -> Result<FloatValue, String> {
        let mut parts = Vec::new();
        for i in 0..inputs.len() {
            let v = activation(inputs, i).map_err(|_| "constants between activations are not supported")?;
            parts.push(self.no_input(v)?);
        }
        self.join(node, parts)
    }

    pub fn join(&mut self, node: &Node, parts: Vec<FloatValue>) -> Result<FloatValue, String> {
        let first = parts.first().ok_or("has no inputs")?.clone();
        let rank = first.dims.len() as i64;
        let axis = int(node, "axis", 1)?;
        if axis != 1 && axis != 1 - rank {
            return Err(format!("axis {axis}; only channels (axis 1) can be joined"));
        }
        let image = first.image().ok_or("its input does not lie as an image in memory")?;
        let mut channels = 0;
        for v in &parts {
            let shape = v.image().ok_or("its input does not lie as an image in memory")?;
            if shape[..2] != image[..2] || v.dims.len() != first.dims.len() {
                return Err(format!("shapes {:?} and {:?} do not fit", first.dims, v.dims));
            }
            if v.int.is_some() != first.int.is_some() {
                return Err("floats and integers are joined".into());
            }
            channels += shape[2];
        }
        let shape = [image[0], image[1], channels];
        check_activation(&shape)?;
        let mut dims = first.dims.clone();
        dims[1] = channels;
        let order = image_order(shape);
        if let Some(ids) = self.alike(&parts) {
            let name = node.outputs.first().cloned().unwrap_or_default();
            let output = self.join_codes(&node.name, &name, ids, shape);
            return Ok(FloatValue {
                dims,
                base: Base::Codes(output),
                chain: first.chain,
                order,
                int: first.int,
            });
        }
        let bounds = match first.int {
            Some(_) => {
                let mut range = (i64::MAX, i64::MIN);
                for v in &parts {
                    let (lo, hi) = self.integer_range(v)?;
                    range = (range.0.min(lo), range.1.max(hi));
                }
                range
            }
            None => (0, 0),
        };
        let base = self.pending(node, PendingOp::Concat { parts }, shape, vec![bounds]);
        Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int: first.int })
    }

    /// The tensors, where all parts are codes of one type and meaning.
    fn alike(&self, parts: &[FloatValue]) -> Option<Vec<TensorId>> {
        let mut ids = Vec::new();
        for v in parts {
            let Base::Codes(t) = v.base else { return None };
            ids.push(t);
        }
        let ty = |t: TensorId| self.graph.tensors[t].ty;
        let view = |v: &FloatValue, t: TensorId| match v.chain.width() {
            1 => IntegerView::of(&v.chain, 0, self.ranges[t]),
            _ => None,
        };
        let first = view(&parts[0], ids[0])?;
        let same = |(v, &t): (&FloatValue, &TensorId)| ty(t) == ty(ids[0]) && view(v, t) == Some(first);
        parts.iter().zip(&ids).all(same).then_some(ids)
    }

    fn join_codes(&mut self, node: &str, name: &str, ids: Vec<TensorId>, shape: [usize; 3]) -> TensorId {
        let ranges = ids.iter().map(|&t| self.ranges[t]);
        let range = ranges.fold((i64::MAX, i64::MIN), |r, t| (r.0.min(t.0), r.1.max(t.1)));
        let ty = self.graph.tensors[ids[0]].ty;
        let output = self.tensor(name, shape, ty, range);
        let requants = vec![None; ids.len()];
        self.node(node, Op::Concat(Concat { inputs: ids, output, requants }));
        output
    }

    /// Each part with its own requantization, then all behind each other.
    pub fn joined(
        &mut self,
        name: &str,
        p: &Pending,
        parts: &[FloatValue],
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (mut ids, mut first) = (Vec::new(), 0);
        for (i, part) in parts.iter().enumerate() {
            let channels = part.image().ok_or("its input does not lie as an image in memory")?[2];
            let own = chain.selected(&(first..first + channels).collect::<Vec<_>>());
            first += channels;
            let mut v = part.clone();
            v.chain = part.chain.then(&own);
            let codes = self.codes(&format!("{name}_{i}"), &v, spec)?;
            let Base::Codes(t) = codes.base else { return Err("its input is not quantized".into()) };
            ids.push(t);
        }
        Ok(self.join_codes(&p.name, name, ids, p.shape))
    }
}

/// `a = p * scale`, `b = q * scale` with small integers p and q; exact.
fn common_scale(a: f32, b: f32) -> Option<(i64, i64, f64)> {
    (1..=MAX_FACTOR).find_map(|p| {
        let scale = a as f64 / p as f64;
        let q = (b as f64 / scale).round();
        let exact = scale * p as f64 == a as f64 && q * a as f64 == b as f64 * p as f64;
        (exact && q >= 1.0 && q <= MAX_FACTOR as f64).then_some((p, q as i64, scale))
    })
}

/// The codes of all pairs, and the real line that they round.
struct PairSum {
    first: [i64; 2],
    count: [usize; 2],
    /// `[a][b]`
    codes: Vec<i32>,
    /// Slopes and offset, in codes: `slope[0] * a + slope[1] * b + offset`.
    line: [f64; 3],
    clamp: (i32, i32),
    /// Fraction bits of the operands.
    fraction: i32,
}

#[derive(Clone, Copy)]
struct SumParams {
    a: ChannelParams,
    b: ChannelParams,
    sum: ChannelParams,
}

/// A pair whose code is not the reference's.
struct PairDifference {
    a: i64,
    b: i64,
    expected: i32,
    got: i32,
}

impl PairSum {
    fn new(
        (a, ra): (&FloatValue, (i64, i64)),
        (b, rb): (&FloatValue, (i64, i64)),
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<PairSum, String> {
        let reals = |v: &FloatValue, (lo, hi): (i64, i64)| {
            (lo..=hi).map(|x| v.chain.eval_int(x, 0)).collect::<Vec<_>>()
        };
        let (xs, ys) = (reals(a, ra), reals(b, rb));
        let mut codes = Vec::with_capacity(xs.len() * ys.len());
        for x in &xs {
            for y in &ys {
                let real = chain.eval(x + y, 0);
                if real.is_nan() {
                    return Err("the float arithmetic overflows".into());
                }
                codes.push(spec.map.code(real));
            }
        }
        let (gain, shift) = affine(&chain.steps)?;
        let view = |v: &FloatValue, r| {
            IntegerView::of(&v.chain, 0, r).ok_or("its input is no multiple of one scale")
        };
        let (va, vb) = (view(a, ra)?, view(b, rb)?);
        let slope = |v: &IntegerView| v.scale as f64 * v.factor as f64 * gain;
        let part = |v: &IntegerView| v.scale as f64 * v.offset as f64 * gain;
        let line = [slope(&va), slope(&vb), part(&va) + part(&vb) + shift];
        let lo = codes.iter().min().copied().unwrap_or(0).max(spec.clamp.0);
        let hi = codes.iter().max().copied().unwrap_or(0).min(spec.clamp.1);
        let size = |slope: f64, r: (i64, i64)| (slope * r.0.abs().max(r.1.abs()) as f64).abs();
        let largest = size(line[0], ra).max(size(line[1], rb)).max(line[2].abs()).max(1.0);
        let fraction = (29 - largest.log2().ceil().min(28.0) as i32).clamp(1, FRACTION);
        Ok(PairSum {
            fraction,
            first: [ra.0, rb.0],
            count: [xs.len(), ys.len()],
            codes,
            line,
            clamp: (lo, hi),
        })
    }

    /// The best parameters found, and where they differ.
    fn search(&self) -> (SumParams, Vec<PairDifference>) {
        let mut line = self.line;
        let mut best = parameters(line, self.fraction);
        let mut differing = self.differences(&best);
        for round in 0..200 {
            if differing.is_empty() {
                break;
            }
            // Move the line by the least that sets each differing pair right.
            let margin = 2f64.powi(-self.fraction) * (1.0 + (round % 7) as f64);
            for d in &differing {
                let (a, b) = (d.a as f64, d.b as f64);
                let real = line[0] * a + line[1] * b + line[2];
                let wanted = if d.expected > d.got {
                    d.expected as f64 - 0.5 + margin
                } else {
                    d.expected as f64 + 0.5 - margin
                };
                if (d.expected > d.got) == (wanted > real) {
                    let step = (wanted - real) / (a * a + b * b + 1.0);
                    line = [line[0] + step * a, line[1] + step * b, line[2] + step];
                }
            }
            let params = parameters(line, self.fraction);
            let now = self.differences(&params);
            if now.len() < differing.len() {
                best = params;
            }
            let better = now.len() < differing.len();
            if better || round % 20 < 19 {
                differing = now;
            }
        }
        let differing = self.differences(&best);
        (best, differing)
    }

    fn differences(&self, p: &SumParams) -> Vec<PairDifference> {
        let scaled = |i: usize, p: &ChannelParams| {
            let value = |k: usize| {
                let shifted = (self.first[i] + k as i64) << 20;
                round_scaled(shifted + p.bias as i64, p, Rounding::HalfEven)
            };
            (0..self.count[i]).map(value).collect::<Vec<_>>()
        };
        let (xs, ys) = (scaled(0, &p.a), scaled(1, &p.b));
        let mut found = Vec::new();
        for (i, x) in xs.iter().enumerate() {
            for (j, y) in ys.iter().enumerate() {
                let expected = self.codes[i * ys.len() + j];
                let sum = round_scaled(x + y + p.sum.bias as i64, &p.sum, Rounding::HalfEven);
                let got = sum.clamp(self.clamp.0 as i64, self.clamp.1 as i64) as i32;
                if got != expected {
                    let (a, b) = (self.first[0] + i as i64, self.first[1] + j as i64);
                    found.push(PairDifference { a, b, expected, got });
                }
            }
        }
        found
    }
}

/// Hardware parameters of a line in two codes. Slopes beyond 2^8 codes per code cannot occur with tensors of a sensible
/// scale; they saturate, and the comparison of all pairs tells.
fn parameters(line: [f64; 3], fraction: i32) -> SumParams {
    // (code << 20) * multiplier / 2^(31 + shift) = code * slope * 2^fraction
    let operand = |slope: f64| {
        let target = slope * 2f64.powi(fraction + 11);
        let mut shift = 0;
        while shift < 40 && (target * 2f64.powi(shift + 1)).abs() < i32::MAX as f64 {
            shift += 1;
        }
        let multiplier = (target * 2f64.powi(shift)).round().clamp(-(i32::MAX as f64), i32::MAX as f64);
        ChannelParams { bias: 0, multiplier: multiplier as i32, addend: 0, shift: shift as u8 }
    };
    let bias = (line[2] * 2f64.powi(fraction)).round();
    let bias = bias.clamp(i32::MIN as f64, i32::MAX as f64) as i32;
    // (sum + bias) * 2^30 / 2^(31 + fraction - 1)
    let sum = ChannelParams { bias, multiplier: 1 << 30, addend: 0, shift: fraction as u8 - 1 };
    SumParams { a: operand(line[0]), b: operand(line[1]), sum }
}

/// Gain and offset of float steps, minima, maxima and roundings left aside.
fn affine(steps: &[FloatStep]) -> Result<(f64, f64), String> {
    let (mut gain, mut shift) = (1.0, 0.0);
    for step in steps {
        let c = step.constants().and_then(|c| c.first().copied()).unwrap_or(0.0) as f64;
        match step {
            FloatStep::Add(_) => shift += c,
            FloatStep::Sub(_) => shift -= c,
            FloatStep::SubFrom(_) => (gain, shift) = (-gain, c - shift),
            FloatStep::Mul(_) => (gain, shift) = (gain * c, shift * c),
            FloatStep::Div(_) => (gain, shift) = (gain / c, shift / c),
            FloatStep::Min(_) | FloatStep::Max(_) | FloatStep::Round(_) => {}
            _ => return Err("a curved function behind a sum of different scales is not supported".into()),
        }
    }
    Ok((gain, shift))
}
