// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host computes around the integer graph: from a model's input array to codes, from result codes to the
//! model's output array.
//!
//! Float steps are single float32 operations in the order of the model's reference, so that results agree bit for bit.

use crate::functions::Function;
use crate::ir::{IntType, TensorId};
use crate::npz::{Array, Data};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a float becomes an integer (as a float).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FloatRounding {
    /// To nearest, ties to even.
    HalfEven,
    Ceil,
    Floor,
    /// Away from zero.
    Up,
    /// Toward zero.
    Down,
    /// To nearest, ties away from zero.
    HalfUp,
    /// To nearest, ties toward zero.
    HalfDown,
    /// To nearest, ties away from zero, exactly (NumPy's additions of a half round themselves).
    HalfAway,
}

impl FloatRounding {
    /// Rounds in the float32 operations that NumPy (for `HalfAway`, TFLite) uses for the mode.
    pub fn round(self, x: f32) -> f32 {
        match self {
            FloatRounding::HalfEven => x.round_ties_even(),
            FloatRounding::Ceil => x.ceil(),
            FloatRounding::Floor => x.floor(),
            FloatRounding::Up => sign(x) * x.abs().ceil(),
            FloatRounding::Down => x.trunc(),
            FloatRounding::HalfUp => sign(x) * (x.abs() + 0.5).floor(),
            FloatRounding::HalfAway => x.round(),
            FloatRounding::HalfDown => sign(x) * (x.abs() - 0.5).ceil(),
        }
    }
}

fn sign(x: f32) -> f32 {
    if x == 0.0 {
        0.0
    } else {
        x.signum()
    }
}

/// One float32 operation on `x`. Constants: one for all elements, or one per channel (per element for a graph input).
/// All but some functions are monotone in `x`; constants are finite, divisors not 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FloatStep {
    Add(Vec<f32>),
    /// `x - c`
    Sub(Vec<f32>),
    /// `c - x`
    SubFrom(Vec<f32>),
    Mul(Vec<f32>),
    /// `x / c`
    Div(Vec<f32>),
    /// The smaller of x and c.
    Min(Vec<f32>),
    /// The larger of x and c.
    Max(Vec<f32>),
    Round(FloatRounding),
    /// +1 for `x >= 0`, otherwise -1.
    Sign,
    /// `x`, or `c * x` below 0.
    Slope(Vec<f32>),
    Function(Function),
    /// How many of the thresholds `x` reaches: `x >= t`.
    Thresholds(Thresholds),
}

/// Lists of rising thresholds: one for all, or one per channel (per element for a graph input).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    pub lists: Vec<Vec<f32>>,
    /// Which list serves each channel; one entry serves all.
    pub which: Vec<usize>,
}

impl Thresholds {
    fn count(&self, x: f32, index: usize) -> f32 {
        self.lists[pick(&self.which, index)].partition_point(|&t| x >= t) as f32
    }
}

/// One operation on an integer, exact. Constants: one for all, or one per channel. All are monotone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntStep {
    Add(Vec<i64>),
    /// `c - v`
    SubFrom(Vec<i64>),
    Mul(Vec<i64>),
    /// `v / c`, toward zero; no divisor is 0.
    Div(Vec<i64>),
    /// `v / 2^c`, toward minus infinity.
    ShiftRight(Vec<i64>),
    Min(Vec<i64>),
    Max(Vec<i64>),
}

impl IntStep {
    pub fn constants(&self) -> &[i64] {
        match self {
            IntStep::Add(c) | IntStep::SubFrom(c) | IntStep::Mul(c) | IntStep::Div(c) => c,
            IntStep::ShiftRight(c) | IntStep::Min(c) | IntStep::Max(c) => c,
        }
    }

    /// The importer has proven that no result leaves 64 bits.
    fn apply(&self, v: i64, index: usize) -> i64 {
        match self {
            IntStep::Add(c) => v.wrapping_add(pick(c, index)),
            IntStep::SubFrom(c) => pick(c, index).wrapping_sub(v),
            IntStep::Mul(c) => v.wrapping_mul(pick(c, index)),
            IntStep::Div(c) => v.wrapping_div(pick(c, index)),
            IntStep::ShiftRight(c) => v >> pick(c, index).clamp(0, 63),
            IntStep::Min(c) => v.min(pick(c, index)),
            IntStep::Max(c) => v.max(pick(c, index)),
        }
    }

    /// The result where it fits 64 bits.
    pub fn checked(&self, v: i64, index: usize) -> Option<i64> {
        match self {
            IntStep::Add(c) => v.checked_add(pick(c, index)),
            IntStep::SubFrom(c) => pick(c, index).checked_sub(v),
            IntStep::Mul(c) => v.checked_mul(pick(c, index)),
            IntStep::Div(c) => v.checked_div(pick(c, index)),
            _ => Some(self.apply(v, index)),
        }
    }

    fn selected(&self, channels: &[usize]) -> IntStep {
        let list = |c: &Vec<i64>| select(c, channels);
        match self {
            IntStep::Add(c) => IntStep::Add(list(c)),
            IntStep::SubFrom(c) => IntStep::SubFrom(list(c)),
            IntStep::Mul(c) => IntStep::Mul(list(c)),
            IntStep::Div(c) => IntStep::Div(list(c)),
            IntStep::ShiftRight(c) => IntStep::ShiftRight(list(c)),
            IntStep::Min(c) => IntStep::Min(list(c)),
            IntStep::Max(c) => IntStep::Max(list(c)),
        }
    }

    fn direction(&self, index: usize) -> i32 {
        match self {
            IntStep::SubFrom(_) => -1,
            IntStep::Mul(c) | IntStep::Div(c) => pick(c, index).signum() as i32,
            _ => 1,
        }
    }
}

impl FloatStep {
    /// The constants, if the step has any.
    pub fn constants(&self) -> Option<&[f32]> {
        match self {
            FloatStep::Add(c)
            | FloatStep::Sub(c)
            | FloatStep::SubFrom(c)
            | FloatStep::Mul(c)
            | FloatStep::Div(c)
            | FloatStep::Min(c)
            | FloatStep::Max(c)
            | FloatStep::Slope(c) => Some(c),
            FloatStep::Round(_) | FloatStep::Sign | FloatStep::Function(_) | FloatStep::Thresholds(_) => None,
        }
    }

    fn selected(&self, channels: &[usize]) -> FloatStep {
        let list = |c: &Vec<f32>| select(c, channels);
        match self {
            FloatStep::Add(c) => FloatStep::Add(list(c)),
            FloatStep::Sub(c) => FloatStep::Sub(list(c)),
            FloatStep::SubFrom(c) => FloatStep::SubFrom(list(c)),
            FloatStep::Mul(c) => FloatStep::Mul(list(c)),
            FloatStep::Div(c) => FloatStep::Div(list(c)),
            FloatStep::Min(c) => FloatStep::Min(list(c)),
            FloatStep::Max(c) => FloatStep::Max(list(c)),
            FloatStep::Slope(c) => FloatStep::Slope(list(c)),
            FloatStep::Thresholds(t) => FloatStep::Thresholds(Thresholds {
                lists: t.lists.clone(),
                which: select(&t.which, channels),
            }),
            FloatStep::Round(_) | FloatStep::Sign | FloatStep::Function(_) => self.clone(),
        }
    }

    fn apply(&self, x: f32, index: usize) -> f32 {
        match self {
            FloatStep::Add(c) => x + pick(c, index),
            FloatStep::Sub(c) => x - pick(c, index),
            FloatStep::SubFrom(c) => pick(c, index) - x,
            FloatStep::Mul(c) => x * pick(c, index),
            FloatStep::Div(c) => x / pick(c, index),
            FloatStep::Min(c) => {
                let c = pick(c, index);
                if x > c {
                    c
                } else {
                    x
                }
            }
            FloatStep::Max(c) => {
                let c = pick(c, index);
                if x < c {
                    c
                } else {
                    x
                }
            }
            FloatStep::Round(r) => r.round(x),
            FloatStep::Sign => {
                if x >= 0.0 {
                    1.0
                } else {
                    -1.0
                }
            }
            FloatStep::Slope(c) => {
                if x < 0.0 {
                    x * pick(c, index)
                } else {
                    x
                }
            }
            FloatStep::Function(f) => f.apply(x),
            FloatStep::Thresholds(t) => t.count(x, index),
        }
    }

    /// +1: never falls when x rises; -1: never rises; 0: the same for every x; `None`: not known.
    fn direction(&self, index: usize) -> Option<i32> {
        let sign = |v: f32| (v > 0.0) as i32 - (v < 0.0) as i32;
        match self {
            FloatStep::SubFrom(_) => Some(-1),
            FloatStep::Mul(c) | FloatStep::Div(c) => Some(sign(pick(c, index))),
            FloatStep::Slope(c) => (pick(c, index) >= 0.0).then_some(1),
            FloatStep::Function(f) => f.rises().then_some(1),
            _ => Some(1),
        }
    }

    /// Entries of its longest list.
    fn width(&self) -> usize {
        match self {
            FloatStep::Thresholds(t) => t.which.len(),
            _ => self.constants().map_or(1, <[f32]>::len),
        }
    }
}

/// The entries of `channels`; a single entry, which serves all, stays alone.
fn select<T: Clone>(values: &[T], channels: &[usize]) -> Vec<T> {
    if values.len() == 1 {
        values.to_vec()
    } else {
        channels.iter().map(|&c| values[c].clone()).collect()
    }
}

fn pick<T: Copy>(values: &[T], index: usize) -> T {
    if values.len() == 1 {
        values[0]
    } else {
        values[index]
    }
}

/// From an integer to a float32: `(factor * v + offset) * scale`, exact in the integers, the product in float64, rounded
/// once to float32. Offsets and scales: one for all, or one per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromInt {
    pub factor: i64,
    pub offset: Vec<i64>,
    pub scale: Vec<f64>,
}

impl FromInt {
    /// real = scale * v.
    pub fn scaled(scale: f64) -> FromInt {
        FromInt { factor: 1, offset: vec![0], scale: vec![scale] }
    }

    fn apply(&self, v: i64, channel: usize) -> f32 {
        let integer = self.factor * v + pick(&self.offset, channel);
        (integer as f64 * pick(&self.scale, channel)) as f32
    }
}

/// A function of the codes, tabulated: `values[c][code - first]` for channel c (one list: for all channels).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeTable {
    pub first: i64,
    pub values: Vec<Vec<f32>>,
}

impl CodeTable {
    fn at(&self, v: i64, channel: usize) -> f32 {
        let list = &self.values[if self.values.len() == 1 { 0 } else { channel }];
        list[(v - self.first).clamp(0, list.len() as i64 - 1) as usize]
    }
}

/// Operations one after another, on one value: first on integers, then (if there are any) on float32.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatChain {
    /// Where the value is an integer code or accumulator.
    pub integer: Vec<IntStep>,
    /// Instead of `from_int`: the float of each integer.
    pub table: Option<CodeTable>,
    /// First float where the value is an integer.
    pub from_int: Option<FromInt>,
    pub steps: Vec<FloatStep>,
}

impl FloatChain {
    /// Starts from an integer.
    pub fn from_int(from_int: FromInt) -> FloatChain {
        FloatChain { from_int: Some(from_int), ..FloatChain::default() }
    }

    /// A chain that stays in the integers.
    pub fn integers(integer: Vec<IntStep>) -> FloatChain {
        FloatChain { integer, ..FloatChain::default() }
    }

    /// No float arises in it.
    pub fn is_integer(&self) -> bool {
        self.table.is_none() && self.from_int.is_none() && self.steps.is_empty()
    }

    /// The chain's value for the float `x` of element (or channel) `index`.
    pub fn eval(&self, x: f32, index: usize) -> f32 {
        self.steps.iter().fold(x, |x, step| step.apply(x, index))
    }

    /// The integer that the integer steps give.
    pub fn eval_integer(&self, v: i64, channel: usize) -> i64 {
        self.integer.iter().fold(v, |v, step| step.apply(v, channel))
    }

    fn first_float(&self, v: i64, channel: usize) -> f32 {
        let v = self.eval_integer(v, channel);
        match (&self.table, &self.from_int) {
            (Some(table), _) => table.at(v, channel),
            (None, Some(f)) => f.apply(v, channel),
            (None, None) => v as f32,
        }
    }

    /// The chain's value for the integer `v` of channel `channel`.
    pub fn eval_int(&self, v: i64, channel: usize) -> f32 {
        self.eval(self.first_float(v, channel), channel)
    }

    /// The code of the integer `v`: the chain's value, integral, as it is stored.
    pub fn code(&self, v: i64, channel: usize, map: CodeMap) -> i32 {
        if self.is_integer() {
            let v = (self.eval_integer(v, channel) + map.offset as i64) / map.divisor as i64;
            v.clamp(i32::MIN as i64, i32::MAX as i64) as i32
        } else {
            map.code(self.eval_int(v, channel))
        }
    }

    /// The result for `v` is finite, and no result on the way is undefined; infinite ones that a step clamps are not.
    pub fn finite(&self, v: i64, channel: usize) -> bool {
        let mut x = self.first_float(v, channel);
        !x.is_nan()
            && self.steps.iter().all(|step| {
                x = step.apply(x, channel);
                !x.is_nan()
            })
            && x.is_finite()
    }

    /// +1 never falls, -1 never rises, 0 is constant over the integers of this channel; `None`: not known. (Single steps
    /// are monotone, float32 rounding is, so the whole chain is.)
    pub fn direction(&self, channel: usize) -> Option<i32> {
        let first = match (&self.table, &self.from_int) {
            (Some(_), _) => return None,
            (None, Some(f)) => {
                let scale = pick(&f.scale, channel);
                f.factor.signum() as i32 * ((scale > 0.0) as i32 - (scale < 0.0) as i32)
            }
            (None, None) => 1,
        };
        let integer = self.integer.iter().fold(1, |d, step| d * step.direction(channel));
        self.steps.iter().try_fold(first * integer, |d, step| Some(d * step.direction(channel)?))
    }

    /// The chain of the channels `channels` alone, in that order.
    pub fn selected(&self, channels: &[usize]) -> FloatChain {
        FloatChain {
            integer: self.integer.iter().map(|s| s.selected(channels)).collect(),
            table: self
                .table
                .as_ref()
                .map(|t| CodeTable { first: t.first, values: select(&t.values, channels) }),
            from_int: self.from_int.as_ref().map(|f| FromInt {
                factor: f.factor,
                offset: select(&f.offset, channels),
                scale: select(&f.scale, channels),
            }),
            steps: self.steps.iter().map(|s| s.selected(channels)).collect(),
        }
    }

    /// This chain, then `next`, which goes on where this one ends: in floats, or (if this one has no floats) in integers.
    pub fn then(&self, next: &FloatChain) -> FloatChain {
        let mut all = self.clone();
        if self.is_integer() {
            all.integer.extend(next.integer.iter().cloned());
            all.table = next.table.clone();
            all.from_int = next.from_int.clone();
        }
        all.steps.extend(next.steps.iter().cloned());
        all
    }

    /// Largest number of constants in a step (1 when all are scalars).
    pub fn width(&self) -> usize {
        let steps = self.steps.iter().map(FloatStep::width);
        let integers = self.integer.iter().map(|s| s.constants().len());
        let table = self.table.iter().map(|t| t.values.len());
        let first = self.from_int.iter().flat_map(|f| [f.offset.len(), f.scale.len()]);
        steps.chain(integers).chain(table).chain(first).max().unwrap_or(1)
    }
}

/// What is wrong with an array handed to a model.
#[derive(Clone, Debug, PartialEq)]
pub enum HostError {
    /// No array was given for this model input.
    Missing {
        name: String,
    },
    Shape {
        name: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    Type {
        name: String,
        expected: String,
        found: String,
    },
    /// NaN, or an integer outside the input's type.
    Value {
        name: String,
        index: usize,
        value: String,
    },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostError::Missing { name } => write!(f, "no array for the model input `{name}`"),
            HostError::Shape { name, expected, found } => {
                write!(f, "`{name}` has shape {found:?}; the model takes {expected:?}")
            }
            HostError::Type { name, expected, found } => {
                write!(f, "`{name}` holds {found}; the model takes {expected}: convert it (numpy: astype)")
            }
            HostError::Value { name, index, value } => {
                write!(f, "`{name}`: element {index} is {value}, which the input cannot hold")
            }
        }
    }
}

impl std::error::Error for HostError {}

/// One model input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInput {
    /// The model's own name.
    pub name: String,
    /// The model's own shape, batch (1) included.
    pub dims: Vec<usize>,
    /// The graph input that it becomes.
    pub tensor: TensorId,
    /// Type of the codes.
    pub ty: IntType,
    /// `Some`: the array is float32 and the chain ends in the integral code. `None`: it holds the codes themselves.
    pub chain: Option<FloatChain>,
    /// Added to the chain's integral result, to give the code (bipolar values: see [`CodeMap`]).
    pub code: CodeMap,
    /// Where each element (C order) stands in the tensor's `[y][x][c]`; `None`: in the same place.
    pub order: Option<Vec<usize>>,
}

/// From a chain's integral value to the stored code: `(value + offset) / divisor`, exact by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeMap {
    pub offset: i32,
    pub divisor: i32,
}

impl CodeMap {
    /// The value is the code.
    pub const SAME: CodeMap = CodeMap { offset: 0, divisor: 1 };
    /// -1 and +1 are stored as 0 and 1.
    pub const BIPOLAR: CodeMap = CodeMap { offset: 1, divisor: 2 };

    pub fn code(self, value: f32) -> i32 {
        (value as i32 + self.offset) / self.divisor
    }
}

/// `shape` is `dims`, or `dims` without a leading batch of 1.
fn fits(shape: &[usize], dims: &[usize]) -> bool {
    shape == dims || (dims.first() == Some(&1) && shape == &dims[1..])
}

impl HostInput {
    /// The tensor's codes, `[y][x][c]`, for one array (with or without the batch axis).
    ///
    /// Errors: other shape or element type, NaN, integers outside the type.
    pub fn encode(&self, array: &Array) -> Result<Vec<i32>, HostError> {
        if !fits(&array.shape, &self.dims) {
            let (expected, found) = (self.dims.clone(), array.shape.clone());
            return Err(HostError::Shape { name: self.name.clone(), expected, found });
        }
        let codes = match (&self.chain, &array.data) {
            (Some(chain), Data::F32(values)) => self.encode_floats(chain, values)?,
            (Some(_), _) => return Err(self.wrong_type(array, "float32")),
            (None, _) => self.check_codes(array)?,
        };
        let Some(order) = &self.order else { return Ok(codes) };
        let mut placed = vec![0; codes.len()];
        for (&at, code) in order.iter().zip(codes) {
            placed[at] = code;
        }
        Ok(placed)
    }

    fn encode_floats(&self, chain: &FloatChain, values: &[f32]) -> Result<Vec<i32>, HostError> {
        let encode = |(i, &x): (usize, &f32)| {
            let y = chain.eval(x, i);
            if y.is_nan() {
                return Err(self.wrong_value(i, x.to_string()));
            }
            Ok(self.code.code(y))
        };
        values.iter().enumerate().map(encode).collect()
    }

    fn check_codes(&self, array: &Array) -> Result<Vec<i32>, HostError> {
        let codes =
            array.to_i32().ok_or_else(|| self.wrong_type(array, "integers (int8, uint8, int16 or int32)"))?;
        let (lo, hi) = self.ty.range();
        match codes.iter().position(|&c| (c as i64) < lo || c as i64 > hi) {
            Some(i) => Err(self.wrong_value(i, codes[i].to_string())),
            None => Ok(codes),
        }
    }

    fn wrong_type(&self, array: &Array, expected: &str) -> HostError {
        let found = array.data.type_name().to_string();
        HostError::Type { name: self.name.clone(), expected: expected.into(), found }
    }

    fn wrong_value(&self, index: usize, value: String) -> HostError {
        HostError::Value { name: self.name.clone(), index, value }
    }
}

/// One model output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOutput {
    pub name: String,
    /// The model's own shape, batch (1) included.
    pub dims: Vec<usize>,
    pub tensor: TensorId,
    /// Channels of the tensor.
    pub channels: usize,
    /// `Some`: float32 results, or integers where the chain has no floats. `None`: the codes themselves.
    pub chain: Option<FloatChain>,
    /// Where in the tensor each element (C order) of the output stands; `None`: in the same place.
    pub order: Option<Vec<usize>>,
}

impl HostOutput {
    /// The model's output for the tensor's codes (`[y][x][c]`, as many as the tensor has).
    pub fn decode(&self, codes: &[i32]) -> Array {
        let count = self.dims.iter().product();
        let at = |i: usize| self.order.as_ref().map_or(i, |order| order[i]);
        let data = match &self.chain {
            Some(chain) if chain.is_integer() => {
                let values = (0..count)
                    .map(at)
                    .map(|i| chain.eval_integer(codes[i] as i64, i % self.channels))
                    .collect::<Vec<_>>();
                match values.iter().map(|&v| i32::try_from(v)).collect() {
                    Ok(narrow) => Data::I32(narrow),
                    Err(_) => Data::I64(values),
                }
            }
            Some(chain) => Data::F32(
                (0..count).map(at).map(|i| chain.eval_int(codes[i] as i64, i % self.channels)).collect(),
            ),
            None => Data::I32((0..count).map(|i| codes[at(i)]).collect()),
        };
        Array { shape: self.dims.clone(), data }
    }
}
