// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host computes around the integer graph: from a model's input array to codes, from result codes to the
//! model's output array.
//!
//! Float steps are single float32 operations in the order of the model's reference, so that results agree bit for bit.

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
/// All are monotone in `x`; constants are finite, divisors not 0.
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
            | FloatStep::Max(c) => Some(c),
            FloatStep::Round(_) | FloatStep::Sign => None,
        }
    }

    /// The constants, to change them.
    pub fn constants_mut(&mut self) -> Option<&mut Vec<f32>> {
        match self {
            FloatStep::Add(c)
            | FloatStep::Sub(c)
            | FloatStep::SubFrom(c)
            | FloatStep::Mul(c)
            | FloatStep::Div(c)
            | FloatStep::Min(c)
            | FloatStep::Max(c) => Some(c),
            FloatStep::Round(_) | FloatStep::Sign => None,
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
        }
    }

    /// +1: never falls when x rises; -1: never rises; 0: the same for every x.
    fn direction(&self, index: usize) -> i32 {
        let sign = |v: f32| (v > 0.0) as i32 - (v < 0.0) as i32;
        match self {
            FloatStep::SubFrom(_) => -1,
            FloatStep::Mul(c) | FloatStep::Div(c) => sign(pick(c, index)),
            _ => 1,
        }
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

/// Float32 operations one after another, on one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatChain {
    /// First step where the value is an integer code or accumulator.
    pub from_int: Option<FromInt>,
    pub steps: Vec<FloatStep>,
}

impl FloatChain {
    /// The chain's value for the float `x` of element (or channel) `index`.
    pub fn eval(&self, x: f32, index: usize) -> f32 {
        self.steps.iter().fold(x, |x, step| step.apply(x, index))
    }

    /// The chain's value for the integer `v` of channel `channel`.
    pub fn eval_int(&self, v: i64, channel: usize) -> f32 {
        let x = match &self.from_int {
            Some(f) => f.apply(v, channel),
            None => v as f32,
        };
        self.eval(x, channel)
    }

    /// Every intermediate result for `v` is finite.
    pub fn finite(&self, v: i64, channel: usize) -> bool {
        let start = FloatChain { from_int: self.from_int.clone(), steps: Vec::new() };
        let mut x = start.eval_int(v, channel);
        self.steps.iter().all(|step| {
            let before = x.is_finite();
            x = step.apply(x, channel);
            before && x.is_finite()
        })
    }

    /// +1 never falls, -1 never rises, 0 is constant over the integers of this channel. Every step is monotone (float32
    /// rounding is), so the whole chain is.
    pub fn direction(&self, channel: usize) -> i32 {
        let first = match &self.from_int {
            Some(f) => {
                let scale = pick(&f.scale, channel);
                f.factor.signum() as i32 * ((scale > 0.0) as i32 - (scale < 0.0) as i32)
            }
            None => 1,
        };
        self.steps.iter().fold(first, |d, step| d * step.direction(channel))
    }

    /// Largest number of constants in a step (1 when all are scalars).
    pub fn width(&self) -> usize {
        let steps = self.steps.iter().filter_map(|s| s.constants()).map(<[f32]>::len);
        let first = self.from_int.iter().flat_map(|f| [f.offset.len(), f.scale.len()]);
        steps.chain(first).max().unwrap_or(1)
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
    /// `Some`: float32 results. `None`: the codes themselves.
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
            Some(chain) => Data::F32(
                (0..count).map(at).map(|i| chain.eval_int(codes[i] as i64, i % self.channels)).collect(),
            ),
            None => Data::I32((0..count).map(|i| codes[at(i)]).collect()),
        };
        Array { shape: self.dims.clone(), data }
    }
}
