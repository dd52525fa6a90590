// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Constant tensors, and the operators that are evaluated while importing, in the reference's own arithmetic: float32
//! operations one by one, integers checked.

use super::linear::LinearQuant;
use super::model::{Attribute, Node, MAX_ELEMENTS};
use super::value::Quantizer;
use crate::ir::IntType;
use crate::tail::broadcast_order;
use std::rc::Rc;

/// Elements in C order.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstData {
    F32(Vec<f32>),
    /// All integer types.
    I64(Vec<i64>),
}

impl ConstData {
    fn len(&self) -> usize {
        match self {
            ConstData::F32(v) => v.len(),
            ConstData::I64(v) => v.len(),
        }
    }
}

/// A constant; where a quantizer made it, also its integers and their scales, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct ConstTensor {
    pub dims: Vec<usize>,
    pub data: ConstData,
    /// Element type of an integer tensor, where the file says it.
    pub int: Option<IntType>,
    pub quant: Option<Rc<QuantConst>>,
}

/// `value[i] = integer[i] * scale[i]` in float32 (integers already without zero point).
#[derive(Clone, Debug, PartialEq)]
pub struct QuantConst {
    pub integers: Vec<f64>,
    pub scales: Vec<f32>,
    /// From DequantizeLinear: the reference computes with the integers themselves.
    pub linear: bool,
}

impl ConstTensor {
    /// Errors: the number of elements is not that of the shape.
    pub fn new(dims: Vec<usize>, data: ConstData) -> Result<ConstTensor, String> {
        if dims.iter().product::<usize>() != data.len() {
            return Err(format!("shape {dims:?} does not hold {} elements", data.len()));
        }
        Ok(ConstTensor { dims, data, int: None, quant: None })
    }

    pub fn len(&self) -> usize {
        self.data.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn floats(&self) -> Result<&[f32], String> {
        match &self.data {
            ConstData::F32(v) => Ok(v),
            ConstData::I64(_) => Err("a float32 constant is needed, an integer one stands there".into()),
        }
    }

    pub fn integers(&self) -> Result<&[i64], String> {
        match &self.data {
            ConstData::I64(v) => Ok(v),
            ConstData::F32(_) => Err("an integer constant is needed, a float32 one stands there".into()),
        }
    }

    /// The only element, as a float.
    pub fn scalar(&self) -> Result<f32, String> {
        match (self.len(), &self.data) {
            (1, ConstData::F32(v)) => Ok(v[0]),
            (1, ConstData::I64(v)) => Ok(v[0] as f32),
            (n, _) => Err(format!("a single number is needed, the constant has {n}")),
        }
    }

    /// Elements taken from `order`, with the new shape.
    pub fn gather(&self, dims: Vec<usize>, order: &[usize]) -> ConstTensor {
        fn take<T: Copy>(v: &[T], order: &[usize]) -> Vec<T> {
            order.iter().map(|&i| v[i]).collect()
        }
        let data = match &self.data {
            ConstData::F32(v) => ConstData::F32(take(v, order)),
            ConstData::I64(v) => ConstData::I64(take(v, order)),
        };
        let quant = self.quant.as_ref().map(|q| {
            Rc::new(QuantConst {
                integers: take(&q.integers, order),
                scales: take(&q.scales, order),
                linear: q.linear,
            })
        });
        ConstTensor { dims, data, int: self.int, quant }
    }

    fn with_dims(&self, dims: Vec<usize>) -> ConstTensor {
        ConstTensor { dims, ..self.clone() }
    }

    /// Elements repeated to `dims` by the rules of broadcasting; `None` where they do not apply.
    pub fn broadcast(&self, dims: &[usize]) -> Option<ConstTensor> {
        let order = broadcast_order(&self.dims, dims)?;
        Some(self.gather(dims.to_vec(), &order))
    }
}

/// For each element of the transposed tensor, its place in the original.
pub fn transpose_order(dims: &[usize], perm: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    let out = perm.iter().map(|&p| dims[p]).collect::<Vec<_>>();
    let place = |mut i: usize| {
        let mut at = 0;
        for axis in (0..out.len()).rev() {
            at += i % out[axis] * strides[perm[axis]];
            i /= out[axis];
        }
        at
    };
    (0..dims.iter().product()).map(place).collect()
}

/// `perm` of a Transpose, checked: each axis once; reversed when absent.
pub fn permutation(node: &Node, rank: usize) -> Result<Vec<usize>, String> {
    let Some(perm) = ints(node, "perm")? else { return Ok((0..rank).rev().collect()) };
    let axes = perm.iter().map(|&p| usize::try_from(p).ok()).collect::<Option<Vec<_>>>().unwrap_or_default();
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(format!("perm {perm:?} is not an order of {rank} axes"));
    }
    Ok(axes)
}

/// An integer-list attribute.
pub fn ints(node: &Node, name: &str) -> Result<Option<Vec<i64>>, String> {
    match node.attributes.get(name) {
        None => Ok(None),
        Some(Attribute::Ints(v)) => Ok(Some(v.clone())),
        Some(_) => Err(format!("attribute {name} is not a list of integers")),
    }
}

/// An integer attribute.
pub fn int(node: &Node, name: &str, default: i64) -> Result<i64, String> {
    match node.attributes.get(name) {
        None => Ok(default),
        Some(Attribute::Int(v)) => Ok(*v),
        Some(_) => Err(format!("attribute {name} is not an integer")),
    }
}

/// A float attribute.
pub fn float(node: &Node, name: &str, default: f32) -> Result<f32, String> {
    match node.attributes.get(name) {
        None => Ok(default),
        Some(Attribute::Float(v)) => Ok(*v),
        Some(_) => Err(format!("attribute {name} is not a float")),
    }
}

/// A text attribute.
pub fn text<'n>(node: &'n Node, name: &str, default: &'n str) -> Result<&'n str, String> {
    match node.attributes.get(name) {
        None => Ok(default),
        Some(Attribute::Text(v)) => Ok(v),
        Some(_) => Err(format!("attribute {name} is not a text")),
    }
}

/// An axis from -rank..rank.
pub fn axis(value: i64, rank: usize) -> Result<usize, String> {
    let from_start = if value < 0 { value + rank as i64 } else { value };
    usize::try_from(from_start)
        .ok()
        .filter(|&a| a < rank.max(1))
        .ok_or(format!("axis {value} of {rank} dimensions"))
}

/// New shape of a Reshape: 0 keeps a dimension, -1 is what remains.
pub fn reshaped(dims: &[usize], wanted: &[i64], allow_zero: bool) -> Result<Vec<usize>, String> {
    let count = dims.iter().product::<usize>();
    let bad = || format!("{dims:?} cannot be reshaped to {wanted:?}");
    let mut out = Vec::new();
    for (i, &w) in wanted.iter().enumerate() {
        out.push(match w {
            -1 => 1,
            0 if !allow_zero => *dims.get(i).ok_or_else(bad)?,
            w => usize::try_from(w).map_err(|_| bad())?,
        });
    }
    let known = out.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(bad)?;
    match wanted.iter().filter(|&&w| w == -1).count() {
        0 if known == count => Ok(out),
        1 if known > 0 && count % known == 0 => {
            let free = wanted.iter().position(|&w| w == -1).expect("counted");
            out[free] = count / known;
            Ok(out)
        }
        _ => Err(bad()),
    }
}

/// Shape after Flatten, Squeeze, Unsqueeze or Reshape; `None` for other operators. `operands`: constant inputs after the
/// first.
pub fn new_shape(
    node: &Node,
    dims: &[usize],
    operands: &[Option<&ConstTensor>],
) -> Result<Option<Vec<usize>>, String> {
    let axes = || -> Result<Option<Vec<i64>>, String> {
        match operands.first() {
            Some(Some(t)) => Ok(Some(t.integers()?.to_vec())),
            _ => ints(node, "axes"),
        }
    };
    Ok(Some(match node.op.as_str() {
        "Identity" | "Dropout" => dims.to_vec(),
        "Flatten" => {
            let at = int(node, "axis", 1)?;
            let at = if at == dims.len() as i64 { dims.len() } else { axis(at, dims.len())? };
            vec![dims[..at].iter().product(), dims[at..].iter().product()]
        }
        "Reshape" => {
            let wanted = match operands.first() {
                Some(Some(t)) => t.integers()?.to_vec(),
                _ => ints(node, "shape")?.ok_or("the new shape is not constant")?,
            };
            reshaped(dims, &wanted, int(node, "allowzero", 0)? != 0)?
        }
        "Squeeze" => {
            let drop = match axes()? {
                Some(list) => list.iter().map(|&a| axis(a, dims.len())).collect::<Result<Vec<_>, _>>()?,
                None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
            };
            if let Some(&a) = drop.iter().find(|&&a| dims.get(a) != Some(&1)) {
                return Err(format!("axis {a} of {dims:?} cannot be squeezed"));
            }
            (0..dims.len()).filter(|i| !drop.contains(i)).map(|i| dims[i]).collect()
        }
        "Unsqueeze" => {
            let list = axes()?.ok_or("the axes are not constant")?;
            let rank = dims.len() + list.len();
            let mut new = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
            new.sort_unstable();
            new.dedup();
            if new.len() != list.len() {
                return Err(format!("axes {list:?} name one twice"));
            }
            let mut rest = dims.iter();
            let pick = |i| if new.contains(&i) { 1 } else { *rest.next().expect("counted") };
            (0..rank).map(pick).collect()
        }
        _ => return Ok(None),
    }))
}

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
        "Quant" | "IntQuant" | "BipolarQuant" => Quantizer::of(node, inputs)?.constant(arg(0)?)?,
        "QuantizeLinear" => LinearQuant::of(node, inputs, false)?.quantize_constant(arg(0)?)?,
        "DequantizeLinear" => LinearQuant::of(node, inputs, true)?.dequantize_constant(arg(0)?)?,
        "ConstantOfShape" => constant_of_shape(node, arg(0)?)?,
        "Slice" => slice(node, arg(0)?, inputs.get(1..).unwrap_or(&[]))?,
        _ => return Ok(None),
    }))
}

/// The 1-D tensor that Shape gives.
pub fn shape_of(dims: &[usize]) -> ConstTensor {
    let data = dims.iter().map(|&d| d as i64).collect::<Vec<_>>();
    ConstTensor { dims: vec![data.len()], data: ConstData::I64(data), int: None, quant: None }
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

/// First element, step and number of elements along every axis of a Slice with constant operands.
pub fn slice_ranges(
    node: &Node,
    dims: &[usize],
    operands: &[Option<&ConstTensor>],
) -> Result<Vec<(usize, i64, usize)>, String> {
    let list = |i: usize, name: &str| -> Result<Option<Vec<i64>>, String> {
        match operands.get(i).copied().flatten() {
            Some(t) => Ok(Some(t.integers()?.to_vec())),
            None if node.inputs.get(i + 1).is_some_and(|n| !n.is_empty()) => {
                Err(format!("the {name} are not constant"))
            }
            None => ints(node, name),
        }
    };
    let starts = list(0, "starts")?.ok_or("the starts are missing")?;
    let ends = list(1, "ends")?.ok_or("the ends are missing")?;
    let axes = list(2, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(3, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps differ in number".into());
    }
    let mut ranges = dims.iter().map(|&d| (0, 1, d)).collect::<Vec<_>>();
    for i in 0..starts.len() {
        let along = axis(axes[i], dims.len())?;
        let size = *dims.get(along).ok_or("a scalar cannot be sliced")? as i64;
        let (step, back) = (steps[i], steps[i] < 0);
        if step == 0 || step == i64::MIN {
            return Err("a step of 0".into());
        }
        let place = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
        let limits = if back { (-1, size - 1) } else { (0, size) };
        let start = place(starts[i]).clamp(if back { 0 } else { limits.0 }, limits.1);
        let end = place(ends[i]).clamp(limits.0, limits.1);
        let span = if back { start - end } else { end - start };
        let count = if span <= 0 { 0 } else { (span - 1) / step.abs() + 1 };
        if count == 0 {
            return Err("nothing is left".into());
        }
        ranges[along] = (start as usize, step, count as usize);
    }
    Ok(ranges)
}

/// Shape of a slice, and the place of each of its elements.
pub fn slice_order(dims: &[usize], ranges: &[(usize, i64, usize)]) -> (Vec<usize>, Vec<usize>) {
    let out = ranges.iter().map(|r| r.2).collect::<Vec<_>>();
    let place = |mut i: usize| {
        let (mut at, mut stride) = (0, 1);
        for axis in (0..dims.len()).rev() {
            let along = (i % out[axis]) as i64;
            i /= out[axis];
            at += (ranges[axis].0 as i64 + along * ranges[axis].1) as usize * stride;
            stride *= dims[axis];
        }
        at
    };
    let order = (0..out.iter().product()).map(place).collect();
    (out, order)
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
    ConstTensor::new(dims, data)
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
