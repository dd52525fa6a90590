// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Derived numbers: everything that the configuration implies, computed once, here.
//!
//! Generator, machine model, timing model and compiler all take an [`Arch`]; none of them computes a width, a
//! latency or a mapping again.

use crate::config::Config;
use crate::isa::LoadDst;
use serde::Serialize;

/// Weight bit-slices of one fusion group.
pub const GROUP_BITS: u32 = 8;
/// Plane-words in one word of an activation bank.
pub const PLANES_PER_WORD: u32 = 4;
/// Bits of an accumulator word: 8 x 18 = 4 x 36.
pub const ACC_WORD_BITS: u32 = 144;
/// Bits of one narrow accumulator (1-bit weights).
pub const ACC_SEG_BITS: u32 = 18;
/// Bits of the value that post-processing takes: what 4 DSP48E1 multiply by 32 bits.
pub const ACC_VALUE_BITS: u32 = 42;
/// Bytes of a beat on every AXI data port.
pub const BEAT_BYTES: u64 = 8;

/// An accelerator with all derived numbers. Widths are in bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arch {
    pub config: Config,
    /// FNV-1a over the canonical JSON of the configuration; a program carries it. Not a JSON number: it exceeds 2^53.
    #[serde(skip)]
    pub hash: u64,
    pub rows: u32,
    pub lanes: u32,
    pub columns: u32,
    pub brick_bits: u32,
    /// Fusion groups.
    pub groups: u32,
    /// Columns of one fusion group: 8 / brick_bits.
    pub group_columns: u32,
    /// Bits of one row's activation stream per step: lanes * brick_bits.
    pub act_bits: u32,
    /// Bits of one weight buffer word: group_columns * lanes * brick_bits.
    pub wgt_word_bits: u32,
    /// Partial sum at the foot of a column, sign included where brick_bits = 2.
    pub psum_bits: u32,
    /// Bits of one bank word: 4 * lanes.
    pub bank_word_bits: u32,
    pub bank_depth: u32,
    /// Plane-words of the activation memory: 4 * bank_depth.
    pub plane_words: u32,
    pub acc_depth: u32,
    pub wgt_depth: u32,
    pub tap_depth: u32,
    pub param_depth: u32,
    pub requant_lanes: u32,
    /// Drain buses of four values: requant_lanes / 4.
    pub drain_buses: u32,
    pub read_ports: u32,
    pub burst_beats: u32,
    pub queue_depth: u32,
    /// A column that sums the activations exists.
    pub has_sum_column: bool,
    pub has_table: bool,
    pub has_add: bool,
}

/// Where the value of one output channel of a pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccSlot {
    pub group: u32,
    /// Lowest bit in the group's 144-bit accumulator word.
    pub lo: u32,
    /// Bits of the value as post-processing takes it: 18, 36 or 42.
    pub width: u32,
    /// First column of the group that holds the channel's weight planes (plane 0 first).
    pub column: u32,
}

impl Arch {
    /// Derives all numbers. The configuration must have passed [`crate::config`]'s checks.
    pub fn new(config: &Config) -> Arch {
        let a = &config.array;
        let group_columns = GROUP_BITS / a.brick_bits;
        let act_bits = a.lanes * a.brick_bits;
        let max_sum = match a.brick_bits {
            1 => a.rows * a.lanes,
            _ => a.rows * a.lanes * 9, // 3 x 3, and -6 at the other end
        };
        let psum_bits = (u32::BITS - max_sum.leading_zeros()) + (a.brick_bits - 1);
        Arch {
            hash: config_hash(config),
            rows: a.rows,
            lanes: a.lanes,
            columns: a.columns,
            brick_bits: a.brick_bits,
            groups: a.columns / group_columns,
            group_columns,
            act_bits,
            wgt_word_bits: group_columns * act_bits,
            psum_bits,
            bank_word_bits: PLANES_PER_WORD * a.lanes,
            bank_depth: config.banks.depth,
            plane_words: PLANES_PER_WORD * config.banks.depth,
            acc_depth: config.accumulators.depth,
            wgt_depth: config.weights.depth,
            tap_depth: config.weights.taps,
            param_depth: config.requantize.param_depth,
            requant_lanes: config.requantize.lanes,
            drain_buses: config.requantize.lanes / 4,
            read_ports: config.axi.read_ports,
            burst_beats: config.axi.burst_beats,
            queue_depth: config.queues.depth,
            has_sum_column: config.requantize.bipolar && a.brick_bits == 1,
            has_table: config.requantize.table,
            has_add: config.requantize.add,
            config: config.clone(),
        }
    }

    /// Output channels of one pass at weights of `1 << wgt_log2` bits.
    /// With 2-bit bricks 1-bit weights take the room of 2-bit ones.
    pub fn channels_per_pass(&self, wgt_log2: u32) -> u32 {
        self.groups * self.values_per_group(wgt_log2)
    }

    /// Values of one fusion group at weights of `1 << wgt_log2` bits: 8, 4, 2 or 1.
    pub fn values_per_group(&self, wgt_log2: u32) -> u32 {
        GROUP_BITS >> wgt_log2.max(self.brick_bits - 1)
    }

    /// Beats (of `requant_lanes` values) in which post-processing takes one pixel of a pass.
    pub fn beats_per_pass(&self, wgt_log2: u32) -> u32 {
        self.channels_per_pass(wgt_log2) / self.requant_lanes
    }

    /// Where output channel `channel` of a pass stands; `channel` = beat * requant_lanes + lane.
    ///
    /// Bus `b` serves the groups `b * groups / buses ..`; on it, lane `l` of a beat comes from slot `(l - g) mod 4` of
    /// group `g` (counted within the bus), so that groups with one or two values fill all four lanes together.
    pub fn acc_slot(&self, wgt_log2: u32, channel: u32) -> AccSlot {
        let q = wgt_log2.max(self.brick_bits - 1);
        let (beat, lane) = (channel / self.requant_lanes, channel % self.requant_lanes);
        let (bus, l) = (lane / 4, lane % 4);
        let g = match q {
            3 => beat * 4 + l,
            2 => beat * 2 + (l & 1),
            1 => beat,
            _ => beat / 2,
        };
        let slot = (l + 4 - g % 4) % 4;
        let half = if q == 0 { beat % 2 } else { 0 };
        let lo = slot * 36 + half * ACC_SEG_BITS;
        let width = [ACC_SEG_BITS, 36, ACC_VALUE_BITS, ACC_VALUE_BITS][q as usize];
        let column = (slot * 2 + half) / self.brick_bits;
        AccSlot { group: bus * (self.groups / self.drain_buses) + g, lo, width, column }
    }

    /// Memory words (of 64 * ports bits) that one word of a buffer takes in a `load`.
    pub fn load_beats(&self, dst: LoadDst) -> u32 {
        self.load_word_bits(dst).div_ceil(64 * self.load_ports(dst))
    }

    /// Ports that a `load` reads.
    pub fn load_ports(&self, dst: LoadDst) -> u32 {
        match dst {
            LoadDst::Act => 1,
            _ => self.read_ports,
        }
    }

    /// Bits of one word of a load destination.
    ///
    /// - `Param`: bias\[31:0\], multiplier\[63:32\], addend\[95:64\] (unsigned), shift\[101:96\].
    /// - `Tap`: address\[15:0\], dy\[25:16\], dx\[35:26\]; all signed.
    /// - `Table`: entry\[15:0\], signed.
    pub fn load_word_bits(&self, dst: LoadDst) -> u32 {
        match dst {
            LoadDst::Act => self.bank_word_bits,
            LoadDst::Wgt => self.wgt_word_bits,
            LoadDst::Param => 102,
            LoadDst::Tap => 36,
            LoadDst::Table => 16,
        }
    }

    /// Words of a load destination.
    pub fn load_depth(&self, dst: LoadDst) -> u32 {
        match dst {
            LoadDst::Act => self.bank_depth,
            LoadDst::Wgt => self.wgt_depth,
            LoadDst::Param => self.param_depth * self.requant_lanes,
            LoadDst::Tap => self.tap_depth,
            LoadDst::Table => 256,
        }
    }

    /// Beats of post-processing that make one channel block: lanes / requant_lanes.
    pub fn block_beats(&self) -> u32 {
        self.lanes / self.requant_lanes
    }

    /// 64-bit words of one bank word in DRAM.
    pub fn bank_word_beats(&self) -> u32 {
        self.bank_word_bits.div_ceil(64)
    }

    /// Cycles in which post-processing writes out one channel block of `planes` planes, or one beat of 32-bit results.
    pub fn post_write_cycles(&self, planes: u32, int32: bool, dram: bool) -> u32 {
        match (int32, dram) {
            (true, _) => self.requant_lanes / 2,
            (false, true) => planes.div_ceil(PLANES_PER_WORD) * self.bank_word_beats(),
            (false, false) => planes.div_ceil(PLANES_PER_WORD),
        }
    }

    /// Smallest legal `gap` of a `post.mode`: idle cycles after each channel block (bit-planes) or beat (`int32`).
    ///
    /// - `planes`: planes of the result, 1..=16 (not minus 1).
    /// - `pixel_beats`: beats of one result pixel over all tiles (tiles * beats); a pixel that ends inside a block makes a
    ///   short block, which must still leave time to write the block before it.
    /// - `slots`: issue slots of one beat: the accumulators of the window (1 without), or 3 for an addition.
    pub fn post_gap(&self, planes: u32, int32: bool, dram: bool, pixel_beats: u32, slots: u32) -> u32 {
        let full = self.block_beats();
        let shortest = match (int32, pixel_beats % full) {
            (true, _) => 1,
            (false, 0) => full,
            (false, rest) => rest,
        };
        self.post_write_cycles(planes, int32, dram).saturating_sub(shortest * slots)
    }

    /// Steps in which `planes` activation planes stream through the array.
    pub fn steps(&self, planes: u32) -> u32 {
        planes.div_ceil(self.brick_bits)
    }

    /// Cycles from row 0's act word (and its token) at the input of the array to the registered sums at the foot of
    /// group 0: `rows - 1` of input skew, then registers for activation, lane counters, adder tree, partial sum. Group
    /// `g` is `g` cycles later.
    pub fn array_latency(&self) -> u32 {
        self.rows + 3
    }

    /// Cycles from a token at the input of the array to `done_o`: `tok_done_i` in cycle t shows in t + this. In that
    /// cycle `acc_rd` may already read the pixel (fused, Horner, accumulated, written: five registers after the foot).
    pub fn token_done_latency(&self) -> u32 {
        self.array_latency() + (self.groups - 1) + 5
    }

    /// Smallest number of cycles between the `tok_last` of two pixels with the same accumulator address for the second
    /// one's read-modify-write to see the first one's result.
    pub fn acc_rmw_distance(&self) -> u32 {
        4
    }

    /// Cycles from the token of a step whose rows swap (row r's `swap_i` r cycles after the token) to the first cycle in
    /// which `shift_en_i` of any row may be high again: until then some group's shadow weights are still needed.
    pub fn swap_latency(&self) -> u32 {
        self.rows + self.groups - 2
    }

    /// Most multiply-accumulates per cycle at these operand widths: activations take whole steps, weights 1, 2, 4 or 8
    /// bits, and 9 to 16 bits two passes.
    pub fn macs_per_cycle(&self, act_bits: u32, wgt_bits: u32) -> f64 {
        let act = self.steps(act_bits.max(1)) * self.brick_bits;
        let wgt = wgt_bits.clamp(self.brick_bits, 16).next_power_of_two();
        self.binary_macs() as f64 / (act * wgt) as f64
    }

    /// Binary multiply-accumulates per cycle.
    pub fn binary_macs(&self) -> u64 {
        self.rows as u64 * self.act_bits as u64 * self.columns as u64 * self.brick_bits as u64
    }
}

/// 64-bit FNV-1a over the canonical JSON of the configuration and the instruction table's version.
fn config_hash(config: &Config) -> u64 {
    let text = serde_json::to_string(config).expect("plain data serializes");
    let version = crate::isa::VERSION_VALUE.to_le_bytes();
    text.bytes()
        .chain(version)
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x0000_0100_0000_01b3))
}
