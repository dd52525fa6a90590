// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The on-chip memories, as values.

use hdl_gen::numfmt::ChannelParams;
use hdl_gen::Arch;

/// One entry of the tap table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tap {
    /// Added to the pixel's plane-word address.
    pub addr: i16,
    pub dy: i16,
    pub dx: i16,
}

/// Contents of all on-chip memories. Everything starts as 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Activation memory, one entry per plane-word (lane j = bit j); all row copies are equal.
    pub banks: Vec<u64>,
    /// Weight buffer, `[word][column of the group]`, `act_bits` bits each.
    pub wgt: Vec<u64>,
    /// Parameter buffer, `[word][lane]`.
    pub params: Vec<ChannelParams>,
    pub taps: Vec<Tap>,
    /// Function table.
    pub table: Vec<i16>,
    /// Accumulators, `[group][pixel]`, 144 bits, low word first.
    pub acc: Vec<[u64; 3]>,
    /// Sum column, `[pixel]`, 18 bits signed.
    pub sum: Vec<i32>,
    acc_depth: usize,
}

impl Buffers {
    pub fn new(arch: &Arch) -> Self {
        let zero = ChannelParams { bias: 0, multiplier: 0, addend: 0, shift: 0 };
        Buffers {
            banks: vec![0; arch.plane_words as usize],
            wgt: vec![0; (arch.wgt_depth * arch.group_columns) as usize],
            params: vec![zero; (arch.param_depth * arch.requant_lanes) as usize],
            taps: vec![Tap::default(); arch.tap_depth as usize],
            table: vec![0; 256],
            acc: vec![[0; 3]; (arch.groups * arch.acc_depth) as usize],
            sum: vec![0; arch.acc_depth as usize],
            acc_depth: arch.acc_depth as usize,
        }
    }

    /// `width` bits (1..=63) from bit `lo` of an accumulator word, sign-extended.
    pub fn acc_value(&self, group: usize, pixel: usize, lo: u32, width: u32) -> i64 {
        let word = &self.acc[group * self.acc_depth + pixel];
        let (i, s) = ((lo / 64) as usize, lo % 64);
        let low = word[i] >> s;
        let high = if s == 0 || i == 2 { 0 } else { word[i + 1] << (64 - s) };
        (((low | high) << (64 - width)) as i64) >> (64 - width)
    }

    /// Writes `width` bits (1..=64) at bit `lo` of an accumulator word; the value wraps.
    pub fn set_acc_value(&mut self, group: usize, pixel: usize, lo: u32, width: u32, value: i64) {
        let word = &mut self.acc[group * self.acc_depth + pixel];
        let mask = if width == 64 { u64::MAX } else { (1u64 << width) - 1 };
        let bits = value as u64 & mask;
        let (i, s) = ((lo / 64) as usize, lo % 64);
        word[i] = (word[i] & !(mask << s)) | (bits << s);
        if s != 0 && s + width > 64 {
            let spill = s + width - 64;
            let m = (1u64 << spill) - 1;
            word[i + 1] = (word[i + 1] & !m) | (bits >> (64 - s));
        }
    }
}
