// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Quantizers of QONNX: what each makes of its input, as codes.

use super::constant::{float, int, text, ConstData, ConstTensor};
use super::emit::CodeSpec;
use super::lower::Importer;
use super::model::Node;
use super::ops::Constants;
use super::value::{code_range, Base, FloatValue, IntegerView, QuantKind, Quantizer};
use crate::host::{FloatChain, FloatStep, FromInt};
use crate::ir::{IntType, TensorId};

impl Importer<'_> {
    pub fn quantize(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let quantizer = Quantizer::of(node, constants)?;
        let (steps, clamp, ty, map) = quantizer.steps(|c| self.list(&v, c))?;
        let mut chained = v;
        chained.chain.steps.extend(steps);
        let name = node.outputs.first().cloned().unwrap_or_default();
        let codes = self.codes(&name, &chained, CodeSpec { ty, clamp, map })?;
        let steps = quantizer.back(|c| self.list(&codes, c))?;
        let from_int = match quantizer.kind {
            QuantKind::Bipolar => FromInt { factor: 2, offset: vec![-1], scale: vec![1.0] },
            _ => FromInt::scaled(1.0),
        };
        Ok(self.read_back(codes, from_int, steps))
    }

    /// The node's output as codes that are its values, `lo..=hi`.
    fn whole_codes(
        &mut self,
        node: &Node,
        v: &FloatValue,
        (lo, hi): (i64, i64),
    ) -> Result<FloatValue, String> {
        let spec = CodeSpec {
            ty: IntType::holding(lo, hi),
            clamp: (lo as i32, hi as i32),
            map: crate::host::CodeMap::SAME,
        };
        let name = node.outputs.first().cloned().unwrap_or_default();
        self.codes(&name, v, spec)
    }

    /// Codes with what makes floats of them.
    fn read_back(&mut self, mut codes: FloatValue, from_int: FromInt, steps: Vec<FloatStep>) -> FloatValue {
        codes.chain.from_int = Some(from_int);
        codes.chain.steps = steps;
        if let Base::Codes(t) = codes.base {
            self.describe(t, &codes.chain);
        }
        codes
    }

    /// Scale and zero point of a tensor, for people.
    fn describe(&mut self, t: TensorId, chain: &FloatChain) {
        if let Some(view) = IntegerView::of(chain, 0, self.ranges[t]).filter(|v| v.factor == 1) {
            self.graph.tensors[t].scale = view.scale as f64;
            self.graph.tensors[t].zero_point = -view.offset as i32;
        }
    }

    pub fn truncate_to(&mut self, node: &Node, v: FloatValue, ty: IntType) -> Result<FloatValue, String> {
        let bounds = self.base_bounds(&v.base).ok_or("its input is not quantized")?;
        let v = v.then(FloatStep::Round(crate::host::FloatRounding::Down));
        let (lo, hi) = float_range(&v.chain, &bounds)?;
        let narrow = IntType::holding(lo, hi);
        if narrow.bits > 16 || !ty.contains(lo) || !ty.contains(hi) {
            return Err(format!("values from {lo} to {hi} do not fit the integer type"));
        }
        Ok(self.whole_codes(node, &v, (lo, hi))?.typed(ty))
    }

    /// The integers that DequantizeLinear's scale would multiply, cut to fewer bits (QONNX).
    pub fn truncate(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
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
            let (narrow, signed) = (int(node, "narrow", 0)? != 0, int(node, "signed", 1)? != 0);
            let (lo, hi) = code_range(IntType { bits: out_bits as u8, signed }, narrow);
            v = v.then(FloatStep::Min(vec![hi as f32])).then(FloatStep::Max(vec![lo as f32]));
        }
        v = v.then(FloatStep::Round(rounding));
        let bounds = self.base_bounds(&v.base).ok_or("its input is not quantized")?;
        let (lo, hi) = float_range(&v.chain, &bounds)?;
        if IntType::holding(lo, hi).bits > 16 {
            return Err(format!("values from {lo} to {hi} need more than 16 bits"));
        }
        let codes = self.whole_codes(node, &v, (lo, hi))?;
        let zero = if second { zero / factor } else { zero };
        let steps = vec![FloatStep::Sub(vec![zero]), FloatStep::Mul(vec![out_scale])];
        Ok(self.read_back(codes, FromInt::scaled(1.0), steps))
    }

    /// Number of thresholds reached, times a scale, plus a bias (QONNX, FINN).
    pub fn thresholds(
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
            Some(_) => self.no_input(v)?.as_floats(),
            None => v,
        };
        let numbers = ConstTensor::new(shape, ConstData::I64((0..rows as i64).collect()))?;
        let which = v.integer_constants(&numbers, self.channels(&v.base))?;
        let which = which.into_iter().map(|i| i as usize).collect();
        v.chain.steps.push(FloatStep::Thresholds(crate::host::Thresholds { lists, which }));
        let codes = self.whole_codes(node, &v, (0, count as i64))?;
        let (scale, bias) = (float(node, "out_scale", 1.0)?, float(node, "out_bias", 0.0)?);
        if !scale.is_finite() || !bias.is_finite() {
            return Err("out_scale or out_bias is no number".into());
        }
        let mut steps = Vec::new();
        if scale != 1.0 {
            steps.push(FloatStep::Mul(vec![scale]));
        }
        if bias != 0.0 {
            steps.push(FloatStep::Add(vec![bias]));
        }
        Ok(self.read_back(codes, FromInt::scaled(1.0), steps))
    }
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
