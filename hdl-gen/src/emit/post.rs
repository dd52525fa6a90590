// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Post-processing and the store engine.

use super::array::leaf_file;
use super::{fixed, render, EmitError, RtlFile};
use crate::arch::Arch;
use crate::isa::{ErrorCode, Op};
use crate::leaf::RoundIncrement;
use serde::Serialize;

/// Stages and sizes of the post unit that its Verilog and the machine model share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PostShape {
    /// Stage (cycles after the accumulator address) in which a lane's result is valid.
    pub res: u32,
    /// Beats of a channel block, its index of the last one, and the width of the index.
    pub seg_count: u32,
    pub seg_last: u32,
    pub seg_w: u32,
    /// 64-bit words of a bank word in DRAM: 1 or 2.
    pub word_parts: u32,
    /// Fusion groups of one drain bus and the width of their index.
    pub bus_groups: u32,
    pub bus_sel_w: u32,
    pub lane_w: u32,
    /// log2 of the words of the store FIFO, and how many may be in it before no more beats are issued.
    pub fifo_aw: u32,
    pub fifo_limit: u32,
    /// Slot groups between an addition's operands and its sum.
    pub add_groups: u32,
}

impl PostShape {
    pub fn new(arch: &Arch) -> Self {
        let index_bits = |n: u32| (u32::BITS - (n - 1).leading_zeros()).max(1);
        let seg_count = arch.block_beats();
        let bus_groups = arch.groups / arch.drain_buses;
        PostShape {
            res: if arch.has_table { 23 } else { 21 },
            seg_count,
            seg_last: seg_count - 1,
            seg_w: index_bits(seg_count),
            word_parts: arch.bank_word_beats(),
            bus_groups,
            bus_sel_w: index_bits(bus_groups),
            lane_w: index_bits(arch.requant_lanes),
            fifo_aw: 9,
            fifo_limit: 512 - 64,
            add_groups: 5,
        }
    }
}

/// What the templates see as `x`.
#[derive(Serialize)]
struct PostVars {
    #[serde(flatten)]
    shape: PostShape,
    /// Lowest bits of operands of which a configuration takes fewer bits than the field has.
    post_acc: u32,
    post_tile_acc: u32,
    post_param: u32,
    post_out: u32,
    out_dx: u32,
    out_dy: u32,
    out_db: u32,
    add_acc: u32,
    add_param_b: u32,
    add_param_s: u32,
    /// Error code of a write response that is not OKAY.
    bus_write: u32,
}

impl PostVars {
    fn new(arch: &Arch) -> Self {
        let lo = |op: Op, field: &str| op.def().field(field).expect("field of the instruction table").lo;
        PostVars {
            shape: PostShape::new(arch),
            post_acc: lo(Op::Post, "acc"),
            post_tile_acc: lo(Op::Post, "tile_acc"),
            post_param: lo(Op::Post, "param"),
            post_out: lo(Op::Post, "out"),
            out_dx: lo(Op::PostOut, "dx"),
            out_dy: lo(Op::PostOut, "dy"),
            out_db: lo(Op::PostOut, "db"),
            add_acc: lo(Op::PostAdd, "acc"),
            add_param_b: lo(Op::PostAdd, "param_b"),
            add_param_s: lo(Op::PostAdd, "param_s"),
            bus_write: ErrorCode::BusWrite as u32,
        }
    }
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../rtl-templates/post/", $name))
    };
}

const ROUND_INCREMENT_HEADER: &str =
    "round_increment : whether a floor must be incremented, in each rounding mode\n  \
    0 floor, 1 half up, 2 half even, 3 half away from zero (TFLite's second rounding)\n\
    Latency  0\nMaps to  1 LUT6";

/// The files of the post unit, leaves first, `post_unit.v` last.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let x = PostVars::new(arch);
    Ok(vec![
        leaf_file(arch, "round_increment", ROUND_INCREMENT_HEADER, RoundIncrement::default())?,
        fixed(arch, "post_mul.v", template!("post_mul.v")),
        fixed(arch, "post_float_ties.v", template!("post_float_ties.v")),
        fixed(arch, "post_round.v", template!("post_round.v")),
        fixed(arch, "post_param_ram.v", template!("post_param_ram.v")),
        render(arch, "post_lane.v", template!("post_lane.v.tera"), &x)?,
        render(arch, "post_drain.v", template!("post_drain.v.tera"), &x)?,
        render(arch, "post_issue.v", template!("post_issue.v.tera"), &x)?,
        render(arch, "post_pack.v", template!("post_pack.v.tera"), &x)?,
        render(arch, "post_store.v", template!("post_store.v.tera"), &x)?,
        render(arch, "post_unit.v", template!("post_unit.v.tera"), &x)?,
    ])
}
