// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fixed-point arithmetic of TFLite's reference kernels, to the bit.
//!
//! Products of two 32-bit numbers are doubled and their high half is taken, rounded half up; shifts to the right round halves
//! away from zero; shifts to the left saturate.

use crate::ir::{ChannelParams, Rounding};

/// A scale as `mantissa * 2^(exponent - 31)`, mantissa in [2^30, 2^31), or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Multiplier {
    pub mantissa: i32,
    pub exponent: i32,
}

impl Multiplier {
    /// The nearest multiplier, halves away from zero; scales below 2^-32 are 0. Error: not finite, or above 2^31.
    pub fn new(scale: f64) -> Result<Multiplier, String> {
        if !scale.is_finite() {
            return Err(format!("the quotient of its scales is {scale}"));
        }
        if scale == 0.0 {
            return Ok(Multiplier { mantissa: 0, exponent: 0 });
        }
        let (fraction, mut exponent) = split(scale);
        let mut mantissa = (fraction * (1u64 << 31) as f64).round() as i64;
        if mantissa.abs() == 1 << 31 {
            mantissa /= 2;
            exponent += 1;
        }
        if exponent < -31 {
            return Ok(Multiplier { mantissa: 0, exponent: 0 });
        }
        match exponent <= 31 {
            true => Ok(Multiplier { mantissa: mantissa as i32, exponent }),
            false => Err(format!("the quotient of its scales, {scale}, is too large")),
        }
    }

    /// `x` times the scale, as the kernels for 8-bit tensors compute it: rounded twice.
    pub fn apply(self, x: i32) -> i32 {
        let (left, right) = (self.exponent.max(0), (-self.exponent).max(0));
        divide_by_power(high_product(x.wrapping_shl(left as u32), self.mantissa), right as u32)
    }

    /// Parameters of the machine for the same; `None` for scales of 1 and more.
    pub fn params(self, bias: i32) -> Option<(ChannelParams, Rounding)> {
        let shift = u8::try_from(-self.exponent).ok()?;
        Some((ChannelParams { bias, multiplier: self.mantissa, addend: 0, shift }, Rounding::TfLite))
    }

    /// Parameters for the kernels with 64-bit sums (16-bit tensors): mantissa cut to 16 bits, rounded once, halves up.
    pub fn params_wide(self, bias: i32) -> Option<(ChannelParams, Rounding)> {
        let shift = u8::try_from(-self.exponent).ok()?;
        let cut = if self.mantissa < 0x7fff_0000 { (self.mantissa + (1 << 15)) >> 16 } else { 0x7fff };
        Some((ChannelParams { bias, multiplier: cut << 16, addend: 0, shift }, Rounding::HalfUp))
    }
}

/// `x = fraction * 2^exponent` with the fraction's size in [1/2, 1); x finite, not 0.
fn split(x: f64) -> (f64, i32) {
    let exponent_of = |x: f64| ((x.to_bits() >> 52) & 0x7ff) as i32;
    // Subnormal numbers first become normal.
    let (x, extra) = if exponent_of(x) == 0 { (x * 2f64.powi(64), -64) } else { (x, 0) };
    let exponent = exponent_of(x) - 1022;
    (x * 2f64.powi(-exponent / 2) * 2f64.powi(-exponent - -exponent / 2), exponent + extra)
}

/// The high half of twice the product, rounded half up; saturates for two smallest numbers.
pub fn high_product(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    ((a as i64 * b as i64 + (1 << 30)) >> 31) as i32
}

/// `x / 2^power`, halves away from zero.
pub fn divide_by_power(x: i32, power: u32) -> i32 {
    let mask = (1i64 << power) - 1;
    let rest = x as i64 & mask;
    let threshold = (mask >> 1) + (x < 0) as i64;
    ((x as i64 >> power) + (rest > threshold) as i64) as i32
}

/// `x * 2^power`, saturating; negative powers divide.
fn times_power(x: i32, power: i32) -> i32 {
    if power < 0 {
        return divide_by_power(x, -power as u32);
    }
    ((x as i64) << power).clamp(i32::MIN as i64, i32::MAX as i64) as i32
}

/// e^x for x in [-1/4, 0), both with 31 fraction bits: a polynomial around -1/8.
fn exp_small(a: i32) -> i32 {
    /// e^(-1/8)
    const CENTRE: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = a.wrapping_add(1 << 28);
    let x2 = high_product(x, x);
    let x3 = high_product(x2, x);
    let quarter = divide_by_power(high_product(x2, x2), 2);
    let tail = divide_by_power(high_product(quarter.wrapping_add(x3), THIRD).wrapping_add(x2), 1);
    CENTRE.wrapping_add(high_product(CENTRE, x.wrapping_add(tail)))
}

/// e^x for x <= 0 with `31 - integer_bits` fraction bits; the result has 31 and saturates at 1.
pub fn exp_negative(a: i32, integer_bits: u32) -> i32 {
    /// e^-(2^k) for k = -2..=4.
    const POWERS: [i32; 7] =
        [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    let fraction_bits = 31 - integer_bits;
    if a == 0 {
        return i32::MAX;
    }
    let quarter = 1i32 << (fraction_bits - 2);
    let low = (a & (quarter - 1)) - quarter;
    let rest = low.wrapping_sub(a);
    let mut result = exp_small(times_power(low, integer_bits as i32));
    for (k, power) in (-2i32..).zip(POWERS) {
        let bit = fraction_bits as i32 + k;
        if bit < 31 && rest & (1 << bit) != 0 {
            result = high_product(result, power);
        }
    }
    result
}

/// 1 / (1 + x) for x in [0, 1], both with 31 fraction bits: three steps of Newton's method.
fn inverse_one_plus(a: i32) -> i32 {
    /// 48/17 and -32/17 with 29 fraction bits.
    const START: (i32, i32) = (1_515_870_810, -1_010_580_540);
    let sum = a as i64 + i32::MAX as i64;
    let half = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let mut x = START.0.wrapping_add(high_product(half, START.1));
    for _ in 0..3 {
        let rest = (1i32 << 29).wrapping_sub(high_product(half, x));
        x = x.wrapping_add(times_power(high_product(x, rest), 2));
    }
    times_power(x, 1)
}

/// A softmax over codes: what the kernel derives from scale and beta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Softmax {
    multiplier: i32,
    left_shift: u32,
    /// Differences to the largest code below this count as e^x = 0.
    least: i32,
    /// The code of 0.
    zero_point: i32,
}

/// Integer bits of the exponent's argument, and of the sum of exponentials.
const ARGUMENT_BITS: u32 = 5;
const SUM_BITS: u32 = 12;

impl Softmax {
    /// For inputs of `scale`; results have scale 1/256.
    pub fn new(scale: f32, beta: f32, zero_point: i32) -> Result<Softmax, String> {
        let real = beta as f64 * scale as f64 * (1u64 << (31 - ARGUMENT_BITS)) as f64;
        let m = Multiplier::new(real.min((1u64 << 31) as f64 - 1.0))?;
        let left_shift = u32::try_from(m.exponent).map_err(|_| "its input scale is too small")?;
        if m.mantissa <= 0 {
            return Err("its input scale times beta is not positive".into());
        }
        let radius = ((1u64 << ARGUMENT_BITS) - 1) as f64 * (1u64 << (31 - ARGUMENT_BITS)) as f64;
        let least = -(radius / (1u64 << left_shift) as f64).floor() as i32;
        Ok(Softmax { multiplier: m.mantissa, left_shift, least, zero_point })
    }

    fn exponential(&self, difference: i32) -> i32 {
        let shifted = difference.wrapping_shl(self.left_shift);
        exp_negative(high_product(shifted, self.multiplier), ARGUMENT_BITS)
    }

    /// Codes of the softmax of one row of codes.
    pub fn row(&self, codes: &[i32]) -> Vec<i32> {
        let most = codes.iter().copied().max().unwrap_or(0);
        let counts = |c: i32| c - most >= self.least;
        let terms = codes.iter().filter(|&&c| counts(c));
        let sum =
            terms.fold(0i32, |s, &c| s.wrapping_add(divide_by_power(self.exponential(c - most), SUM_BITS)));
        let headroom = sum.leading_zeros();
        let minus_one = ((sum as u32).wrapping_shl(headroom)).wrapping_sub(1 << 31) as i32;
        let scale = inverse_one_plus(minus_one);
        let power = (SUM_BITS + 31 - 8).saturating_sub(headroom);
        let code = |&c: &i32| {
            if !counts(c) {
                return self.zero_point;
            }
            let share = divide_by_power(high_product(scale, self.exponential(c - most)), power);
            (share + self.zero_point).clamp(self.zero_point, self.zero_point + 255)
        };
        codes.iter().map(code).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_of_known_scales() {
        let m = |mantissa, exponent| Ok(Multiplier { mantissa, exponent });
        assert_eq!(Multiplier::new(1.0), m(1 << 30, 1));
        assert_eq!(Multiplier::new(0.5), m(1 << 30, 0));
        assert_eq!(Multiplier::new(0.75), m(3 << 29, 0));
        assert_eq!(Multiplier::new(1.0 - 1e-12), m(1 << 30, 1));
        assert_eq!(Multiplier::new(-0.25), m(-(1 << 30), -1));
        assert_eq!(Multiplier::new(0.0), m(0, 0));
        assert_eq!(Multiplier::new(2f64.powi(-32)), m(1 << 30, -31));
        assert_eq!(Multiplier::new(2f64.powi(-33)), m(0, 0));
        assert_eq!(Multiplier::new(5e-324), m(0, 0));
        assert!(Multiplier::new(f64::NAN).is_err() && Multiplier::new(f64::INFINITY).is_err());
        assert!(Multiplier::new(f64::MAX).is_err());
    }

    #[test]
    fn exponentials_are_close_to_the_real_ones() {
        for i in 0..=4000 {
            let x = -31.9 * i as f64 / 4000.0;
            let got = exp_negative((x * (1 << 26) as f64) as i32, 5) as f64 / (1u64 << 31) as f64;
            assert!((got - x.exp()).abs() < 1e-6, "e^{x}: {got}");
        }
    }

    #[test]
    fn inverses_are_close_to_the_real_ones() {
        for i in 0..1000 {
            let x = i as f64 / 1000.0;
            let got = inverse_one_plus((x * (1u64 << 31) as f64) as i32) as f64 / (1u64 << 31) as f64;
            assert!((got - 1.0 / (1.0 + x)).abs() < 1e-8, "1 / (1 + {x}): {got}");
        }
    }

    #[test]
    fn shares_of_a_softmax_add_up_to_one() {
        let s = Softmax::new(0.1, 1.0, -128).unwrap();
        let codes = [-128, -100, 3, 7, 100, 101, 90];
        let sum: i32 = s.row(&codes).iter().map(|c| c + 128).sum();
        assert!((250..=260).contains(&sum), "{sum}");
        assert_eq!(s.row(&[5]), [127]);
        assert_eq!(s.row(&[-128, 127]), [-128, 127]);
    }
}
