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
pub fn drawn(seed: u64) -> Arch {
    let mut rng = Rng::new(seed);
    loop {
        let config = draw(&mut rng, seed);
        let a = &config.array;
        if config.check().is_ok() && a.rows * a.lanes * a.columns * a.brick_bits <= MOST_BRICKS {
            return Arch::new(&config);
        }
    }
}

fn draw(rng: &mut Rng, seed: u64) -> Config {
    let brick_bits = rng.pick(&[1, 1, 2]);
    let mut power = |least: i64, most: i64| 1 << rng.range(least, most);
    let (banks, accumulators, weights) = (power(6, 10), power(4, 7), power(4, 9));
    let (taps, params, burst_beats, queue) = (power(4, 8), power(4, 8), power(1, 6), power(2, 5));
    let mut config = shipped("tiny").config;
    config.name = format!("drawn_{seed}");
    config.array.rows = rng.range(1, 7) as u32;
    config.array.lanes = rng.pick(&[4, 8, 12, 16, 20, 24]);
    config.array.columns = 16 * rng.range(1, 7) as u32;
    config.array.brick_bits = brick_bits;
    config.banks.depth = banks;
    config.accumulators.depth = accumulators;
    config.weights.depth = weights;
    config.weights.taps = taps;
    config.requantize.lanes = rng.pick(&[4, 8]);
    config.requantize.param_depth = params;
    config.requantize.table = !rng.one_in(6);
    config.requantize.add = !rng.one_in(6);
    config.requantize.bipolar = brick_bits == 1 && !rng.one_in(4);
    config.axi.read_ports = rng.pick(&[1, 2, 4]);
    config.axi.burst_beats = burst_beats;
    config.queues.depth = queue;
    config
}
