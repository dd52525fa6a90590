// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Activation banks, weight unit and pass unit around the array, and their timing.

use super::{fixed, render, Derived, EmitError, RtlFile};
use crate::arch::{Arch, ACC_WORD_BITS};
use serde::Serialize;

/// Cycles from the issue of a step to its token and row 0's act word at the input of the array.
const ISSUE_TO_TOKEN: u32 = 6;
/// Cycles from the acceptance of a `pass` to its swap at row 0 of the array.
const ACCEPT_TO_SWAP: u32 = 1 + ISSUE_TO_TOKEN;
/// Cycles from the acceptance of a `wgt.shift` to its first word at the array.
const ACCEPT_TO_SHIFT: u32 = 3;

/// Timing of the compute side, in cycles; shared by the Verilog and the machine model. "Accepted" is the cycle of the
/// transfer of a command; a pass issues its first step one cycle later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ComputeTiming {
    /// Between the last steps of two pixels with the same accumulator, see [`Arch::acc_rmw_distance`].
    pub rmw_distance: u32,
    /// From the issue of a pass's last step (or of a nop) to its signal; the unit is busy until then.
    pub busy_cycles: u32,
    /// A pass may be accepted so many cycles before the weights of row 0 have arrived.
    pub lead: u32,
    /// A `wgt.shift` is accepted from this + 1 cycles after the pass that swapped was accepted on.
    pub free_cycles: u32,
}

impl ComputeTiming {
    pub fn new(arch: &Arch) -> Self {
        // the first word may reach row 0 when the row's last group has taken its weights
        let last_group = arch.swap_latency() - (arch.rows - 1);
        ComputeTiming {
            rmw_distance: arch.acc_rmw_distance(),
            busy_cycles: ISSUE_TO_TOKEN + arch.token_done_latency(),
            lead: ACCEPT_TO_SWAP - ACCEPT_TO_SHIFT,
            free_cycles: ACCEPT_TO_SWAP + last_group - ACCEPT_TO_SHIFT - 1,
        }
    }

    /// Cycles from the acceptance of a `wgt.shift` to the first cycle in which a `pass` may take the shadow.
    pub fn shift_to_full(&self, rows: u32, groups: u32) -> u32 {
        match groups {
            0 | 1 => 2,
            _ => (groups - 1).saturating_sub(self.lead).max(1) + (rows.max(1) - 1) * (groups - 1) + 1,
        }
    }
}

/// Upper bounds of the ports of `compute_core`, and its timing.
#[derive(Serialize)]
struct CoreContext {
    bank_aw_hi: u32,
    bank_word_hi: u32,
    wgt_aw_hi: u32,
    wgt_word_hi: u32,
    tap_aw_hi: u32,
    acc_aw_hi: u32,
    acc_hi: u32,
    plane_aw_hi: u32,
    rows_hi: u32,
    brick_hi: u32,
    act_hi: u32,
    rmw_distance: u32,
    busy_cycles: u32,
    lead: u32,
    free_cycles: u32,
}

impl CoreContext {
    fn new(arch: &Arch) -> Self {
        let d = Derived::new(arch);
        let t = ComputeTiming::new(arch);
        CoreContext {
            bank_aw_hi: d.bank_aw - 1,
            bank_word_hi: arch.bank_word_bits - 1,
            wgt_aw_hi: d.wgt_aw - 1,
            wgt_word_hi: arch.wgt_word_bits - 1,
            tap_aw_hi: d.tap_aw - 1,
            acc_aw_hi: d.acc_aw - 1,
            acc_hi: arch.groups * ACC_WORD_BITS - 1,
            plane_aw_hi: d.plane_aw - 1,
            rows_hi: arch.rows - 1,
            brick_hi: arch.brick_bits - 1,
            act_hi: arch.rows * arch.act_bits - 1,
            rmw_distance: t.rmw_distance,
            busy_cycles: t.busy_cycles,
            lead: t.lead,
            free_cycles: t.free_cycles,
        }
    }
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../rtl-templates/compute/", $name))
    };
}

/// `compute_core` and what it consists of, without `array_core`.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    Ok(vec![
        fixed(arch, "activation_row.v", template!("activation_row.v")),
        fixed(arch, "activation_banks.v", template!("activation_banks.v")),
        render(arch, "pass_unit.v", template!("pass_unit.v.tera"), &())?,
        render(arch, "weight_unit.v", template!("weight_unit.v.tera"), &())?,
        render(arch, "compute_core.v", template!("compute_core.v.tera"), &CoreContext::new(arch))?,
    ])
}
