// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Control, load unit and top.

use super::{EmitError, RtlFile};
use crate::arch::Arch;

pub fn files(_arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    Ok(vec![])
}
