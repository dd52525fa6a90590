// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requantization of 16 channels at once, for layers whose values are proven to fit.
//!
//! [`Requant::apply`] is the definition. Here the products stay in 64 bits, and the parameters are rewritten so that every
//! rounding is an addition and an arithmetic shift; [`Rounding::Float32`] is the processor's own float32.

use super::isa::LANES;
use super::scale;
use crate::ir::{ChannelParams, Requant, Rounding};
use hdl_gen::numfmt::{round_scaled, BASE_SHIFT};

/// From accumulators to codes, per block of [`LANES`] channels.
#[derive(Clone, Debug)]
pub struct Finish {
    mode: Mode,
    blocks: Vec<Block>,
    /// One block serves all.
    shared: bool,
    /// Clamp before the zero point is added.
    clamp: (i64, i64),
    zero_point: i32,
    table: Option<Vec<i32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// `(v * m + a) >> s`
    Floor,
    /// The same where v, the sum plus `half`, needs a few bits more than 32.
    Floor64,
    /// `q = v * m + a`; `(q + bit s of q) >> s`: a is one less than a half.
    HalfEven,
    /// `t = (v * m + a) >> 31`; `(t + half - (t < 0 ? tie : 0)) >> s`
    TfLite,
    /// The same where t and the sums have 32 bits.
    TfLite32,
    /// `float32(v) * scale`, clamped, plus [`TO_INTEGER`].
    Float,
}

/// A float32 beside it has no fraction, so that a sum with it is rounded to an integer, ties to even: the last bits of the sum.
const TO_INTEGER: f32 = 12_582_912.0;

/// The parameters of one channel.
#[derive(Clone, Copy, Debug)]
struct Lane {
    bias: i32,
    multiplier: i32,
    addend: i64,
    half: i64,
    tie: i64,
    shift: i64,
    scale: f32,
}

/// The parameters of 16 channels.
#[derive(Clone, Debug)]
struct Block {
    bias: [i32; LANES],
    multiplier: [i32; LANES],
    addend: [i64; LANES],
    half: [i64; LANES],
    tie: [i64; LANES],
    shift: [i64; LANES],
    half32: [i32; LANES],
    tie32: [i32; LANES],
    shift32: [i32; LANES],
    scale: [f32; LANES],
}

/// What the accumulators of one channel can be, and what is in them that does not belong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Smallest and largest true accumulator.
    pub range: (i64, i64),
    /// The computed accumulator is the true one plus this, modulo 2^32.
    pub excess: i64,
}

impl Finish {
    /// `None`: a biased accumulator may leave 32 bits, or a raw result may.
    ///
    /// `sums`: one per channel. Blocks start anew every `per_group` channels; lanes without a channel give meaningless
    /// codes.
    pub fn new(q: &Requant, sums: &[Sums], per_group: usize) -> Option<Finish> {
        if q.rounding == Rounding::Float32 {
            return Finish::of_floats(q, sums, per_group);
        }
        let each = || sums.iter().enumerate().map(|(c, s)| (q.channel(c), s));
        let lanes = each().enumerate().map(|(c, (p, s))| {
            let ends = Ends::of(q, c, s.range)?;
            match ends.constant {
                Some(y) => Some(Lane::constant(q.rounding, y)),
                None => ends.in_64_bits().then(|| Lane::new(p, q.rounding, s.excess)),
            }
        });
        let Some(mut lanes) = lanes.collect::<Option<Vec<Lane>>>() else {
            return Finish::of_wide_sums(q, sums, per_group);
        };
        let narrow = lanes.iter().zip(each()).map(|(lane, (p, s))| lane.in_32_bits(reach(p, s.range)));
        let mode = match (q.rounding, narrow.collect::<Option<Vec<Lane>>>()) {
            (Rounding::Floor | Rounding::HalfUp, _) => Mode::Floor,
            (Rounding::HalfEven, _) => Mode::HalfEven,
            (Rounding::TfLite, Some(narrow)) => {
                lanes = narrow;
                Mode::TfLite32
            }
            (Rounding::TfLite, None) => Mode::TfLite,
            (Rounding::Float32, _) => unreachable!("see of_floats"),
        };
        Some(Finish::of_lanes(q, mode, &lanes, per_group, shared(q, sums)))
    }

    /// For biased accumulators of a few bits more than 32.
    fn of_wide_sums(q: &Requant, sums: &[Sums], per_group: usize) -> Option<Finish> {
        let lanes = sums.iter().enumerate().map(|(c, s)| {
            let ends = Ends::of(q, c, s.range)?;
            let fits = |v: i64| i32::try_from(v).is_ok();
            if let Some(y) = ends.constant {
                return Some(Lane::constant(q.rounding, y));
            }
            if !fits(s.range.0) || !fits(s.range.1) || ends.largest > i64::MAX as i128 {
                return None;
            }
            let lane = Lane::new(q.channel(c), q.rounding, 0);
            Some(Lane { bias: s.excess.wrapping_neg() as i32, half: lane.bias as i64, ..lane })
        });
        let floor = matches!(q.rounding, Rounding::Floor | Rounding::HalfUp);
        let lanes = lanes.collect::<Option<Vec<Lane>>>().filter(|_| floor)?;
        Some(Finish::of_lanes(q, Mode::Floor64, &lanes, per_group, false))
    }

    /// `None`: a sum, a multiplier or a result is more than float32 holds exactly, or something is added to the product.
    fn of_floats(q: &Requant, sums: &[Sums], per_group: usize) -> Option<Finish> {
        let results = [q.clamp.0, q.clamp.1].map(|c| c.abs_diff(q.zero_point));
        if q.raw || results.iter().any(|&r| r > u16::MAX as u32) {
            return None;
        }
        let lanes = sums.iter().enumerate().map(|(c, s)| {
            let p = q.channel(c);
            let exact = |v: i64| (v + p.bias as i64).abs() < 1 << f32::MANTISSA_DIGITS;
            let total = BASE_SHIFT + Rounding::Float32.shift(p.shift);
            let scale = p.multiplier as f32;
            let fits =
                exact(s.range.0) && exact(s.range.1) && p.addend == 0 && scale as i64 == p.multiplier as i64;
            fits.then(|| Lane {
                bias: (p.bias as i64).wrapping_sub(s.excess) as i32,
                scale: (scale as f64 / (1u64 << total) as f64) as f32,
                ..Lane::ZERO
            })
        });
        let lanes = lanes.collect::<Option<Vec<Lane>>>()?;
        Some(Finish::of_lanes(q, Mode::Float, &lanes, per_group, shared(q, sums)))
    }

    fn of_lanes(q: &Requant, mode: Mode, lanes: &[Lane], per_group: usize, shared: bool) -> Finish {
        let per = per_group.div_ceil(LANES);
        let mut blocks = vec![Block::EMPTY; lanes.len().div_ceil(per_group) * per];
        for (c, &lane) in lanes.iter().enumerate() {
            let (group, own) = (c / per_group, c % per_group);
            blocks[group * per + own / LANES].set(own % LANES, lane);
        }
        if shared {
            blocks.truncate(1);
            (0..LANES).for_each(|i| blocks[0].set(i, lanes[0]));
        }
        let zero_point = if q.raw { 0 } else { q.zero_point };
        let clamp = if q.raw { (i32::MIN, i32::MAX) } else { q.clamp };
        let clamp = (clamp.0 as i64 - zero_point as i64, clamp.1 as i64 - zero_point as i64);
        let table = q.table.as_ref().filter(|_| !q.raw).map(|t| t.iter().map(|&v| v as i32).collect());
        Finish { mode, blocks, shared, clamp, zero_point, table }
    }

    /// The codes of channels `block * LANES ..`.
    #[inline(always)]
    pub fn codes(&self, block: usize, sums: &[i32; LANES]) -> [i32; LANES] {
        let p = &self.blocks[if self.shared { 0 } else { block }];
        let mut codes = match self.mode {
            Mode::Floor => self.each(p, sums, |q, i| q >> p.shift[i]),
            Mode::Floor64 => self.each_of_64_bits(p, sums),
            Mode::HalfEven => {
                self.each(p, sums, |q, i| (q + (((q - p.half[i]) >> p.shift[i]) & 1)) >> p.shift[i])
            }
            Mode::TfLite => self.each(p, sums, |q, i| {
                let t = q >> BASE_SHIFT;
                (t + p.half[i] - (p.tie[i] & (t >> 63))) >> p.shift[i]
            }),
            Mode::TfLite32 => self.each_in_32_bits(p, sums),
            Mode::Float => self.each_in_floats(p, sums),
        };
        if let Some(table) = &self.table {
            codes.iter_mut().for_each(|c| *c = table[(*c & 255) as usize]);
        }
        codes
    }

    /// `round` gives the rounded quotient of the product with addend, for a lane.
    #[inline(always)]
    fn each(&self, p: &Block, sums: &[i32; LANES], round: impl Fn(i64, usize) -> i64) -> [i32; LANES] {
        let mut codes = [0; LANES];
        for (i, code) in codes.iter_mut().enumerate() {
            let y = round(p.product(i, sums[i]), i);
            *code = y.max(self.clamp.0).min(self.clamp.1) as i32 + self.zero_point;
        }
        codes
    }

    #[inline(always)]
    fn each_of_64_bits(&self, p: &Block, sums: &[i32; LANES]) -> [i32; LANES] {
        let mut codes = [0; LANES];
        for (i, code) in codes.iter_mut().enumerate() {
            let v = sums[i].wrapping_add(p.bias[i]) as i64 + p.half[i];
            let y = (v * p.multiplier[i] as i64 + p.addend[i]) >> p.shift[i];
            *code = y.max(self.clamp.0).min(self.clamp.1) as i32 + self.zero_point;
        }
        codes
    }

    #[inline(always)]
    fn each_in_32_bits(&self, p: &Block, sums: &[i32; LANES]) -> [i32; LANES] {
        let (lo, hi) = (self.clamp.0 as i32, self.clamp.1 as i32);
        let mut high = [0; LANES];
        for (i, high) in high.iter_mut().enumerate() {
            *high = (p.product(i, sums[i]) >> BASE_SHIFT) as i32;
        }
        let mut codes = [0; LANES];
        for (i, (code, t)) in codes.iter_mut().zip(high).enumerate() {
            let y = (t + p.half32[i] - (p.tie32[i] & (t >> 31))) >> p.shift32[i];
            *code = y.max(lo).min(hi) + self.zero_point;
        }
        codes
    }

    /// Clamps stand before the rounding, as they are integers.
    #[inline(always)]
    fn each_in_floats(&self, p: &Block, sums: &[i32; LANES]) -> [i32; LANES] {
        let (lo, hi) = (self.clamp.0 as f32, self.clamp.1 as f32);
        let base = self.zero_point.wrapping_sub(TO_INTEGER.to_bits() as i32);
        let mut codes = [0; LANES];
        for (i, code) in codes.iter_mut().enumerate() {
            let y = sums[i].wrapping_add(p.bias[i]) as f32 * p.scale[i];
            let y = if y > lo { y } else { lo };
            let y = if y < hi { y } else { hi };
            *code = ((y + TO_INTEGER).to_bits() as i32).wrapping_add(base);
        }
        codes
    }
}

/// One lane's parameters serve all channels.
fn shared(q: &Requant, sums: &[Sums]) -> bool {
    q.channels.len() == 1 && sums.iter().all(|s| *s == sums[0])
}

/// What the ends of a channel's accumulators say. All roundings are monotone, so that the ends decide.
struct Ends {
    /// The clamped result less the zero point, where it is the same for all accumulators.
    constant: Option<i64>,
    /// The biased accumulators.
    biased: (i64, i64),
    /// Largest sum that is shifted.
    largest: i128,
}

impl Ends {
    /// `None`: an accumulator is a misfit.
    fn of(q: &Requant, channel: usize, (lo, hi): (i64, i64)) -> Option<Ends> {
        q.apply(lo, channel).ok()?;
        q.apply(hi, channel).ok()?;
        let p = q.channel(channel);
        let biased = (lo + p.bias as i64, hi + p.bias as i64);
        let (zero, least, most) = match q.raw {
            true => (0, i64::MIN, i64::MAX),
            false => (q.zero_point as i64, q.clamp.0 as i64, q.clamp.1 as i64),
        };
        let result = |v| round_scaled(v, p, q.rounding).saturating_add(zero).clamp(least, most) - zero;
        let constant = Some(result(biased.0)).filter(|&y| y == result(biased.1));
        let half = 1i128 << (BASE_SHIFT + p.shift as u32 - 1).min(62);
        Some(Ends { constant, biased, largest: reach(p, (lo, hi)) + half })
    }

    /// The biased accumulators have 32 bits, and the sums that are shifted 64.
    fn in_64_bits(&self) -> bool {
        let fits = |v: i64| i32::try_from(v).is_ok();
        fits(self.biased.0) && fits(self.biased.1) && self.largest <= i64::MAX as i128
    }
}

/// The largest magnitude of a product with its addend and half of the first rounding.
fn reach(p: &ChannelParams, (lo, hi): (i64, i64)) -> i128 {
    let bias = p.bias as i64;
    let v = (lo + bias).unsigned_abs().max((hi + bias).unsigned_abs()) as i128;
    v * (p.multiplier as i128).abs() + p.addend as i128 + (1 << (BASE_SHIFT - 1))
}

impl Lane {
    /// Always 0.
    const ZERO: Lane = Lane { bias: 0, multiplier: 0, addend: 0, half: 0, tie: 0, shift: 0, scale: 0.0 };

    /// Always y, which has 32 bits.
    fn constant(rounding: Rounding, y: i64) -> Lane {
        match rounding {
            Rounding::Floor | Rounding::HalfUp => Lane { addend: y, ..Lane::ZERO },
            Rounding::HalfEven => Lane { addend: 2 * y, shift: 1, ..Lane::ZERO },
            Rounding::TfLite => Lane { addend: y << BASE_SHIFT, ..Lane::ZERO },
            Rounding::Float32 => unreachable!("see of_floats"),
        }
    }

    fn new(p: &ChannelParams, rounding: Rounding, excess: i64) -> Lane {
        let total = BASE_SHIFT as i64 + p.shift as i64;
        let plain = Lane {
            bias: (p.bias as i64).wrapping_sub(excess) as i32,
            multiplier: p.multiplier,
            addend: p.addend as i64,
            shift: total,
            ..Lane::ZERO
        };
        // |v * m| is at most 2^62, the addend less than 2^32.
        match rounding {
            // From 2^63 on the quotient is 0 or -1.
            Rounding::Floor => Lane { shift: total.min(63), ..plain },
            // A half of 2^63 or more is never reached.
            Rounding::HalfUp | Rounding::HalfEven if total > 63 => Lane::ZERO,
            Rounding::HalfUp => Lane { addend: plain.addend + (1 << (total - 1)), ..plain },
            Rounding::HalfEven => {
                let half = (1 << (total - 1)) - 1;
                Lane { addend: plain.addend + half, half, ..plain }
            }
            Rounding::Float32 => unreachable!("see of_floats"),
            Rounding::TfLite => {
                let (addend, shift) = (plain.addend + (1 << (BASE_SHIFT - 1)), p.shift as i64);
                Lane { addend, half: ((1u64 << shift) >> 1) as i64, tie: (shift > 0) as i64, shift, ..plain }
            }
        }
    }

    /// For the second rounding of `TfLite` in 32 bits; `None`: they do not suffice. `reach`: [`reach`].
    fn in_32_bits(self, reach: i128) -> Option<Lane> {
        if self.multiplier == 0 {
            return Some(self); // a constant
        }
        let t = (reach >> BASE_SHIFT) + 1;
        if t < self.half as i128 {
            return Some(Lane::ZERO);
        }
        (t + self.half as i128 <= i32::MAX as i128).then_some(self)
    }
}

impl Block {
    const EMPTY: Block = Block {
        bias: [0; LANES],
        multiplier: [0; LANES],
        addend: [0; LANES],
        half: [0; LANES],
        tie: [0; LANES],
        shift: [0; LANES],
        half32: [0; LANES],
        tie32: [0; LANES],
        shift32: [0; LANES],
        scale: [0.0; LANES],
    };

    fn set(&mut self, i: usize, lane: Lane) {
        (self.bias[i], self.multiplier[i], self.addend[i]) = (lane.bias, lane.multiplier, lane.addend);
        (self.half[i], self.tie[i], self.shift[i]) = (lane.half, lane.tie, lane.shift);
        // Used only where they fit.
        (self.half32[i], self.tie32[i], self.shift32[i]) =
            (lane.half as i32, lane.tie as i32, lane.shift as i32);
        self.scale[i] = lane.scale;
    }

    /// Biased accumulator times multiplier, plus addend.
    #[inline(always)]
    fn product(&self, i: usize, sum: i32) -> i64 {
        sum.wrapping_add(self.bias[i]) as i64 * self.multiplier[i] as i64 + self.addend[i]
    }
}

/// Both parts of an addition in 64 bits: `scale(code << left_shift)` for every code of a byte.
///
/// `codes`: what the 256 bytes stand for. `None`: one of the type's codes does not fit, or a part does not fit 32 bits.
pub fn part_table(
    p: &ChannelParams,
    rounding: Rounding,
    left_shift: u8,
    codes: impl Fn(u8) -> Option<i64>,
) -> Option<Vec<i32>> {
    let part = |byte: u8| match codes(byte) {
        Some(code) => i32::try_from(scale(code << left_shift, p, rounding).ok()?).ok(),
        None => Some(0),
    };
    (0..=255).map(part).collect()
}
