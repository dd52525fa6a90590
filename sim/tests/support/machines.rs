// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Architectures for tests of whole machines: shipped ones, small ones, and valid ones drawn from a seed.

use crate::random_graphs::Rng;
use hdl_gen::{Arch, Config};

/// A shipped configuration, or one of the small ones made here: `cramped`, `two_bit`, `drawn_<seed>`.
pub fn arch(name: &str) -> Arch {
    match name {
        "cramped" => cramped(),
        "two_bit" => two_bit(),
        _ => match name.strip_prefix("drawn_") {
            Some(seed) => drawn(seed.parse().unwrap_or_else(|e| panic!("{name}: {e}"))),
            None => shipped(name),
        },
    }
}

fn shipped(name: &str) -> Arch {
    let path = format!("{}/../configs/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    Arch::new(&Config::from_toml(&text, name).unwrap_or_else(|e| panic!("{e}")))
}

fn changed(change: impl FnOnce(&mut Config)) -> Arch {
    let mut config = shipped("tiny").config;
    change(&mut config);
    config.check().unwrap_or_else(|e| panic!("{}: {e:?}", config.name));
    Arch::new(&config)
}

/// `tiny` with the smallest buffers: tensors live in DRAM, weights, taps and parameters are loaded again and again.
fn cramped() -> Arch {
    changed(|config| {
        config.name = "cramped".into();
        config.banks.depth = 128;
        config.accumulators.depth = 16;
        config.weights.depth = 16;
        config.weights.taps = 16;
        config.requantize.param_depth = 16;
    })
}

/// `tiny` with 2-bit bricks.
fn two_bit() -> Arch {
    changed(|config| {
        config.name = "two_bit".into();
        config.array.brick_bits = 2;
        config.array.columns = 16;
        config.requantize.bipolar = false;
    })
}

/// Most bricks of a drawn configuration, so that it is built within a minute.
const MOST_BRICKS: u32 = 2500;

/// A small valid configuration, drawn from a seed: the first of the seed's draws that keeps all rules.
fn drawn(seed: u64) -> Arch {
    draw_until(seed, &draw_small, &|c| bricks(c) <= MOST_BRICKS)
}

/// Any valid configuration, drawn from a seed.
#[allow(dead_code)] // only where nothing is built
pub fn drawn_from_all(seed: u64) -> Arch {
    draw_until(seed, &draw_any, &|_| true)
}

fn bricks(c: &Config) -> u32 {
    c.array.rows * c.array.lanes * c.array.columns * c.array.brick_bits
}

fn draw_until(seed: u64, draw: &dyn Fn(&mut Rng) -> Config, accept: &dyn Fn(&Config) -> bool) -> Arch {
    let mut rng = Rng::new(seed);
    loop {
        let config = Config { name: format!("drawn_{seed}"), ..draw(&mut rng) };
        if config.check().is_ok() && accept(&config) {
            return Arch::new(&config);
        }
    }
}

fn power(rng: &mut Rng, least: i64, most: i64) -> u32 {
    1 << rng.range(least, most)
}

fn draw_small(rng: &mut Rng) -> Config {
    let brick_bits = rng.pick(&[1, 1, 2]);
    let mut config = shipped("tiny").config;
    config.banks.depth = power(rng, 6, 10);
    config.accumulators.depth = power(rng, 4, 7);
    config.weights.depth = power(rng, 4, 9);
    config.weights.taps = power(rng, 4, 8);
    config.requantize.param_depth = power(rng, 4, 8);
    config.axi.burst_beats = power(rng, 1, 6);
    config.queues.depth = power(rng, 2, 5);
    config.array.rows = rng.range(1, 7) as u32;
    config.array.lanes = rng.pick(&[4, 8, 12, 16, 20, 24]);
    config.array.columns = 16 * rng.range(1, 7) as u32;
    config.array.brick_bits = brick_bits;
    config.requantize.lanes = rng.pick(&[4, 8]);
    config.requantize.table = !rng.one_in(6);
    config.requantize.add = !rng.one_in(6);
    config.requantize.bipolar = brick_bits == 1 && !rng.one_in(4);
    config.axi.read_ports = rng.pick(&[1, 2, 4]);
    config
}

/// Every field anywhere in its range, small values more often than large ones.
fn draw_any(rng: &mut Rng) -> Config {
    let mut config = draw_small(rng);
    let brick_bits = config.array.brick_bits;
    let most = rng.range(4, 12);
    config.banks.depth = power(rng, 4, most);
    config.accumulators.depth = power(rng, 4, most);
    config.weights.depth = power(rng, 4, most + 2);
    config.weights.taps = power(rng, 4, most);
    config.requantize.param_depth = power(rng, 4, most);
    config.axi.burst_beats = power(rng, 1, 8);
    config.queues.depth = power(rng, 2, 6);
    config.array.rows = rng.pick(&[1, 2, 4, 9, 16, 32, 32 - most as u32, 2 * most as u32]);
    config.array.lanes = 4 * rng.range(1, 8) as u32;
    let groups = rng.pick(&[1, 2, 3, 4, 5, 6, 8]) * config.requantize.lanes;
    config.array.columns = groups * (8 / brick_bits);
    config
}
