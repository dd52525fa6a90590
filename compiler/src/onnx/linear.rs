// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `QuantizeLinear`, `DequantizeLinear` and the operators built of them (`QLinearConv`, `QLinearMatMul`, `QLinearAdd` ...).
//!
//! The reference's arithmetic: a convolution between the two is an integer convolution whose accumulator (the bias in
//! it) becomes `clamp(round_half_even(float32(acc) * float32(float32(s_x * s_w) / s_y)) + zero_point)`.

use super::constant::{axis, int, ConstData, ConstTensor, QuantConst};
use super::emit::CodeSpec;
use super::lower::Importer;
use super::model::{int_type_numbered, Node};
use super::ops::{activation, Constants, Inputs};
use super::value::{Base, FloatValue, LinearSum, PendingOp, Value};
use crate::host::{CodeMap, FloatChain, FloatRounding, FloatStep, FromInt};
use crate::ir::IntType;
use std::rc::Rc;

/// Scale and zero point of one tensor: single numbers, or one per entry of an axis.
#[derive(Clone, Debug)]
pub struct LinearQuant {
    pub scale: Vec<f32>,
    pub zero_point: Vec<i64>,
    /// Type of the quantized integers.
    pub ty: IntType,
    pub axis: i64,
}

/// What an absent zero point says of the type.
const UINT8: IntType = IntType { bits: 8, signed: false };

impl LinearQuant {
    /// Parameters of a QuantizeLinear or DequantizeLinear node (inputs 1 and 2).
    pub fn of(node: &Node, inputs: &Constants, dequantize: bool) -> Result<LinearQuant, String> {
        let block = int(node, "block_size", 0)?;
        if block != 0 {
            return Err(format!("block_size {block}; scales in blocks are not supported"));
        }
        let named = node.inputs.get(2).is_some_and(|n| !n.is_empty());
        let zero = inputs.get(2).copied().flatten();
        if named && zero.is_none() {
            return Err("the zero point (input 2) is not a constant".into());
        }
        let scale = inputs.get(1).copied().flatten().ok_or("the scale (input 1) is not a constant")?;
        let mut quant = LinearQuant::new(scale, zero, int(node, "axis", 1)?)?;
        if zero.is_none() {
            let own = inputs.first().copied().flatten().and_then(|t| t.int);
            let given = int_type_numbered(int(node, "output_dtype", 0)?);
            quant.ty = if dequantize { own } else { given }.unwrap_or(UINT8);
        }
        Ok(quant)
    }

    /// From constants.
    pub fn new(scale: &ConstTensor, zero: Option<&ConstTensor>, axis: i64) -> Result<LinearQuant, String> {
        let list = scale.floats()?.to_vec();
        if let Some(bad) = list.iter().find(|s| !s.is_finite() || **s <= 0.0) {
            return Err(format!("scale {bad}: a positive number is needed"));
        }
        if scale.dims.len() > 1 {
            return Err(format!("a scale of shape {:?}; one number or a list is supported", scale.dims));
        }
        let (zero_point, ty) = match zero {
            None => (vec![0; list.len()], UINT8),
            Some(z) => (z.integers()?.to_vec(), z.int.ok_or("the zero point has no integer type")?),
        };
        if zero_point.len() != list.len() {
            return Err(format!("{} zero points for {} scales", zero_point.len(), list.len()));
        }
        if list.is_empty() {
            return Err("no scale is given".into());
        }
        Ok(LinearQuant { scale: list, zero_point, ty, axis })
    }

    /// The entry of each element of a tensor.
    fn entries(&self, dims: &[usize]) -> Result<Vec<usize>, String> {
        let count = dims.iter().product::<usize>();
        if self.scale.len() == 1 {
            return Ok(vec![0; count]);
        }
        let along = axis(self.axis, dims.len())?;
        if dims.get(along) != Some(&self.scale.len()) {
            return Err(format!("{} scales along axis {along} of {dims:?}", self.scale.len()));
        }
        let inner = dims[along + 1..].iter().product::<usize>();
        Ok((0..count).map(|i| i / inner % self.scale.len()).collect())
    }

    /// Scale and zero point as constants that broadcast against `dims`.
    fn spread(&self, dims: &[usize]) -> Result<(ConstTensor, ConstTensor), String> {
        let mut shape = vec![1; dims.len()];
        if self.scale.len() > 1 {
            let along = axis(self.axis, dims.len())?;
            if dims.get(along) != Some(&self.scale.len()) {
                return Err(format!("{} scales along axis {along} of {dims:?}", self.scale.len()));
            }
            shape[along] = self.scale.len();
        }
        let scale = ConstTensor::new(shape.clone(), ConstData::F32(self.scale.clone()))?;
        Ok((scale, ConstTensor::new(shape, ConstData::I64(self.zero_point.clone()))?))
    }

    /// A constant's integers as floats, which remember the integers.
    pub fn dequantize_constant(&self, t: &ConstTensor) -> Result<ConstTensor, String> {
        let which = self.entries(&t.dims)?;
        let whole = t.integers()?.iter().zip(&which);
        let integers = whole.map(|(&v, &e)| v.saturating_sub(self.zero_point[e]) as f64).collect::<Vec<_>>();
        let scales = which.iter().map(|&e| self.scale[e]).collect::<Vec<_>>();
        let data = integers.iter().zip(&scales).map(|(&v, &s)| v as f32 * s).collect();
        let quant = Some(Rc::new(QuantConst { integers, scales, linear: true }));
        Ok(ConstTensor { dims: t.dims.clone(), data: ConstData::F32(data), int: None, quant })
    }

    /// A constant's floats as integers.
    pub fn quantize_constant(&self, t: &ConstTensor) -> Result<ConstTensor, String> {
        let which = self.entries(&t.dims)?;
        let (lo, hi) = self.ty.range();
        let one = |(&x, &e): (&f32, &usize)| {
            let v = (x / self.scale[e]).round_ties_even();
            if v.is_nan() {
                return Err("a weight is not a number".to_string());
            }
            Ok(((v as f64) + self.zero_point[e] as f64).clamp(lo as f64, hi as f64) as i64)
        };
        let data = t.floats()?.iter().zip(&which).map(one).collect::<Result<Vec<_>, _>>()?;
        let int = Some(self.ty);
        Ok(ConstTensor { dims: t.dims.clone(), data: ConstData::I64(data), int, quant: None })
    }

    /// Smallest and largest code.
    fn clamp(&self) -> Result<(i32, i32), String> {
        if self.ty.bits > 16 {
            return Err(format!("quantized activations of {} bits; at most 16 are supported", self.ty.bits));
        }
        let (lo, hi) = self.ty.range();
        if self.zero_point.iter().any(|z| !self.ty.contains(*z)) {
            return Err("a zero point lies outside its type".into());
        }
        Ok((lo as i32, hi as i32))
    }
}

impl Importer<'_> {
    pub fn quantize_linear(
        &mut self,
        node: &Node,
        v: FloatValue,
        q: &LinearQuant,
    ) -> Result<FloatValue, String> {
        if v.int.is_some() {
            return Err("its input is an integer already".into());
        }
        let whole = q.clamp()?;
        let clamp = self.clipped(node, whole);
        let ty = if clamp == whole { q.ty } else { IntType::holding(clamp.0 as i64, clamp.1 as i64) };
        let spec = CodeSpec { ty, clamp, map: CodeMap::SAME };
        let (scale, zero) = q.spread(&v.dims)?;
        let scale = self.list(&v, &scale)?;
        let zero = v.integer_constants(&zero, self.channels(&v.base))?;
        let zero = zero.into_iter().map(|z| z as f32).collect::<Vec<_>>();
        let mut chained = v;
        match requantization(&chained, &scale) {
            Some(chain) => chained.chain = chain,
            None => chained
                .chain
                .steps
                .extend([FloatStep::Div(scale.clone()), FloatStep::Round(FloatRounding::HalfEven)]),
        }
        chained.chain.steps.extend([
            FloatStep::Add(zero.clone()),
            FloatStep::Max(vec![clamp.0 as f32]),
            FloatStep::Min(vec![clamp.1 as f32]),
        ]);
        let name = node.outputs.first().cloned().unwrap_or_default();
        let codes = self.codes(&name, &chained, spec)?.typed(q.ty);
        if let (Base::Codes(t), [scale], [zero]) = (&codes.base, &scale[..], &zero[..]) {
            self.graph.tensors[*t].scale = *scale as f64;
            self.graph.tensors[*t].zero_point = *zero as i32;
        }
        Ok(codes)
    }

    /// The codes of an earlier quantizer of the same tensor with the same parameters; exporters write one for each reader.
    pub fn same_codes(&self, node: &Node) -> Option<FloatValue> {
        let constant = |n: &String| match self.values.get(n) {
            Some(Value::Const(t)) => Some(t.clone()),
            _ => None,
        };
        let same = |other: &&Node| {
            let parameters = |n: &Node| n.inputs[1..].iter().map(constant).collect::<Vec<_>>();
            other.op == node.op
                && other.inputs.len() > 1
                && other.inputs.len() == node.inputs.len()
                && other.inputs[0] == node.inputs[0]
                && other.attributes == node.attributes
                && parameters(other) == parameters(node)
        };
        let before = self.model.nodes.iter().take_while(|n| n.outputs != node.outputs);
        let name = &before.into_iter().find(same)?.outputs[0];
        let cut =
            |n: &Node| n.op == "Clip" && (n.inputs.contains(name) || n.inputs.contains(&node.outputs[0]));
        match self.values.get(name) {
            Some(Value::Float(v)) if !self.model.nodes.iter().any(cut) => Some(v.clone()),
            _ => None,
        }
    }

    /// Codes of a quantizer that only a Clip reads, which is how exporters write fewer than 8 bits.
    fn clipped(&self, node: &Node, whole: (i32, i32)) -> (i32, i32) {
        let name = &node.outputs[0];
        let readers: Vec<&Node> = self.model.nodes.iter().filter(|n| n.inputs.contains(name)).collect();
        let [clip] = readers[..] else { return whole };
        if clip.op != "Clip" || clip.inputs[0] != *name || self.model.outputs.contains(name) {
            return whole;
        }
        let bound = |i: usize| match clip.inputs.get(i).and_then(|n| self.values.get(n)) {
            Some(Value::Const(t)) => t.integers().ok().filter(|v| v.len() == 1).map(|v| v[0]),
            _ => None,
        };
        let (lo, hi) = (whole.0 as i64, whole.1 as i64);
        let both = (bound(1).unwrap_or(lo).max(lo), bound(2).unwrap_or(hi).min(hi));
        if both.0 <= both.1 {
            (both.0 as i32, both.1 as i32)
        } else {
            whole
        }
    }

    pub fn dequantize_linear(&mut self, v: FloatValue, q: &LinearQuant) -> Result<FloatValue, String> {
        if v.int.is_none() {
            return Err("its input is a float already".into());
        }
        let mut v = self.no_input(v)?;
        let (scale, zero) = q.spread(&v.dims)?;
        let scale = self.list(&v, &scale)?.into_iter().map(f64::from).collect();
        let zero = v.integer_constants(&zero, self.channels(&v.base))?;
        v.chain.from_int = Some(FromInt { factor: 1, offset: zero.into_iter().map(|z| -z).collect(), scale });
        v.int = None;
        Ok(v)
    }

    /// The operators that quantized tools write: `QLinear...`, built of the operators that they stand for.
    pub fn linear_operator(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let quant = |scale: usize, axis: i64| {
            let arg = |i: usize| constants.get(i).copied().flatten();
            let missing = |i: usize| format!("input {i} is not a constant");
            let named = node.inputs.get(scale + 1).is_some_and(|n| !n.is_empty());
            if named && arg(scale + 1).is_none() {
                return Err(missing(scale + 1));
            }
            LinearQuant::new(arg(scale).ok_or_else(|| missing(scale))?, arg(scale + 1), axis)
        };
        let weights = |i: usize, q: &LinearQuant| -> Result<ConstTensor, String> {
            let w = constants.get(i).copied().flatten().ok_or("its weights are not constant")?;
            q.dequantize_constant(w)
        };
        let result = match node.op.as_str() {
            "QLinearConv" => {
                let (qx, qw) = (quant(1, 1)?, quant(4, 0)?);
                let (w, bias) = (weights(3, &qw)?, self.linear_bias(node, constants, 8, &qx, &qw)?);
                let x = self.dequantize_linear(activation(inputs, 0)?, &qx)?;
                let y = self.convolution(node, x, &w, bias.as_ref())?;
                return self.quantize_linear(node, y, &quant(6, 1)?);
            }
            "QLinearMatMul" => {
                let (qx, qw) = (quant(1, -1)?, quant(4, -1)?);
                let w = weights(3, &qw)?;
                let x = self.dequantize_linear(activation(inputs, 0)?, &qx)?;
                (self.matmul_by(node, x, &w)?, quant(6, -1)?)
            }
            "QGemm" => {
                let (qx, qw) = (quant(1, -1)?, quant(4, if int(node, "transB", 0)? != 0 { 0 } else { 1 })?);
                let (w, bias) = (weights(3, &qw)?, self.linear_bias(node, constants, 6, &qx, &qw)?);
                let x = self.dequantize_linear(activation(inputs, 0)?, &qx)?;
                (self.gemm_by(node, x, &w, bias.as_ref())?, quant(7, 1)?)
            }
            "QLinearAdd" => {
                let (qa, qb, qy) = (quant(1, 1)?, quant(4, 1)?, quant(6, 1)?);
                if let Some(codes) = self.linear_by_constant(node, inputs, constants, [&qa, &qb, &qy])? {
                    return Ok(codes);
                }
                let rule = match (&qa.scale[..], &qb.scale[..], &qy.scale[..]) {
                    (&[a], &[b], &[y]) => {
                        let zero = [qa.zero_point[0], qb.zero_point[0]];
                        Some(LinearSum::new([a, b], zero, (y, qy.zero_point[0])))
                    }
                    _ => None,
                };
                let a = self.dequantize_linear(activation(inputs, 0)?, &qa)?;
                let b = self.dequantize_linear(activation(inputs, 3)?, &qb)?;
                (self.add_by(node, a, b, rule)?, qy)
            }
            "QLinearMul" => {
                let (qa, qb, qy) = (quant(1, 1)?, quant(4, 1)?, quant(6, 1)?);
                if let Some(codes) = self.linear_by_constant(node, inputs, constants, [&qa, &qb, &qy])? {
                    return Ok(codes);
                }
                let (a, b) = (activation(inputs, 0)?, activation(inputs, 3)?);
                return self.linear_product(node, [(a, qa), (b, qb)], &qy);
            }
            "QLinearConcat" => {
                let mut parts = Vec::new();
                for i in (2..inputs.len()).step_by(3) {
                    let x = activation(inputs, i)?;
                    parts.push(self.dequantize_linear(x, &quant(i + 1, 1)?)?);
                }
                (self.join(node, parts)?, quant(0, 1)?)
            }
            "QLinearGlobalAveragePool" | "QLinearAveragePool" => {
                if int(node, "channels_last", 0)? != 0 {
                    return Err("channels_last is not supported".into());
                }
                let x = self.dequantize_linear(activation(inputs, 0)?, &quant(1, 1)?)?;
                (self.pool_average(node, x)?, quant(3, 1)?)
            }
            "QLinearSigmoid" | "QLinearLeakyRelu" => {
                let x = self.dequantize_linear(activation(inputs, 0)?, &quant(1, 1)?)?;
                let step = super::arithmetic::function_step(node)?.ok_or("not supported")?;
                (x.then(step), quant(3, 1)?)
            }
            _ => return Err("not supported on activations".into()),
        };
        self.quantize_linear(node, result.0, &result.1)
    }

    /// A product of two values of the same codes: `round_half_even(float32(a * b) * (s_a * s_b / s_y) + zero_point)`.
    fn linear_product(
        &mut self,
        node: &Node,
        [(a, qa), (b, qb)]: [(FloatValue, LinearQuant); 2],
        qy: &LinearQuant,
    ) -> Result<FloatValue, String> {
        let ([sa], [sb], [sy]) = (&qa.scale[..], &qb.scale[..], &qy.scale[..]) else {
            return Err("scales that differ from channel to channel".into());
        };
        let ratio = sa * sb / sy;
        let whole = |q: LinearQuant| LinearQuant { scale: vec![1.0], ..q };
        let (a, b) = (self.dequantize_linear(a, &whole(qa))?, self.dequantize_linear(b, &whole(qb))?);
        let product = self.combination(node, crate::tail::Binary::Mul, a, b)?;
        let unit = LinearQuant { scale: vec![1.0], ..qy.clone() };
        // The zero point is added before the rounding, so that an odd one turns ties around.
        let zero = vec![qy.zero_point[0] as f32];
        let steps = [
            FloatStep::Mul(vec![ratio]),
            FloatStep::Add(zero.clone()),
            FloatStep::Round(FloatRounding::HalfEven),
            FloatStep::Sub(zero),
        ];
        self.quantize_linear(node, steps.into_iter().fold(product, |v, step| v.then(step)), &unit)
    }

    /// An int32 bias in units of input scale times weight scale.
    fn linear_bias(
        &self,
        node: &Node,
        constants: &Constants,
        i: usize,
        x: &LinearQuant,
        w: &LinearQuant,
    ) -> Result<Option<ConstTensor>, String> {
        let Some(bias) = constants.get(i).copied().flatten() else {
            let named = node.inputs.get(i).is_some_and(|n| !n.is_empty());
            return if named { Err("its bias is not constant".into()) } else { Ok(None) };
        };
        let [sx] = x.scale[..] else { return Err("input scales that differ from channel to channel".into()) };
        let scale = w.scale.iter().map(|&s| sx * s).collect::<Vec<_>>();
        let q = LinearQuant { zero_point: vec![0; scale.len()], scale, ty: UINT8, axis: -1 };
        q.dequantize_constant(bias).map(Some)
    }
}

/// The integer rule of a convolution (or window sum) between DequantizeLinear and QuantizeLinear, up to the rounding.
/// Minima and maxima between the two (ReLU, Clip) become minima and maxima of codes, as rounding is monotone.
fn requantization(v: &FloatValue, scale: &[f32]) -> Option<FloatChain> {
    let Base::Pending(p) = &v.base else { return None };
    let (linear, from_int) = (p.linear.as_ref()?, v.chain.from_int.as_ref()?);
    let [scale] = scale[..] else { return None };
    // An average over the whole image divides by the output's scale and the number of pixels at once.
    let (divisor, rest) = match (&p.op, &v.chain.steps[..]) {
        (PendingOp::Sum { .. }, [FloatStep::Div(count), rest @ ..]) => (scale * count[0], rest),
        (_, steps) => (scale, steps),
    };
    let multiplier = linear.iter().map(|&s| s / divisor).collect();
    let to_code = |c: &Vec<f32>| c.iter().map(|c| (c / scale).round_ties_even()).collect();
    let mut steps = vec![FloatStep::Mul(multiplier), FloatStep::Round(FloatRounding::HalfEven)];
    for step in rest {
        steps.push(match step {
            FloatStep::Max(c) => FloatStep::Max(to_code(c)),
            FloatStep::Min(c) => FloatStep::Min(to_code(c)),
            _ => return None,
        });
    }
    let from_int = FromInt { scale: vec![1.0], ..from_int.clone() };
    Some(FloatChain { steps, ..FloatChain::from_int(from_int) })
}
