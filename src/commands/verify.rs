// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork verify`.

use super::Outcome;
use crate::cli::Verify;
use crate::data::Batch;
use crate::evaluate::{self, Job};
use crate::{generate, Failure};
use hdl_gen::Arch;

/// Runs a network and compares every value with the golden model, and the golden model with the expected values.
pub fn run(arguments: &Verify) -> Result<(String, Outcome), Failure> {
    let common = &arguments.common;
    common.check()?;
    let arch = Arch::new(&generate::load_config(&common.config)?);
    let model = evaluate::load_model(&arguments.model)?;
    let inputs = Batch::read(&arguments.inputs)?;
    let other = arguments.expect.as_deref().map(Batch::read).transpose()?;
    let expected = Some(other.as_ref().unwrap_or(&inputs));
    let job = Job { model: &model, arch: &arch, common, inputs: &inputs, expected, class_names: &[] };
    let mut evaluated = evaluate::evaluate(&job)?;
    super::write_page(&mut evaluated, (&arch, common), &arguments.model, Some(&model))?;
    Ok(super::finished(&evaluated.report, common.json))
}
