// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators on activations: what each makes of its input's base, chain and shape.

use super::constant::{float, int, ints, new_shape, permutation, shape_of, text, transpose_order};
use super::constant::{ConstData, ConstTensor};
use super::emit::{conv_bounds, CodeSpec};
use super::linear::LinearQuant;
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::value::{
    image_order, odd_part, Base, ConvTemplate, FloatValue, IntegerView, Move, Pending, PendingOp, QuantKind,
    Quantizer, Value, WindowTemplate,
};
use crate::functions::Function;
use crate::host::{CodeTable, FloatChain, FloatStep, FromInt, IntStep};
use crate::ir::{IntType, Op, Reshape, TensorId, Weights};
use crate::tail::Binary;
use std::rc::Rc;

type Inputs = [Option<Value>];
type Constants<'a> = [Option<&'a ConstTensor>];

/// Sums of exact products stay exact in float32 below this.
const FLOAT_EXACT: u64 = 1 << 24;

impl Importer<'_> {
    /// A node with at least one input that is not constant.
    pub fn operator(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<Value, String> {
        let x = || activation(inputs, 0);
        let floats = |v: FloatValue| Ok(Value::Float(v));
        match node.op.as_str() {
            "Shape" => return Ok(Value::Const(Rc::new(shape_of(&x()?.dims)))),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity" | "Dropout" => {
                let v = x()?;
                let dims = new_shape(node, &v.dims, constants.get(1..).unwrap_or(&[]))?;
                return floats(v.with_dims(dims.expect("one of the shape operators")));
            }
            "Cast" => return floats(self.cast(node, x()?)?),
            "Transpose" => return floats(transpose(node, x()?)?),
            _ => {}
        }
        let float = || {
            let v = x()?;
            match v.int {
                None => Ok(v),
                Some(_) => {
                    Err("not supported on integers; a DequantizeLinear or Cast is missing".to_string())
                }
            }
        };
        floats(match node.op.as_str() {
            "Quant" | "IntQuant" | "BipolarQuant" => self.quantize(node, float()?, constants)?,
            "Trunc" => self.truncate(node, float()?, constants)?,
            "MultiThreshold" => self.thresholds(node, x()?, constants)?,
            "QuantizeLinear" => {
                let q = LinearQuant::of(node, constants, false)?;
                self.quantize_linear(node, float()?, &q)?
            }
            "DequantizeLinear" => {
                let v = x()?;
                let mut q = LinearQuant::of(node, constants, true)?;
                q.ty = v.int.unwrap_or(q.ty);
                self.dequantize_linear(v, &q)?
            }
            "ConvInteger" | "MatMulInteger" => self.integer_product(node, x()?, constants)?,
            op if op.starts_with("QLinear") || op == "QGemm" => {
                self.linear_operator(node, inputs, constants)?
            }
            "Relu" | "Neg" | "Clip" if x()?.int.is_some() => self.integer_unary(node, x()?, constants)?,
            "Relu" => x()?.then(FloatStep::Max(vec![0.0])),
            "Neg" => x()?.then(FloatStep::Mul(vec![-1.0])),
            "Clip" => self.clip(node, x()?, constants)?,
            "BatchNormalization" => self.batch_norm(node, float()?, constants)?,
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "BitShift" | "Pow" => {
                self.arithmetic(node, inputs, constants)?
            }
            "PRelu" => self.prelu(float()?, constants)?,
            "Pad" => self.pad(node, x()?, constants)?,
            "Resize" | "Upsample" => self.resize(node, x()?, constants)?,
            "Slice" => self.slice(node, x()?, constants)?,
            "Conv" => {
                let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
                let bias = optional(node, constants, 2, "bias")?;
                self.convolution(node, float()?, w, bias)?
            }
            "MatMul" => self.matmul(node, inputs, constants)?,
            "Gemm" => self.gemm(node, inputs, constants)?,
            "MaxPool" | "GlobalMaxPool" => self.pool_max(node, x()?)?,
            "AveragePool" | "GlobalAveragePool" => self.pool_average(node, x()?)?,
            "Concat" => self.concat(node, inputs)?,
            _ => match function_step(node)? {
                Some(step) => float()?.then(step),
                None => return Err("not supported on activations".into()),
            },
        })
    }

    pub fn list(&self, v: &FloatValue, c: &ConstTensor) -> Result<Vec<f32>, String> {
        v.constants(c, self.channels(&v.base))
    }

    fn quantize(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let quantizer = Quantizer::of(node, constants)?;
        let (steps, clamp, ty, map) = quantizer.steps(|c| self.list(&v, c))?;
        let mut chained = v;
        chained.chain.steps.extend(steps);
        let name = node.outputs.first().cloned().unwrap_or_default();
        let mut codes = self.codes(&name, &chained, CodeSpec { ty, clamp, map })?;
        codes.chain.steps = quantizer.back(|c| self.list(&codes, c))?;
        if matches!(quantizer.kind, QuantKind::Bipolar) {
            codes.chain.from_int = Some(FromInt { factor: 2, offset: vec![-1], scale: vec![1.0] });
        } else {
            codes.chain.from_int = Some(FromInt::scaled(1.0));
        }
        if let Base::Codes(t) = codes.base {
            self.describe(t, &codes.chain);
        }
        Ok(codes)
    }

    /// Scale and zero point of a tensor, for people.
    fn describe(&mut self, t: TensorId, chain: &FloatChain) {
        if let Some(view) = IntegerView::of(chain, 0, self.ranges[t]).filter(|v| v.factor == 1) {
            self.graph.tensors[t].scale = view.scale as f64;
            self.graph.tensors[t].zero_point = -view.offset as i32;
        }
    }

    fn clip(&self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let mut v = v;
        for (i, name) in [(1, "min"), (2, "max")] {
            let given = node.inputs.get(i).is_some_and(|n| !n.is_empty());
            let bound = match constants.get(i).copied().flatten() {
                Some(c) => Some(c.scalar()?),
                None if given => return Err(format!("the {name} bound is not constant")),
                None => node.attributes.contains_key(name).then(|| float(node, name, 0.0)).transpose()?,
            };
            if let Some(b) = bound.filter(|b| b.is_finite() && b.abs() < f32::MAX) {
                v = v.then(if i == 1 { FloatStep::Max(vec![b]) } else { FloatStep::Min(vec![b]) });
            }
        }
        Ok(v)
    }

    /// `x * (scale / sqrt(var + eps)) + (bias - mean * that)`, in ONNX Runtime's order of float32 operations.
    fn batch_norm(&self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        if int(node, "training_mode", 0)? != 0 || int(node, "spatial", 1)? == 0 {
            return Err("training mode and per-pixel statistics are not supported".into());
        }
        let epsilon = float(node, "epsilon", 1e-5)?;
        let channels = *v.dims.get(1).ok_or("needs at least two dimensions")?;
        let arg = |i: usize| {
            let t = constants.get(i).copied().flatten().ok_or(format!("input {i} is not constant"))?;
            let floats = t.floats()?;
            if floats.len() == channels {
                Ok(floats)
            } else {
                Err(format!("input {i} has {} elements for {channels} channels", floats.len()))
            }
        };
        let (scale, bias, mean, var) = (arg(1)?, arg(2)?, arg(3)?, arg(4)?);
        let factor = (0..channels).map(|c| scale[c] * (1.0 / (var[c] + epsilon).sqrt())).collect::<Vec<_>>();
        let offset = (0..channels).map(|c| bias[c] - mean[c] * factor[c]).collect::<Vec<_>>();
        let mut dims = vec![1; v.dims.len()];
        dims[1] = channels;
        let list = |data| self.list(&v, &ConstTensor::new(dims.clone(), ConstData::F32(data))?);
        let steps = [FloatStep::Mul(list(factor)?), FloatStep::Add(list(offset)?)];
        let mut v = v;
        v.chain.steps.extend(steps);
        Ok(v)
    }

    /// A binary operator with one constant; or the sum of two activations.
    fn arithmetic(
        &mut self,
        node: &Node,
        inputs: &Inputs,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        if inputs.len() != 2 {
            return Err(format!("{} inputs; 2 are supported", inputs.len()));
        }
        let (v, c, swapped) = match (constants[0], constants[1]) {
            (None, Some(c)) => (activation(inputs, 0)?, c, false),
            (Some(c), None) => (activation(inputs, 1)?, c, true),
            _ => {
                let op = binary(&node.op).ok_or("two activations; only their sum is supported")?;
                let (a, b) = (activation(inputs, 0)?, activation(inputs, 1)?);
                return self.combination(node, op, a, b);
            }
        };
        if v.int.is_some() {
            return self.integer_arithmetic(node, v, c, swapped);
        }
        let list = self.list(&v, c)?;
        if node.op == "Pow" || (node.op == "Div" && swapped) {
            return self.tabulated(node, v, list, swapped);
        }
        Ok(v.then(match (node.op.as_str(), swapped) {
            ("Add", _) => FloatStep::Add(list),
            ("Mul", _) => FloatStep::Mul(list),
            ("Max", _) => FloatStep::Max(list),
            ("Min", _) => FloatStep::Min(list),
            ("Sub", false) => FloatStep::Sub(list),
            ("Sub", true) => FloatStep::SubFrom(list),
            ("Div", false) if list.contains(&0.0) => return Err("divides by 0".into()),
            ("Div", false) => FloatStep::Div(list),
            _ => return Err("not supported with a constant".into()),
        }))
    }

    /// A power, or a constant divided by the value: a function of the codes.
    fn tabulated(
        &self,
        node: &Node,
        v: FloatValue,
        list: Vec<f32>,
        swapped: bool,
    ) -> Result<FloatValue, String> {
        let (Base::Codes(t), [c]) = (&v.base, &list[..]) else {
            return Err("supported on quantized values with one constant".into());
        };
        let op = binary(&node.op).ok_or("not supported")?;
        let (lo, hi) = self.ranges[*t];
        let value = |code: i64, channel: usize| {
            let x = v.chain.eval_int(code, channel);
            if swapped {
                op.apply(*c, x)
            } else {
                op.apply(x, *c)
            }
        };
        let width = v.chain.width();
        if (hi - lo).saturating_mul(width as i64) > 1 << 24 {
            return Err("too many codes for a table".into());
        }
        let values = (0..width).map(|c| (lo..=hi).map(|code| value(code, c)).collect()).collect();
        let chain = FloatChain { table: Some(CodeTable { first: lo, values }), ..FloatChain::default() };
        Ok(FloatValue { chain, ..v })
    }

    /// An integer operation with a constant; the result stays within the integer type, proven.
    fn integer_arithmetic(
        &mut self,
        node: &Node,
        v: FloatValue,
        c: &ConstTensor,
        swapped: bool,
    ) -> Result<FloatValue, String> {
        let mut v = self.no_input(v)?;
        let list = v.integer_constants(c, self.channels(&v.base))?;
        let negated = |list: Vec<i64>| {
            let all = list.into_iter().map(i64::checked_neg).collect::<Option<Vec<_>>>();
            all.ok_or("a constant is too large")
        };
        v.chain.integer.push(match (node.op.as_str(), swapped) {
            ("Add", _) => IntStep::Add(list),
            ("Mul", _) => IntStep::Mul(list),
            ("Max", _) => IntStep::Max(list),
            ("Min", _) => IntStep::Min(list),
            ("Sub", false) => IntStep::Add(negated(list)?),
            ("Sub", true) => IntStep::SubFrom(list),
            ("Div", false) if list.contains(&0) => return Err("divides by 0".into()),
            ("Div", false) => IntStep::Div(list),
            ("BitShift", false) if text(node, "direction", "")? == "RIGHT" => IntStep::ShiftRight(list),
            ("BitShift", false) => {
                let powers = list.iter().map(|&s| (0..63).contains(&s).then(|| 1i64 << s));
                IntStep::Mul(powers.collect::<Option<Vec<_>>>().ok_or("a shift is out of range")?)
            }
            _ => return Err("not supported on integers".into()),
        });
        self.integer_range(&v)?;
        Ok(v)
    }

    fn integer_unary(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let mut v = self.no_input(v)?;
        match node.op.as_str() {
            "Relu" => v.chain.integer.push(IntStep::Max(vec![0])),
            "Neg" => v.chain.integer.push(IntStep::SubFrom(vec![0])),
            _ => {
                for (i, name) in [(1, "min"), (2, "max")] {
                    if let Some(bound) = optional(node, constants, i, name)? {
                        let [b] = bound.integers()? else {
                            return Err(format!("{name} is no single number"));
                        };
                        let step = if i == 1 { IntStep::Max(vec![*b]) } else { IntStep::Min(vec![*b]) };
                        v.chain.integer.push(step);
                    }
                }
            }
        }
        self.integer_range(&v)?;
        Ok(v)
    }

    /// Conversions: integers to floats or to other integers that hold them; floats, toward zero, to integers.
    fn cast(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let to = int(node, "to", 0)?;
        let target = super::model::int_type_numbered(to);
        match (v.int, target) {
            (None, None) if to == 1 => Ok(v),
            (Some(_), None) if to == 1 => {
                let mut v = self.no_input(v)?;
                v.chain.from_int = Some(FromInt::scaled(1.0));
                v.int = None;
                Ok(v)
            }
            (Some(_), Some(ty)) => {
                let v = self.no_input(v)?.typed(ty);
                self.integer_range(&v)?;
                Ok(v)
            }
            (None, Some(ty)) => self.truncate_to(node, v, ty),
            _ => Err(format!("cast to element type {to} is not supported")),
        }
    }

    fn truncate_to(&mut self, node: &Node, v: FloatValue, ty: IntType) -> Result<FloatValue, String> {
        let bounds = self.base_bounds(&v.base).ok_or("its input is not quantized")?;
        let v = v.then(FloatStep::Round(crate::host::FloatRounding::Down));
        let (lo, hi) = float_range(&v.chain, &bounds)?;
        let narrow = IntType::holding(lo, hi);
        if narrow.bits > 16 || !ty.contains(lo) || !ty.contains(hi) {
            return Err(format!("values from {lo} to {hi} do not fit the integer type"));
        }
        let spec = CodeSpec { ty: narrow, clamp: (lo as i32, hi as i32), map: crate::host::CodeMap::SAME };
        let name = node.outputs.first().cloned().unwrap_or_default();
        Ok(self.codes(&name, &v, spec)?.typed(ty))
    }

    fn prelu(&mut self, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let slope = constants.get(1).copied().flatten().ok_or("its slope is not constant")?;
        let list = self.list(&v, slope)?;
        Ok(v.then(FloatStep::Slope(list)))
    }

    /// The integers that DequantizeLinear's scale would multiply, cut to fewer bits (QONNX).
    fn truncate(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let arg = |i: usize, what: &str| {
            constants.get(i).copied().flatten().ok_or(format!("the {what} (input {i}) is not a constant"))
        };
        let (scale, zero) = (arg(1, "scale")?.scalar()?, arg(2, "zero point")?.scalar()?);
        let second = node.inputs.len() > 5;
        let out_bits = arg(if second { 5 } else { 4 }, "output bit width")?.scalar()?;
        let in_bits = arg(3, "input bit width")?.scalar()?;
        let out_scale = if second { arg(4, "output scale")?.scalar()? } else { scale };
        let whole = |b: f32| b.fract() == 0.0 && (1.0..=32.0).contains(&b);
        let positive = |s: f32| s.is_finite() && s > 0.0;
        if !whole(out_bits) || !whole(in_bits) || out_bits > 16.0 || !positive(scale) || !positive(out_scale)
        {
            return Err(format!("bit widths {in_bits} and {out_bits}, scales {scale} and {out_scale}"));
        }
        let exponent = if second {
            (out_scale as f64 / scale as f64).log2().round()
        } else {
            (in_bits - out_bits) as f64
        };
        if !zero.is_finite() || !(0.0..=31.0).contains(&exponent) {
            return Err("truncates to more bits than it has, or the zero point is no number".into());
        }
        let factor = 2f32.powi(exponent as i32);
        let rounding = super::value::rounding(text(node, "rounding_mode", "FLOOR")?)?;
        let mut v = v
            .then(FloatStep::Div(vec![scale]))
            .then(FloatStep::Add(vec![zero]))
            .then(FloatStep::Round(crate::host::FloatRounding::HalfEven))
            .then(FloatStep::Div(vec![factor]));
        if second {
            let (narrow, signed) = (int(node, "narrow", 0)?, int(node, "signed", 1)?);
            let ty = IntType { bits: out_bits as u8, signed: signed != 0 };
            let (lo, hi) = ty.range();
            let (lo, hi) = match (narrow != 0, signed != 0) {
                (true, true) => (lo + 1, hi),
                (true, false) => (lo, hi - 1),
                _ => (lo, hi),
            };
            v = v.then(FloatStep::Min(vec![hi as f32])).then(FloatStep::Max(vec![lo as f32]));
        }
        v = v.then(FloatStep::Round(rounding));
        let bounds = self.base_bounds(&v.base).ok_or("its input is not quantized")?;
        let (lo, hi) = float_range(&v.chain, &bounds)?;
        let ty = IntType::holding(lo, hi);
        if ty.bits > 16 {
            return Err(format!("values from {lo} to {hi} need more than 16 bits"));
        }
        let spec = CodeSpec { ty, clamp: (lo as i32, hi as i32), map: crate::host::CodeMap::SAME };
        let name = node.outputs.first().cloned().unwrap_or_default();
        let mut codes = self.codes(&name, &v, spec)?;
        let zero = if second { zero / factor } else { zero };
        codes.chain.from_int = Some(FromInt::scaled(1.0));
        codes.chain.steps = vec![FloatStep::Sub(vec![zero]), FloatStep::Mul(vec![out_scale])];
        if let Base::Codes(t) = codes.base {
            self.describe(t, &codes.chain);
        }
        Ok(codes)
    }

    /// Number of thresholds reached, times a scale, plus a bias (QONNX, FINN).
    fn thresholds(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let t = constants.get(1).copied().flatten().ok_or("its thresholds are not constant")?;
        let &[rows, count] = &t.dims[..] else {
            return Err(format!("thresholds of shape {:?}; [channels, steps] is supported", t.dims));
        };
        let floats = match &t.data {
            ConstData::F32(f) => f.clone(),
            ConstData::I64(i) => i.iter().map(|&i| i as f32).collect(),
        };
        if count == 0 || count >= 1 << 16 || floats.iter().any(|f| f.is_nan()) {
            return Err(format!("{count} thresholds per channel, or one that is no number"));
        }
        let mut lists = floats.chunks(count).map(<[f32]>::to_vec).collect::<Vec<_>>();
        lists.iter_mut().for_each(|l| l.sort_by(f32::total_cmp));
        let along = match text(node, "data_layout", "")? {
            "" if v.dims.len() == 3 => 2,
            "" => 1,
            layout => layout.find('C').ok_or_else(|| format!("data_layout {layout}"))?,
        };
        if rows != 1 && v.dims.get(along) != Some(&rows) {
            return Err(format!("{rows} lists of thresholds along axis {along} of {:?}", v.dims));
        }
        let mut shape = vec![1; v.dims.len()];
        if rows > 1 {
            shape[along] = rows;
        }
        let mut v = match v.int {
            Some(_) => {
                let mut v = self.no_input(v)?;
                v.chain.from_int = Some(FromInt::scaled(1.0));
                v.int = None;
                v
            }
            None => v,
        };
        let numbers = ConstTensor::new(shape, ConstData::I64((0..rows as i64).collect()))?;
        let which = v.integer_constants(&numbers, self.channels(&v.base))?;
        let which = which.into_iter().map(|i| i as usize).collect();
        v.chain.steps.push(FloatStep::Thresholds(crate::host::Thresholds { lists, which }));
        let ty = IntType::holding(0, count as i64);
        let spec = CodeSpec { ty, clamp: (0, count as i32), map: crate::host::CodeMap::SAME };
        let name = node.outputs.first().cloned().unwrap_or_default();
        let mut codes = self.codes(&name, &v, spec)?;
        let (scale, bias) = (float(node, "out_scale", 1.0)?, float(node, "out_bias", 0.0)?);
        if !scale.is_finite() || !bias.is_finite() {
            return Err("out_scale or out_bias is no number".into());
        }
        codes.chain.from_int = Some(FromInt::scaled(1.0));
        if scale != 1.0 {
            codes.chain.steps.push(FloatStep::Mul(vec![scale]));
        }
        if bias != 0.0 {
            codes.chain.steps.push(FloatStep::Add(vec![bias]));
        }
        if let Base::Codes(t) = codes.base {
            self.describe(t, &codes.chain);
        }
        Ok(codes)
    }

    /// Elements moved about: at once where they are codes, else behind the quantizer that follows.
    fn moved(
        &mut self,
        node: &Node,
        v: FloatValue,
        by: Move,
        shape: [usize; 3],
    ) -> Result<FloatValue, String> {
        let v = match v.int {
            Some(_) => self.integer_codes(&format!("{}_input", node.name), v)?,
            None => v,
        };
        let mut dims = v.dims.clone();
        dims[1] = shape[2];
        match dims.len() {
            3 => dims[2] = shape[1],
            4 => (dims[2], dims[3]) = (shape[0], shape[1]),
            _ => {}
        }
        check_activation(&shape)?;
        let (order, int) = (image_order(shape), v.int);
        if matches!(v.base, Base::Input(_)) {
            return Err("its input is not quantized".into());
        }
        let falls = |v: &FloatValue| {
            let channels = if v.chain.width() == 1 { 1 } else { shape[2] };
            (0..channels).any(|c| v.chain.direction(c).is_none_or(|d| d < 0))
        };
        match v.base {
            Base::Codes(t) if !(matches!(by, Move::Max(_)) && falls(&v)) => {
                let name = node.outputs.first().cloned().unwrap_or_default();
                let pad = match by {
                    Move::Pad(_) => {
                        let views = self.views(t, &v.chain).ok_or("its input is no multiple of one scale")?;
                        Some(self.zero_code(t, &views)?)
                    }
                    _ => None,
                };
                let chain = match by {
                    Move::Slice(first) => v.chain.selected(&(first..first + shape[2]).collect::<Vec<_>>()),
                    _ => v.chain,
                };
                let t = self.moved_codes(&node.name, &name, t, &by, shape, pad)?;
                Ok(FloatValue { dims, base: Base::Codes(t), chain, order, int })
            }
            _ => {
                let op = PendingOp::Moved { inner: v, by };
                let base = self.pending(node, op, shape, vec![(0, 0)]);
                Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int })
            }
        }
    }

    fn pad(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let (v, shape) = self.as_image(&node.name, v)?;
        if text(node, "mode", "constant")? != "constant" {
            return Err("only constant borders are supported".into());
        }
        let list = match optional(node, constants, 1, "list of pads")? {
            Some(t) => t.integers()?.to_vec(),
            None => ints(node, "pads")?.ok_or("the pads are missing")?,
        };
        let axes = match optional(node, constants, 3, "list of axes")? {
            Some(t) => t.integers()?.to_vec(),
            None => (0..v.dims.len() as i64).collect(),
        };
        let value = match optional(node, constants, 2, "value")? {
            Some(t) => t.scalar()?,
            None => float(node, "value", 0.0)?,
        };
        if value != 0.0 {
            return Err(format!("pads with {value}; only 0 is supported"));
        }
        if list.len() != 2 * axes.len() {
            return Err(format!("{} pads for {} axes", list.len(), axes.len()));
        }
        let mut pads = vec![[0usize; 2]; v.dims.len()];
        for (i, &a) in axes.iter().enumerate() {
            let along = super::constant::axis(a, v.dims.len())?;
            for side in 0..2 {
                let p = list[i + side * axes.len()];
                let p = usize::try_from(p).ok().filter(|&p| p < 1 << 10);
                pads[along][side] = p.ok_or("pads that are negative or very large are not supported")?;
            }
        }
        if pads[..2] != [[0; 2]; 2] {
            return Err("only rows and columns can be padded".into());
        }
        let [y, x] = match pads.len() {
            4 => [pads[2], pads[3]],
            3 => [[0; 2], pads[2]],
            _ => return Err("only rows and columns can be padded".into()),
        };
        let border = [y[0], x[0], y[1], x[1]];
        if border == [0; 4] {
            return Ok(v);
        }
        let new = [shape[0] + y[0] + y[1], shape[1] + x[0] + x[1], shape[2]];
        self.moved(node, v, Move::Pad(border), new)
    }

    /// Nearest-neighbour enlargement by a whole factor.
    fn resize(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let (v, shape) = self.as_image(&node.name, v)?;
        let mode = text(node, "mode", "nearest")?;
        if mode != "nearest" {
            return Err(format!("mode {mode}; only nearest is supported"));
        }
        let rank = v.dims.len();
        let scales_at = if node.op == "Upsample" || node.inputs.len() == 2 { 1 } else { 2 };
        let scales = match optional(node, constants, scales_at, "list of scales")? {
            Some(t) if !t.is_empty() => Some(t.floats()?.to_vec()),
            _ => match node.attributes.get("scales") {
                Some(super::model::Attribute::Floats(f)) => Some(f.clone()),
                _ => None,
            },
        };
        let sizes = match (scales, optional(node, constants, 3, "list of sizes")?) {
            (Some(s), _) if s.len() == rank => {
                v.dims.iter().zip(s).map(|(&d, s)| (d as f64 * s as f64).floor()).collect::<Vec<_>>()
            }
            (None, Some(t)) if t.len() == rank => t.integers()?.iter().map(|&s| s as f64).collect(),
            _ => return Err("neither scales nor sizes for every axis are given".into()),
        };
        let new: Vec<usize> = sizes.iter().map(|&s| s.clamp(0.0, 1e6) as usize).collect();
        let factor = new[rank - 1] / v.dims[rank - 1].max(1);
        let spatial = match rank {
            4 => new[2] == factor * v.dims[2] && new[3] == factor * v.dims[3],
            _ => false,
        };
        if new[..2] != v.dims[..2] || !spatial || factor == 0 || factor > 16 {
            return Err(format!(
                "from {:?} to {new:?}; a whole factor for rows and columns is supported",
                v.dims
            ));
        }
        let transform = match node.op.as_str() {
            "Upsample" => "asymmetric",
            _ => text(node, "coordinate_transformation_mode", "half_pixel")?,
        };
        let nearest = match node.op.as_str() {
            "Upsample" => "floor",
            _ => text(node, "nearest_mode", "round_prefer_floor")?,
        };
        let source = |i: usize| -> Option<f64> {
            let (i, f) = (i as f64, factor as f64);
            let at = match transform {
                "asymmetric" => i / f,
                "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric" => (i + 0.5) / f - 0.5,
                _ => return None,
            };
            Some(match nearest {
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                _ => return None,
            })
        };
        let plain = (0..factor * 4).all(|i| source(i).is_some_and(|s| s.max(0.0) == (i / factor) as f64));
        if !plain {
            return Err(format!("{transform} with {nearest} does not repeat every pixel {factor} times"));
        }
        if factor == 1 {
            return Ok(v);
        }
        self.moved(node, v, Move::Upsample(factor), [shape[0] * factor, shape[1] * factor, shape[2]])
    }

    fn slice(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let operands = constants.get(1..).unwrap_or(&[]);
        let ranges = super::constant::slice_ranges(node, &v.dims, operands)?;
        self.cut(node, v, &ranges)
    }

    /// Channels of an image, or (where nothing but elements is asked for) any selection.
    pub fn cut(
        &mut self,
        node: &Node,
        v: FloatValue,
        ranges: &[(usize, i64, usize)],
    ) -> Result<FloatValue, String> {
        let whole = |i: usize| ranges[i] == (0, 1, v.dims[i]);
        if (0..ranges.len()).all(whole) {
            return Ok(v);
        }
        if v.image().is_none() || (0..ranges.len()).any(|i| i != 1 && !whole(i)) || ranges[1].1 != 1 {
            let (dims, order) = super::constant::slice_order(&v.dims, ranges);
            return Ok(v.reordered(dims, &order));
        }
        let (v, shape) = self.as_image(&node.name, v)?;
        self.moved(node, v, Move::Slice(ranges[1].0), [shape[0], shape[1], ranges[1].2])
    }

    /// The value as an image that stands as `[y][x][c]` in its base, where need be behind a reshape of its tensor.
    pub fn as_image(&mut self, name: &str, v: FloatValue) -> Result<(FloatValue, [usize; 3]), String> {
        let v = self.no_input(v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let own = match &v.base {
            Base::Input(_) => return Ok((v, shape)),
            Base::Codes(t) => self.graph.tensors[*t].shape,
            Base::Pending(p) => p.shape,
        };
        if own == shape {
            return Ok((v, shape));
        }
        let Base::Codes(t) = v.base else { return Err("reshaped before it is quantized".into()) };
        if v.chain.width() != 1 && own[2] != shape[2] {
            return Err("reshaped although channels have constants of their own".into());
        }
        let output = self.reshaped(name, t, shape);
        Ok((FloatValue { base: Base::Codes(output), ..v }, shape))
    }

    fn reshaped(&mut self, name: &str, t: TensorId, shape: [usize; 3]) -> TensorId {
        let (ty, range) = (self.graph.tensors[t].ty, self.ranges[t]);
        let output = self.tensor(&format!("{name}_reshaped"), shape, ty, range);
        self.node(&format!("{name}_reshape"), Op::Reshape(Reshape { input: t, output }));
        output
    }

    /// ConvInteger and MatMulInteger: int32 sums.
    fn integer_product(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
        let conv = node.op == "ConvInteger";
        let zero = |i: usize| match optional(node, constants, i, "zero point")? {
            Some(t) => Ok::<_, String>(t.integers()?.to_vec()),
            None => Ok(vec![0]),
        };
        let (zx, zw) = (zero(2)?, zero(3)?);
        let [zx] = zx[..] else { return Err("zero points that differ from row to row".into()) };
        let scale = ConstTensor::new(vec![zw.len()], ConstData::F32(vec![1.0; zw.len()]))?;
        let mut zeros = ConstTensor::new(vec![zw.len()], ConstData::I64(zw))?;
        zeros.int = Some(IntType::RAW);
        let q = LinearQuant::new(&scale, Some(&zeros), if conv { 0 } else { -1 })?;
        let w = q.dequantize_constant(w)?;
        let mut v = self.integer_codes(&format!("{}_input", node.name), v)?;
        v.chain.integer.push(IntStep::Add(vec![-zx]));
        v.int = Some(IntType { bits: 64, signed: true });
        let product = if conv { self.convolution(node, v, &w, None)? } else { self.matmul_by(node, v, &w)? };
        let from_int = product.chain.from_int.ok_or("its sums are no integers")?;
        let integer = vec![IntStep::Mul(vec![from_int.factor]), IntStep::Add(from_int.offset)];
        let chain = FloatChain::integers(integer);
        let result = FloatValue { chain, int: Some(IntType::RAW), ..product };
        self.integer_range(&result)?;
        Ok(result)
    }

    /// Notes a node whose float sums the reference rounds on the way.
    pub fn note_rounding(&mut self, node: &Node, largest: u64) {
        if largest > FLOAT_EXACT && !self.rounded.contains(&node.name) {
            self.rounded.push(node.name.clone());
        }
    }

    /// A 1-D or 2-D convolution with constant weights `[oc, ic / groups, (kh,) kw]` and bias.
    pub fn convolution(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        bias: Option<&ConstTensor>,
    ) -> Result<FloatValue, String> {
        let (v, _) = self.as_image(&node.name, v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let [oc, icg, kh, kw] = match w.dims[..] {
            [oc, icg, kh, kw] if v.dims.len() == 4 => [oc, icg, kh, kw],
            [oc, icg, kw] if v.dims.len() == 3 => [oc, icg, 1, kw],
            _ => {
                return Err(format!(
                    "input of shape {:?}, weights of shape {:?}; 1-D and 2-D convolutions are supported",
                    v.dims, w.dims
                ))
            }
        };
        let groups =
            usize::try_from(int(node, "group", 1)?).ok().filter(|&g| g > 0).ok_or("group is not positive")?;
        let dilation = pair(node, "dilations")?;
        let window = window(node, &shape, Some([kh, kw]), dilation)?;
        if groups.checked_mul(icg) != Some(shape[2]) || oc % groups != 0 || oc == 0 {
            return Err(format!(
                "{groups} groups, weights {:?} and {} input channels do not fit",
                w.dims, shape[2]
            ));
        }
        if ints(node, "kernel_shape")?.is_some() && pair(node, "kernel_shape")? != [kh, kw] {
            return Err(format!("another kernel_shape than weights of shape {:?}", w.dims));
        }
        // [oc][ic][ky][kx] -> [oc][ky][kx][ic]
        let picks = transpose_order(&[oc, icg, kh, kw], &[0, 2, 3, 1]);
        let (weights, scales) = integer_weights(w, &picks, [oc, kh, kw, icg])?;
        let linear = w.quant.as_ref().is_some_and(|q| q.linear);
        let result = self.dense(node, t, &views, weights, scales, window, dilation, groups, linear)?;
        let mut dims = v.dims.clone();
        dims[1] = oc;
        match dims.len() {
            3 => dims[2] = result.shape[1],
            _ => (dims[2], dims[3]) = (result.shape[0], result.shape[1]),
        }
        let order = image_order(result.shape);
        let v = waiting(dims, result.pending, result.from_int, order);
        match bias {
            None => Ok(v),
            Some(bias) if bias.len() != oc => Err(format!("{} biases for {oc} channels", bias.len())),
            Some(bias) => {
                let mut shape = vec![1; v.dims.len()];
                shape[1] = oc;
                let turned = bias.gather(shape, &(0..oc).collect::<Vec<_>>());
                self.biased(v, &turned)
            }
        }
    }

    /// Adds a constant: to the integers where it is made of integers in the sum's own scale.
    fn biased(&self, v: FloatValue, bias: &ConstTensor) -> Result<FloatValue, String> {
        let mut v = v;
        if let (Base::Pending(p), Some(q), Some(from_int)) = (&v.base, &bias.quant, &v.chain.from_int) {
            let same = p.linear.as_ref().is_some_and(|own| {
                let close = |(i, s): (usize, &f32)| {
                    let own = own[if own.len() == 1 { 0 } else { i }];
                    (s / own - 1.0).abs() < 1e-4
                };
                q.linear && q.scales.len() == p.shape[2] && q.scales.iter().enumerate().all(close)
            });
            if same && q.integers.iter().all(|i| i.abs() <= i32::MAX as f64) {
                let integers = ConstTensor::new(
                    bias.dims.clone(),
                    ConstData::I64(q.integers.iter().map(|&i| i as i64).collect()),
                )?;
                let list = v.integer_constants(&integers, Some(p.shape[2]))?;
                let sum = |c: usize| {
                    let own = from_int.offset[if from_int.offset.len() == 1 { 0 } else { c }];
                    own + list[if list.len() == 1 { 0 } else { c }]
                };
                let offset = short((0..p.shape[2]).map(sum).collect());
                v.chain.from_int = Some(FromInt { offset, ..from_int.clone() });
                return Ok(v);
            }
        }
        let list = self.list(&v, bias)?;
        Ok(v.then(FloatStep::Add(list)))
    }

    fn matmul(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<FloatValue, String> {
        let v = activation(inputs, 0)
            .map_err(|_| "a constant times an activation; only the other way is supported")?;
        let w =
            constants.get(1).copied().flatten().ok_or("the product of two activations is not supported")?;
        self.matmul_by(node, v, w)
    }

    pub fn matmul_by(&mut self, node: &Node, v: FloatValue, w: &ConstTensor) -> Result<FloatValue, String> {
        let &[k, n] = &w.dims[..] else {
            return Err(format!("weights of shape {:?}; two axes are supported", w.dims));
        };
        self.fully_connected(node, v, w, k, n)
    }

    fn gemm(&mut self, node: &Node, inputs: &Inputs, constants: &Constants) -> Result<FloatValue, String> {
        let v = activation(inputs, 0)
            .map_err(|_| "a constant times an activation; only the other way is supported")?;
        let w =
            constants.get(1).copied().flatten().ok_or("the product of two activations is not supported")?;
        let bias = optional(node, constants, 2, "bias")?;
        self.gemm_by(node, v, w, bias)
    }

    pub fn gemm_by(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        bias: Option<&ConstTensor>,
    ) -> Result<FloatValue, String> {
        let plain = float(node, "alpha", 1.0)? == 1.0 && float(node, "beta", 1.0)? == 1.0;
        if !plain || int(node, "transA", 0)? != 0 {
            return Err("alpha, beta other than 1 and transA are not supported".into());
        }
        let &[rows, columns] = &w.dims[..] else { return Err(format!("weights of shape {:?}", w.dims)) };
        let v = if int(node, "transB", 0)? != 0 {
            let turned = w.gather(vec![columns, rows], &transpose_order(&w.dims, &[1, 0]));
            self.fully_connected(node, v, &turned, columns, rows)?
        } else {
            self.fully_connected(node, v, w, rows, columns)?
        };
        match bias {
            None => Ok(v),
            Some(bias) => self.biased(v, bias),
        }
    }

    /// `[.., k]` times `[k, n]`. One row may lie in any order in its tensor: the kernel is then the whole image. Several
    /// rows are pixels.
    fn fully_connected(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        k: usize,
        n: usize,
    ) -> Result<FloatValue, String> {
        let v = self.no_input(v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = self.graph.tensors[t].shape;
        let rows = v.count() / k.max(1);
        if v.dims.last() != Some(&k) || k == 0 || n == 0 {
            return Err(format!("input of shape {:?} and weights of shape {:?} do not fit", v.dims, w.dims));
        }
        let mut dims = v.dims.clone();
        *dims.last_mut().expect("has a last axis") = n;
        let kernel = match rows {
            1 => [shape[0], shape[1]],
            _ if v.order.is_none() && shape[2] == k => [1, 1],
            _ => return Err("its rows do not lie as pixels in memory".into()),
        };
        // Weights [k][n] -> [n][position in the tensor].
        let mut position = vec![0; k];
        for i in 0..k {
            position[if rows == 1 { v.place(i) } else { i }] = i;
        }
        let picks = (0..n).flat_map(|o| position.iter().map(move |&i| i * n + o)).collect::<Vec<_>>();
        let (weights, scales) = integer_weights(w, &picks, [n, kernel[0], kernel[1], shape[2]])?;
        let window = WindowTemplate { kernel, stride: [1, 1], pads: [0; 4] };
        let linear = w.quant.as_ref().is_some_and(|q| q.linear);
        let result = self.dense(node, t, &views, weights, scales, window, [1, 1], 1, linear)?;
        Ok(waiting(dims, result.pending, result.from_int, None))
    }

    /// A convolution of integers; its reals are `(factor * acc + offset) * scale`.
    #[allow(clippy::too_many_arguments)]
    fn dense(
        &mut self,
        node: &Node,
        input: TensorId,
        views: &[IntegerView],
        weights: Weights,
        weight_scales: Vec<f32>,
        window: WindowTemplate,
        dilation: [usize; 2],
        groups: usize,
        linear: bool,
    ) -> Result<Dense, String> {
        let [oc, kh, kw, icg] = weights.shape;
        let shape = self.graph.tensors[input].shape;
        let depthwise = groups == shape[2] && icg == 1;
        let same = views.windows(2).all(|p| p[0] == p[1]);
        if !same && !depthwise {
            return Err(
                "activation scales that differ from channel to channel need a depthwise convolution".into()
            );
        }
        let view = |o: usize| views[if same { 0 } else { o / (oc / groups) }];
        let pad_code = if window.pads == [0; 4] {
            0i64.clamp(self.ranges[input].0, self.ranges[input].1)
        } else {
            self.zero_code(input, views)?
        };
        let terms = kh * kw * icg;
        let mut offset = Vec::new();
        let mut scale = Vec::new();
        let mut largest = 0;
        for (o, w) in weights.data.chunks(terms).enumerate() {
            let view = view(o);
            let (lo, hi) = view.integers(self.ranges[input]);
            let size = w.iter().map(|&w| (w as i64).unsigned_abs()).sum::<u64>()
                * lo.unsigned_abs().max(hi.unsigned_abs());
            largest = largest.max(size.saturating_mul(odd_part(view.scale) * odd_part(weight_scales[o])));
            offset.push(view.offset * w.iter().map(|&w| w as i64).sum::<i64>());
            scale.push(view.scale as f64 * weight_scales[o] as f64);
        }
        if !linear {
            if largest > FLOAT_EXACT && self.at_end && node.op == "Conv" {
                return Err("the reference's float sums, which nothing quantizes, are not exact".into());
            }
            self.note_rounding(node, largest);
        }
        let linear = linear.then(|| {
            let product = |(o, s): (usize, &f32)| view(o).scale * s;
            weight_scales.iter().enumerate().map(product).collect::<Vec<_>>()
        });
        let bounds = conv_bounds(&weights, self.ranges[input], pad_code as i32);
        let out = |axis: usize| {
            let extent = (window.kernel[axis] - 1) * dilation[axis] + 1;
            let room = shape[axis] + window.pads[axis] + window.pads[axis + 2];
            Some(room.checked_sub(extent)? / window.stride[axis] + 1)
        };
        let (Some(h), Some(w)) = (out(0), out(1)) else {
            return Err("the kernel is larger than the image".into());
        };
        let shape = [h, w, oc];
        check_activation(&shape)?;
        let conv = ConvTemplate { input, weights, window, dilation, groups, pad_code: pad_code as i32 };
        let pending = Pending { name: node.name.clone(), op: PendingOp::Conv(conv), shape, bounds, linear };
        let from_int = FromInt { factor: view(0).factor, offset: short(offset), scale: short(scale) };
        Ok(Dense { pending, from_int, shape })
    }

    /// The code of the real value 0, which padding carries.
    pub fn zero_code(&self, input: TensorId, views: &[IntegerView]) -> Result<i64, String> {
        let codes = views.iter().map(|v| v.zero_code()).collect::<Option<Vec<_>>>();
        let ty: IntType = self.graph.tensors[input].ty;
        match codes.as_deref() {
            None => {
                Err("pads with 0, which bipolar (-1, +1) activations do not have; use 2-bit activations"
                    .into())
            }
            Some([first, rest @ ..]) if rest.iter().all(|c| c == first) && ty.contains(*first) => Ok(*first),
            Some(codes) => {
                Err(format!("pads with 0, which is no common code of its input (code {:?})", codes.first()))
            }
        }
    }

    fn pool_max(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let (v, shape) = self.as_image(&node.name, v)?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        self.moved(node, v, Move::Max(window), out)
    }

    pub fn pool_average(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let (v, _) = self.as_image(&node.name, v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        let [view] = views[..] else { return Err("scales that differ from channel to channel".into()) };
        if window.pads != [0; 4] {
            return Err("an average over padded positions is not supported".into());
        }
        let count = (window.kernel[0] * window.kernel[1]) as i64;
        let (lo, hi) = self.ranges[t];
        if v.int.is_some() {
            return Err("not supported on integers; a DequantizeLinear or Cast is missing".into());
        }
        let (least, most) = view.integers((lo, hi));
        let global = node.op.contains("Global");
        // DequantizeLinear's own float sums are not the reference's.
        let quantized = global && v.chain.steps.is_empty() && v.chain.integer.is_empty();
        self.note_rounding(
            node,
            !quantized as u64
                * count as u64
                * least.unsigned_abs().max(most.unsigned_abs())
                * odd_part(view.scale),
        );
        let op = PendingOp::Sum { input: t, window };
        let bounds = vec![(count * lo, count * hi)];
        let linear = global.then(|| vec![view.scale]);
        let pending = Pending { name: node.name.clone(), op, shape: out, bounds, linear };
        let from_int = FromInt {
            factor: view.factor,
            offset: vec![count * view.offset],
            scale: vec![view.scale as f64],
        };
        let dims = if v.dims.len() == 3 { vec![1, out[2], out[1]] } else { vec![1, out[2], out[0], out[1]] };
        let v = waiting(dims, pending, from_int, image_order(out));
        Ok(v.then(FloatStep::Div(vec![count as f32])))
    }
}

struct Dense {
    pending: Pending,
    from_int: FromInt,
    shape: [usize; 3],
}

pub fn waiting(
    dims: Vec<usize>,
    pending: Pending,
    from_int: FromInt,
    order: Option<Rc<Vec<usize>>>,
) -> FloatValue {
    let chain = FloatChain::from_int(from_int);
    FloatValue { dims, base: Base::Pending(Rc::new(pending)), chain, order, int: None }
}

/// A constant input that may be missing.
pub fn optional<'c>(
    node: &Node,
    constants: &[Option<&'c ConstTensor>],
    i: usize,
    what: &str,
) -> Result<Option<&'c ConstTensor>, String> {
    match constants.get(i).copied().flatten() {
        Some(c) => Ok(Some(c)),
        None if node.inputs.get(i).is_some_and(|n| !n.is_empty()) => {
            Err(format!("its {what} is not constant"))
        }
        None => Ok(None),
    }
}

/// The operator on two floats.
pub fn binary(op: &str) -> Option<Binary> {
    Some(match op {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        "Pow" => Binary::Pow,
        _ => return None,
    })
}

/// The step of an activation function; `None`: it is none.
pub fn function_step(node: &Node) -> Result<Option<FloatStep>, String> {
    let number = |name: &str, default: f32| {
        let v = float(node, name, default)?;
        if v.is_finite() {
            Ok(v)
        } else {
            Err(format!("{name} is no number"))
        }
    };
    Ok(Some(FloatStep::Function(match node.op.as_str() {
        "Abs" => Function::Abs,
        "Ceil" => Function::Ceil,
        "Cos" => Function::Cos,
        "Elu" => Function::Elu(number("alpha", 1.0)?),
        "Erf" => Function::Erf,
        "Exp" => Function::Exp,
        "Floor" => Function::Floor,
        "Gelu" => Function::Gelu,
        "HardSigmoid" => Function::HardSigmoid(number("alpha", 0.2)?, number("beta", 0.5)?),
        "HardSwish" => Function::HardSwish,
        "LeakyRelu" | "QLinearLeakyRelu" => return Ok(Some(FloatStep::Slope(vec![number("alpha", 0.01)?]))),
        "Log" => Function::Log,
        "Mish" => Function::Mish,
        "Reciprocal" => Function::Reciprocal,
        "Round" => Function::Round,
        "Selu" => Function::Selu(number("alpha", 1.673_263_2)?, number("gamma", 1.050_701)?),
        "Sigmoid" | "QLinearSigmoid" => Function::Sigmoid,
        "Sign" => Function::Sign,
        "Sin" => Function::Sin,
        "Softplus" => Function::Softplus,
        "Softsign" => Function::Softsign,
        "Sqrt" => Function::Sqrt,
        "Tanh" => Function::Tanh,
        "ThresholdedRelu" => Function::ThresholdedRelu(number("alpha", 1.0)?),
        _ => return Ok(None),
    })))
}

/// Smallest and largest value of a float chain that ends in integers.
fn float_range(chain: &FloatChain, bounds: &[(i64, i64)]) -> Result<(i64, i64), String> {
    let mut range = (i64::MAX, i64::MIN);
    for c in 0..bounds.len().max(chain.width()) {
        let (lo, hi) = bounds[if bounds.len() == 1 { 0 } else { c }];
        chain.direction(c).ok_or("a function that rises and falls before a conversion to integers")?;
        for end in [lo, hi] {
            let x = chain.eval_int(end, c);
            if !x.is_finite() || x.abs() > 1e9 {
                return Err("the float arithmetic overflows".into());
            }
            range = (range.0.min(x as i64), range.1.max(x as i64));
        }
    }
    Ok(range)
}

pub fn activation(inputs: &Inputs, i: usize) -> Result<FloatValue, String> {
    match inputs.get(i) {
        Some(Some(Value::Float(v))) => Ok(v.clone()),
        Some(Some(Value::Const(_))) => Err(format!("input {i} is constant")),
        Some(Some(Value::Host(_))) => Err("its input is computed by the host, behind the network".into()),
        _ => Err(format!("input {i} is missing")),
    }
}

fn transpose(node: &Node, v: FloatValue) -> Result<FloatValue, String> {
    let perm = permutation(node, v.dims.len())?;
    let dims = perm.iter().map(|&p| v.dims[p]).collect();
    let picks = transpose_order(&v.dims, &perm);
    Ok(v.reordered(dims, &picks))
}

/// A list whose elements are all equal, as one.
fn short<T: PartialEq + Copy>(list: Vec<T>) -> Vec<T> {
    if list.windows(2).all(|p| p[0] == p[1]) {
        list[..1].to_vec()
    } else {
        list
    }
}

/// Integers `[oc][..]` picked from a weight tensor, and the scale of each output channel.
fn integer_weights(
    w: &ConstTensor,
    picks: &[usize],
    shape: [usize; 4],
) -> Result<(Weights, Vec<f32>), String> {
    let floats = w.floats()?;
    let terms = shape[1..].iter().product::<usize>();
    if picks.len() != shape[0] * terms || terms == 0 {
        return Err(format!("weights of shape {:?} do not fit", w.dims));
    }
    let integer = |i: usize| w.quant.as_ref().map_or(floats[i] as f64, |q| q.integers[i]);
    let scale = |i: usize| w.quant.as_ref().map_or(1.0, |q| q.scales[i]);
    let mut data = Vec::with_capacity(picks.len());
    for &i in picks {
        let v = integer(i);
        if v.fract() != 0.0 || v.abs() > 32768.0 {
            let what = if w.quant.is_some() { "its zero point is no integer" } else { "a Quant is missing" };
            return Err(format!("weight {v} is no integer of 16 bits: {what}"));
        }
        data.push(v as i32);
    }
    let scales = picks.chunks(terms).map(|c| scale(c[0])).collect::<Vec<_>>();
    if picks.chunks(terms).zip(&scales).any(|(c, &s)| c.iter().any(|&i| scale(i) != s)) {
        return Err("weight scales that differ within an output channel are not supported".into());
    }
    let (lo, hi) = (data.iter().min().copied().unwrap_or(0), data.iter().max().copied().unwrap_or(0));
    let ty = IntType::holding(lo as i64, hi as i64);
    if ty.bits > 16 {
        return Err(format!("weights from {lo} to {hi} need more than 16 bits"));
    }
    let bipolar = data.iter().all(|&v| v == 1 || v == -1);
    let ty = if bipolar { IntType { bits: 2, signed: true } } else { ty };
    Ok((Weights { shape, data, ty, bipolar }, scales))
}

/// A two-element attribute of positive numbers, `[1, 1]` when absent.
pub fn pair(node: &Node, name: &str) -> Result<[usize; 2], String> {
    let Some(list) = ints(node, name)? else { return Ok([1, 1]) };
    let bad = || format!("{name} {list:?}; two positive numbers are supported");
    let positive = |v: i64| usize::try_from(v).ok().filter(|&v| v > 0 && v < 1 << 16);
    match list[..] {
        [a, b] => Ok([positive(a).ok_or_else(bad)?, positive(b).ok_or_else(bad)?]),
        [b] => Ok([1, positive(b).ok_or_else(bad)?]),
        _ => Err(bad()),
    }
}

/// Kernel, stride and pads of a window operator.
pub fn window(
    node: &Node,
    shape: &[usize; 3],
    kernel: Option<[usize; 2]>,
    dilation: [usize; 2],
) -> Result<WindowTemplate, String> {
    let kernel = match kernel {
        Some(k) => k,
        None => {
            ints(node, "kernel_shape")?.ok_or("kernel_shape is missing")?;
            pair(node, "kernel_shape")?
        }
    };
    let stride = pair(node, "strides")?;
    let pads = match (text(node, "auto_pad", "NOTSET")?, ints(node, "pads")?) {
        ("NOTSET" | "", None) | ("VALID", _) => [0; 4],
        ("NOTSET" | "", Some(list)) => {
            let small = list.iter().map(|&p| usize::try_from(p).ok().filter(|&p| p < 1 << 16));
            let small = small.collect::<Option<Vec<_>>>();
            let small = small.and_then(|v| match v[..] {
                [left, right] => Some([0, left, 0, right]),
                _ => <[usize; 4]>::try_from(v).ok(),
            });
            small.ok_or_else(|| format!("pads {list:?}; four numbers, none negative, are supported"))?
        }
        (mode @ ("SAME_UPPER" | "SAME_LOWER"), _) => {
            let mut pads = [0; 4];
            for axis in 0..2 {
                let out = shape[axis].div_ceil(stride[axis]);
                let extent = kernel[axis].saturating_sub(1) * dilation[axis] + 1;
                let total = ((out - 1) * stride[axis] + extent).saturating_sub(shape[axis]);
                let less = total / 2;
                let (before, after) =
                    if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                (pads[axis], pads[axis + 2]) = (before, after);
            }
            pads
        }
        (mode, _) => return Err(format!("auto_pad {mode} is unknown")),
    };
    if kernel.contains(&0) {
        return Err("the kernel is empty".into());
    }
    Ok(WindowTemplate { kernel, stride, pads })
}

/// Window of a pooling node; the global ones take the whole image.
fn pool_window(node: &Node, v: &FloatValue, shape: &[usize; 3]) -> Result<WindowTemplate, String> {
    if !matches!(v.dims.len(), 3 | 4) {
        return Err(format!("input of shape {:?}; 1-D and 2-D pooling are supported", v.dims));
    }
    if node.op.contains("Global") {
        return Ok(WindowTemplate { kernel: [shape[0], shape[1]], stride: [1, 1], pads: [0; 4] });
    }
    if int(node, "storage_order", 0)? != 0 || pair(node, "dilations")? != [1, 1] {
        return Err("storage_order and dilations are not supported".into());
    }
    let mut w = window(node, shape, None, [1, 1])?;
    if int(node, "ceil_mode", 0)? != 0 {
        for (axis, &size) in shape[..2].iter().enumerate() {
            let room = size + w.pads[axis] + w.pads[axis + 2];
            let rest = room.checked_sub(w.kernel[axis]).ok_or("the window is larger than the image")?;
            // A last window that begins inside the image (or its front border) counts.
            let windows = rest.div_ceil(w.stride[axis]);
            if rest % w.stride[axis] != 0 && windows * w.stride[axis] < size + w.pads[axis] {
                if !node.op.contains("Max") {
                    return Err("ceil_mode with windows over the edge is supported for MaxPool only".into());
                }
                w.pads[axis + 2] += windows * w.stride[axis] - rest;
            }
        }
    }
    Ok(w)
}

fn pooled_shape(shape: &[usize; 3], w: &WindowTemplate) -> Result<[usize; 3], String> {
    let out = |axis: usize| {
        let room = shape[axis] + w.pads[axis] + w.pads[axis + 2];
        Some(room.checked_sub(w.kernel[axis])? / w.stride[axis] + 1)
    };
    match (out(0), out(1)) {
        (Some(h), Some(x)) => {
            check_activation(&[h, x, shape[2]])?;
            Ok([h, x, shape[2]])
        }
        _ => Err(format!("the window {:?} is larger than the image", w.kernel)),
    }
}
