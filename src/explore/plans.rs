// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plans of the networks, and the cycles of programs already timed: points that differ only in the depths of some buffers share
//! both.

use super::network::{bytes_moved, Exact, Network, Outcome};
use super::point::Point;
use brickwork_compiler::lower::Planned;
use brickwork_sim::image::RunOptions;
use brickwork_sim::machine::Machine;
use hdl_gen::isa::Instr;
use hdl_gen::Arch;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Plans that are kept; those of three networks take a few megabytes.
const KEPT: usize = 32;

/// The plans of all networks for the points of one [`Point::plan_key`].
pub struct Plans {
    /// Or why a network cannot be compiled.
    planned: Result<Vec<Kept>, String>,
}

/// The plan of one network.
struct Kept {
    plan: Planned,
    timed: Mutex<Vec<Timed>>,
}

/// A program and its cycles.
struct Timed {
    ports: u32,
    /// Without `begin`, which names the configuration.
    instrs: Vec<Instr>,
    cycles: u64,
}

impl Plans {
    pub fn new(networks: &[Network], arch: &Arch) -> Plans {
        let kept = |plan| Kept { plan, timed: Mutex::default() };
        Plans { planned: networks.iter().map(|n| n.plan(arch).map(kept)).collect() }
    }

    /// Exact cycles of all networks on an accelerator of these plans, unless `hopeless` says of the cycles that they take at
    /// least that these are too many.
    pub fn outcome(&self, networks: &[Network], arch: &Arch, hopeless: impl Fn(&[u64]) -> bool) -> Outcome {
        let kept = match &self.planned {
            Ok(kept) => kept,
            Err(why) => return Outcome::Refused(why.clone()),
        };
        let least: Vec<u64> = kept.iter().map(|k| k.plan.least_cycles(arch)).collect();
        if hopeless(&least) {
            return Outcome::Least(least);
        }
        let exact = networks.iter().zip(kept).map(|(n, k)| k.exact(n, arch));
        match exact.collect::<Result<Vec<Exact>, String>>() {
            Ok(pairs) => {
                let (cycles, bytes) = pairs.into_iter().unzip();
                Outcome::Exact { cycles, bytes }
            }
            Err(why) => Outcome::Refused(why),
        }
    }
}

impl Kept {
    /// The exact cycles. Of what the points of a plan differ in, only the number of ports changes how long a legal program takes.
    ///
    /// Errors: why the network cannot be compiled.
    fn exact(&self, network: &Network, arch: &Arch) -> Result<Exact, String> {
        let program = self.plan.program(arch).map_err(|e| network.refusal(&e))?;
        let (ports, body) = (arch.read_ports, &program.instrs[1..]);
        let bytes = bytes_moved(arch, &program);
        let known = |timed: &Vec<Timed>| {
            timed.iter().find(|t| t.ports == ports && t.instrs == body).map(|t| t.cycles)
        };
        if let Some(cycles) = known(&self.timed.lock().unwrap_or_else(|e| e.into_inner())) {
            return Ok((cycles, bytes));
        }
        let result = Machine::cycles(arch, &program.instrs, &RunOptions::default());
        if let Some((code, pc)) = result.error {
            return Err(network.refusal(&format!("the program stops: {code}, at instruction {pc}")));
        }
        let timed = Timed { ports, instrs: body.to_vec(), cycles: result.cycles };
        self.timed.lock().unwrap_or_else(|e| e.into_inner()).push(timed);
        Ok((result.cycles, bytes))
    }
}

/// The plans used last.
#[derive(Default)]
pub struct Shelf(Mutex<VecDeque<([u32; 7], Arc<Plans>)>>);

impl Shelf {
    /// The plans for a point, made if they are not here.
    pub fn plans(&self, networks: &[Network], point: &Point, arch: &Arch) -> Arc<Plans> {
        let key = point.plan_key();
        let mut shelf = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(place) = shelf.iter().position(|(k, _)| *k == key) {
            let found = shelf.remove(place).expect("it was found there");
            let plans = found.1.clone();
            shelf.push_front(found);
            return plans;
        }
        drop(shelf);
        let plans = Arc::new(Plans::new(networks, arch));
        let mut shelf = self.0.lock().unwrap_or_else(|e| e.into_inner());
        shelf.push_front((key, plans.clone()));
        shelf.truncate(KEPT);
        plans
    }
}

/// The exact outcome of one point, from nothing.
pub fn measure(networks: &[Network], arch: &Arch) -> Outcome {
    Plans::new(networks, arch).outcome(networks, arch, |_| false)
}

/// All points of one plan together, so that the plan is made once.
pub fn by_plan(points: &[Point]) -> Vec<Vec<Point>> {
    let mut groups: Vec<Vec<Point>> = Vec::new();
    for point in points {
        match groups.iter_mut().find(|g| g[0].plan_key() == point.plan_key()) {
            Some(group) => group.push(*point),
            None => groups.push(vec![*point]),
        }
    }
    groups
}
