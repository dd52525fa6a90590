// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tensors while importing: constants, and floats that are a chain of float32 operations on integers or on an input.

use super::constant::{int, text, ConstData, ConstTensor, QuantConst};
use super::model::Node;
use crate::host::{CodeMap, FloatChain, FloatRounding, FloatStep, FromInt};
use crate::ir::{IntType, TensorId, Weights};
use crate::tail::broadcast_order;
use std::rc::Rc;

/// What a tensor of the model is.
#[derive(Clone, Debug)]
pub enum Value {
    Const(Rc<ConstTensor>),
    Float(FloatValue),
    /// Computed by the host, behind everything that the hardware does.
    Host(HostValue),
    /// Its node was refused; nodes that read it say nothing.
    Refused,
}

/// A value of the host's part.
#[derive(Clone, Debug)]
pub struct HostValue {
    pub from: HostFrom,
    pub dims: Vec<usize>,
}

/// Where it comes from, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFrom {
    /// A decoded output of the integer graph.
    Output(usize),
    /// A node of the host's part.
    Node(usize),
}

/// Element i (C order of `dims`) is `chain` of element `order[i]` of the base.
#[derive(Clone, Debug)]
pub struct FloatValue {
    pub dims: Vec<usize>,
    pub base: Base,
    /// Constants per channel of the base; per element where the base is a model input.
    pub chain: FloatChain,
    /// `None`: in the same place.
    pub order: Option<Rc<Vec<usize>>>,
    /// Its type where it is no float but an integer; the chain then has no floats.
    pub int: Option<IntType>,
}

#[derive(Clone, Debug)]
pub enum Base {
    /// Model input, by number; elements in the model's order.
    Input(usize),
    /// A tensor of the integer graph.
    Codes(TensorId),
    /// An operator that gives integers and waits for the quantizer that makes them codes.
    Pending(Rc<Pending>),
}

/// An operator of the integer graph without its requantization.
#[derive(Debug)]
pub struct Pending {
    pub name: String,
    pub op: PendingOp,
    /// `[h, w, c]`
    pub shape: [usize; 3],
    /// Smallest and largest integer of each channel.
    pub bounds: Vec<(i64, i64)>,
    /// Its inputs come from DequantizeLinear: float32(input scale * weight scale) of each channel. A QuantizeLinear behind
    /// it then rounds `float32(integer) * float32(this / output scale)`.
    pub linear: Option<Vec<f32>>,
}

#[derive(Debug)]
pub enum PendingOp {
    Conv(ConvTemplate),
    /// `factor_a * a + factor_b * b`
    Add {
        a: TensorId,
        b: TensorId,
        factor_a: i32,
        factor_b: i32,
    },
    /// Sum over a window.
    Sum {
        input: TensorId,
        window: WindowTemplate,
        pad_code: i32,
    },
    /// Sum of two values whose scales have nothing to do with each other.
    Sum2 {
        a: FloatValue,
        b: FloatValue,
        rule: Option<LinearSum>,
    },
    /// Channels of what is not yet quantized, or not alike, behind each other; `flat`: all elements of each part as they lie
    /// in memory.
    Concat {
        parts: Vec<FloatValue>,
        flat: bool,
    },
    /// What moves elements about (or takes the largest, where all that follows rises): the quantizer goes first.
    Moved {
        inner: FloatValue,
        by: Move,
    },
}

/// ONNX Runtime's QLinearAdd: `round_half_even(a * ratio_a + (b * ratio_b + fixed))` of the codes, two fused multiply-adds in
/// float32. The zero points are in `fixed`, the output's included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSum {
    pub scale: [f32; 2],
    pub zero_point: [f32; 2],
    pub ratio: [f32; 2],
    pub fixed: f32,
}

impl LinearSum {
    pub fn new(scale: [f32; 2], zero_point: [i64; 2], (to, zero): (f32, i64)) -> LinearSum {
        let ratio = scale.map(|s| s / to);
        let zero_point = zero_point.map(|z| z as f32);
        let fixed = zero as f32 - (ratio[0] * zero_point[0] + ratio[1] * zero_point[1]);
        LinearSum { scale, zero_point, ratio, fixed }
    }

    /// The code for two reals, which are codes times their scales.
    pub fn code(&self, reals: [f32; 2]) -> i32 {
        let code = |i: usize| (reals[i] as f64 / self.scale[i] as f64).round() as f32 + self.zero_point[i];
        self.of_codes([code(0), code(1)], 1) as i32
    }

    /// The code, not clamped, for two codes; `inner`: the operand that is added first.
    pub fn of_codes(&self, codes: [f32; 2], inner: usize) -> f32 {
        let outer = 1 - inner;
        let sum = codes[inner].mul_add(self.ratio[inner], self.fixed);
        codes[outer].mul_add(self.ratio[outer], sum).round_ties_even()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    Max(WindowTemplate),
    /// Channels from the first on, as many as the result has.
    Slice(usize),
    /// Rows and columns from the corner on in steps.
    Pick {
        corner: [usize; 2],
        step: [usize; 2],
    },
    /// Nearest neighbour.
    Upsample(usize),
    /// A border `[top, left, bottom, right]` of real zeros.
    Pad([usize; 4]),
    /// Channel `(r * columns + c) * block + k` of a pixel becomes channel k in row r, column c of `rows` x `columns` pixels.
    Shuffle {
        rows: usize,
        columns: usize,
        block: usize,
    },
}

#[derive(Clone, Debug)]
pub struct ConvTemplate {
    pub input: TensorId,
    pub weights: Weights,
    pub window: WindowTemplate,
    pub dilation: [usize; 2],
    pub groups: usize,
    pub pad_code: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTemplate {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// `[top, left, bottom, right]`
    pub pads: [usize; 4],
}

impl WindowTemplate {
    /// One position.
    pub const POINT: WindowTemplate = WindowTemplate { kernel: [1, 1], stride: [1, 1], pads: [0; 4] };
}

impl FloatValue {
    /// An integer tensor of the graph as it stands.
    pub fn codes(dims: Vec<usize>, tensor: TensorId, order: Option<Rc<Vec<usize>>>) -> FloatValue {
        FloatValue { dims, base: Base::Codes(tensor), chain: FloatChain::default(), order, int: None }
    }

    /// The same, with an integer type.
    pub fn typed(mut self, int: IntType) -> FloatValue {
        self.int = Some(int);
        self
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Place of element `i` in the base.
    pub fn place(&self, i: usize) -> usize {
        self.order.as_ref().map_or(i, |o| o[i])
    }

    /// The same integers as floats.
    pub fn as_floats(mut self) -> FloatValue {
        self.chain.from_int = Some(FromInt::scaled(1.0));
        self.int = None;
        self
    }

    /// Adds a step.
    pub fn then(mut self, step: FloatStep) -> FloatValue {
        self.chain.steps.push(step);
        self
    }

    /// Same elements in the same C order, other shape.
    pub fn with_dims(mut self, dims: Vec<usize>) -> FloatValue {
        self.dims = dims;
        self
    }

    /// Element i becomes element `picks[i]`.
    pub fn reordered(mut self, dims: Vec<usize>, picks: &[usize]) -> FloatValue {
        let order = picks.iter().map(|&i| self.place(i)).collect::<Vec<_>>();
        self.dims = dims;
        self.order = simplified(order);
        self
    }

    /// Integers as a constant list for a step on this value; see `constants`.
    pub fn integer_constants(&self, c: &ConstTensor, channels: Option<usize>) -> Result<Vec<i64>, String> {
        self.spread(c, c.integers()?, channels)
    }

    /// `c` as a constant list for a step on this value: one number, or one per channel (`channels` of the base; `None`:
    /// one per element of a model input).
    pub fn constants(&self, c: &ConstTensor, channels: Option<usize>) -> Result<Vec<f32>, String> {
        let floats = c.floats()?;
        if floats.iter().any(|v| !v.is_finite()) {
            return Err("a constant is not finite".into());
        }
        let list = self.spread(c, &floats.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), channels)?;
        Ok(list.into_iter().map(f32::from_bits).collect())
    }

    /// One entry where all are equal, else one per channel.
    fn spread<T: Copy + PartialEq + Default>(
        &self,
        c: &ConstTensor,
        elements: &[T],
        channels: Option<usize>,
    ) -> Result<Vec<T>, String> {
        let order = broadcast_order(&c.dims, &self.dims).ok_or_else(|| self.misfit(c))?;
        if elements.windows(2).all(|p| p[0] == p[1]) {
            return Ok(vec![*elements.first().ok_or("an empty constant")?]);
        }
        let count = channels.unwrap_or(self.count());
        let mut list: Vec<Option<T>> = vec![None; count];
        for (i, &from) in order.iter().enumerate() {
            let slot = &mut list[self.place(i) % count];
            if slot.is_some_and(|old| old != elements[from]) {
                return Err("a constant that differs from pixel to pixel is not supported".into());
            }
            *slot = Some(elements[from]);
        }
        Ok(list.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn misfit(&self, c: &ConstTensor) -> String {
        format!(
            "a constant of shape {:?} on a tensor of shape {:?} would change the shape",
            c.dims, self.dims
        )
    }

    /// `Some([h, w, c])` when the value is a `[1, c, h, w]` (or `[1, c]`) image that stands as `[y][x][c]` in its base.
    pub fn image(&self) -> Option<[usize; 3]> {
        let shape = image_shape(&self.dims)?;
        let order = image_order(shape);
        match &self.order {
            None => order.is_none().then_some(shape),
            Some(own) => (order.as_ref() == Some(own)).then_some(shape),
        }
    }
}

/// `None` for the identity.
pub fn simplified(order: Vec<usize>) -> Option<Rc<Vec<usize>>> {
    let identity = order.iter().enumerate().all(|(i, &o)| i == o);
    (!identity).then(|| Rc::new(order))
}

/// `[h, w, c]` of `[1, c, h, w]`, `[1, c, w]` or `[1, c]`.
pub fn image_shape(dims: &[usize]) -> Option<[usize; 3]> {
    match *dims {
        [1, c, h, w] => Some([h, w, c]),
        [1, c, w] => Some([1, w, c]),
        [1, c] => Some([1, 1, c]),
        _ => None,
    }
}

/// Places, in `[y][x][c]`, of the elements of `[1, c, h, w]`; `None` for the identity.
pub fn image_order([h, w, c]: [usize; 3]) -> Option<Rc<Vec<usize>>> {
    simplified((0..c).flat_map(|ch| (0..h * w).map(move |pixel| pixel * c + ch)).collect())
}

/// A `Quant` or `BipolarQuant` node's parameters.
#[derive(Clone, Debug)]
pub struct Quantizer {
    pub scale: Rc<ConstTensor>,
    pub kind: QuantKind,
}

#[derive(Clone, Debug)]
pub enum QuantKind {
    Bipolar,
    Integer { zero_point: Rc<ConstTensor>, ty: IntType, clamp: (i32, i32), rounding: FloatRounding },
}

/// Smallest and largest code of a quantizer; a narrow one lacks the smallest if signed, else the largest (QONNX).
pub fn code_range(ty: IntType, narrow: bool) -> (i64, i64) {
    let (lo, hi) = ty.range();
    (lo + (narrow && ty.signed) as i64, hi - (narrow && !ty.signed) as i64)
}

impl Quantizer {
    /// From a node and its inputs (the first may be absent). Errors: parameters missing, out of range or not constant.
    pub fn of(node: &Node, inputs: &[Option<&ConstTensor>]) -> Result<Quantizer, String> {
        let arg = |i: usize, what: &str| {
            inputs.get(i).copied().flatten().ok_or(format!("the {what} (input {i}) is not a constant"))
        };
        let scale = Rc::new(arg(1, "scale")?.clone());
        if scale.floats()?.iter().any(|&s| !s.is_finite() || s <= 0.0) {
            return Err("a scale is not positive".into());
        }
        if node.op == "BipolarQuant" {
            return Ok(Quantizer { scale, kind: QuantKind::Bipolar });
        }
        let zero_point = Rc::new(arg(2, "zero point")?.clone());
        if zero_point.floats()?.iter().any(|z| !z.is_finite()) {
            return Err("a zero point is not finite".into());
        }
        let bits = arg(3, "bit width")?.scalar()?;
        if bits.fract() != 0.0 || !(1.0..=16.0).contains(&bits) {
            return Err(format!("bit width {bits}: 1 to 16, a whole number, is supported"));
        }
        let (bits, signed) = (bits as u8, int(node, "signed", 1)? != 0);
        let narrow = int(node, "narrow", 0)? != 0;
        let rounding = rounding(text(node, "rounding_mode", "ROUND")?)?;
        if bits == 1 && signed {
            // The reference makes -1 and +1 of it and, unlike BipolarQuant, shifts by the zero point.
            if zero_point.floats()?.iter().any(|&z| z != 0.0) {
                return Err("a signed 1-bit quantizer with a zero point is not supported".into());
            }
            return Ok(Quantizer { scale, kind: QuantKind::Bipolar });
        }
        let ty = IntType { bits, signed };
        let (lo, hi) = code_range(ty, narrow);
        let clamp = (lo as i32, hi as i32);
        Ok(Quantizer { scale, kind: QuantKind::Integer { zero_point, ty, clamp, rounding } })
    }

    /// The steps from a float to the integral value, the smallest and largest code, the codes' type, and how the value
    /// is stored. `list` gives a constant as a step's list.
    #[allow(clippy::type_complexity)]
    pub fn steps(
        &self,
        list: impl Fn(&ConstTensor) -> Result<Vec<f32>, String>,
    ) -> Result<(Vec<FloatStep>, (i32, i32), IntType, CodeMap), String> {
        match &self.kind {
            QuantKind::Bipolar => {
                Ok((vec![FloatStep::Sign], (0, 1), IntType { bits: 1, signed: false }, CodeMap::BIPOLAR))
            }
            QuantKind::Integer { zero_point, ty, clamp, rounding } => {
                let steps = vec![
                    FloatStep::Div(list(&self.scale)?),
                    FloatStep::Add(list(zero_point)?),
                    FloatStep::Min(vec![clamp.1 as f32]),
                    FloatStep::Max(vec![clamp.0 as f32]),
                    FloatStep::Round(*rounding),
                ];
                Ok((steps, *clamp, *ty, CodeMap::SAME))
            }
        }
    }

    /// The steps from the integral value back to a float.
    pub fn back(
        &self,
        list: impl Fn(&ConstTensor) -> Result<Vec<f32>, String>,
    ) -> Result<Vec<FloatStep>, String> {
        let scale = FloatStep::Mul(list(&self.scale)?);
        Ok(match &self.kind {
            QuantKind::Bipolar => vec![scale],
            QuantKind::Integer { zero_point, .. } => vec![FloatStep::Sub(list(zero_point)?), scale],
        })
    }

    /// Quantizes a constant (weights): its floats, and the integers behind them.
    pub fn constant(&self, t: &ConstTensor) -> Result<ConstTensor, String> {
        let misfit = || format!("the scale or zero point does not fit shape {:?}", t.dims);
        let spread = |c: &ConstTensor| {
            let full = c.broadcast(&t.dims).ok_or_else(misfit)?;
            Ok::<_, String>(full.floats()?.to_vec())
        };
        let (steps, ..) = self.steps(spread)?;
        let offset = match &self.kind {
            QuantKind::Bipolar => vec![0.0; t.len()],
            QuantKind::Integer { zero_point, .. } => spread(zero_point)?,
        };
        let scales = spread(&self.scale)?;
        let chain = FloatChain { steps, ..FloatChain::default() };
        let floats = t.floats()?;
        let integers =
            floats.iter().enumerate().map(|(i, &x)| chain.eval(x, i) - offset[i]).collect::<Vec<_>>();
        if integers.iter().any(|v| v.is_nan()) {
            return Err("a weight is not a number".into());
        }
        let data = ConstData::F32(integers.iter().zip(&scales).map(|(&v, &s)| v * s).collect());
        let integers = integers.into_iter().map(f64::from).collect();
        let quant = Some(Rc::new(QuantConst { integers, scales, linear: false }));
        Ok(ConstTensor { dims: t.dims.clone(), data, int: None, quant })
    }
}

pub fn rounding(mode: &str) -> Result<FloatRounding, String> {
    Ok(match mode.to_uppercase().as_str() {
        "ROUND" | "HALF_EVEN" => FloatRounding::HalfEven,
        "CEIL" => FloatRounding::Ceil,
        "FLOOR" => FloatRounding::Floor,
        "UP" => FloatRounding::Up,
        "DOWN" => FloatRounding::Down,
        "HALF_UP" => FloatRounding::HalfUp,
        "HALF_DOWN" => FloatRounding::HalfDown,
        _ => return Err(format!("rounding mode {mode} is unknown")),
    })
}

/// Codes as integers times a scale: `real = (factor * code + offset) * scale` for every code, in float32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerView {
    /// 1, or 2 for bipolar codes.
    pub factor: i64,
    pub offset: i64,
    pub scale: f32,
}

impl IntegerView {
    /// Finds the view of a chain over the codes `lo..=hi` of one channel, and proves it for each of them.
    pub fn of(chain: &FloatChain, channel: usize, (lo, hi): (i64, i64)) -> Option<IntegerView> {
        if chain.is_integer() {
            return IntegerView::of_integers(chain, channel, (lo, hi));
        }
        let real = |v: i64| chain.eval_int(v, channel);
        let slope = (real(hi) as f64 - real(lo) as f64) / (hi - lo) as f64;
        if hi <= lo || !slope.is_finite() || slope == 0.0 {
            return None;
        }
        let zero = lo as f64 - real(lo) as f64 / slope;
        [1i64, 2].into_iter().find_map(|factor| {
            let offset = -(zero * factor as f64).round() as i64;
            let at = |v: i64| factor * v + offset;
            // The scale itself where an integer is 1 or -1, otherwise the nearest quotient.
            let nearest = (lo..=hi).filter(|&v| at(v) != 0).min_by_key(|&v| at(v).abs())?;
            let scale = (real(nearest) as f64 / at(nearest) as f64) as f32;
            let same = |v: i64| (at(v) as f64 * scale as f64) as f32 == real(v);
            (scale != 0.0 && (lo..=hi).all(same)).then_some(IntegerView { factor, offset, scale })
        })
    }

    /// The view of a chain without floats.
    fn of_integers(chain: &FloatChain, channel: usize, (lo, hi): (i64, i64)) -> Option<IntegerView> {
        let first = chain.eval_integer(lo, channel);
        let factor = if hi > lo { chain.eval_integer(lo + 1, channel) - first } else { 1 };
        let offset = first - factor * lo;
        let same = |v: i64| factor * v + offset == chain.eval_integer(v, channel);
        let small = (1..=1 << 10).contains(&factor);
        (small && (lo..=hi).all(same)).then_some(IntegerView { factor, offset, scale: 1.0 })
    }

    /// The code of the real value 0.
    pub fn zero_code(&self) -> Option<i64> {
        (self.offset % self.factor == 0).then(|| -self.offset / self.factor)
    }

    /// Smallest and largest integer for codes `lo..=hi`.
    pub fn integers(&self, (lo, hi): (i64, i64)) -> (i64, i64) {
        (self.factor * lo + self.offset, self.factor * hi + self.offset)
    }
}

/// The odd part of a float's mantissa: products and sums of such numbers are exact in float32 while they stay below 2^24.
pub fn odd_part(x: f32) -> u64 {
    let bits = x.to_bits();
    let fraction = (bits & 0x7f_ffff) as u64;
    let mantissa = if bits >> 23 & 0xff == 0 { fraction } else { fraction | 0x80_0000 };
    mantissa >> mantissa.trailing_zeros().min(63)
}
