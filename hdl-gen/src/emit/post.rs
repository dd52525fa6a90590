// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Post-processing and the store engine.

use super::{EmitError, RtlFile};
use crate::arch::Arch;

pub fn files(_arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    Ok(vec![])
}
