// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The systolic array, fusion and accumulators.

use super::{fixed, render, EmitError, RtlFile};
use crate::arch::Arch;
use crate::leaf::{self, BitBrick, LaneCount};
use rust_hdl::prelude::*;
use serde::Serialize;

/// One column of a row: its weights in the row's word and the partial sum from above.
#[derive(Serialize)]
struct Column {
    index: u32,
    wgt: String,
    psum_in: String,
}

#[derive(Serialize)]
struct Row {
    index: u32,
    act: String,
    word: String,
    sign: String,
    in_w: u32,
    psum_w: u32,
    psum_hi: u32,
    columns: Vec<Column>,
}

/// Two neighbouring columns (one column with 2-bit bricks) and when the odd one is the top plane of a weight.
#[derive(Serialize)]
struct Pair {
    index: u32,
    even: String,
    odd: String,
    top: &'static str,
}

#[derive(Serialize)]
struct Vars {
    act_w: u32,
    act_hi: u32,
    rows_hi: u32,
    sign_w: u32,
    sign_hi: u32,
    sign_delays: Vec<String>,
    shadow_w: u32,
    shadow_hi: u32,
    word_hi: u32,
    acc_hi: u32,
    acc_data_hi: u32,
    foot: u32,
    done: u32,
    rows: Vec<Row>,
    pairs: Vec<Pair>,
    psum_w: u32,
    psum_hi: u32,
    pair_w: u32,
    pair_hi: u32,
    pair_zeros: String,
    quad_weight: u32,
    oct_weight: u32,
    wide_pair0: String,
    wide_pair1: String,
    wide_pair2: String,
    wide_pair3: String,
    shifted_pair1: String,
    shifted_pair3: String,
    oct_keep: u32,
    oct_zeros: String,
    wide_odd0: String,
    wide_odd1: String,
    wide_odd2: String,
    wide_odd3: String,
    acc_log2_t2: &'static str,
    acc_log2_t3: &'static str,
}

/// `[hi:lo]` of the `i`-th field of `width` bits, without the brackets.
fn part(i: u32, width: u32) -> String {
    format!("{}:{}", (i + 1) * width - 1, i * width)
}

/// Bits of the sum at the foot of row `row`.
fn psum_width(arch: &Arch, row: u32) -> u32 {
    match arch.brick_bits {
        1 => u32::BITS - ((row + 1) * arch.lanes).leading_zeros(),
        _ => arch.psum_bits,
    }
}

fn row(arch: &Arch, index: u32) -> Row {
    let psum_w = psum_width(arch, index);
    let in_w = if index == 0 { psum_w } else { psum_width(arch, index - 1) };
    let column = |c: u32| Column {
        index: c,
        wgt: part(c, arch.act_bits),
        psum_in: match index {
            0 => format!("{psum_w}'d0"),
            r => format!("psum_r{}c{c}", r - 1),
        },
    };
    Row {
        index,
        act: part(index, arch.act_bits),
        word: part(index, arch.wgt_word_bits),
        sign: part(index, 4),
        in_w,
        psum_w,
        psum_hi: psum_w - 1,
        columns: (0..arch.group_columns).map(column).collect(),
    }
}

fn pair(arch: &Arch, index: u32) -> Pair {
    let foot = |c: u32| format!("psum_r{}c{c}", arch.rows - 1);
    let (even, odd) = match arch.brick_bits {
        1 => (foot(2 * index), foot(2 * index + 1)),
        _ => (foot(index), String::new()),
    };
    // The odd column of pair 3 is always the top plane; of pair 1 unless the weight has 8 bits; of 0 and 2 in 2-bit mode.
    let top = match index {
        3 => "1'b1",
        1 => "t0_wgt_log2_i != 2'd3",
        _ => "t0_wgt_log2_i == 2'd1",
    };
    Pair { index, even, odd, top }
}

fn vars(arch: &Arch) -> Vars {
    let psum_w = arch.psum_bits;
    let pair_w = if arch.brick_bits == 1 { psum_w + 3 } else { psum_w };
    let wide = |p: u32| format!("{{{{{}{{pair{p}_q[{}]}}}}, pair{p}_q}}", 36 - pair_w, pair_w - 1);
    let shifted = |p: u32| format!("{{{{{}{{pair{p}_q[{}]}}}}, pair{p}_q, 2'b00}}", 34 - pair_w, pair_w - 1);
    let odd = |p: u32| format!("{{{}'d0, odd{p}_q2}}", 18 - psum_w);
    let shadow_w = arch.rows * arch.wgt_word_bits;
    Vars {
        act_w: arch.rows * arch.act_bits,
        act_hi: arch.rows * arch.act_bits - 1,
        rows_hi: arch.rows - 1,
        sign_w: 4 * arch.rows,
        sign_hi: 4 * arch.rows - 1,
        sign_delays: (0..arch.rows - 1).rev().map(|r| part(r, 4)).collect(),
        shadow_w,
        shadow_hi: shadow_w - 1,
        word_hi: arch.wgt_word_bits - 1,
        acc_hi: super::Derived::new(arch).acc_aw - 1,
        acc_data_hi: 144 * arch.groups - 1,
        foot: arch.array_latency(),
        done: arch.token_done_latency(),
        rows: (0..arch.rows).map(|r| row(arch, r)).collect(),
        pairs: (0..4).map(|p| pair(arch, p)).collect(),
        psum_w,
        psum_hi: psum_w - 1,
        pair_w,
        pair_hi: pair_w - 1,
        pair_zeros: format!("{}'d0", pair_w - 1),
        quad_weight: 4,
        oct_weight: 16,
        wide_pair0: wide(0),
        wide_pair1: wide(1),
        wide_pair2: wide(2),
        wide_pair3: wide(3),
        shifted_pair1: shifted(1),
        shifted_pair3: shifted(3),
        oct_keep: 31,
        oct_zeros: "4'd0".into(),
        wide_odd0: odd(0),
        wide_odd1: odd(1),
        wide_odd2: odd(2),
        wide_odd3: odd(3),
        acc_log2_t2: if arch.brick_bits == 1 { "t2_wgt_log2_i" } else { "{t2_quad, t2_oct || !t2_quad}" },
        acc_log2_t3: if arch.brick_bits == 1 {
            "t3_wgt_log2_i"
        } else {
            "{t3_wgt_log2_i[1], t3_wgt_log2_i[0] || !t3_wgt_log2_i[1]}"
        },
    }
}

/// A rust-hdl leaf as a file.
pub(super) fn leaf_file<B: Block>(
    arch: &Arch,
    name: &str,
    header: &str,
    mut block: B,
) -> Result<RtlFile, EmitError> {
    block.connect_all();
    let file = format!("{name}.v");
    let text = leaf::emit::verilog(name, header, &block)
        .map_err(|e| EmitError { file: file.clone(), reason: e.to_string() })?;
    Ok(fixed(arch, &file, &text))
}

const LANE_COUNT_HEADER: &str = "lane_count : AND of 18 lanes and their population count\n  \
    ones + 2 * twos = number of lanes with act & wgt, 0..=18\n\
    Latency  combinational\nMaps to  18 LUT6";
const BIT_BRICK_HEADER: &str =
    "bit_brick : product of two 2-bit slices, each signed or unsigned by a flag\n  \
    p = x * w, two's complement of 5 bits, -6..=9\n\
    Latency  combinational\nMaps to  5 LUT6, one per bit";

/// The files of `array_core`, leaves first.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let v = vars(arch);
    let mut files = vec![];
    if arch.brick_bits == 1 {
        files.push(leaf_file(arch, "lane_count", LANE_COUNT_HEADER, LaneCount::default())?);
        files.push(fixed(arch, "brick_pe.v", include_str!("../../../rtl-templates/array/brick_pe.v")));
    } else {
        files.push(leaf_file(arch, "bit_brick", BIT_BRICK_HEADER, BitBrick::default())?);
        files.push(fixed(
            arch,
            "bit_brick_pe.v",
            include_str!("../../../rtl-templates/array/bit_brick_pe.v"),
        ));
    }
    if arch.has_sum_column {
        files.push(fixed(arch, "sum_column.v", include_str!("../../../rtl-templates/array/sum_column.v")));
    }
    files.push(fixed(arch, "accumulator.v", include_str!("../../../rtl-templates/array/accumulator.v")));
    let group = include_str!("../../../rtl-templates/array/array_group.v.tera");
    files.push(render(arch, "array_group.v", group, &v)?);
    let core = include_str!("../../../rtl-templates/array/array_core.v.tera");
    files.push(render(arch, "array_core.v", core, &v)?);
    Ok(files)
}
