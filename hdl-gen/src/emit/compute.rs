// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Activation banks, weight unit and pass unit around the array.

use super::{EmitError, RtlFile};
use crate::arch::Arch;

pub fn files(_arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    Ok(vec![])
}
