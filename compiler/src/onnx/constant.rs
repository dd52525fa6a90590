// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Constant tensors, and the operators that are evaluated while importing, in the reference's own arithmetic: float32
//! operations one by one, integers checked.

use super::model::{Attribute, Node};

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

    pub fn with_dims(&self, dims: Vec<usize>) -> ConstTensor {
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

/// The 1-D tensor that Shape gives.
pub fn shape_of(dims: &[usize]) -> ConstTensor {
    let data = dims.iter().map(|&d| d as i64).collect::<Vec<_>>();
    ConstTensor { dims: vec![data.len()], data: ConstData::I64(data), int: None, quant: None }
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
