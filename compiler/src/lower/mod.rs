// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the integer graph to a program: fusion, weight modes, placement, tiling, packing, loop nests, tokens.

mod bounds;
mod cost;
mod emit;
mod error;
mod fold;
mod fuse;
pub mod layout;
mod moves;
mod nest;
mod ops;
mod place;
mod prepare;
mod proof;
mod schedule;
mod stage;
mod tiles;

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
    Planned::new(graph, arch, options)?.program(arch).map_err(|e| vec![e])
}

/// A network with everything decided but the depths of the weight, tap and parameter buffers, the ports and the queues.
pub struct Planned {
    folded: fold::Folded,
    plan: place::Plan,
}

impl Planned {
    /// Folds, prepares and places. Errors: as [`compile`].
    pub fn new(graph: &Graph, arch: &Arch, options: &Options) -> Result<Planned, Vec<CompileError>> {
        graph.check().map_err(|errors| {
            errors
                .into_iter()
                .map(|e| CompileErrorKind::BadGraph(e.kind.to_string()).at(&e.at))
                .collect::<Vec<_>>()
        })?;
        let mut kept = vec![options.all_tensors; graph.tensors.len()];
        graph.outputs.iter().for_each(|t| kept[*t] = true);
        let fused = match options.fuse && arch.has_table {
            true => fuse::functions(graph, &kept),
            false => graph.clone(),
        };
        let folded = fold::fold(&fused, arch, options, &kept);
        kept.resize(folded.graph.tensors.len(), false);
        let prepared = prepare::prepare(&folded, arch, options, &kept)?;
        let plan = place::place(&folded, arch, prepared, options)?;
        Ok(Planned { folded, plan })
    }

    /// The program. `arch` may differ from that of [`Planned::new`] in what [`Planned`] leaves open.
    pub fn program(&self, arch: &Arch) -> Result<Program, CompileError> {
        emit::emit(&self.folded, arch, &self.plan)
    }

    /// Cycles that no machine with the arrays and memories of [`Planned::new`] stays below: passes follow one another, and
    /// passes that accumulate do not run beside a `post`.
    pub fn least_cycles(&self, arch: &Arch) -> u64 {
        cost::least_cycles(arch, &self.folded.graph, &self.plan.stages)
    }
}

#[cfg(test)]
pub(crate) fn test_arch() -> Arch {
    let text = include_str!("../../../configs/tiny.toml");
    Arch::new(&hdl_gen::Config::from_toml(text, "tiny.toml").expect("the configuration is correct"))
}
