// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The systolic array, fusion and accumulators.

use super::{EmitError, RtlFile};
use crate::arch::Arch;

pub fn files(_arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    Ok(vec![])
}
