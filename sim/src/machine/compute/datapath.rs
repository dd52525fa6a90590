// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The function of the array: shadow and active weights, and a pass over accumulators, bit for bit.
//!
//! Two ways to the same sums, chosen by cost: plane by plane with popcounts (as the hardware does), or with the planes
//! put together to integers. Both are exact modulo the width of an accumulator.

use super::Staged;
use crate::machine::buffers::{Buffers, Tap};
use hdl_gen::arch::{ACC_SEG_BITS, GROUP_BITS};
use hdl_gen::isa::Instr;
use hdl_gen::numfmt::wrap;
use hdl_gen::Arch;

/// Weight planes of a fusion group.
const PLANES: usize = GROUP_BITS as usize;

/// Operands of one pass with its loop nest.
#[derive(Clone, Debug)]
pub(super) struct PassJob {
    counts: [u32; 4],
    /// (address, y, x) per loop.
    jumps: [(i64, i64, i64); 4],
    h: i64,
    w: i64,
    pad: u16,
    start: (i64, i64, i64),
    acc: usize,
    steps: usize,
    act_signed: bool,
    wgt_log2: u32,
    wgt_signed: bool,
    swap: bool,
    overwrite: bool,
    shift8: bool,
}

impl PassJob {
    pub(super) fn new(pass: Instr, staged: &Staged) -> Self {
        let (s, j01, j23) = (staged.shape, staged.jump01, staged.jump23);
        PassJob {
            counts: ["n0", "n1", "n2", "n3"].map(|n| s.get(n) as u32 + 1),
            jumps: [
                (j01.get("da0"), j01.get("dy0"), j01.get("dx0")),
                (j01.get("da1"), j01.get("dy1"), j01.get("dx1")),
                (j23.get("da2"), j23.get("dy2"), j23.get("dx2")),
                (j23.get("da3"), j23.get("dy3"), j23.get("dx3")),
            ],
            h: s.get("h"),
            w: s.get("w"),
            pad: s.get("pad") as u16,
            start: (pass.get("addr"), pass.get("y"), pass.get("x")),
            acc: pass.get("acc") as usize,
            steps: pass.get("steps") as usize + 1,
            act_signed: pass.flag("act_signed"),
            wgt_log2: pass.get("wgt_log2") as u32,
            wgt_signed: pass.flag("wgt_signed"),
            swap: pass.flag("swap"),
            overwrite: pass.flag("overwrite"),
            shift8: pass.flag("shift8"),
        }
    }

    /// Bits of a weight slot.
    fn wgt_bits(&self, brick_bits: usize) -> usize {
        1 << self.wgt_log2.max(brick_bits as u32 - 1)
    }

    /// The pixels in order: (address, y, x).
    fn pixels(&self) -> impl Iterator<Item = (i64, i64, i64)> + '_ {
        let mut left = self.counts.map(|n| n - 1);
        let mut next = Some(self.start);
        std::iter::from_fn(move || {
            let at = next?;
            next = (0..4).find(|&i| left[i] != 0).map(|i| {
                left[i] -= 1;
                left[..i].copy_from_slice(&self.counts.map(|n| n - 1)[..i]);
                let (da, dy, dx) = self.jumps[i];
                (at.0 + da, wrap((at.1 + dy) as i128, 12), wrap((at.2 + dx) as i128, 12))
            });
            Some(at)
        })
    }

    /// Weight of plane `k` of `count`, least significant first, in a number of which the top plane counts negative if
    /// `signed`.
    fn plane_weight(k: usize, count: usize, signed: bool) -> i64 {
        let value = 1i64 << k;
        if signed && k + 1 == count {
            -value
        } else {
            value
        }
    }
}

/// Weights of the array in the form that a pass takes, for one width and signedness.
#[derive(Clone, Debug, Default)]
struct Cache {
    key: Option<(usize, bool)>,
    /// `[channel][row][lane]`
    ints: Vec<i16>,
}

/// Registers of the array that outlive a pass, and scratch space.
#[derive(Clone, Debug)]
pub(super) struct Datapath {
    rows: usize,
    lanes: usize,
    groups: usize,
    group_columns: usize,
    brick_bits: usize,
    has_sum_column: bool,
    /// Rows whose lanes share one `u64`.
    rows_per_word: usize,
    /// `u64`s of the lanes of all rows.
    words: usize,
    /// `[row][group][column]`, as in the weight buffer.
    shadow: Vec<u64>,
    active: Vec<u64>,
    shadow_taps: Vec<Option<Tap>>,
    taps: Vec<Option<Tap>>,
    /// Active weights as planes over all rows: `[group][plane][word]`.
    planes: Vec<u64>,
    cache: Cache,
}

impl Datapath {
    pub(super) fn new(arch: &Arch) -> Self {
        let (rows, lanes) = (arch.rows as usize, arch.lanes as usize);
        let rows_per_word = 64 / lanes;
        let words = rows.div_ceil(rows_per_word);
        let columns = rows * (arch.groups * arch.group_columns) as usize;
        Datapath {
            rows,
            lanes,
            groups: arch.groups as usize,
            group_columns: arch.group_columns as usize,
            brick_bits: arch.brick_bits as usize,
            has_sum_column: arch.has_sum_column,
            rows_per_word,
            words,
            shadow: vec![0; columns],
            active: vec![0; columns],
            shadow_taps: vec![None; rows],
            taps: vec![None; rows],
            planes: vec![0; arch.groups as usize * PLANES * words],
            cache: Cache::default(),
        }
    }

    /// `wgt.shift`: buffer words to the shadow chains, taps to the shadow taps.
    pub(super) fn shift(&mut self, buffers: &Buffers, addr: usize, tap: usize, rows: usize, groups: usize) {
        let gc = self.group_columns;
        let depth = buffers.wgt.len() / gc;
        for r in 0..rows {
            let row = &mut self.shadow[r * self.groups * gc..(r + 1) * self.groups * gc];
            row.copy_within(..(self.groups - groups) * gc, groups * gc);
            for g in 0..groups {
                let word = (addr + r * groups + groups - 1 - g) % depth;
                row[g * gc..(g + 1) * gc].copy_from_slice(&buffers.wgt[word * gc..(word + 1) * gc]);
            }
        }
        for (r, shadow) in self.shadow_taps.iter_mut().enumerate() {
            *shadow = (r < rows).then(|| buffers.taps[(tap + r) % buffers.taps.len()]);
        }
    }

    /// Shadow to active, as planes.
    fn swap(&mut self) {
        self.active.copy_from_slice(&self.shadow);
        self.taps = std::mem::replace(&mut self.shadow_taps, vec![None; self.rows]);
        self.cache.key = None;
        self.planes.fill(0);
        let columns = self.groups * self.group_columns;
        for (r, row) in self.active.chunks(columns).enumerate() {
            let (word, shift) = (r / self.rows_per_word, r % self.rows_per_word * self.lanes);
            for (c, &bits) in row.iter().enumerate() {
                for b in 0..self.brick_bits {
                    let plane = if self.brick_bits == 1 { bits } else { every_second_bit(bits >> b) };
                    self.planes[(c * self.brick_bits + b) * self.words + word] |= plane << shift;
                }
            }
        }
    }

    /// `pass`: the whole loop nest into the accumulators.
    pub(super) fn pass(&mut self, buffers: &mut Buffers, job: &PassJob) {
        if job.swap {
            self.swap();
        }
        let q = job.wgt_bits(self.brick_bits);
        let channels = self.groups * PLANES / q;
        let act_planes = job.steps * self.brick_bits;
        let integers = channels * self.rows * self.lanes / 2;
        let popcounts = 12 * act_planes * self.groups * PLANES * self.words;
        if self.fits_integers(act_planes, q) && integers < popcounts {
            self.pass_integers(buffers, job);
        } else {
            self.pass_planes(buffers, job);
        }
    }

    /// Operands fit 16 bits and the sums 32, sign included.
    fn fits_integers(&self, act_planes: usize, wgt_bits: usize) -> bool {
        let terms = self.rows * self.lanes;
        act_planes <= 15
            && (terms.next_power_of_two().trailing_zeros() as usize + act_planes + wgt_bits) <= 31
    }

    fn pass_planes(&mut self, buffers: &mut Buffers, job: &PassJob) {
        let q = job.wgt_bits(self.brick_bits);
        let act_planes = job.steps * self.brick_bits;
        let mut acts = vec![0u64; act_planes * self.words];
        let mut sums = vec![0i64; self.groups * PLANES / q];
        for (m, pixel) in job.pixels().enumerate() {
            self.gather(buffers, job, pixel, &mut acts);
            let mut total = 0i64;
            sums.fill(0);
            for (i, act) in acts.chunks(self.words).enumerate() {
                let weight = PassJob::plane_weight(act_planes - 1 - i, act_planes, job.act_signed);
                total = total.wrapping_add(weight.wrapping_mul(popcount(act) as i64));
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(weight.wrapping_mul(self.channel_sum(
                        act,
                        channel,
                        q,
                        job.wgt_signed,
                    )));
                }
            }
            self.accumulate(buffers, job, m, &sums, total);
        }
    }

    /// Sum over all lanes of one activation plane times the weights of a channel.
    fn channel_sum(&self, act: &[u64], channel: usize, q: usize, signed: bool) -> i64 {
        (0..q)
            .map(|k| {
                let at = (channel * q + k) * self.words;
                let count: u32 = act
                    .iter()
                    .zip(&self.planes[at..at + self.words])
                    .map(|(a, w)| (a & w).count_ones())
                    .sum();
                PassJob::plane_weight(k, q, signed) * count as i64
            })
            .sum()
    }

    /// Activation planes of one pixel, `[plane][word]`, first plane first.
    fn gather(&self, buffers: &Buffers, job: &PassJob, pixel: (i64, i64, i64), acts: &mut [u64]) {
        acts.fill(0);
        let all = lane_mask(self.lanes);
        for r in 0..self.rows {
            let Some(base) = self.base(buffers, job, pixel, r) else { continue };
            let (word, shift) = (r / self.rows_per_word, r % self.rows_per_word * self.lanes);
            for (i, act) in acts.chunks_mut(self.words).enumerate() {
                let plane = match base {
                    Base::Pad => all * pad_plane(job.pad, i) as u64,
                    Base::At(address) => buffers.banks[(address + i) & (buffers.banks.len() - 1)],
                };
                act[word] |= plane << shift;
            }
        }
    }

    /// Where a row reads in this pixel; `None` for a switched-off row.
    fn base(&self, buffers: &Buffers, job: &PassJob, pixel: (i64, i64, i64), row: usize) -> Option<Base> {
        let tap = self.taps[row]?;
        let (y, x) = (pixel.1 + tap.dy as i64, pixel.2 + tap.dx as i64);
        if !(0..job.h).contains(&y) || !(0..job.w).contains(&x) {
            return Some(Base::Pad);
        }
        let address =
            (pixel.0 + tap.addr as i64) & (buffers.banks.len() as i64 - 1) & -(self.brick_bits as i64);
        Some(Base::At(address as usize))
    }

    fn pass_integers(&mut self, buffers: &mut Buffers, job: &PassJob) {
        let q = job.wgt_bits(self.brick_bits);
        self.fill_cache(q, job.wgt_signed);
        let terms = self.rows * self.lanes;
        let mut acts = vec![0i16; terms];
        let mut sums = vec![0i64; self.groups * PLANES / q];
        let pad = self.pad_value(job);
        for (m, pixel) in job.pixels().enumerate() {
            for (r, act) in acts.chunks_mut(self.lanes).enumerate() {
                match self.base(buffers, job, pixel, r) {
                    None => act.fill(0),
                    Some(Base::Pad) => act.fill(pad),
                    Some(Base::At(address)) => {
                        read_integers(buffers, address, job.steps * self.brick_bits, job.act_signed, act)
                    }
                }
            }
            for (sum, wgt) in sums.iter_mut().zip(self.cache.ints.chunks(terms)) {
                *sum = acts.iter().zip(wgt).map(|(a, w)| *a as i32 * *w as i32).sum::<i32>() as i64;
            }
            let total = acts.iter().map(|a| *a as i64).sum();
            self.accumulate(buffers, job, m, &sums, total);
        }
    }

    fn pad_value(&self, job: &PassJob) -> i16 {
        let planes = job.steps * self.brick_bits;
        (0..planes)
            .map(|i| {
                PassJob::plane_weight(planes - 1 - i, planes, job.act_signed) * pad_plane(job.pad, i) as i64
            })
            .sum::<i64>() as i16
    }

    /// Active weights as integers.
    fn fill_cache(&mut self, q: usize, signed: bool) {
        if self.cache.key == Some((q, signed)) {
            return;
        }
        let terms = self.rows * self.lanes;
        let channels = self.groups * PLANES / q;
        self.cache.key = Some((q, signed));
        self.cache.ints.resize(channels * terms, 0);
        let row_mask = lane_mask(self.lanes);
        for channel in 0..channels {
            for r in 0..self.rows {
                let (word, shift) = (r / self.rows_per_word, r % self.rows_per_word * self.lanes);
                let out = &mut self.cache.ints[channel * terms + r * self.lanes..][..self.lanes];
                let planes = (0..q)
                    .rev()
                    .map(|k| (self.planes[(channel * q + k) * self.words + word] >> shift) & row_mask);
                assemble(planes, q, signed, out);
            }
        }
    }

    /// Adds a pixel's sums to the accumulators as wide as the weights make them, and the sum of all activations to the
    /// sum column.
    fn accumulate(&self, buffers: &mut Buffers, job: &PassJob, m: usize, sums: &[i64], total: i64) {
        let pixel = (job.acc + m) % buffers.sum.len();
        let old = |value: i128| match (job.overwrite, job.shift8) {
            (true, _) => 0,
            (_, true) => value << 8,
            _ => value,
        };
        let q = job.wgt_bits(self.brick_bits);
        let per_group = PLANES / q;
        let width = ACC_SEG_BITS * q as u32;
        for (channel, &sum) in sums.iter().enumerate() {
            let (group, lo) = (channel / per_group, (channel % per_group) as u32 * width);
            if width < 64 {
                let value = old(buffers.acc_value(group, pixel, lo, width) as i128) + sum as i128;
                buffers.set_acc_value(group, pixel, lo, width, value as i64);
            } else {
                // 72 bits; of the widest accumulator (8-bit weights) only these are defined
                let low = buffers.acc_value(group, pixel, lo, 36) as i128 & ((1 << 36) - 1);
                let value =
                    old(((buffers.acc_value(group, pixel, lo + 36, 36) as i128) << 36) | low) + sum as i128;
                buffers.set_acc_value(group, pixel, lo, 36, value as i64);
                buffers.set_acc_value(group, pixel, lo + 36, 36, (value >> 36) as i64);
            }
        }
        if self.has_sum_column {
            // `shift8` belongs to 8-bit weights, the sum column to 1-bit weights: it knows no shift
            let before = if job.overwrite { 0 } else { buffers.sum[pixel] as i128 };
            buffers.sum[pixel] = wrap(before + total as i128, ACC_SEG_BITS) as i32;
        }
    }
}

/// What a row reads in one pixel.
#[derive(Clone, Copy)]
enum Base {
    Pad,
    /// Plane-word address of the first plane.
    At(usize),
}

/// Bit of the pad value for the `i`-th plane streamed.
fn pad_plane(pad: u16, i: usize) -> bool {
    i < 16 && (pad >> (15 - i)) & 1 == 1
}

fn lane_mask(lanes: usize) -> u64 {
    (1u64 << lanes) - 1
}

fn popcount(words: &[u64]) -> u32 {
    words.iter().map(|w| w.count_ones()).sum()
}

/// Bits 0, 2, 4, ... packed.
fn every_second_bit(bits: u64) -> u64 {
    let mut x = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | (x >> shift)) & mask;
    }
    x
}

/// Four bits spread over the four 16-bit parts of a word.
const SPREAD: [u64; 16] = {
    let mut table = [0u64; 16];
    let mut i = 0;
    while i < 16 {
        let n = i as u64;
        table[i] = (n & 1) | (n & 2) << 15 | (n & 4) << 30 | (n & 8) << 45;
        i += 1;
    }
    table
};

/// Lanes of planes (most significant first) as integers of `count` <= 16 bits.
fn assemble(planes: impl Iterator<Item = u64>, count: usize, signed: bool, out: &mut [i16]) {
    let mut parts = [0u64; 8];
    let used = out.len().div_ceil(4);
    for plane in planes {
        for (i, part) in parts[..used].iter_mut().enumerate() {
            *part = (*part << 1) | SPREAD[(plane >> (4 * i)) as usize & 15];
        }
    }
    let shift = if signed { 16 - count } else { 0 };
    for (lane, value) in out.iter_mut().enumerate() {
        let bits = (parts[lane / 4] >> (16 * (lane % 4))) as u16;
        *value = ((bits << shift) as i16) >> shift;
    }
}

/// Activations of one block, `planes` <= 15 planes from plane-word `address`.
fn read_integers(buffers: &Buffers, address: usize, planes: usize, signed: bool, out: &mut [i16]) {
    let mask = buffers.banks.len() - 1;
    assemble((0..planes).map(|i| buffers.banks[(address + i) & mask]), planes, signed, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdl_gen::isa::Op;
    use hdl_gen::Config;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state.rotate_left(32)
    }

    fn arch(brick_bits: u32) -> Arch {
        let text = include_str!("../../../../configs/odd.toml");
        let mut config: Config = toml::from_str(text).expect("a configuration of this repository");
        config.array.brick_bits = brick_bits;
        Arch::new(&config)
    }

    fn loaded(arch: &Arch, state: &mut u64) -> (Datapath, Buffers) {
        let mut buffers = Buffers::new(arch);
        let (lanes, column) = (lane_mask(arch.lanes as usize), lane_mask(arch.act_bits as usize));
        buffers.banks.iter_mut().for_each(|w| *w = random(state) & lanes);
        buffers.wgt.iter_mut().for_each(|w| *w = random(state) & column);
        for t in &mut buffers.taps {
            *t = Tap {
                addr: random(state) as i16,
                dy: (random(state) % 3) as i16 - 1,
                dx: (random(state) % 3) as i16 - 1,
            };
        }
        let mut data = Datapath::new(arch);
        data.shift(
            &buffers,
            random(state) as usize % 4096,
            random(state) as usize % 4096,
            5,
            arch.groups as usize,
        );
        data.swap();
        (data, buffers)
    }

    fn random_job(arch: &Arch, state: &mut u64) -> PassJob {
        let mut set = |i: Instr, name: &str, n: u64| i.with(name, (random(state) % n) as i64).expect("legal");
        let mut shape = Instr::new(Op::PassShape);
        for (name, n) in [("n0", 5), ("n1", 3), ("h", 6), ("w", 6), ("pad", 0x10000)] {
            shape = set(shape, name, n);
        }
        let mut jump01 = Instr::new(Op::PassJump01);
        for (name, n) in [("da0", 100), ("dy0", 2), ("dx0", 2), ("da1", 100), ("dy1", 3)] {
            jump01 = set(jump01, name, n);
        }
        let mut pass = Instr::new(Op::Pass);
        let flags = [("act_signed", 2), ("wgt_signed", 2), ("wgt_log2", 4)];
        for (name, n) in flags.into_iter().chain([("addr", 0x10000), ("steps", 15 / arch.brick_bits as u64)])
        {
            pass = set(pass, name, n);
        }
        PassJob::new(pass, &Staged { shape, jump01, jump23: Instr::new(Op::PassJump23) })
    }

    #[test]
    fn planes_and_integers_give_the_same_sums() {
        for brick_bits in [1, 2] {
            let arch = arch(brick_bits);
            let mut state = 7;
            for _ in 0..40 {
                let (mut data, mut by_planes) = loaded(&arch, &mut state);
                let mut by_integers = by_planes.clone();
                let job = random_job(&arch, &mut state);
                let q = job.wgt_bits(data.brick_bits);
                assert!(data.fits_integers(job.steps * data.brick_bits, q));
                data.pass_planes(&mut by_planes, &job);
                data.pass_integers(&mut by_integers, &job);
                assert_eq!(by_planes, by_integers, "{job:?}");
            }
        }
    }

    /// One pixel by the definition: sum of activation times weight over enabled rows and lanes.
    #[test]
    fn a_pixel_is_the_sum_of_products() {
        let arch = arch(1);
        let mut state = 3;
        let (mut data, mut buffers) = loaded(&arch, &mut state);
        let pass = Instr::new(Op::Pass)
            .with("steps", 3)
            .and_then(|i| i.with("wgt_log2", 2))
            .and_then(|i| i.with("wgt_signed", 1))
            .and_then(|i| i.with("act_signed", 1))
            .expect("legal");
        let shape = Instr::new(Op::PassShape).with("h", 4095).and_then(|i| i.with("w", 4095)).expect("legal");
        let staged = Staged { shape, jump01: Instr::new(Op::PassJump01), jump23: Instr::new(Op::PassJump23) };
        data.taps.iter_mut().flatten().for_each(|t| (t.dy, t.dx) = (0, 0));
        data.pass(&mut buffers, &PassJob::new(pass, &staged));
        let lane_bit = |word: u64, lane: usize| (word >> lane & 1) as i64;
        let signed4 = |b: [i64; 4]| b[0] + 2 * b[1] + 4 * b[2] - 8 * b[3];
        for channel in 0..arch.channels_per_pass(2) {
            let slot = arch.acc_slot(2, channel);
            let mut sum = 0;
            for r in 0..arch.rows as usize {
                let base = data.taps[r].expect("all rows are on").addr as u16 as usize;
                for lane in 0..arch.lanes as usize {
                    let a =
                        [3, 2, 1, 0].map(|i| lane_bit(buffers.banks[(base + i) % buffers.banks.len()], lane));
                    let column = |k: usize| {
                        data.active[(r * data.groups + slot.group as usize) * 8 + slot.column as usize + k]
                    };
                    sum += signed4(a) * signed4([0, 1, 2, 3].map(|k| lane_bit(column(k), lane)));
                }
            }
            assert_eq!(
                buffers.acc_value(slot.group as usize, 0, slot.lo, slot.width),
                sum,
                "channel {channel}"
            );
        }
    }
}
