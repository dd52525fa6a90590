// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Float32 functions of one variable: activation functions for tables, and what the host computes behind the network.
//!
//! `exp` and `sum_exp` follow ONNX Runtime's kernels operation by operation (fused multiply-adds included), so that a softmax
//! agrees bit for bit. The other transcendental functions are computed in float64 and rounded once.

use serde::{Deserialize, Serialize};

/// A function from float32 to float32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Function {
    Abs,
    Ceil,
    Cos,
    /// `x`, or `alpha * (e^x - 1)` below 0.
    Elu(f32),
    Erf,
    Exp,
    Floor,
    /// `x / 2 * (1 + erf(x / sqrt 2))`
    Gelu,
    /// `max(0, min(1, alpha * x + beta))`
    HardSigmoid(f32, f32),
    HardSwish,
    /// `x`, or `alpha * x` below 0.
    LeakyRelu(f32),
    Log,
    Mish,
    Reciprocal,
    Round,
    /// `gamma * x`, or `gamma * alpha * (e^x - 1)` below 0: alpha, gamma.
    Selu(f32, f32),
    Sigmoid,
    Sign,
    /// `x * sigmoid(x)`
    Silu,
    Sin,
    Softplus,
    Softsign,
    Sqrt,
    Tanh,
    /// `x` above alpha, otherwise 0.
    ThresholdedRelu(f32),
}

impl Function {
    pub fn apply(self, x: f32) -> f32 {
        let wide = x as f64;
        match self {
            Function::Abs => x.abs(),
            Function::Ceil => x.ceil(),
            Function::Cos => wide.cos() as f32,
            Function::Elu(alpha) => below_zero(x, |x| alpha * (x as f64).exp_m1() as f32),
            Function::Erf => erf(wide) as f32,
            Function::Exp => exp(x),
            Function::Floor => x.floor(),
            Function::Gelu => (0.5 * wide * (1.0 + erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32,
            Function::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Function::LeakyRelu(alpha) => below_zero(x, |x| alpha * x),
            Function::Log => wide.ln() as f32,
            Function::Mish => (wide * softplus(wide).tanh()) as f32,
            Function::Reciprocal => 1.0 / x,
            Function::Round => x.round_ties_even(),
            Function::Selu(alpha, gamma) => gamma * below_zero(x, |x| alpha * (x as f64).exp_m1() as f32),
            Function::Sigmoid => sigmoid(wide) as f32,
            Function::Sign => (x > 0.0) as i32 as f32 - (x < 0.0) as i32 as f32,
            Function::Silu => (wide * sigmoid(wide)) as f32,
            Function::Sin => wide.sin() as f32,
            Function::Softplus => softplus(wide) as f32,
            Function::Softsign => x / (1.0 + x.abs()),
            Function::Sqrt => x.sqrt(),
            Function::Tanh => wide.tanh() as f32,
            Function::ThresholdedRelu(alpha) => [0.0, x][(x > alpha) as usize],
        }
    }

    /// Never falls when `x` rises (float32 rounding included). `false`: not known.
    pub fn rises(self) -> bool {
        match self {
            Function::Ceil | Function::Floor | Function::Round | Function::Sign => true,
            Function::Sigmoid | Function::Tanh | Function::Erf => true,
            Function::LeakyRelu(alpha) | Function::HardSigmoid(alpha, _) => alpha >= 0.0,
            _ => false,
        }
    }
}

fn below_zero(x: f32, f: impl Fn(f32) -> f32) -> f32 {
    if x < 0.0 {
        f(x)
    } else {
        x
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The error function: its power series where that converges fast, else the continued fraction of its complement. Relative
/// error below 1e-13.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() || a > 6.0 {
        return if a.is_nan() { a } else { x.signum() };
    }
    let value = if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=60).rev().fold(a, |f, k| a + k as f64 / 2.0 / f);
        1.0 - (-a * a).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

const ROUNDING_BIAS: f32 = 12_582_912.0;
const LOG2_HIGH: f32 = -6.931_457_5e-1;
const LOG2_LOW: f32 = -1.428_606_8e-6;

/// Coefficients of the polynomial, highest power first; the last two (1 and 1) are written out where they are used.
fn coefficients() -> [f32; 6] {
    let hex = |mantissa: u32, exponent: i32| mantissa as f32 * 2f32.powi(exponent - 24);
    [
        hex(0x169_4000, -10),
        hex(0x112_5edc, -7),
        hex(0x155_5b5a, -5),
        hex(0x155_5450, -3),
        hex(0x1ff_fff6, -2),
        1.0,
    ]
}

/// `x - m ln 2` with the nearest integer `m`, the bits of `m` plus the bias, and the polynomial without its last step.
fn reduced(x: f32) -> (f32, u32, f32) {
    let biased = x.mul_add(std::f32::consts::LOG2_E, ROUNDING_BIAS);
    let m = biased - ROUNDING_BIAS;
    let r = m.mul_add(LOG2_LOW, m.mul_add(LOG2_HIGH, x));
    let [first, rest @ ..] = coefficients();
    let p = rest.iter().fold(first, |p, &c| p.mul_add(r, c));
    (r, biased.to_bits(), p)
}

/// `2^m` for the bits of a biased `m` in -126..=127.
fn power(biased: u32) -> f32 {
    f32::from_bits((biased << 23).wrapping_add(0x3f80_0000))
}

/// `e^x` as ONNX Runtime's Exp computes it.
pub fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let (r, biased, p) = reduced(x.clamp(-103.972_08, 88.776_26));
    let overflow = (biased << 23) as i32;
    let normal = overflow.clamp(0xc100_0000u32 as i32, 0x3f80_0000);
    let scale = |e: i32| f32::from_bits((e as u32).wrapping_add(0x3f80_0000));
    let (over, under) = (scale(overflow.wrapping_sub(normal)), scale(normal));
    p.mul_add(r * over, over) * under
}

/// `e^(x - maximum)` as ONNX Runtime's softmax computes it; `x` is at most `maximum`.
fn exp_below(x: f32, maximum: f32) -> f32 {
    let (r, biased, p) = reduced((x - maximum).max(-88.376_26));
    p.mul_add(r, 1.0) * power(biased)
}

/// Softmax of one vector in place.
pub fn softmax(values: &mut [f32], logarithm: bool) {
    let maximum = values.iter().copied().fold(f32::MIN, f32::max);
    let powers = values.iter().map(|&x| exp_below(x, maximum)).collect::<Vec<_>>();
    let sum = lane_sum(&powers);
    if logarithm {
        let offset = (sum as f64).ln() as f32;
        values.iter_mut().for_each(|x| *x = (*x - maximum) - offset);
    } else {
        let factor = 1.0 / sum;
        values.iter_mut().zip(powers).for_each(|(x, p)| *x = p * factor);
    }
}

/// Eight partial sums, then neighbours added up: the order of a kernel with vectors of eight, for up to 16 values.
fn lane_sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    for (i, v) in values.iter().enumerate() {
        lanes[i % 8] += v;
    }
    let pair = |i: usize| lanes[2 * i] + lanes[2 * i + 1];
    (pair(0) + pair(1)) + (pair(2) + pair(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_faithful() {
        for i in -10300..8870 {
            let x = i as f32 / 100.0;
            let exact = (x as f64).exp();
            let unit = (f32::from_bits((exact as f32).to_bits() + 1) - exact as f32) as f64;
            assert!((exp(x) as f64 - exact).abs() <= unit * 1.1, "exp({x}) = {} instead of {exact}", exp(x));
            if x <= 0.0 && x > -80.0 {
                assert!((exp_below(x, 0.0) as f64 - exact).abs() <= unit * 1.1, "softmax exp({x})");
            }
        }
    }

    #[test]
    fn erf_has_its_known_values() {
        let known = [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (-1.0, -0.842_700_792_949_714_9),
        ];
        for (x, y) in known {
            assert!((erf(x) - y).abs() < 1e-13, "erf({x}) = {}", erf(x));
        }
        assert!((erf(2.499_999_999) - erf(2.5)).abs() < 1e-10);
    }

    #[test]
    fn rising_functions_rise() {
        let all = [
            Function::Ceil,
            Function::Floor,
            Function::Round,
            Function::Sign,
            Function::Sigmoid,
            Function::Tanh,
            Function::Erf,
            Function::LeakyRelu(0.1),
            Function::HardSigmoid(0.2, 0.5),
        ];
        for f in all {
            assert!(f.rises());
            let values = (-70_000..70_000).map(|i| f.apply(i as f32 / 7000.0)).collect::<Vec<_>>();
            assert!(values.windows(2).all(|p| p[0] <= p[1]), "{f:?}");
        }
    }
}
