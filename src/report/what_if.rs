// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What another memory would buy: the same network on it, counted by the machine model, and a bound.

use super::facts::Evidence;
use crate::evaluate::compile_model;
use brickwork_compiler::import::Imported;
use brickwork_sim::image::{MemoryTiming, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::isa::LoadDst;
use hdl_gen::Arch;
use serde::Serialize;

/// Another memory, and the cycles of one input with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    pub name: String,
    /// `false`: no machine was counted; at least so many cycles are needed.
    pub exact: bool,
    pub cycles: u64,
    /// Cycles now, divided by these.
    pub speedup: f64,
    pub how: String,
}

/// A latency that a memory close to the chip reaches.
const SHORT_LATENCY: u32 = 10;
/// Most read ports that a configuration can have.
const MOST_PORTS: u32 = 4;

impl WhatIf {
    /// `lost`: cycles that have the name `memory`.
    pub fn all(arch: &Arch, evidence: &Evidence, model: Option<&Imported>, lost: u64) -> Vec<WhatIf> {
        let now = evidence.predicted.cycles;
        let entry = |name: String, exact, cycles: u64, how: &str| WhatIf {
            name,
            exact,
            cycles,
            speedup: now as f64 / cycles.max(1) as f64,
            how: how.into(),
        };
        let mut list = Vec::new();
        if let Some((cycles, same_beats)) = model.and_then(|m| wider(arch, evidence, m)) {
            let ports = arch.read_ports;
            let word = arch.wgt_word_bits;
            let how = match same_beats {
                false => "recompiled with twice axi.read_ports; counted by the machine model".to_string(),
                true => format!(
                    "recompiled with twice axi.read_ports; counted by the machine model. A word of the weight buffer ({word} bits) takes one cycle already"
                ),
            };
            let how = how.as_str();
            list.push(entry(
                format!("twice the memory width ({} read ports instead of {ports})", 2 * ports),
                true,
                cycles,
                how,
            ));
        }
        if evidence.timing.latency_cycles > SHORT_LATENCY {
            let timing = MemoryTiming { latency_cycles: SHORT_LATENCY, ..evidence.timing };
            let options = RunOptions { timing, ..RunOptions::default() };
            let cycles = Machine::time(arch, &evidence.program.instrs, &options).0.cycles;
            let name = format!(
                "a memory with {SHORT_LATENCY} cycles of latency instead of {}",
                evidence.timing.latency_cycles
            );
            list.push(entry(name, true, cycles, "the same program; counted by the machine model"));
        }
        let bound = now.saturating_sub(lost);
        let how = "bound: the cycles named memory taken away; no machine is faster by memory alone";
        list.push(entry("a memory that never makes anyone wait".into(), false, bound, how));
        list
    }
}

/// Cycles with twice the read ports, and whether a weight word takes no fewer beats; `None`: there is no such configuration,
/// or the network does not compile for it.
fn wider(arch: &Arch, evidence: &Evidence, model: &Imported) -> Option<(u64, bool)> {
    if arch.read_ports >= MOST_PORTS {
        return None;
    }
    let mut config = arch.config.clone();
    config.axi.read_ports *= 2;
    config.check().ok()?;
    let wider = Arch::new(&config);
    let all_tensors = !evidence.program.info.intermediates.is_empty();
    let program = compile_model(model, &wider, all_tensors).ok()?;
    let options = RunOptions { timing: evidence.timing, ..RunOptions::default() };
    let (result, _) = Machine::time(&wider, &program.instrs, &options);
    let same_beats = wider.load_beats(LoadDst::Wgt) == arch.load_beats(LoadDst::Wgt);
    result.error.is_none().then_some((result.cycles, same_beats))
}
