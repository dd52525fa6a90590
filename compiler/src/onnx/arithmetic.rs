// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arithmetic with constants: steps of the chain behind the codes.

use super::constant::{float, int, text, ConstData, ConstTensor};
use super::lower::Importer;
use super::model::Node;
use super::ops::activation;
use super::ops::optional;
use super::ops::{Constants, Inputs};
use super::value::{Base, FloatValue};
use crate::functions::Function;
use crate::host::{CodeTable, FloatChain, FloatStep, IntStep};
use crate::tail::Binary;

/// A BatchNormalization of values of shape `dims` as a factor and an offset, each of shape [1, channels, 1 ..]:
/// `x * (scale / sqrt(var + eps)) + (bias - mean * that)`, in ONNX Runtime's order of float32 operations.
pub fn normalization(node: &Node, dims: &[usize], constants: &Constants) -> Result<[ConstTensor; 2], String> {
    if int(node, "training_mode", 0)? != 0 || int(node, "spatial", 1)? == 0 {
        return Err("training mode and per-pixel statistics are not supported".into());
    }
    let epsilon = float(node, "epsilon", 1e-5)?;
    let channels = *dims.get(1).ok_or("needs at least two dimensions")?;
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
    let mut shape = vec![1; dims.len()];
    shape[1] = channels;
    let constant = |data| ConstTensor::new(shape.clone(), ConstData::F32(data));
    Ok([constant(factor)?, constant(offset)?])
}

impl Importer<'_> {
    pub fn clip(&self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
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

    /// See [`normalization`].
    pub fn batch_norm(
        &self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let [factor, offset] = normalization(node, &v.dims, constants)?;
        let steps = [FloatStep::Mul(self.list(&v, &factor)?), FloatStep::Add(self.list(&v, &offset)?)];
        Ok(steps.into_iter().fold(v, |v, step| v.then(step)))
    }

    /// A binary operator with one constant; or the sum of two activations.
    pub fn arithmetic(
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

    pub fn integer_unary(
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
                        let (lo, hi) = self.integer_range(&v)?;
                        match i {
                            1 if *b > lo => v.chain.integer.push(IntStep::Max(vec![*b])),
                            2 if *b < hi => v.chain.integer.push(IntStep::Min(vec![*b])),
                            _ => {}
                        }
                    }
                }
            }
        }
        self.integer_range(&v)?;
        Ok(v)
    }

    /// Conversions: integers to floats or to other integers that hold them; floats, toward zero, to integers.
    pub fn cast(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let to = int(node, "to", 0)?;
        let target = super::model::int_type_numbered(to);
        match (v.int, target) {
            (None, None) if to == 1 => Ok(v),
            (Some(_), None) if to == 1 => Ok(self.no_input(v)?.as_floats()),
            (Some(_), Some(ty)) => {
                let v = self.no_input(v)?.typed(ty);
                self.integer_range(&v)?;
                Ok(v)
            }
            (None, Some(ty)) => self.truncate_to(node, v, ty),
            _ => Err(format!("cast to element type {to} is not supported")),
        }
    }

    pub fn prelu(&mut self, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let slope = constants.get(1).copied().flatten().ok_or("its slope is not constant")?;
        let list = self.list(&v, slope)?;
        Ok(v.then(FloatStep::Slope(list)))
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

/// A list whose elements are all equal, as one.
pub fn short<T: PartialEq + Copy>(list: Vec<T>) -> Vec<T> {
    if list.windows(2).all(|p| p[0] == p[1]) {
        list[..1].to_vec()
    } else {
        list
    }
}
