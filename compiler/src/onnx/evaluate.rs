// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators that are evaluated while importing.

use super::constant::{
    axis, float, int, new_shape, permutation, shape_of, slice_order, slice_ranges, transpose_order,
    ConstData, ConstTensor, QuantConst,
};
use super::linear::LinearQuant;
use super::model::{Attribute, Node, MAX_ELEMENTS};
use super::value::Quantizer;
use std::rc::Rc;

/// Evaluates a node whose inputs are all constant; `None` when it is not an operator for constants.
pub fn evaluate(node: &Node, inputs: &[Option<&ConstTensor>]) -> Result<Option<ConstTensor>, String> {
    let arg = |i: usize| inputs.get(i).copied().flatten().ok_or(format!("input {i} is missing"));
    Ok(Some(match node.op.as_str() {
        "Constant" => constant(node)?,
        "Identity" | "Dropout" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {
            let t = arg(0)?;
            let operands = inputs.get(1..).unwrap_or(&[]);
            t.with_dims(new_shape(node, &t.dims, operands)?.expect("one of the shape operators"))
        }
        "Transpose" => {
            let t = arg(0)?;
            let perm = permutation(node, t.dims.len())?;
            let dims = perm.iter().map(|&p| t.dims[p]).collect();
            t.gather(dims, &transpose_order(&t.dims, &perm))
        }
        "Shape" => shape_of(&arg(0)?.dims),
        "Gather" => gather(arg(0)?, arg(1)?, int(node, "axis", 0)?)?,
        "Concat" => concat(node, inputs)?,
        "Cast" => cast(arg(0)?, int(node, "to", 0)?)?,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" => binary(&node.op, arg(0)?, arg(1)?)?,
        "Sqrt" | "Neg" | "Relu" | "Abs" | "Reciprocal" | "Floor" | "Ceil" | "Exp" => {
            unary(&node.op, arg(0)?)?
        }
        "Clip" => clip(node, arg(0)?, inputs)?,
        "Quant" | "IntQuant" | "BipolarQuant" => Quantizer::of(node, inputs)?.constant(arg(0)?)?,
        "QuantizeLinear" => LinearQuant::of(node, inputs, false)?.quantize_constant(arg(0)?)?,
        "DequantizeLinear" => LinearQuant::of(node, inputs, true)?.dequantize_constant(arg(0)?)?,
        "ConstantOfShape" => constant_of_shape(node, arg(0)?)?,
        "Slice" => slice(node, arg(0)?, inputs.get(1..).unwrap_or(&[]))?,
        _ => return Ok(None),
    }))
}

fn constant(node: &Node) -> Result<ConstTensor, String> {
    let attribute = |name: &str| node.attributes.get(name);
    if let Some(Attribute::Tensor(t)) = attribute("value") {
        return Ok(t.clone());
    }
    match (
        attribute("value_float"),
        attribute("value_int"),
        attribute("value_floats"),
        attribute("value_ints"),
    ) {
        (Some(Attribute::Float(v)), ..) => ConstTensor::new(vec![], ConstData::F32(vec![*v])),
        (_, Some(Attribute::Int(v)), ..) => ConstTensor::new(vec![], ConstData::I64(vec![*v])),
        (.., Some(Attribute::Floats(v)), _) => ConstTensor::new(vec![v.len()], ConstData::F32(v.clone())),
        (.., Some(Attribute::Ints(v))) => ConstTensor::new(vec![v.len()], ConstData::I64(v.clone())),
        _ => Err("holds no number or tensor that is understood".into()),
    }
}

fn constant_of_shape(node: &Node, shape: &ConstTensor) -> Result<ConstTensor, String> {
    let dims = shape.integers()?.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<Vec<_>>>();
    let dims = dims.ok_or("a dimension is negative")?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_ELEMENTS);
    let count = count.ok_or("the shape is too large")?;
    let value = match node.attributes.get("value") {
        Some(Attribute::Tensor(t)) if t.len() == 1 => t.clone(),
        None => ConstTensor::new(vec![1], ConstData::F32(vec![0.0]))?,
        _ => return Err("its value is no single number".into()),
    };
    Ok(value.gather(dims, &vec![0; count]))
}

fn slice(node: &Node, t: &ConstTensor, operands: &[Option<&ConstTensor>]) -> Result<ConstTensor, String> {
    let (dims, order) = slice_order(&t.dims, &slice_ranges(node, &t.dims, operands)?);
    Ok(t.gather(dims, &order))
}

fn gather(data: &ConstTensor, indices: &ConstTensor, along: i64) -> Result<ConstTensor, String> {
    let along = axis(along, data.dims.len())?;
    if data.dims.is_empty() {
        return Err("a scalar has nothing to gather from".into());
    }
    let size = data.dims[along];
    let inner = data.dims[along + 1..].iter().product::<usize>();
    let outer = data.dims[..along].iter().product::<usize>();
    let picks =
        indices.integers()?.iter().map(|&i| axis(i, size).map_err(|_| format!("index {i} of {size}")));
    let picks = picks.collect::<Result<Vec<_>, _>>()?;
    if size == 0 || outer.saturating_mul(inner).saturating_mul(picks.len()) > MAX_ELEMENTS {
        return Err("nothing to gather from, or too much".into());
    }
    let mut order = Vec::new();
    for o in 0..outer {
        for &p in &picks {
            order.extend((0..inner).map(|i| (o * size + p) * inner + i));
        }
    }
    let dims = [&data.dims[..along], &indices.dims, &data.dims[along + 1..]].concat();
    Ok(data.gather(dims, &order))
}

fn concat(node: &Node, inputs: &[Option<&ConstTensor>]) -> Result<ConstTensor, String> {
    let parts = inputs.iter().copied().collect::<Option<Vec<_>>>().ok_or("an input is missing")?;
    let first = parts.first().ok_or("has no inputs")?;
    let along = axis(int(node, "axis", 0)?, first.dims.len())?;
    let others = |t: &ConstTensor| {
        t.dims.len() == first.dims.len()
            && (0..t.dims.len()).all(|i| i == along || t.dims[i] == first.dims[i])
    };
    if first.dims.is_empty() || !parts.iter().all(|t| others(t)) {
        return Err("shapes do not fit together".into());
    }
    let outer = first.dims[..along].iter().product::<usize>();
    let mut dims = first.dims.clone();
    dims[along] = parts.iter().map(|t| t.dims[along]).sum();
    let data = if parts.iter().all(|t| matches!(t.data, ConstData::I64(_))) {
        let all = parts.iter().map(|t| t.integers()).collect::<Result<Vec<_>, _>>()?;
        ConstData::I64(interleave(&all, outer))
    } else {
        let all = parts.iter().map(|t| t.floats()).collect::<Result<Vec<_>, _>>()?;
        ConstData::F32(interleave(&all, outer))
    };
    ConstTensor::new(dims, data)
}

fn interleave<T: Copy>(parts: &[&[T]], outer: usize) -> Vec<T> {
    let piece = |o: usize, p: &[T]| p[o * p.len() / outer..(o + 1) * p.len() / outer].to_vec();
    (0..outer).flat_map(|o| parts.iter().flat_map(move |p| piece(o, p)).collect::<Vec<_>>()).collect()
}

fn cast(t: &ConstTensor, to: i64) -> Result<ConstTensor, String> {
    let int = super::model::int_type_numbered(to);
    let data = match (to, &t.data) {
        (1, ConstData::F32(v)) => ConstData::F32(v.clone()),
        (1, ConstData::I64(v)) => ConstData::F32(v.iter().map(|&v| v as f32).collect()),
        (_, ConstData::I64(v)) if int.is_some() => ConstData::I64(v.clone()),
        (_, ConstData::F32(v)) if int.is_some() => ConstData::I64(v.iter().map(|&v| v as i64).collect()),
        _ => return Err(format!("cast to element type {to} is not supported")),
    };
    if let (Some(ty), ConstData::I64(v)) = (int, &data) {
        if let Some(wrong) = v.iter().find(|&&v| !ty.contains(v)) {
            return Err(format!("{wrong} does not fit element type {to}"));
        }
    }
    Ok(ConstTensor { dims: t.dims.clone(), data, int, quant: if to == 1 { t.quant.clone() } else { None } })
}

/// Shape of two operands broadcast against each other.
fn common_dims(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |d: &[usize], i: usize| (i + d.len()).checked_sub(rank).map_or(1, |i| d[i]);
    let pick = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Some(x),
        (1, y) => Some(y),
        (x, 1) => Some(x),
        _ => None,
    };
    let dims = (0..rank).map(pick).collect::<Option<Vec<_>>>()?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (count <= MAX_ELEMENTS).then_some(dims)
}

fn binary(op: &str, a: &ConstTensor, b: &ConstTensor) -> Result<ConstTensor, String> {
    let dims = common_dims(&a.dims, &b.dims);
    let dims = dims.ok_or_else(|| format!("shapes {:?} and {:?} do not fit", a.dims, b.dims))?;
    let (Some(x), Some(y)) = (a.broadcast(&dims), b.broadcast(&dims)) else {
        return Err(format!("shapes {:?} and {:?} do not fit", a.dims, b.dims));
    };
    let data = match (&x.data, &y.data) {
        (ConstData::F32(x), ConstData::F32(y)) => {
            ConstData::F32(x.iter().zip(y).map(|(&x, &y)| binary_float(op, x, y)).collect())
        }
        (ConstData::I64(x), ConstData::I64(y)) => {
            let all = x.iter().zip(y).map(|(&x, &y)| binary_int(op, x, y)).collect::<Option<Vec<_>>>();
            ConstData::I64(all.ok_or("integer overflow or division by 0")?)
        }
        (ConstData::F32(x), ConstData::I64(y)) if op == "Pow" => {
            ConstData::F32(x.iter().zip(y).map(|(&x, &y)| x.powf(y as f32)).collect())
        }
        _ => return Err("a float and an integer operand".into()),
    };
    let quant = rescaled(op, &x, &y, &data);
    Ok(ConstTensor { quant, ..ConstTensor::new(dims, data)? })
}

fn binary_float(op: &str, x: f32, y: f32) -> f32 {
    match op {
        "Add" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        "Div" => x / y,
        "Max" => x.max(y),
        "Min" => x.min(y),
        _ => power(x, y),
    }
}

/// Float32 power, rounded once from float64 (what a correctly rounded `powf` gives in all but rare double roundings).
fn power(x: f32, y: f32) -> f32 {
    (x as f64).powf(y as f64) as f32
}

fn binary_int(op: &str, x: i64, y: i64) -> Option<i64> {
    match op {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Max" => Some(x.max(y)),
        "Min" => Some(x.min(y)),
        _ => x.checked_pow(u32::try_from(y).ok()?),
    }
}

/// The integers behind a product or quotient of a quantized constant and another one, where they still give every value.
fn rescaled(op: &str, x: &ConstTensor, y: &ConstTensor, data: &ConstData) -> Option<Rc<QuantConst>> {
    let (of, by) = match (&x.quant, &y.quant, op) {
        (Some(q), None, "Mul" | "Div") => (q, y),
        (None, Some(q), "Mul") => (q, x),
        _ => return None,
    };
    let (ConstData::F32(values), ConstData::F32(factors), false) = (data, &by.data, of.linear) else {
        return None;
    };
    let scales: Vec<f32> =
        of.scales.iter().zip(factors).map(|(&s, &f)| if op == "Div" { s / f } else { s * f }).collect();
    let mut all = of.integers.iter().zip(&scales).zip(values);
    let same = all.all(|((&i, &s), &v)| i as f32 * s == v && s > 0.0);
    same.then(|| Rc::new(QuantConst { integers: of.integers.clone(), scales, linear: false }))
}

/// Bounds are inputs, or attributes before operator set 11.
fn clip(node: &Node, t: &ConstTensor, inputs: &[Option<&ConstTensor>]) -> Result<ConstTensor, String> {
    let bound = |i: usize| inputs.get(i).copied().flatten();
    let single = |c: &ConstTensor| match c.integers()? {
        &[v] => Ok(v),
        list => Err(format!("a bound of {} numbers", list.len())),
    };
    let data = match &t.data {
        ConstData::I64(v) => {
            let lo = bound(1).map_or(Ok(i64::MIN), single)?;
            let hi = bound(2).map_or(Ok(i64::MAX), single)?;
            ConstData::I64(v.iter().map(|&v| v.max(lo).min(hi)).collect())
        }
        ConstData::F32(v) => {
            let lo = bound(1).map_or_else(|| float(node, "min", f32::MIN), ConstTensor::scalar)?;
            let hi = bound(2).map_or_else(|| float(node, "max", f32::MAX), ConstTensor::scalar)?;
            ConstData::F32(v.iter().map(|&v| v.max(lo).min(hi)).collect())
        }
    };
    Ok(ConstTensor { dims: t.dims.clone(), data, int: t.int, quant: None })
}

fn unary(op: &str, t: &ConstTensor) -> Result<ConstTensor, String> {
    if let (ConstData::I64(v), "Neg" | "Abs" | "Relu") = (&t.data, op) {
        let f = |v: i64| match op {
            "Neg" => v.checked_neg(),
            "Abs" => v.checked_abs(),
            _ => Some(v.max(0)),
        };
        let all = v.iter().map(|&v| f(v)).collect::<Option<Vec<_>>>().ok_or("integer overflow")?;
        return ConstTensor::new(t.dims.clone(), ConstData::I64(all));
    }
    let f = |x: f32| match op {
        "Sqrt" => x.sqrt(),
        "Neg" => -x,
        "Abs" => x.abs(),
        "Reciprocal" => 1.0 / x,
        "Floor" => x.floor(),
        "Ceil" => x.ceil(),
        "Exp" => crate::functions::exp(x),
        _ => x.max(0.0),
    };
    ConstTensor::new(t.dims.clone(), ConstData::F32(t.floats()?.iter().map(|&x| f(x)).collect()))
}
