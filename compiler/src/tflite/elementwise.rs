// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Functions of one code, and sums and products with constants.

use super::code::requantization;
use super::fixed::{divide_by_power, Multiplier};
use super::lower::{Importer, Quant, Result, Value};
use super::model::Operator;
use super::ops::{requant, Activation};
use super::window::{copying, Layer};
use crate::ir::*;
use crate::requant::{identity, search};

/// Shift of an addition's inputs.
const ADD_SHIFT: u8 = 20;

impl<'m> Importer<'m> {
    /// A copy of `input` whose codes are `f` of its codes: by clamp, by multiplier where one is exact, by table.
    pub fn function(
        &mut self,
        name: &str,
        input: TensorId,
        output: TensorId,
        f: impl Fn(i32) -> i32,
    ) -> Result<()> {
        let (from, to) = (self.graph.tensors[input].ty, self.graph.tensors[output].ty);
        let requant = function_requant(from, to, f)?;
        self.node(
            name,
            Op::Copy(Copy { input, output, first_channel: 0, upsample: 1, requant: Some(requant) }),
        );
        Ok(())
    }

    fn apply(&mut self, op: &Operator<'m>, i: usize, f: impl Fn(i32) -> i32) -> Result<()> {
        if let Some(v) = self.on_host(op, i)? {
            return self.function_on_host(op, i, v, f);
        }
        let (input, output) = self.same_shapes(op, i)?;
        self.function(&op.name, input, output, f)?;
        let y = self.output_tensor(op)?;
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    /// An operator's input and its output, which has the input's shape.
    fn same_shapes(&mut self, op: &Operator<'m>, i: usize) -> Result<(TensorId, TensorId)> {
        let y = self.output_tensor(op)?;
        let input = self.codes(op, i)?;
        let output = self.new_codes(y)?;
        let [a, b] = [input, output].map(|t| self.graph.tensors[t].shape);
        match a == b {
            true => Ok((input, output)),
            false => Err(format!("its output has shape {b:?}, its input {a:?}")),
        }
    }

    pub fn requantize(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from == to {
            let id = self.codes(op, 0)?;
            return self.give(op, y, id);
        }
        self.apply(op, 0, requantization(&from, &to)?)
    }

    /// Activation functions.
    pub fn elementwise(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from.ty != to.ty || from.ty.bits != 8 {
            return Err("is supported for int8 and uint8, of one type on both sides".into());
        }
        match op.kind.as_str() {
            "RELU" => self.relu(op, from, to, Activation::Relu.clamp(&to)?),
            "RELU6" => self.relu(op, from, to, Activation::Relu6.clamp(&to)?),
            "RELU_N1_TO_1" => self.relu(op, from, to, Activation::ReluN1To1.clamp(&to)?),
            "RELU_0_TO_1" => {
                let (lo, _) = Activation::Relu.clamp(&to)?;
                let (_, hi) = Activation::ReluN1To1.clamp(&to)?;
                self.relu(op, from, to, (lo, hi))
            }
            "LEAKY_RELU" => {
                let alpha = op.options.ok_or("it has no options")?.float(0)?;
                let f = leaky_relu(&from, &to, alpha)?;
                self.apply(op, 0, f)
            }
            "HARD_SWISH" => {
                let f = hard_swish(&from, &to)?;
                self.apply(op, 0, f)
            }
            "LOGISTIC" => {
                if to.scale != 1.0 / 256.0 {
                    return Err("its output must have scale 1/256".into());
                }
                self.apply(op, 0, by_float(from, to, |x| 1.0 / (1.0 + (-x).exp())))
            }
            "TANH" => self.apply(op, 0, by_float(from, to, f32::tanh)),
            "ELU" => self.apply(op, 0, by_float(from, to, |x| if x < 0.0 { x.exp_m1() } else { x })),
            "ABS" => {
                let m = Multiplier::new((from.scale / to.scale) as f64)?;
                let (lo, hi) = to.range();
                self.apply(op, 0, move |c| {
                    let size = (c - from.zero_point).abs();
                    let scaled = if from.scale == to.scale { size } else { m.apply(size) };
                    scaled.saturating_add(to.zero_point).clamp(lo, hi)
                })
            }
            other => Err(format!("{other} is not supported")),
        }
    }

    /// Requantization, then a clamp; quotient of the scales in float32.
    fn relu(&mut self, op: &Operator<'m>, from: Quant, to: Quant, (lo, hi): (i32, i32)) -> Result<()> {
        let m = Multiplier::new((from.scale / to.scale) as f64)?;
        self.apply(op, 0, move |c| m.apply(c - from.zero_point).saturating_add(to.zero_point).clamp(lo, hi))
    }

    /// Which input of two is constant, and which is not.
    fn constant_side(&self, op: &Operator) -> Result<Option<(usize, usize)>> {
        let constant = |i: usize| matches!(self.values[i], Value::Constant);
        let (a, b) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?);
        Ok(match (constant(a), constant(b)) {
            (true, true) => return Err("both inputs are constant; fold it when converting".into()),
            (true, false) => Some((0, 1)),
            (false, true) => Some((1, 0)),
            _ => None,
        })
    }

    /// Codes of a constant operand: one for all, or one per channel.
    fn operand(&mut self, t: usize, channels: usize) -> Result<Vec<i32>> {
        let codes = self.constant(t)?.into_iter().map(|v| v as i32).collect::<Vec<_>>();
        let dims = &self.model.tensors[t].dims;
        match codes.len() {
            1 => Ok(codes),
            n if n == channels && dims.last() == Some(&channels) => Ok(codes),
            _ => Err(format!("its constant of shape {dims:?} is neither one number nor one per channel")),
        }
    }

    pub fn add(&mut self, op: &Operator<'m>, subtract: bool) -> Result<()> {
        let (a, b, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let (qa, qb, to) = (self.quant(a)?, self.quant(b)?, self.quant(y)?);
        if qa.ty != qb.ty || qa.ty != to.ty || to.ty.bits != 8 {
            return Err("is supported for int8 and uint8, all of one type".into());
        }
        let clamp = Activation::read(op.options, 0)?.clamp(&to)?;
        let sum = Sum::new(&qa, &qb, &to, subtract, clamp)?;
        let mut codes = [None, None];
        if let Some((constant, other)) = self.constant_side(op)? {
            let [ct, xt] = [constant, other].map(|i| [a, b][i]);
            let channels = self.model.tensors[xt].dims.last().copied().unwrap_or(1);
            let values = self.operand(ct, channels)?;
            if uniform(&values) {
                return self.apply(op, other, |x| match other {
                    0 => sum.apply(x, values[0]),
                    _ => sum.apply(values[0], x),
                });
            }
            codes[constant] = Some(self.constant_image(op, other, &values, [qa, qb][constant])?);
        }
        for (i, id) in codes.iter_mut().enumerate() {
            if id.is_none() {
                *id = Some(self.codes(op, i)?);
            }
        }
        let [Some(first), Some(second)] = codes else { return Err("an input is missing".into()) };
        let params =
            [sum.a.0.params(-qa.zero_point << ADD_SHIFT), sum.b.0.params(-qb.zero_point << ADD_SHIFT)];
        let [Some((pa, _)), Some((pb, _))] = params else {
            return Err("its scales have no multiplier".into());
        };
        let pb = if subtract { negated(pb) } else { pb };
        let (out, rounding) = sum.out.params(0).ok_or("its output scale is too fine")?;
        let requant = requant(vec![out], rounding, &to, clamp);
        self.add_tensors(op, [first, second], y, ADD_SHIFT, [pa, pb], requant)
    }

    /// One code per channel at every pixel of an input's shape: a 1x1 convolution whose weights are 0.
    fn constant_image(
        &mut self,
        op: &Operator<'m>,
        like: usize,
        codes: &[i32],
        quant: Quant,
    ) -> Result<TensorId> {
        let input = self.codes(op, like)?;
        let shape = self.graph.tensors[input].shape;
        let name = format!("{}_constant", op.name);
        let output = self.new_tensor(&name, shape, quant)?;
        let weights = ones(&vec![0; codes.len()]);
        let mut requant = copying(codes.len(), &quant);
        requant.channels.iter_mut().zip(codes).for_each(|(p, &c)| p.bias = c);
        self.node(&name, Op::Conv(channelwise(input, output, weights, requant)));
        Ok(output)
    }

    pub fn mul(&mut self, op: &Operator<'m>) -> Result<()> {
        let (a, b, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let (qa, qb, to) = (self.quant(a)?, self.quant(b)?, self.quant(y)?);
        if qa.ty != qb.ty || qa.ty != to.ty || to.ty.bits != 8 {
            return Err("is supported for int8 and uint8, all of one type".into());
        }
        let Some((constant, other)) = self.constant_side(op)? else {
            return Err("products of two activations are not supported; one factor must be constant".into());
        };
        let activation = Activation::read(op.options, 0)?;
        let clamp = activation.clamp(&to)?;
        let m = Multiplier::new(qa.scale as f64 * qb.scale as f64 / to.scale as f64)?;
        let [ct, xt] = [constant, other].map(|i| [a, b][i]);
        let [qc, qx] = [constant, other].map(|i| [qa, qb][i]);
        let channels = self.model.tensors[xt].dims.last().copied().unwrap_or(1);
        let codes = self.operand(ct, channels)?;
        if uniform(&codes) {
            return self.apply(op, other, |x| {
                let product = (x - qx.zero_point) * (codes[0] - qc.zero_point);
                m.apply(product).saturating_add(to.zero_point).clamp(clamp.0, clamp.1)
            });
        }
        let layer = Layer {
            shape: [channels, 1, 1, 1],
            data: codes.iter().map(|c| c - qc.zero_point).collect(),
            bias: vec![0; channels],
            wide: false,
            multipliers: vec![m; channels],
            input: qx,
            output: to,
        };
        let (weights, requant) = layer.requantized(activation)?;
        let (input, output) = self.same_shapes(op, other)?;
        self.node(&op.name, Op::Conv(channelwise(input, output, weights, requant)));
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    pub fn extremum(&mut self, op: &Operator<'m>, f: impl Fn(i32, i32) -> i32) -> Result<()> {
        let tensors = [self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?];
        let [a, b, y] = [self.quant(tensors[0])?, self.quant(tensors[1])?, self.quant(tensors[2])?];
        if a != b || a != y {
            return Err("all its tensors must have one type, scale and zero point".into());
        }
        let Some((constant, other)) = self.constant_side(op)? else {
            return Err("of two activations is not supported; one side must be constant".into());
        };
        let channels = self.model.tensors[tensors[other]].dims.last().copied().unwrap_or(1);
        let codes = self.operand(tensors[constant], channels)?;
        self.per_channel(op, other, &codes, f)
    }

    /// `y = f(x, c)` with a constant c per channel: a copy, or a 1x1 convolution of ones with exact multipliers.
    fn per_channel(
        &mut self,
        op: &Operator<'m>,
        i: usize,
        constants: &[i32],
        f: impl Fn(i32, i32) -> i32,
    ) -> Result<()> {
        if constants.windows(2).all(|c| c[0] == c[1]) {
            return self.apply(op, i, |x| f(x, constants[0]));
        }
        let y = self.output_tensor(op)?;
        let input = self.codes(op, i)?;
        let output = self.new_codes(y)?;
        let [a, b] = [input, output].map(|t| self.graph.tensors[t].shape);
        if a != b {
            return Err(format!("its output has shape {b:?}, its input {a:?}"));
        }
        let (weights, requant) =
            channel_functions(self.graph.tensors[input].ty, &self.quant(y)?, constants, f)?;
        let conv = Conv {
            input,
            output,
            weights,
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            groups: constants.len(),
            requant,
        };
        self.node(&op.name, Op::Conv(conv));
        self.values[y] = Value::Codes(output);
        Ok(())
    }
}

fn uniform(codes: &[i32]) -> bool {
    codes.windows(2).all(|c| c[0] == c[1])
}

/// Depthwise 1x1 weights, unsigned.
fn ones(data: &[i32]) -> Weights {
    let ty = IntType::holding(0, data.iter().copied().max().unwrap_or(0) as i64);
    Weights { shape: [data.len(), 1, 1, 1], data: data.to_vec(), ty, bipolar: false }
}

/// A depthwise 1x1 convolution.
fn channelwise(input: TensorId, output: TensorId, weights: Weights, requant: Requant) -> Conv {
    let groups = weights.shape[0];
    let (stride, dilation, pads) = ([1, 1], [1, 1], [0; 4]);
    Conv { input, output, weights, stride, dilation, pads, pad_code: 0, groups, requant }
}

/// A depthwise 1x1 convolution that computes `f(x, c)` per channel; weights are a power of two where f is steep.
fn channel_functions(
    from: IntType,
    to: &Quant,
    constants: &[i32],
    f: impl Fn(i32, i32) -> i32,
) -> Result<(Weights, Requant)> {
    let (lo, hi) = from.range();
    let clamp = to.range();
    let solve = |c: i32, by: u32| {
        let rule = |acc: i64| f((acc >> by) as i32, c);
        search(rule, (lo << by, hi << by), false, 0, clamp)
    };
    let mut data = Vec::new();
    let mut channels: Vec<ChannelParams> = Vec::new();
    let mut roundings = Vec::new();
    for (channel, &c) in constants.iter().enumerate() {
        let found = (0..=6).find_map(|by| solve(c, by).ok().map(|f| (by, f)));
        let (by, (params, rounding)) = found.ok_or_else(|| {
            format!("channel {channel}: no multiplier gives its function of codes; use one constant for all channels")
        })?;
        data.push(1 << by);
        channels.push(params);
        roundings.push(rounding);
    }
    if roundings.windows(2).any(|r| r[0] != r[1]) {
        return Err("its channels need different roundings; use one constant for all channels".into());
    }
    let requant = requant(channels, roundings[0], to, clamp);
    Ok((ones(&data), Requant { zero_point: 0, ..requant }))
}

/// How codes become `f` of themselves.
fn function_requant(from: IntType, to: IntType, f: impl Fn(i32) -> i32) -> Result<Requant> {
    let (lo, hi) = from.range();
    let (mut least, mut most) = (i32::MAX, i32::MIN);
    for c in lo..=hi {
        let y = f(c as i32);
        (least, most) = (least.min(y), most.max(y));
    }
    if !to.contains(least as i64) || !to.contains(most as i64) {
        return Err(format!("its results, {least}..={most}, do not fit their type"));
    }
    let requant = |params, rounding, clamp, table| Requant {
        channels: vec![params],
        rounding,
        zero_point: 0,
        clamp,
        table,
        raw: false,
    };
    let floor = Rounding::Floor;
    if (lo..=hi).all(|c| f(c as i32) as i64 == c.clamp(least as i64, most as i64)) {
        return Ok(requant(identity(floor), floor, (least, most), None));
    }
    if let Ok((params, rounding)) = search(|v| f(v as i32), (lo, hi), false, 0, (least, most)) {
        return Ok(requant(params, rounding, (least, most), None));
    }
    if from.bits > 8 {
        return Err("no multiplier gives its function of 16-bit codes, and tables have 256 entries".into());
    }
    let mut table = vec![0i16; 256];
    for c in lo..=hi {
        table[(c & 255) as usize] = f(c as i32) as i16;
    }
    Ok(requant(identity(floor), floor, (lo as i32, hi as i32), Some(table)))
}

/// The kernels' sum (or difference) of two codes: both on a scale of twice the larger, with 20 bits more.
struct Sum {
    a: (Multiplier, i32),
    b: (Multiplier, i32),
    out: Multiplier,
    subtract: bool,
    zero_point: i32,
    clamp: (i32, i32),
}

impl Sum {
    fn new(a: &Quant, b: &Quant, to: &Quant, subtract: bool, clamp: (i32, i32)) -> Result<Sum> {
        let twice = 2.0 * a.scale.max(b.scale) as f64;
        let out = Multiplier::new(twice / ((1u64 << ADD_SHIFT) as f64 * to.scale as f64))?;
        if out.exponent > 0 {
            return Err(format!(
                "its output scale {} is too fine for inputs of scale {}",
                to.scale,
                twice / 2.0
            ));
        }
        Ok(Sum {
            a: (Multiplier::new(a.scale as f64 / twice)?, a.zero_point),
            b: (Multiplier::new(b.scale as f64 / twice)?, b.zero_point),
            out,
            subtract,
            zero_point: to.zero_point,
            clamp,
        })
    }

    fn scaled((m, zero): (Multiplier, i32), code: i32) -> i32 {
        m.apply((code - zero) << ADD_SHIFT)
    }

    fn apply(&self, a: i32, b: i32) -> i32 {
        let (a, b) = (Sum::scaled(self.a, a), Sum::scaled(self.b, b));
        let sum = if self.subtract { a - b } else { a + b };
        self.out.apply(sum).saturating_add(self.zero_point).clamp(self.clamp.0, self.clamp.1)
    }
}

/// Parameters that give the negated result for every value: `-(v * m) - 1` is rounded half up where `v * m` was, and its
/// negative taken. The 1 comes from a bias that is larger by 1 and an addend of `m - 1`.
fn negated(p: ChannelParams) -> ChannelParams {
    let addend = (p.multiplier as u32).saturating_sub(1);
    ChannelParams {
        bias: p.bias + (p.multiplier > 0) as i32,
        multiplier: -p.multiplier,
        addend,
        shift: p.shift,
    }
}

/// float32 arithmetic of the kernels' tables: dequantized, transformed, divided by the output scale, rounded half away.
fn by_float(from: Quant, to: Quant, f: impl Fn(f32) -> f32) -> impl Fn(i32) -> i32 {
    let inverse = 1.0 / to.scale;
    let (lo, hi) = to.range();
    move |code| {
        let real = from.scale * (code - from.zero_point) as f32;
        let rescaled = (f(real) * inverse).round();
        ((rescaled + to.zero_point as f32) as i32).clamp(lo, hi)
    }
}

fn leaky_relu(from: &Quant, to: &Quant, alpha: f32) -> Result<impl Fn(i32) -> i32> {
    let slope = Multiplier::new((from.scale * alpha / to.scale) as f64)?;
    let unit = Multiplier::new((from.scale / to.scale) as f64)?;
    let (zero_in, zero_out, (lo, hi)) = (from.zero_point, to.zero_point, to.range());
    Ok(move |code: i32| {
        let x = code - zero_in;
        let y = if x >= 0 { unit.apply(x) } else { slope.apply(x) };
        y.saturating_add(zero_out).clamp(lo, hi)
    })
}

/// 16-bit fixed point: `x * relu6(x + 3) / 6`.
fn hard_swish(from: &Quant, to: &Quant) -> Result<impl Fn(i32) -> i32> {
    let fine = (1.0f32 / 128.0) * from.scale;
    let output = Multiplier::new((fine / to.scale) as f64)?;
    let gate = Multiplier::new((fine / (3.0f32 / 32768.0)) as f64)?;
    if output.exponent > 0 {
        return Err("its output scale is too fine for its input's".into());
    }
    let (output_factor, gate_factor) = (cut(output.mantissa), cut(gate.mantissa));
    let (zero_in, zero_out, (lo, hi)) = (from.zero_point, to.zero_point, to.range());
    Ok(move |code: i32| {
        let fine = ((code - zero_in) as i16).wrapping_mul(1 << 7);
        let scaled = high_product_16(fine, output_factor);
        let mut g = fine;
        if gate.exponent > 0 {
            g = shift_left_16(g, gate.exponent - 1);
        }
        g = high_product_16(g, gate_factor);
        if gate.exponent > 0 {
            g = shift_left_16(g, 1);
        } else {
            g = divide_by_power(g as i32, -gate.exponent as u32) as i16;
        }
        // From [-1, 1] to [0, 1].
        let g = ((g as i32 + (1 << 15)) >> 1) as i16;
        let product = (g as i32 * scaled as i32 / (1 << 15)) as i16;
        let y = divide_by_power(product as i32, -output.exponent as u32);
        (y as i16).wrapping_add(zero_out as i16).clamp(lo as i16, hi as i16) as i32
    })
}

/// A 32-bit mantissa's upper half, rounded.
fn cut(mantissa: i32) -> i16 {
    match mantissa >= i32::MAX - (1 << 15) {
        true => i16::MAX,
        false => ((mantissa + (1 << 15)) >> 16) as i16,
    }
}

/// The high half of twice the product of 16-bit numbers, rounded half up.
fn high_product_16(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    ((a as i32 * b as i32 + (1 << 14)) >> 15) as i16
}

fn shift_left_16(x: i16, by: i32) -> i16 {
    ((x as i64) << by.min(40)).clamp(i16::MIN as i64, i16::MAX as i64) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdl_gen::numfmt::round_scaled;

    #[test]
    fn negated_parameters_negate_ties_too() {
        let mut ties = 0;
        for multiplier in [0, 1 << 30, (1 << 30) + (1 << 10), 1_717_986_918, i32::MAX] {
            for shift in 0..4 {
                let p = ChannelParams { bias: -3 << ADD_SHIFT, multiplier, addend: 0, shift };
                for code in -128..=255i64 {
                    let v = code << ADD_SHIFT;
                    let [plain, turned] =
                        [p, negated(p)].map(|p| round_scaled(v + p.bias as i64, &p, Rounding::TfLite));
                    assert_eq!(turned, -plain, "{code} {p:?}");
                    let low = ((v + p.bias as i64) * multiplier as i64) & 0x7fff_ffff;
                    ties += (low == 1 << 30) as i32;
                }
            }
        }
        assert!(ties > 0);
    }
}
