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
}

impl Rounding {
    pub const ALL: [Rounding; 4] = [Rounding::Floor, Rounding::HalfUp, Rounding::HalfEven, Rounding::TfLite];
    pub fn from_bits(v: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u64 == v)
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
    let total = BASE_SHIFT + p.shift as u32;
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
    };
    y as i64
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

    #[test]
    fn wrap_keeps_the_low_bits() {
        assert_eq!(wrap(1 << 17, 18), -(1 << 17));
        assert_eq!(wrap(-1, 1), -1);
        assert_eq!(wrap((1 << 17) - 1, 18), (1 << 17) - 1);
    }
}
