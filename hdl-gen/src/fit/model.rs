// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Expected resources, module by module, in the units of `make synth`.
//!
//! Flip-flops, block RAMs and multipliers follow from the widths of the templates. LUT formulas have the shape that the
//! module's structure gives them and constants fitted to Yosys 0.70 (`tools/synth.py`); a test compares both.

use super::device::{Device, Family};
use crate::arch::Arch;
use crate::emit::{array, control, Derived};
use crate::isa::{LoadDst, Queue};
use serde::Serialize;

/// What something takes. LUT: LUT6 sites or LUT4; block RAM: RAMB36 (in halves) or EBR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    pub lut: f64,
    pub ff: f64,
    pub block_ram: f64,
    pub dsp: f64,
}

impl Resources {
    fn add(&mut self, other: &Resources, times: f64) {
        self.lut += times * other.lut;
        self.ff += times * other.ff;
        self.block_ram += times * other.block_ram;
        self.dsp += times * other.dsp;
    }
}

/// All instances of one module, without the modules below it.
#[derive(Clone, Debug, Serialize)]
pub struct Module {
    pub module: String,
    pub instances: u32,
    #[serde(flatten)]
    pub each: Resources,
}

/// The expected resources of an accelerator.
#[derive(Clone, Debug, Serialize)]
pub struct Fit {
    /// Family whose primitives are counted: the device's, 7 series where the part is not known.
    pub family: Family,
    pub device: Option<&'static Device>,
    pub modules: Vec<Module>,
    pub total: Resources,
}

/// A resource of which a device has too little.
#[derive(Clone, Debug, PartialEq)]
pub struct Excess {
    pub what: &'static str,
    pub needed: u64,
    pub available: u32,
    pub device: &'static str,
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Excess { what, needed, available, device } = self;
        write!(f, "about {needed} {what}, {device} has {available}")
    }
}

impl Fit {
    /// Estimates the accelerator on the device that its configuration names.
    pub fn new(arch: &Arch) -> Fit {
        let device = Device::of_part(&arch.config.device.part);
        Fit::of_family(arch, device.map_or(Family::Xc7, |d| d.family), device)
    }

    fn of_family(arch: &Arch, family: Family, device: Option<&'static Device>) -> Fit {
        let mut modules = Model { a: arch, d: Derived::new(arch), family }.modules();
        modules.retain(|m| m.instances > 0);
        let mut total = Resources::default();
        for m in &modules {
            total.add(&m.each, m.instances as f64);
        }
        Fit { family, device, modules, total }
    }

    /// Names of the four resources in the family's terms.
    pub fn names(&self) -> [&'static str; 4] {
        match self.family {
            Family::Xc7 => ["LUT", "FF", "RAMB36", "DSP48E1"],
            Family::Ecp5 => ["LUT4", "FF", "EBR", "MULT18X18D"],
        }
    }

    /// Name, needed and available amount of every resource; empty where the part is not known.
    pub fn shares(&self) -> Vec<(&'static str, f64, u32)> {
        let Some(d) = self.device else { return Vec::new() };
        let t = &self.total;
        let needed = [t.lut, t.ff, t.block_ram, t.dsp];
        let available = [d.luts, d.ffs, d.block_rams, d.dsps];
        let each = self.names().into_iter().zip(needed).zip(available);
        each.map(|((name, n), a)| (name, n, a)).collect()
    }

    /// What the device has too little of.
    pub fn excess(&self) -> Vec<Excess> {
        let device = self.device.map_or("", |d| d.name);
        let over = self.shares().into_iter().filter(|&(_, n, a)| n > a as f64);
        over.map(|(what, n, available)| Excess { what, needed: n.ceil() as u64, available, device }).collect()
    }
}

/// Formulas of the modules.
struct Model<'a> {
    a: &'a Arch,
    d: Derived,
    family: Family,
}

/// LUT and FF.
fn logic(lut: f64, ff: f64) -> Resources {
    Resources { lut, ff, ..Resources::default() }
}

/// Rows of bits that a carry chain or a multiplexer takes.
fn f(n: u32) -> f64 {
    n as f64
}

impl Model<'_> {
    fn modules(&self) -> Vec<Module> {
        let mut list = self.array();
        list.extend(self.compute());
        list.extend(self.post());
        list.extend(self.control());
        if self.family == Family::Ecp5 {
            list.iter_mut().for_each(|m| ecp5(m, self.a));
        }
        list
    }

    fn array(&self) -> Vec<Module> {
        let a = self.a;
        let mut list = Vec::new();
        for c in array::column_costs(a) {
            let instances = a.columns + a.has_sum_column as u32;
            list.push(module(&c.module, instances, logic(c.luts, c.ffs)));
        }
        let w = array::fusion_widths(a);
        let pairs = if a.brick_bits == 1 { 4.0 * f(w.pair - 1) } else { 0.0 };
        let odd = if a.brick_bits == 1 { 8.0 * f(a.psum_bits) } else { 0.0 };
        let group = logic(
            pairs + 2.0 * f(w.quad - 2) + f(w.oct - 4) + 8.0,
            f(a.rows * a.act_bits + a.rows + 2 * a.rows * a.wgt_word_bits)
                + 6.0 * f(w.pair)
                + odd
                + f(w.quad + w.oct),
        );
        list.push(module("array_group", a.groups, group));
        let half = Resources {
            lut: 175.0,
            ff: 288.0 - f(a.brick_bits),
            block_ram: self.block_rams(a.acc_depth, 72),
            dsp: 0.0,
        };
        list.push(module("acc_half", 2 * a.groups, half));
        let sum = Resources { lut: 45.0, ff: 71.0, block_ram: self.block_rams(a.acc_depth, 18), dsp: 0.0 };
        list.push(module("sum_column", a.has_sum_column as u32, sum));
        list.push(module("array_core", 1, self.array_core()));
        list
    }

    /// Delay lines of the rows and of the tokens.
    fn array_core(&self) -> Resources {
        let a = self.a;
        let delays = array::row_delays(a);
        let longest = delays.iter().copied().max().unwrap_or(0);
        let waited: u32 = delays.iter().sum();
        logic(
            2.0 * f(a.rows) + 1.0,
            f(longest * a.wgt_word_bits + waited * (a.act_bits + 2) + 21 * a.groups + 28 * a.rows + 64),
        )
    }

    fn compute(&self) -> Vec<Module> {
        let (a, d) = (self.a, &self.d);
        let bits = f(a.act_bits);
        let row = Resources {
            lut: 50.0 + f(d.plane_aw) + if a.brick_bits == 1 { 3.0 } else { 1.0 } * bits,
            // The last row hands nothing on.
            ff: 163.0 + 2.0 * f(d.plane_aw) + f(4 * a.lanes) + bits - 43.0 / f(a.rows),
            block_ram: 4.0 * self.block_rams(a.bank_depth, a.lanes),
            dsp: 0.0,
        };
        let weight = Resources {
            lut: 145.0 + f(a.rows),
            ff: 104.0 + f(a.wgt_word_bits + 6 * a.rows + d.wgt_aw + d.tap_aw),
            block_ram: self.block_rams(a.wgt_depth, a.wgt_word_bits) + self.block_rams(a.tap_depth, 36),
            dsp: 0.0,
        };
        vec![
            module("activation_row", a.rows, row),
            module("activation_banks", 1, logic(0.0, f(4 + d.bank_aw + 4 * a.lanes))),
            module("weight_unit", 1, weight),
            module(
                "pass_unit",
                1,
                logic(
                    255.0 + 4.0 * f(d.plane_aw) + f(d.acc_aw),
                    717.0 + 11.0 * f(d.plane_aw) + 2.0 * f(d.acc_aw),
                ),
            ),
        ]
    }

    fn post(&self) -> Vec<Module> {
        let (a, d) = (self.a, &self.d);
        let lanes = a.requant_lanes;
        let flag = |on: bool, n: f64| if on { n } else { 0.0 };
        let lane = Resources {
            lut: 360.0 + flag(a.has_sum_column, 60.0) + flag(a.has_add, 70.0) + flag(a.has_table, 18.0),
            ff: 569.0 + flag(a.has_add, 65.0) + flag(a.has_table, 135.0),
            block_ram: flag(a.has_table, self.block_rams(256, 16)),
            dsp: 0.0,
        };
        let params =
            Resources { ff: 102.0, block_ram: self.block_rams(a.param_depth, 102), ..Resources::default() };
        let inputs = a.groups / a.drain_buses;
        let mux = if inputs <= 4 { 1.0 } else { 1.25 * f(inputs) / 4.0 };
        let drain = logic(f(lanes * 42) * mux + 4.0, f(lanes * 42) + 9.0);
        let pack = logic(
            f(lanes * 32) + 1.65 * f(16 * a.lanes) + 61.0,
            f(lanes * 64) + f(32 * a.lanes) + 6.0 * f(d.plane_aw),
        );
        let store = Resources { lut: 359.0, ff: 416.0, block_ram: self.block_rams(512, 64), dsp: 0.0 };
        vec![
            module("post_lane", lanes, lane),
            module("post_float_ties", lanes, logic(86.0, 93.0)),
            module("post_mul", lanes, Resources { lut: 1.0, ff: 150.0, block_ram: 0.0, dsp: 4.0 }),
            module("post_param_ram", lanes, params),
            module("post_drain", 1, drain),
            module(
                "post_issue",
                1,
                logic(
                    93.0 + 8.5 * f(d.acc_aw) + flag(a.has_add, 95.0),
                    145.0 + 4.0 * f(d.acc_aw) + flag(a.has_add, 34.0),
                ),
            ),
            module("post_pack", 1, pack),
            module("post_store", 1, store),
            module("post_unit", 1, logic(23.0, 503.0 + flag(a.has_add, 60.0))),
        ]
    }

    fn control(&self) -> Vec<Module> {
        let (a, d) = (self.a, &self.d);
        let word = f(LoadDst::ALL.into_iter().map(|t| a.load_word_bits(t)).max().unwrap_or(0));
        let mut list = vec![
            module(
                "bank_arbiter",
                1,
                logic(f(d.bank_aw + 4 * a.lanes) + 3.0, f(d.bank_aw + 4 * a.lanes) + 4.0),
            ),
            module("load_unit", 1, logic(110.0 + 0.65 * word, 220.0 + word)),
            module("control", 1, logic(802.0, 497.0)),
            module("dispatcher", 1, Resources { dsp: 1.0, ..logic(123.0, 369.0) }),
            module("token_counters", 1, logic(138.0, 109.0)),
            module("axil_slave", 1, logic(8.0, 93.0)),
            module("axi_reader, rows", 1, logic(239.0, 185.0)),
            module("axi_reader", a.read_ports, logic(123.0, 107.0)),
        ];
        for queue in Queue::ALL {
            list.push(module(
                "sync_fifo, queue",
                1,
                self.fifo(control::queue_entry_bits(queue), a.queue_depth),
            ));
        }
        list.push(module("sync_fifo, loads", 1, self.fifo(78, 4)));
        list.push(module("sync_fifo, program", 1, self.fifo(65, 1 << control::FETCH_FIFO_LOG2)));
        list.push(module("sync_fifo, data", a.read_ports, self.fifo(65, 1 << control::load_fifo_log2(a))));
        list
    }

    /// A FIFO of `width` bits: distributed RAM below 256 words.
    fn fifo(&self, width: u32, depth: u32) -> Resources {
        let block = depth >= 256;
        let sites = match (self.family, depth) {
            _ if block => 0,
            (Family::Ecp5, _) => width.div_ceil(4) * depth.div_ceil(16) * 6,
            (_, 0..=32) => width.div_ceil(6) * 4,
            _ => width.div_ceil(3) * 4 * depth.div_ceil(64),
        };
        Resources {
            lut: f(sites) + 5.0 + 3.0 * f(depth.ilog2()),
            ff: f(width) + 2.0 + 3.0 * f(depth.ilog2()),
            block_ram: if block { self.block_rams(depth, width) } else { 0.0 },
            dsp: 0.0,
        }
    }

    /// Block RAMs of a memory with one write and one read port.
    fn block_rams(&self, depth: u32, width: u32) -> f64 {
        // Words and bits of one block, widest first.
        let shapes = |widest: u32, deepest: u32| -> f64 {
            let mut bits = widest;
            let mut words = 512;
            while words < depth && words < deepest {
                words *= 2;
                bits = if bits == 9 { 4 } else { bits / 2 };
            }
            f(width.div_ceil(bits) * depth.div_ceil(words))
        };
        match self.family {
            Family::Xc7 => {
                let halves = shapes(36, 16_384);
                let wholes = shapes(72, 32_768);
                wholes.min(halves / 2.0)
            }
            Family::Ecp5 => shapes(36, 16_384),
        }
    }
}

fn module(name: &str, instances: u32, each: Resources) -> Module {
    Module { module: name.into(), instances, each }
}

/// From LUT6 sites to LUT4. Output registers of memories and multipliers stay flip-flops, a product of 42 x 32 bits takes
/// six multipliers.
fn ecp5(m: &mut Module, a: &Arch) {
    let (factor, ffs, dsps) = match m.module.as_str() {
        name if name.starts_with("brick_column") => (2.15, 0.0, 0.0),
        name if name.starts_with("sync_fifo") => (1.2, 2.0, 0.0),
        "acc_half" => (2.06, 155.0, 0.0),
        "activation_row" => (1.85, 9.2 * f(a.lanes), 0.0),
        "weight_unit" => (2.6, 2.0 * f(a.wgt_word_bits) + 95.0, 0.0),
        "post_lane" => (1.94, 42.0, 0.0),
        "post_float_ties" => (1.78, 0.0, 0.0),
        "post_mul" => (204.0, 488.0, 2.0),
        "post_store" => (1.8, 139.0, 0.0),
        "post_unit" => (1.57, 19.0, 0.0),
        "post_issue" => (1.38, 11.0, 0.0),
        "post_drain" => (2.5, 0.0, 0.0),
        "post_param_ram" => (1.0, 215.0, 0.0),
        "pass_unit" => (1.74, 0.0, 0.0),
        "bank_arbiter" => (1.03, 0.0, 0.0),
        "token_counters" => (1.6, 0.0, 0.0),
        "sum_column" => (2.3, 47.0, 0.0),
        _ => (1.6, 10.0, 0.0),
    };
    m.each.lut *= factor;
    if m.module == "post_param_ram" {
        m.each.lut = 112.0;
    }
    m.each.ff += ffs;
    m.each.dsp += dsps;
}
