// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Number formats and rounding: the one definition that golden model, machine model, compiler and RTL tests share.

use serde::{Deserialize, Serialize};

/// Bits that a requantization always shifts right before the per-channel shift.
pub const BASE_SHIFT: u32 = 31;

/// How a fraction becomes an integer. The discriminant is the hardware's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rounding {
    /// Toward minus infinity.
    Floor = 0,
    /// To nearest, ties toward plus infinity.
    HalfUp = 1,
    /// To nearest, ties to even.
    HalfEven = 2,
    /// Half up at bit 31, then to nearest with ties away from zero: gemmlowp's saturating rounding doubling high
    /// multiply followed by its rounding shift, as in TFLite's reference kernels.
    TfLite = 3,
    /// As float32 does it: the product is rounded to a mantissa of 24 bits, that to an integer, both ties to even. See
    /// [`float32_increment`].
    Float32 = 4,
}

impl Rounding {
    pub const ALL: [Rounding; 5] =
        [Rounding::Floor, Rounding::HalfUp, Rounding::HalfEven, Rounding::TfLite, Rounding::Float32];
    /// Of the three bits of a `post.mode`; 5 to 7 count as 4.
    pub fn from_bits(v: u64) -> Option<Self> {
        (v < 8).then(|| Self::ALL[v.min(4) as usize])
    }

    /// The part of a channel's shift that counts: [`Rounding::Float32`] has 0, 8, 16 and 24 only (its multipliers are
    /// mantissas of 24 bits, which 31 bits hold in 8 places).
    pub fn shift(self, shift: u8) -> u32 {
        (if self == Rounding::Float32 { shift & 24 } else { shift }) as u32
    }
}

/// Requantization of one output channel: `round(((acc + bias) * multiplier + addend) / 2^(31 + shift))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelParams {
    pub bias: i32,
    pub multiplier: i32,
    /// Unsigned; places the thresholds between two accumulator values.
    pub addend: u32,
    /// 0..=63.
    pub shift: u8,
}

/// `value` as a two's complement number of `bits` bits, 1..=64: what a register of that width keeps.
pub fn wrap(value: i128, bits: u32) -> i64 {
    let shift = 128 - bits;
    ((value << shift) >> shift) as i64
}

/// Rounds `((v * multiplier) + addend) / 2^(31 + shift)`; `v` is the biased accumulator (42 bits in hardware).
///
/// Exact: no intermediate overflows, the rounding applies to the full value (twice for [`Rounding::TfLite`]).
pub fn round_scaled(v: i64, p: &ChannelParams, rounding: Rounding) -> i64 {
    let product = v as i128 * p.multiplier as i128 + p.addend as i128;
    let total = BASE_SHIFT + rounding.shift(p.shift);
    let y = match rounding {
        Rounding::Floor => product >> total,
        Rounding::HalfUp => (product + (1i128 << (total - 1))) >> total,
        Rounding::HalfEven => {
            let floor = product >> total;
            let fraction = product - (floor << total);
            let half = 1i128 << (total - 1);
            floor + (fraction > half || (fraction == half && floor & 1 == 1)) as i128
        }
        Rounding::TfLite => {
            let t = (product + (1i128 << (BASE_SHIFT - 1))) >> BASE_SHIFT;
            round_half_away(t, p.shift as u32)
        }
        Rounding::Float32 => {
            let floor = product >> total;
            floor + float32_increment(floor, product - (floor << total), total) as i128
        }
    };
    y as i64
}

/// Bits of a float32's mantissa behind an integer part of 0 bits, and one more: half of the last one's worth.
const HALF_ULP: u32 = 25;
/// Integer parts of more bits (results of more than 16) are taken for their low ones.
const INTEGER_BITS: u32 = 16;

/// Whether `floor + fraction / 2^total` is rounded up by float32's rule, 31 <= total.
///
/// A float32 with an integer part of e bits counts in 2^(e - 24), so it cannot tell a number within 2^(e - 25) of a half
/// from the half: that is a tie, to even. Any other number goes to the nearest integer. (The ends of that interval are ties
/// of the first rounding, whose even neighbour is the half.) The magnitude of the integer part of a negative number is the
/// one's complement of its floor.
fn float32_increment(floor: i128, fraction: i128, total: u32) -> bool {
    let magnitude = (if floor < 0 { !floor } else { floor }) & ((1 << INTEGER_BITS) - 1);
    let bits = i128::BITS - magnitude.leading_zeros();
    let distance = fraction - (1 << (total - 1));
    let tie = 1i128 << (total + bits - HALF_ULP);
    if floor & 1 == 1 {
        distance >= -tie
    } else {
        distance > tie
    }
}

/// Multiplier and shift of `scale` for [`Rounding::Float32`], 2^-32 <= scale < 1: exact. `None`: not in that range.
///
/// With them and no addend, `round_scaled` of a `v` below 2^24 is `round_ties_even(v as f32 * scale)` wherever that is within
/// 16 bits.
pub fn float32_multiplier(scale: f32) -> Option<(i32, u8)> {
    let inside = (f32::EPSILON / 512.0..1.0).contains(&scale);
    let shift =
        inside.then(|| (0..=24).step_by(8).find(|&s| scale as f64 * (1u64 << s) as f64 >= 1.0 / 256.0))??;
    // 24 bits of mantissa between 2^23 and 2^31
    Some(((scale as f64 * (1u64 << (BASE_SHIFT + shift)) as f64) as i32, shift as u8))
}

/// `t / 2^shift` to nearest, ties away from zero.
fn round_half_away(t: i128, shift: u32) -> i128 {
    if shift == 0 {
        return t;
    }
    let magnitude = (t.abs() + (1i128 << (shift - 1))) >> shift;
    if t < 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gemmlowp's two functions, word for word from their definition in TFLite's documentation of the kernels.
    fn gemmlowp(v: i64, m: i32, shift: u32) -> i64 {
        let p = v as i128 * m as i128;
        let nudge = if p >= 0 { 1i128 << 30 } else { 1 - (1i128 << 30) };
        let high = (p + nudge) / (1i128 << 31);
        let mask = (1i128 << shift) - 1;
        let threshold = (mask >> 1) + (high < 0) as i128;
        ((high >> shift) + ((high & mask) > threshold) as i128) as i64
    }

    #[test]
    fn tflite_rounding_is_gemmlowps() {
        for shift in 0..12 {
            for m in [1 << 30, (1 << 30) + 1, 1_717_986_918, i32::MAX] {
                for v in -3000..3000 {
                    let p = ChannelParams { bias: 0, multiplier: m, addend: 0, shift };
                    assert_eq!(
                        round_scaled(v, &p, Rounding::TfLite),
                        gemmlowp(v, m, shift as u32),
                        "v {v} m {m} shift {shift}"
                    );
                }
            }
        }
    }

    /// Random products, and such that lie beside a half, against the processor's float32.
    #[test]
    fn float32_rounding_is_the_processors() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 20
        };
        let (mut ties, mut exact_ends) = (0, 0);
        for _ in 0..200_000 {
            let scale = f32::from_bits((((95 + next() % 32) << 23) | (next() % (1 << 23))) as u32);
            let (multiplier, shift) = float32_multiplier(scale).expect("between 2^-32 and 1");
            let exact = multiplier as f64 / 2f64.powi(31 + shift as i32);
            assert_eq!(exact, scale as f64, "{scale:e}");
            let p = ChannelParams { bias: 0, multiplier, addend: 0, shift };
            let half = (next() % 0x1_0000) as f64 + 0.5;
            let near = (half / scale as f64).min(16e6) as i64;
            let any = (next() % (1 << 24)) as i64;
            for v in
                [near - 1, near, near + 1, -near - 1, -near, 1 - near, any >> (any & 15), -any >> (any & 7)]
            {
                let float = v as f32 * scale;
                if v.abs() >= 1 << 24 || float.abs() > 65535.4 {
                    continue;
                }
                let expected = float.round_ties_even() as i64;
                assert_eq!(round_scaled(v, &p, Rounding::Float32), expected, "{v} * {scale:e}");
                let single = round_scaled(v, &p, Rounding::HalfEven);
                ties += (single != expected) as u32;
                let beside = v as f64 * scale as f64;
                exact_ends +=
                    (beside != float as f64 && (beside - float as f64).abs() * 2.0 == ulp(float)) as u32;
            }
        }
        assert!(
            ties > 50 && exact_ends > 50,
            "{ties} ties of float32 alone, {exact_ends} ties of the mantissa"
        );
    }

    /// Distance of neighbouring float32s around `x`.
    fn ulp(x: f32) -> f64 {
        let bits = x.abs().to_bits();
        f32::from_bits(bits + 1) as f64 - f32::from_bits(bits) as f64
    }

    #[test]
    fn float32_multipliers_have_a_range() {
        assert_eq!(float32_multiplier(1.0), None);
        assert_eq!(float32_multiplier(f32::NAN), None);
        assert_eq!(float32_multiplier(0.0), None);
        assert_eq!(float32_multiplier(0.5), Some((1 << 30, 0)));
        assert_eq!(float32_multiplier(1.0 / 256.0), Some((1 << 23, 0)));
        assert_eq!(float32_multiplier(2f32.powi(-32)), Some((1 << 23, 24)));
        assert_eq!(float32_multiplier(2f32.powi(-33)), None);
    }

    #[test]
    fn wrap_keeps_the_low_bits() {
        assert_eq!(wrap(1 << 17, 18), -(1 << 17));
        assert_eq!(wrap(-1, 1), -1);
        assert_eq!(wrap((1 << 17) - 1, 18), (1 << 17) - 1);
    }
}
