// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One configuration of the search: the numbers that it may choose.

use hdl_gen::config::{Accumulators, Array, Axi, Banks, Device, Queues, Requantize, Weights};
use hdl_gen::Config;
use serde::{Deserialize, Serialize};

/// The numbers of a configuration, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point(pub [u32; 11]);

/// Fields of a configuration that the search chooses, and the places of their numbers.
pub const NAMES: [&str; 11] = [
    "array.rows",
    "array.lanes",
    "array.columns",
    "array.brick_bits",
    "requantize.lanes",
    "banks.depth",
    "accumulators.depth",
    "weights.depth",
    "weights.taps",
    "requantize.param_depth",
    "axi.read_ports",
];
pub const ROWS: usize = 0;
pub const LANES: usize = 1;
pub const COLUMNS: usize = 2;
pub const BRICK_BITS: usize = 3;
pub const REQUANT_LANES: usize = 4;
pub const BANKS: usize = 5;
pub const ACCUMULATORS: usize = 6;
pub const WEIGHTS: usize = 7;
pub const TAPS: usize = 8;
pub const PARAMS: usize = 9;
pub const PORTS: usize = 10;

/// What the search leaves as it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub name: String,
    pub part: String,
    pub clock_mhz: u32,
    /// Function table, addition, full-rate bipolar weights (with 1-bit bricks).
    pub table: bool,
    pub add: bool,
    pub bipolar: bool,
}

impl Point {
    pub fn get(&self, field: usize) -> u32 {
        self.0[field]
    }

    pub fn with(mut self, field: usize, value: u32) -> Point {
        self.0[field] = value;
        self
    }

    /// The point of a configuration that has queues and bursts of the usual size.
    pub fn of(config: &Config) -> Option<Point> {
        let usual =
            config.queues == Queues::default() && config.axi.burst_beats == Axi::default().burst_beats;
        usual.then_some(Point([
            config.array.rows,
            config.array.lanes,
            config.array.columns,
            config.array.brick_bits,
            config.requantize.lanes,
            config.banks.depth,
            config.accumulators.depth,
            config.weights.depth,
            config.weights.taps,
            config.requantize.param_depth,
            config.axi.read_ports,
        ]))
    }

    /// The configuration, which may break rules.
    pub fn config(&self, given: &Given) -> Config {
        let brick_bits = self.get(BRICK_BITS);
        Config {
            name: given.name.clone(),
            device: Device { part: given.part.clone(), clock_mhz: given.clock_mhz },
            array: Array {
                rows: self.get(ROWS),
                lanes: self.get(LANES),
                columns: self.get(COLUMNS),
                brick_bits,
            },
            banks: Banks { depth: self.get(BANKS) },
            accumulators: Accumulators { depth: self.get(ACCUMULATORS) },
            weights: Weights { depth: self.get(WEIGHTS), taps: self.get(TAPS) },
            requantize: Requantize {
                lanes: self.get(REQUANT_LANES),
                param_depth: self.get(PARAMS),
                table: given.table,
                add: given.add,
                bipolar: given.bipolar && brick_bits == 1,
            },
            axi: Axi { read_ports: self.get(PORTS), ..Axi::default() },
            queues: Queues::default(),
        }
    }

    /// What [`brickwork_compiler::lower::Planned`] depends on: points that agree in it share their plans.
    pub fn plan_key(&self) -> [u32; 7] {
        std::array::from_fn(|i| self.0[i])
    }
}
