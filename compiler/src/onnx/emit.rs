// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From chains to codes: the nodes of the integer graph, with requantizations that are exact for every value.

use super::lower::Importer;
use super::requants::{conv_requant, outer_zero, requant, table_requant, uniform, with_params};
use super::value::{
    image_order, image_shape, Base, ConvTemplate, FloatValue, IntegerView, Move, Pending, PendingOp,
    WindowTemplate,
};
use crate::host::{CodeMap, FloatChain, FromInt, HostInput};
use crate::ir::*;
use crate::requant::{identity, EXHAUSTIVE_LIMIT};
use std::rc::Rc;

/// What a quantizer makes: type, smallest and largest code, and how the integral value is stored.
#[derive(Clone, Copy, Debug)]
pub struct CodeSpec {
    pub ty: IntType,
    pub clamp: (i32, i32),
    pub map: CodeMap,
}

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
        let tensor = match &v.base {
            Base::Input(i) => return self.input_codes(name, *i, v, spec),
            Base::Codes(t) => self.function_codes(name, *t, &v.chain, spec)?,
            Base::Pending(p) => self.emit(name, &p.clone(), &v.chain, spec)?,
        };
        Ok(FloatValue::codes(v.dims.clone(), tensor, v.order.clone()))
    }

    /// The value where it is no model input: an integer model input becomes a graph input as it is.
    pub fn no_input(&mut self, v: FloatValue) -> Result<FloatValue, String> {
        let (Base::Input(i), Some(ty)) = (&v.base, v.int) else { return Ok(v) };
        let known = (*i, v.dims.clone(), v.order.clone());
        if let Some((_, codes)) = self.integer_inputs.iter().find(|(k, _)| *k == known) {
            return Ok(codes.clone());
        }
        let (lo, hi) = ty.range();
        let spec = CodeSpec { ty, clamp: (lo as i32, hi as i32), map: CodeMap::SAME };
        let name = self.model.inputs[*i].name.clone();
        let codes = self.input_codes(&name, *i, &v, spec)?.typed(ty);
        self.integer_inputs.push((known, codes.clone()));
        Ok(codes)
    }

    /// An integer value as codes: those of its tensor, or of a new one that is as narrow as they allow.
    pub fn integer_codes(&mut self, name: &str, v: FloatValue) -> Result<FloatValue, String> {
        let v = self.no_input(v)?;
        let ty = v.int.ok_or("a float stands where an integer is needed")?;
        if v.chain.integer.is_empty() && matches!(v.base, Base::Codes(_)) {
            return Ok(v);
        }
        let (lo, hi) = self.integer_range(&v)?;
        let narrow = IntType::holding(lo, hi);
        if narrow.bits > 16 {
            return Err(format!("its input has values from {lo} to {hi}; at most 16 bits are supported"));
        }
        let spec = CodeSpec { ty: narrow, clamp: (lo as i32, hi as i32), map: CodeMap::SAME };
        Ok(self.codes(name, &v, spec)?.typed(ty))
    }

    /// Integers of each channel before the chain: one entry for all, or one per channel.
    pub fn base_bounds(&self, base: &Base) -> Option<Vec<(i64, i64)>> {
        match base {
            Base::Input(_) => None,
            Base::Codes(t) => Some(vec![self.ranges[*t]]),
            Base::Pending(p) => Some(p.bounds.clone()),
        }
    }

    /// Smallest and largest integer that the value can be. Errors: a step may leave the value's type.
    pub fn integer_range(&self, v: &FloatValue) -> Result<(i64, i64), String> {
        let bounds = self.base_bounds(&v.base).ok_or("its input is not quantized")?;
        let ty = v.int.ok_or("a float stands where an integer is needed")?;
        let channels = bounds.len().max(v.chain.width());
        let mut range = (i64::MAX, i64::MIN);
        for c in 0..channels {
            let (lo, hi) = bounds[if bounds.len() == 1 { 0 } else { c }];
            for end in [lo, hi] {
                let value = v.chain.integer.iter().try_fold(end, |x, step| step.checked(x, c));
                let value = value
                    .filter(|&x| ty.contains(x))
                    .ok_or_else(|| format!("channel {c}: integers may leave their {} bits", ty.bits))?;
                range = (range.0.min(value), range.1.max(value));
            }
        }
        Ok(range)
    }

    pub fn new_codes(&mut self, name: &str, shape: [usize; 3], spec: CodeSpec) -> TensorId {
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
        let (shape, image) = match v.dims[..] {
            [1, h, w, c] if self.lies_channels_last(name, 4) => ([h, w, c], None),
            [1, w, c] if self.lies_channels_last(name, 3) => ([1, w, c], None),
            // Rows of a matrix product.
            [w, c] if w > 1 => ([1, w, c], None),
            _ => {
                let shape = image_shape(&v.dims)
                    .ok_or_else(|| format!("shape {:?} is not [1, c, h, w] or [1, c]", v.dims))?;
                (shape, image_order(shape))
            }
        };
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
            chain: v.int.is_none().then(|| v.chain.clone()),
            code: spec.map,
            order: (!same).then_some(order),
        });
        Ok(FloatValue::codes(v.dims.clone(), tensor, image))
    }

    /// [`Importer::recode`], and what the new codes are of the old ones.
    fn function_codes(
        &mut self,
        name: &str,
        t: TensorId,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let output = self.recode(name, t, chain, spec)?;
        let (lo, hi) = self.ranges[t];
        if output != t && chain.width() == 1 && hi - lo < EXHAUSTIVE_LIMIT {
            let codes = (lo..=hi).map(|v| chain.code(v, 0, spec.map) as i64).collect();
            self.derived.insert(output, (t, lo, codes));
        }
        Ok(output)
    }

    /// Codes from codes: a copy with requantization, or the same tensor where nothing changes.
    pub fn recode(
        &mut self,
        name: &str,
        t: TensorId,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        let (shape, ty) = (self.graph.tensors[t].shape, self.graph.tensors[t].ty);
        let (lo, hi) = self.ranges[t];
        let channels = if chain.width() == 1 { 1 } else { shape[2] };
        let keeps = |c| (lo..=hi).all(|v| chain.code(v, c, spec.map) as i64 == v);
        if spec.ty == ty && (0..channels).all(keeps) {
            return Ok(t);
        }
        let found = match requant(chain, &vec![(lo, hi); channels], spec)? {
            Ok(found) => Ok(found),
            Err(inexact) => table_requant(chain, (lo, hi), ty, spec).ok_or(inexact),
        };
        match found {
            Ok(requant) => {
                let output = self.new_codes(name, shape, spec);
                let copy = Copy { input: t, output, first_channel: 0, upsample: 1, requant: Some(requant) };
                self.node(name, Op::Copy(copy));
                Ok(output)
            }
            Err(reason) => {
                let conv = ones(t, shape[2], WindowTemplate::POINT);
                self.in_pieces(name, name, &conv, shape, chain, &vec![(lo, hi); shape[2]], spec, &reason)
            }
        }
    }

    /// The pending operator with the chain as its requantization.
    pub fn emit(
        &mut self,
        name: &str,
        p: &Pending,
        chain: &FloatChain,
        spec: CodeSpec,
    ) -> Result<TensorId, String> {
        match &p.op {
            PendingOp::Conv(conv) => match conv_requant(conv, chain, &p.bounds, spec)? {
                Ok((weights, requant)) => {
                    if weights.data != conv.weights.data {
                        self.notes.push(format!(
                            "{}: weights enlarged, codes are finer than the accumulator",
                            p.name
                        ));
                    }
                    let output = self.new_codes(name, p.shape, spec);
                    self.conv(&p.name, conv, weights, requant, output);
                    Ok(output)
                }
                Err(reason) => self.in_pieces(&p.name, name, conv, p.shape, chain, &p.bounds, spec, &reason),
            },
            PendingOp::Sum { input, window, pad_code } => {
                let single = uniform(chain, &p.bounds).map(|b| requant(chain, &[b], spec)).transpose()?;
                if let Some(Ok(requant)) = single {
                    let output = self.new_codes(name, p.shape, spec);
                    self.sum(p, requant, output);
                    return Ok(output);
                }
                let bounds = vec![p.bounds[0]; p.shape[2]];
                let conv = ConvTemplate { pad_code: *pad_code, ..ones(*input, p.shape[2], *window) };
                match conv_requant(&conv, chain, &bounds, spec)? {
                    Ok((weights, requant)) => {
                        let output = self.new_codes(name, p.shape, spec);
                        self.conv(&p.name, &conv, weights, requant, output);
                        Ok(output)
                    }
                    Err(reason) => {
                        self.in_pieces(&p.name, name, &conv, p.shape, chain, &bounds, spec, &reason)
                    }
                }
            }
            PendingOp::Add { .. } => {
                let bounds = uniform(chain, &p.bounds)
                    .ok_or("a sum followed by different constants per channel is not supported")?;
                match requant(chain, &[bounds], spec)? {
                    Ok(requant) => {
                        let output = self.new_codes(name, p.shape, spec);
                        self.sum(p, requant, output);
                        Ok(output)
                    }
                    Err(inexact) => self.sum_then_recode(name, p, chain, bounds, spec).ok_or(inexact)?,
                }
            }
            PendingOp::Sum2 { a, b, rule } => self.sum_of_two(name, p, (a, b, *rule), chain, spec),
            PendingOp::Concat { parts, flat } => self.joined(name, p, (parts, *flat), chain, spec),
            PendingOp::Moved { inner, by } => {
                if matches!(by, Move::Max(_)) {
                    let channels = if chain.width() == 1 { 1 } else { p.shape[2] };
                    if (0..channels).any(|c| chain.direction(c).is_none_or(|d| d < 0)) {
                        return Err(
                            "a maximum before a function that falls (a negative factor) is not supported"
                                .into(),
                        );
                    }
                }
                // The inner chain and the steps behind the move, in one.
                let outer = match by {
                    Move::Slice(first) => {
                        let all = self.channels(&inner.base).unwrap_or(1);
                        let place = |c: usize| c.clamp(*first, first + p.shape[2] - 1) - first;
                        chain.selected(&(0..all).map(place).collect::<Vec<_>>())
                    }
                    Move::Shuffle { rows, columns, block } => {
                        let place = |c: usize| (c % block).min(p.shape[2] - 1);
                        chain.selected(&(0..rows * columns * block).map(place).collect::<Vec<_>>())
                    }
                    _ => chain.clone(),
                };
                let mut first = inner.clone();
                first.chain = inner.chain.then(&outer);
                if let Move::Shuffle { rows, .. } = by {
                    let parts = self.row_parts(name, &first, *rows, spec)?;
                    return self.shuffled_codes(&p.name, name, parts, by, p.shape);
                }
                let codes = self.codes(&format!("{name}_before"), &first, spec)?;
                let Base::Codes(t) = codes.base else { return Err("its input is not quantized".into()) };
                let pad = match by {
                    // The code of a real 0 before the steps behind the move.
                    Move::Pad(_) => Some(outer_zero(inner, chain, spec)?),
                    _ => None,
                };
                self.moved_codes(&p.name, name, t, by, p.shape, pad)
            }
        }
    }

    /// A sum of integers, and a copy that makes the codes, by its table or in pieces.
    fn sum_then_recode(
        &mut self,
        name: &str,
        p: &Pending,
        chain: &FloatChain,
        (lo, hi): (i64, i64),
        spec: CodeSpec,
    ) -> Option<Result<TensorId, String>> {
        let ty = IntType::holding(lo, hi);
        if ty.bits > 16 {
            return None;
        }
        let whole = CodeSpec { ty, clamp: (lo as i32, hi as i32), map: CodeMap::SAME };
        let sum = self.new_codes(&format!("{name}_sum"), p.shape, whole);
        let requant = with_params(vec![identity(Rounding::Floor)], Rounding::Floor, whole);
        self.sum(p, requant, sum);
        Some(self.recode(name, sum, chain, spec))
    }

    /// A move of codes. `pad`: the code of a border.
    pub fn moved_codes(
        &mut self,
        node: &str,
        name: &str,
        t: TensorId,
        by: &Move,
        shape: [usize; 3],
        pad: Option<i64>,
    ) -> Result<TensorId, String> {
        let (ty, range) = (self.graph.tensors[t].ty, self.ranges[t]);
        Ok(match by {
            Move::Max(window) => self.max_pool(node, name, t, window, shape),
            Move::Slice(first) => {
                let output = self.tensor(name, shape, ty, range);
                let copy = Copy { input: t, output, first_channel: *first, upsample: 1, requant: None };
                self.node(node, Op::Copy(copy));
                output
            }
            Move::Pick { corner, step } => {
                let output = self.tensor(name, shape, ty, range);
                let kernel = corner.map(|at| at + 1);
                let taps = kernel[0] * kernel[1];
                let one = (0..taps).map(|i| (i + 1 == taps) as i32).collect::<Vec<_>>();
                let window = WindowTemplate { kernel, stride: *step, pads: [0; 4] };
                let template = ones(t, shape[2], window);
                let data = one.repeat(shape[2]);
                let weights = Weights { data, ..template.weights.clone() };
                let whole = CodeSpec { ty, clamp: (range.0 as i32, range.1 as i32), map: CodeMap::SAME };
                let copied = with_params(vec![identity(Rounding::Floor); shape[2]], Rounding::Floor, whole);
                self.conv(node, &template, weights, copied, output);
                output
            }
            Move::Upsample(upsample) => {
                let output = self.tensor(name, shape, ty, range);
                let copy = Copy { input: t, output, first_channel: 0, upsample: *upsample, requant: None };
                self.node(node, Op::Copy(copy));
                output
            }
            Move::Shuffle { rows, .. } => {
                let parts = self.channel_parts(name, t, *rows);
                self.shuffled_codes(node, name, parts, by, shape)?
            }
            Move::Pad(pads) => {
                let code = pad.filter(|&c| ty.contains(c)).ok_or("pads with a value that has no code")?;
                self.border(node, name, t, *pads, shape, code)
            }
        })
    }

    /// A border, made by a convolution that copies: a single 1 in a kernel as large as the border. Where only
    /// convolutions read it, they take the border over (see `finish`).
    fn border(
        &mut self,
        node: &str,
        name: &str,
        t: TensorId,
        [top, left, bottom, right]: [usize; 4],
        shape: [usize; 3],
        code: i64,
    ) -> TensorId {
        let (ty, range) = (self.graph.tensors[t].ty, self.ranges[t]);
        let kernel = [top + bottom + 1, left + right + 1];
        let taps = kernel[0] * kernel[1];
        let tap = bottom * kernel[1] + right;
        let channel = (0..taps).map(|i| (i == tap) as i32);
        let data = (0..shape[2]).flat_map(|_| channel.clone()).collect();
        let weights = Weights {
            shape: [shape[2], kernel[0], kernel[1], 1],
            data,
            ty: IntType { bits: 1, signed: false },
            bipolar: false,
        };
        let pads = [top + bottom, left + right, top + bottom, left + right];
        let range = (range.0.min(code), range.1.max(code));
        let spec = CodeSpec { ty, clamp: (range.0 as i32, range.1 as i32), map: CodeMap::SAME };
        let output = self.new_codes(name, shape, spec);
        let window = WindowTemplate { kernel, stride: [1, 1], pads };
        let conv = ConvTemplate {
            input: t,
            weights: weights.clone(),
            window,
            dilation: [1, 1],
            groups: shape[2],
            pad_code: code as i32,
        };
        let requant = with_params(vec![identity(Rounding::Floor); shape[2]], Rounding::Floor, spec);
        self.conv(node, &conv, weights, requant, output);
        self.borders.push(([top, left, bottom, right], output));
        output
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

    pub fn conv(
        &mut self,
        name: &str,
        c: &ConvTemplate,
        weights: Weights,
        requant: Requant,
        output: TensorId,
    ) {
        self.narrowed(output, &requant);
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

    /// The codes that a requantization lets through.
    fn narrowed(&mut self, output: TensorId, requant: &Requant) {
        if !requant.raw && requant.table.is_none() {
            self.ranges[output] = (requant.clamp.0 as i64, requant.clamp.1 as i64);
        }
    }

    /// A pending addition or window sum.
    fn sum(&mut self, p: &Pending, requant: Requant, output: TensorId) {
        self.narrowed(output, &requant);
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
            PendingOp::Sum { input, window, pad_code } => {
                let WindowTemplate { kernel, stride, pads } = *window;
                let (kind, pad_code) = (PoolKind::Sum(requant), *pad_code);
                let op = Pool { input: *input, output, kernel, stride, pads, pad_code, kind };
                self.node(&p.name, Op::Pool(op));
            }
            _ => unreachable!("only sums come here"),
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
        if let Some((_, t)) = self.raw.iter().find(|(p, _)| Rc::ptr_eq(p, &pending)) {
            return Ok(*t);
        }
        if let Some(&(lo, hi)) = pending.bounds.iter().find(|b| b.0 < -RAW_LIMIT || b.1 >= RAW_LIMIT) {
            return Err(format!("its integers, {lo}..={hi}, do not fit a raw 32-bit result"));
        }
        match &pending.op {
            PendingOp::Conv(_) | PendingOp::Add { .. } | PendingOp::Sum { .. } => {}
            _ => {
                return Err(
                    "is made of values that no quantizer made integers; quantize before this operator".into(),
                )
            }
        }
        let output = self.tensor(name, pending.shape, IntType::RAW, (-RAW_LIMIT, RAW_LIMIT - 1));
        match &pending.op {
            PendingOp::Conv(c) => {
                let requant = raw(c.weights.shape[0]);
                self.conv(&pending.name, c, c.weights.clone(), requant, output);
            }
            _ => self.sum(&pending, raw(1), output),
        }
        self.raw.push((pending, output));
        Ok(output)
    }

    /// The value as integers times scales, behind a copy where its chain is not that already (a ReLU behind the
    /// quantizer, for example).
    pub fn integers(
        &mut self,
        name: &str,
        v: &FloatValue,
    ) -> Result<(FloatValue, TensorId, Vec<IntegerView>), String> {
        let seen = |v: &FloatValue| match v.base {
            Base::Codes(t) => self.views(t, &v.chain).is_some(),
            _ => false,
        };
        let v = &match v.int {
            Some(_) if !seen(v) => self.integer_codes(&format!("{name}_input"), v.clone())?,
            _ => v.clone(),
        };
        let joined = match &v.base {
            Base::Pending(p) => match &p.op {
                PendingOp::Concat { parts, flat: false } => Some(self.joined_alike(name, p, parts, v)?),
                _ => None,
            },
            _ => None,
        };
        let v = joined.as_ref().unwrap_or(v);
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

    pub fn views(&self, t: TensorId, chain: &FloatChain) -> Option<Vec<IntegerView>> {
        let channels = if chain.width() == 1 { 1 } else { self.graph.tensors[t].shape[2] };
        (0..channels).map(|c| IntegerView::of(chain, c, self.ranges[t])).collect()
    }

    /// Splits the chain behind its longest part that is integers times one scale; the rest becomes a copy whose codes are
    /// the results in that scale. `None` where the results are no multiples of it.
    fn copied_view(&mut self, name: &str, v: &FloatValue, t: TensorId) -> Option<Result<FloatValue, String>> {
        if v.chain.width() != 1 {
            return None;
        }
        let part = |n: usize| FloatChain { steps: v.chain.steps[..n].to_vec(), ..v.chain.clone() };
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
        let spec = CodeSpec { ty, clamp: (least as i32, most as i32), map: CodeMap::SAME };
        // The results in that scale, rounded: they are integral up to the float's last bits.
        let table =
            crate::host::CodeTable { first: lo, values: vec![all.iter().map(|&i| i as f32).collect()] };
        let chain = FloatChain { table: Some(table), ..FloatChain::default() };
        let output = match self.recode(&format!("{name}_input"), t, &chain, spec) {
            Ok(output) => output,
            Err(e) => return Some(Err(e)),
        };
        let chain = FloatChain::from_int(FromInt::scaled(view.scale as f64));
        Some(Ok(FloatValue { chain, ..FloatValue::codes(v.dims.clone(), output, v.order.clone()) }))
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

/// Depthwise weights of 1.
fn ones(input: TensorId, channels: usize, window: WindowTemplate) -> ConvTemplate {
    let [kh, kw] = window.kernel;
    let weights = Weights {
        shape: [channels, kh, kw, 1],
        data: vec![1; channels * kh * kw],
        ty: IntType { bits: 1, signed: false },
        bipolar: false,
    };
    ConvTemplate { input, weights, window, dilation: [1, 1], groups: channels, pad_code: 0 }
}
