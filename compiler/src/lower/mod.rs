// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the integer graph to a program: fusion, weight modes, placement, tiling, packing, loop nests, tokens.

mod bounds;
mod cost;
mod emit;
mod error;
mod fold;
pub mod layout;
mod nest;
mod ops;
mod place;
mod prepare;
mod proof;
mod schedule;
mod stage;

pub use error::{CompileError, CompileErrorKind};

use crate::ir::Graph;
use crate::program::Program;
use hdl_gen::Arch;

/// What the user may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Store every tensor in region 2 (and fuse nothing), for comparison with the golden model.
    pub all_tensors: bool,
    /// Do pools with the layer before them.
    pub fuse: bool,
    /// Fold pixels into channels where that is faster.
    pub fold: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { all_tensors: false, fuse: true, fold: true }
    }
}

/// Compiles a network for an accelerator. The same input gives the same program.
///
/// Errors: every layer that cannot be done, each with the rule and the value.
pub fn compile(graph: &Graph, arch: &Arch, options: &Options) -> Result<Program, Vec<CompileError>> {
    graph.check().map_err(|errors| {
        errors
            .into_iter()
            .map(|e| CompileErrorKind::BadGraph(e.kind.to_string()).at(&e.at))
            .collect::<Vec<_>>()
    })?;
    let mut kept = vec![options.all_tensors; graph.tensors.len()];
    graph.outputs.iter().for_each(|t| kept[*t] = true);
    let folded = fold::fold(graph, arch, options, &kept);
    kept.resize(folded.graph.tensors.len(), false);
    let prepared = prepare::prepare(&folded, arch, options, &kept)?;
    let plan = place::place(&folded, arch, prepared, options)?;
    emit::emit(&folded, arch, plan).map_err(|e| vec![e])
}

#[cfg(test)]
pub(crate) fn test_arch() -> Arch {
    let text = include_str!("../../../configs/tiny.toml");
    Arch::new(&hdl_gen::Config::from_toml(text, "tiny.toml").expect("the configuration is correct"))
}
