// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the accumulators can reach, proven from the weights, and the weight mode that follows.

use super::error::CompileErrorKind;
use crate::ir::{IntType, Weights};
use hdl_gen::arch::{ACC_SEG_BITS, ACC_VALUE_BITS};
use hdl_gen::Arch;

/// An interval of integers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub lo: i128,
    pub hi: i128,
}

impl Interval {
    pub const ZERO: Interval = Interval { lo: 0, hi: 0 };

    /// The codes of a type.
    pub fn of(ty: IntType) -> Interval {
        match ty.signed {
            true => Interval { lo: -(1 << (ty.bits - 1)), hi: (1 << (ty.bits - 1)) - 1 },
            false => Interval { lo: 0, hi: (1 << ty.bits) - 1 },
        }
    }

    /// Adds `weight * x` for an `x` anywhere in `x`.
    pub fn add_product(&mut self, weight: i128, x: Interval) {
        let (a, b) = (weight * x.lo, weight * x.hi);
        self.lo += a.min(b);
        self.hi += a.max(b);
    }

    pub fn contains(&self, v: i128) -> bool {
        self.lo <= v && v <= self.hi
    }

    /// Whether `bits` bits of two's complement hold every value.
    pub fn fits(&self, bits: u32) -> bool {
        let limit = 1i128 << (bits - 1);
        self.lo >= -limit && self.hi < limit
    }
}

/// How weights go into the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightMode {
    /// Bits per channel are `1 << log2`.
    pub log2: u32,
    pub signed: bool,
    /// 16-bit weights: high bytes first, then low bytes into the same accumulator.
    pub split: bool,
    /// Column holds `w == -1`; the value is `S - 2 P`.
    pub bipolar: bool,
}

impl WeightMode {
    /// One-bit selection of codes (identity, one-hot), values 0 and 1.
    pub fn select(arch: &Arch) -> WeightMode {
        WeightMode { log2: arch.brick_bits - 1, signed: false, split: false, bipolar: false }
    }

    /// The bytes (or whole values) that the passes stream: `(right shift, signed)`, in order.
    pub fn parts(&self) -> Vec<(u32, bool)> {
        match self.split {
            true => vec![(8, self.signed), (0, false)],
            false => vec![(0, self.signed)],
        }
    }
}

/// Bits of the value that post-processing takes at this mode.
fn value_bits(arch: &Arch, log2: u32) -> u32 {
    match log2.max(arch.brick_bits - 1) {
        0 => ACC_SEG_BITS,
        1 => 36,
        _ => ACC_VALUE_BITS,
    }
}

/// Bounds of `sum x w` for each output channel; the padding code counts as a value of the input.
pub fn channel_bounds(weights: &Weights, x: Interval) -> Vec<Interval> {
    let per_channel: usize = weights.shape[1..].iter().product();
    weights
        .data
        .chunks(per_channel.max(1))
        .map(|ws| {
            let mut sum = Interval::ZERO;
            ws.iter().for_each(|w| sum.add_product(*w as i128, x));
            sum
        })
        .collect()
}

/// Narrowest mode that is proven to hold every channel's sum.
///
/// `sum_column_exact`: the lanes that carry no channel stream 0 and the layer is dense, so bipolar weights may use the
/// sum column. Errors: the sums do not fit the widest accumulator.
pub fn weight_mode(
    arch: &Arch,
    weights: &Weights,
    x: Interval,
    sum_column_exact: bool,
) -> Result<WeightMode, CompileErrorKind> {
    let bounds = channel_bounds(weights, x);
    if weights.bipolar && sum_column_exact && arch.has_sum_column && bipolar_fits(weights, x) {
        return Ok(WeightMode { log2: 0, signed: false, split: false, bipolar: true });
    }
    let bits = weights.ty.bits as u32;
    let split = bits > 8;
    let narrowest = match split {
        true => 3,
        false => bits.next_power_of_two().ilog2().max(arch.brick_bits - 1),
    };
    let fits = |log2: &u32| bounds.iter().all(|b| b.fits(value_bits(arch, *log2)));
    match (narrowest..=3).find(fits) {
        Some(log2) => Ok(WeightMode { log2, signed: weights.ty.signed, split, bipolar: false }),
        None => {
            let (channel, b) = bounds
                .iter()
                .enumerate()
                .find(|(_, b)| !b.fits(ACC_VALUE_BITS))
                .map_or((0, Interval::ZERO), |(i, b)| (i, *b));
            Err(CompileErrorKind::AccumulatorTooWide {
                channel,
                lo: b.lo,
                hi: b.hi,
                limit_bits: ACC_VALUE_BITS,
            })
        }
    }
}

/// Both the sum of the activations and each channel's count of them under weight -1 fit 18 bits.
fn bipolar_fits(weights: &Weights, x: Interval) -> bool {
    let per_channel: usize = weights.shape[1..].iter().product();
    let mut sum = Interval::ZERO;
    sum.add_product(per_channel as i128, x);
    sum.fits(ACC_SEG_BITS)
        && weights.data.chunks(per_channel.max(1)).all(|ws| {
            let negative = ws.iter().filter(|w| **w < 0).count();
            let mut p = Interval::ZERO;
            p.add_product(negative as i128, x);
            p.fits(ACC_SEG_BITS)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::test_arch;

    fn weights(bits: u8, signed: bool, value: i32, terms: usize) -> Weights {
        Weights {
            shape: [1, 1, 1, terms],
            data: vec![value; terms],
            ty: IntType { bits, signed },
            bipolar: false,
        }
    }

    #[test]
    fn one_bit_weights_are_widened_when_18_bits_are_not_enough() {
        let arch = test_arch();
        let x = Interval::of(IntType { bits: 8, signed: false });
        let mode = |terms| weight_mode(&arch, &weights(1, false, 1, terms), x, false).map(|m| m.log2);
        assert_eq!(mode(514), Ok(0)); // 514 * 255 = 131070 < 2^17
        assert_eq!(mode(515), Ok(1));
    }

    #[test]
    fn refuses_sums_beyond_42_bits() {
        let arch = test_arch();
        let x = Interval::of(IntType { bits: 16, signed: false });
        let w = weights(16, true, -32768, 1025);
        let err = weight_mode(&arch, &w, x, false).expect_err("2^41 is too much");
        assert!(matches!(err, CompileErrorKind::AccumulatorTooWide { limit_bits: 42, .. }), "{err}");
    }

    #[test]
    fn sixteen_bit_weights_take_two_byte_passes() {
        let arch = test_arch();
        let x = Interval::of(IntType { bits: 4, signed: false });
        let mode = weight_mode(&arch, &weights(9, true, -200, 4), x, false).expect("fits");
        assert_eq!((mode.log2, mode.parts()), (3, vec![(8, true), (0, false)]));
    }
}
