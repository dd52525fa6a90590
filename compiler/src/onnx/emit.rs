// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From chains to codes: the nodes of the integer graph, with requantizations that are exact for every value.

use super::lower::Importer;
use super::value::{
    image_order, image_shape, Base, ConvTemplate, FloatValue, IntegerView, Pending, PendingOp, WindowTemplate,
};
use crate::host::{CodeMap, FloatChain, HostInput};
use crate::ir::*;
use crate::requant::{acc_bounds, identity, runs, search, solve, solve_all, RequantError, Run};

/// What a quantizer makes: type, smallest and largest code, and how the integral value is stored.
#[derive(Clone, Copy, Debug)]
pub struct CodeSpec {
    pub ty: IntType,
    pub clamp: (i32, i32),
    pub map: CodeMap,
}

/// Largest power of two by which weights are enlarged where codes change by more than 1 per accumulator unit.
const MAX_ENLARGE: u32 = 8;

impl Importer<'_> {
    /// Channels of a value's base, for lists of constants; `None` for a model input.
    pub fn channels(&self, base: &Base) -> Option<usize> {
        match base {
            Base::Input(_) => None,
            Base::Codes(t) => Some(self.graph.tensors[*t].shape[2]),
            Base::Pending(p) => Some(p.shape[2]),
        }
    }

    /// The tensor of codes that the chain (ending in an integral value) gives, and the places of the value's elements.
    pub fn codes(&mut self, name: &str, v: &FloatValue, spec: CodeSpec) -> Result<FloatValue, String> {
        let (tensor, order) = match &v.base {
            Base::Input(i) => return self.input_codes(name, *i, v, spec),
            Base::Codes(t) => (self.recode(name, *t, &v.chain, spec)?, v.order.clone()),
            Base::Pending(p) => (self.emit(name, &p.clone(), &v.chain, spec)?, v.order.clone()),
        };
        Ok(FloatValue {
            dims: v.dims.clone(),
            base: Base::Codes(tensor),
            chain: FloatChain::default(),
            order,
        })
    }

    fn new_codes(&mut self, name: &str, shape: [usize; 3], spec: CodeSpec) -> TensorId {
        self.tensor(name, shape, spec.ty, (spec.clamp.0 as i64, spec.clamp.1 as i64))
    }

    /// A graph input, made from a model input by the host.
    fn input_codes(
        &mut self,
        name: &str,
        i: usize,
        v: &FloatValue,
        spec: CodeSpec,
    ) -> Result<FloatValue, String> {
        let input = &self.model.inputs[i];
        let count = input.dims.iter().product::<usize>();
        let shape = image_shape(&v.dims)
            .ok_or_else(|| format!("shape {:?} is not [1, c, h, w] or [1, c]", v.dims))?;
        let image = image_order(shape);
        let mut order = vec![usize::MAX; count];
        for e in 0..v.count() {
            order[v.place(e)] = image.as_ref().map_or(e, |o| o[e]);
        }
        if v.count() != count || order.contains(&usize::MAX) {
            return Err("a part of a model input, or one repeated, is not supported".into());
        }
        let same = order.iter().enumerate().all(|(i, &o)| i == o);
        let (model_name, dims) = (input.name.clone(), input.dims.clone());
        let tensor = self.new_codes(name, shape, spec);
        self.graph.inputs.push(tensor);
        self.inputs.push(HostInput {
            name: model_name,
            dims,
            tensor,
            ty: spec.ty,
            chain: Some(v.chain.clone()),
            code: spec.map,
            order: (!same).then_some(order),
        });
        let order = image_order(shape);
        Ok(FloatValue {
            dims: v.dims.clone(),
            base: Base::Codes(tensor),
            chain: FloatChain::default(),
            order,
        })
    }

    /// Codes from codes: a copy with requantization, or the same tensor where nothing changes.
    fn recode(
        &mut self,
        name: &str,
        t: TensorId,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (shape, ty) = (self.graph.tensors[t].shape, self.graph.tensors[t].ty);
        let (lo, hi) = self.ranges[t];
        let channels = if chain.width() == 1 { 1 } else { shape[2] };
        let keeps = |c| (lo..=hi).all(|v| spec.map.code(chain.eval_int(v, c)) as i64 == v);
        if spec.ty == ty && (0..channels).all(keeps) {
            return Ok(t);
        }
        let requant = requant(chain, &vec![(lo, hi); channels], spec)?;
        let output = self.new_codes(name, shape, spec);
        let copy = Copy { input: t, output, first_channel: 0, upsample: 1, requant: Some(requant) };
        self.node(name, Op::Copy(copy));
        Ok(output)
    }

    /// The pending operator with the chain as its requantization.
    fn emit(
        &mut self,
        name: &str,
        p: &Pending,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        match &p.op {
            PendingOp::Conv(conv) => {
                let (weights, requant) = conv_requant(conv, chain, &p.bounds, spec)?;
                if weights.data != conv.weights.data {
                    self.notes
                        .push(format!("{}: weights enlarged, codes are finer than the accumulator", p.name));
                }
                let output = self.new_codes(name, p.shape, spec);
                self.conv(&p.name, conv, weights, requant, output);
                Ok(output)
            }
            PendingOp::Add { .. } | PendingOp::Sum { .. } => {
                let requant = requant(chain, &[uniform(chain, &p.bounds)?], spec)?;
                let output = self.new_codes(name, p.shape, spec);
                self.sum(p, requant, output);
                Ok(output)
            }
            PendingOp::Max { inner, window } => {
                // The inner chain and the steps behind the pool, in one.
                let mut first = inner.clone();
                first.chain.steps.extend(chain.steps.iter().cloned());
                let codes = self.codes(&format!("{name}_before_pool"), &first, spec)?;
                let Base::Codes(t) = codes.base else {
                    return Err("the pool's input is not quantized".into());
                };
                Ok(self.max_pool(&p.name, name, t, window, p.shape))
            }
        }
    }

    /// Largest code of each window of a tensor.
    pub fn max_pool(
        &mut self,
        node: &str,
        name: &str,
        input: TensorId,
        window: &WindowTemplate,
        shape: [usize; 3],
    ) -> TensorId {
        let (ty, range) = (self.graph.tensors[input].ty, self.ranges[input]);
        let output = self.tensor(name, shape, ty, range);
        let WindowTemplate { kernel, stride, pads } = *window;
        // Padding must never win: the smallest code that occurs.
        let pad_code = range.0 as i32;
        self.node(
            node,
            Op::Pool(Pool { input, output, kernel, stride, pads, pad_code, kind: PoolKind::Max }),
        );
        output
    }

    fn conv(&mut self, name: &str, c: &ConvTemplate, weights: Weights, requant: Requant, output: TensorId) {
        let op = Conv {
            input: c.input,
            output,
            weights,
            stride: c.window.stride,
            dilation: c.dilation,
            pads: c.window.pads,
            pad_code: c.pad_code,
            groups: c.groups,
            requant,
        };
        self.node(name, Op::Conv(op));
    }

    /// A pending addition or window sum.
    fn sum(&mut self, p: &Pending, requant: Requant, output: TensorId) {
        match &p.op {
            PendingOp::Add { a, b, factor_a, factor_b } => {
                let op = Add {
                    a: *a,
                    b: *b,
                    output,
                    left_shift: ADD_SHIFT,
                    params_a: integer_factor(*factor_a),
                    params_b: integer_factor(*factor_b),
                    sum: requant,
                };
                self.node(&p.name, Op::Add(op));
            }
            PendingOp::Sum { input, window } => {
                let WindowTemplate { kernel, stride, pads } = *window;
                let kind = PoolKind::Sum(requant);
                let op = Pool { input: *input, output, kernel, stride, pads, pad_code: 0, kind };
                self.node(&p.name, Op::Pool(op));
            }
            PendingOp::Conv(_) | PendingOp::Max { .. } => unreachable!("only sums come here"),
        }
    }

    /// The tensor behind a model output: codes as they are, or the raw integers of an operator.
    pub fn result_tensor(&mut self, name: &str, v: &FloatValue) -> Result<TensorId, String> {
        let pending = match &v.base {
            Base::Input(_) => {
                return Err("is the model's input, in floats; nothing is left for the hardware".into())
            }
            Base::Codes(t) => return Ok(*t),
            Base::Pending(p) => p.clone(),
        };
        if let Some(&(lo, hi)) = pending.bounds.iter().find(|b| b.0 < -RAW_LIMIT || b.1 >= RAW_LIMIT) {
            return Err(format!("its integers, {lo}..={hi}, do not fit a raw 32-bit result"));
        }
        if matches!(pending.op, PendingOp::Max { .. }) {
            return Err(
                "is a maximum of values that no quantizer made integers; quantize before the pool".into()
            );
        }
        let output = self.tensor(name, pending.shape, IntType::RAW, (-RAW_LIMIT, RAW_LIMIT - 1));
        match &pending.op {
            PendingOp::Conv(c) => {
                let requant = raw(c.weights.shape[0]);
                self.conv(&pending.name, c, c.weights.clone(), requant, output);
            }
            _ => self.sum(&pending, raw(1), output),
        }
        Ok(output)
    }

    /// The value as integers times scales, behind a copy where its chain is not that already (a ReLU behind the
    /// quantizer, for example).
    pub fn integers(
        &mut self,
        name: &str,
        v: &FloatValue,
    ) -> Result<(FloatValue, TensorId, Vec<IntegerView>), String> {
        let Base::Codes(t) = v.base else {
            return Err("its input is not quantized: a Quant or BipolarQuant is missing before it".into());
        };
        if let Some(views) = self.views(t, &v.chain) {
            return Ok((v.clone(), t, views));
        }
        let copied = self.copied_view(name, v, t).ok_or("its input is no multiple of one scale")??;
        let Base::Codes(t) = copied.base else { return Err("its input is not quantized".into()) };
        let views = self.views(t, &copied.chain).ok_or("its input is no multiple of one scale")?;
        Ok((copied, t, views))
    }

    fn views(&self, t: TensorId, chain: &FloatChain) -> Option<Vec<IntegerView>> {
        let channels = if chain.width() == 1 { 1 } else { self.graph.tensors[t].shape[2] };
        (0..channels).map(|c| IntegerView::of(chain, c, self.ranges[t])).collect()
    }

    /// Splits the chain behind its longest part that is integers times one scale; the rest becomes a copy whose codes are
    /// the results in that scale. `None` where the results are no multiples of it.
    fn copied_view(&mut self, name: &str, v: &FloatValue, t: TensorId) -> Option<Result<FloatValue, String>> {
        if v.chain.width() != 1 {
            return None;
        }
        let part =
            |n: usize| FloatChain { from_int: v.chain.from_int.clone(), steps: v.chain.steps[..n].to_vec() };
        let (lo, hi) = self.ranges[t];
        let view = (0..v.chain.steps.len()).rev().find_map(|n| IntegerView::of(&part(n), 0, (lo, hi)))?;
        let integer = |code: i64| {
            let real = v.chain.eval_int(code, 0);
            let i = (real as f64 / view.scale as f64).round();
            ((i * view.scale as f64) as f32 == real && i.abs() < 32768.0).then_some(i as i64)
        };
        let all = (lo..=hi).map(integer).collect::<Option<Vec<_>>>()?;
        let (least, most) = (*all.iter().min()?, *all.iter().max()?);
        let ty = IntType::holding(least, most);
        let rule = |code: i64| all[(code - lo) as usize] as i32;
        Some(self.copy_by_rule(name, v, t, rule, ty, (least as i32, most as i32), view.scale))
    }

    #[allow(clippy::too_many_arguments)]
    fn copy_by_rule(
        &mut self,
        name: &str,
        v: &FloatValue,
        input: TensorId,
        rule: impl Fn(i64) -> i32,
        ty: IntType,
        clamp: (i32, i32),
        scale: f32,
    ) -> Result<FloatValue, String> {
        let (lo, hi) = self.ranges[input];
        let (params, rounding) = search(rule, (lo, hi), false, 0, clamp).map_err(|e| e.to_string())?;
        let spec = CodeSpec { ty, clamp, map: CodeMap::SAME };
        let output = self.new_codes(&format!("{name}_input"), self.graph.tensors[input].shape, spec);
        let requant = Some(with_params(vec![params], rounding, spec));
        self.node(
            &format!("{name}_input"),
            Op::Copy(Copy { input, output, first_channel: 0, upsample: 1, requant }),
        );
        let chain = FloatChain { from_int: Some(crate::host::FromInt::scaled(scale as f64)), steps: vec![] };
        Ok(FloatValue { dims: v.dims.clone(), base: Base::Codes(output), chain, order: v.order.clone() })
    }
}

/// Values of raw results and sums stay below this, so that [`identity`] keeps them.
const RAW_LIMIT: i64 = 1 << 29;

/// Left shift of the inputs of an addition.
const ADD_SHIFT: u8 = 20;

/// Factors of an addition's inputs stay below this.
pub const MAX_FACTOR: i64 = 1 << 10;

/// `(code << 20) * (factor << 11) >> 31 = code * factor`, exactly.
fn integer_factor(factor: i32) -> ChannelParams {
    ChannelParams { bias: 0, multiplier: factor << (31 - ADD_SHIFT), addend: 0, shift: 0 }
}

fn raw(channels: usize) -> Requant {
    Requant {
        channels: vec![identity(Rounding::Floor); channels],
        rounding: Rounding::Floor,
        zero_point: 0,
        clamp: (0, 0),
        table: None,
        raw: true,
    }
}

fn with_params(channels: Vec<ChannelParams>, rounding: Rounding, spec: CodeSpec) -> Requant {
    Requant { channels, rounding, zero_point: 0, clamp: spec.clamp, table: None, raw: false }
}

/// One interval for all channels of a sum, whose machine has one requantization for all.
fn uniform(chain: &FloatChain, bounds: &[(i64, i64)]) -> Result<(i64, i64), String> {
    if chain.width() != 1 {
        return Err("a sum followed by different constants per channel is not supported".into());
    }
    let lo = bounds.iter().map(|b| b.0).min().unwrap_or(0);
    Ok((lo, bounds.iter().map(|b| b.1).max().unwrap_or(0)))
}

/// The rule's runs of codes over the integers of one channel.
fn channel_runs(
    chain: &FloatChain,
    c: usize,
    (lo, hi): (i64, i64),
    spec: CodeSpec,
) -> Result<Vec<Run>, String> {
    // Monotone steps: finite at both ends means finite everywhere between.
    if [lo, hi].iter().any(|&v| !chain.finite(v, c)) {
        return Err(format!("channel {c}: the float arithmetic overflows"));
    }
    let rule = |v: i64| spec.map.code(chain.eval_int(v, c));
    runs(rule, lo, hi, true).map_err(|e| format!("channel {c}: {e}"))
}

/// The runs of all channels.
fn all_runs(chain: &FloatChain, bounds: &[(i64, i64)], spec: CodeSpec) -> Result<Vec<Vec<Run>>, String> {
    bounds.iter().enumerate().map(|(c, &b)| channel_runs(chain, c, b, spec)).collect()
}

fn in_channel((c, e): (usize, RequantError)) -> String {
    format!("channel {c}: {e}")
}

fn requant(chain: &FloatChain, bounds: &[(i64, i64)], spec: CodeSpec) -> Result<Requant, String> {
    let runs = all_runs(chain, bounds, spec)?;
    let found = solve_all(runs.len(), |c, rounding| solve(&runs[c], 0, spec.clamp, rounding));
    let (params, rounding) = found.map_err(in_channel)?;
    Ok(with_params(params, rounding, spec))
}

/// Requantization of a convolution. Channels whose codes change by 1 or more per accumulator unit get weights (and
/// accumulators) times a power of two.
fn conv_requant(
    conv: &ConvTemplate,
    chain: &FloatChain,
    bounds: &[(i64, i64)],
    spec: CodeSpec,
) -> Result<(Weights, Requant), String> {
    let runs = all_runs(chain, bounds, spec)?;
    let found = solve_all(runs.len(), |c, rounding| solve_enlarging(&runs[c], spec.clamp, rounding));
    let (found, rounding) = found.map_err(in_channel)?;
    let mut weights = conv.weights.clone();
    let terms = weights.shape[1..].iter().product::<usize>().max(1);
    for (&(_, by), channel) in found.iter().zip(weights.data.chunks_mut(terms)) {
        channel.iter_mut().for_each(|w| *w <<= by);
    }
    if found.iter().any(|f| f.1 > 0) {
        let (lo, hi) = weights.data.iter().fold((0, 0), |(l, h), &w| (l.min(w), h.max(w)));
        weights.ty = IntType::holding(lo as i64, hi as i64);
        weights.bipolar = false;
        if weights.ty.bits > 16 {
            return Err(
                "codes are so much finer than the accumulator that weights would exceed 16 bits".into()
            );
        }
    }
    Ok((weights, with_params(found.iter().map(|f| f.0).collect(), rounding, spec)))
}

/// Parameters, and the power of two for weights, so that no code changes by 1 or more per accumulator unit.
fn solve_enlarging(
    runs: &[Run],
    clamp: (i32, i32),
    rounding: Rounding,
) -> Result<(ChannelParams, u32), RequantError> {
    for by in 0..=MAX_ENLARGE {
        let scaled =
            runs.iter().map(|r| Run { first: r.first << by, last: r.last << by, ..*r }).collect::<Vec<_>>();
        match solve(&scaled, 0, clamp, rounding) {
            Err(RequantError::TooSteep) => continue,
            other => return other.map(|p| (p, by)),
        }
    }
    Err(RequantError::TooSteep)
}

/// Bounds of a convolution's accumulators over the codes that its input can hold.
pub fn conv_bounds(weights: &Weights, range: (i64, i64), pad_code: i32) -> Vec<(i64, i64)> {
    let pad = pad_code as i64;
    acc_bounds(weights, (range.0.min(pad), range.1.max(pad)))
}
