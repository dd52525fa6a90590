// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The emitted `array_core` under Verilator against plain integer sums (`testbenches/array/array_bench.cpp`): random
//! passes of every weight width, signedness and step count, weights shifted in at the earliest and latest moment, exact
//! cycles of `done_o`, `busy_o`, of the accumulator's read port and of the read-modify-write distance.
//! `BRICKWORK_SEED` sets the seed; a failure prints it.

mod support;

use hdl_gen::{Arch, Config};
use support::{run, scratch, write_files};

/// Which text of the population count is simulated.
#[derive(Clone, Copy, PartialEq)]
enum Text {
    /// `$countones`, as every simulation of the machine takes it.
    Simulated,
    /// The lane counters and adder trees that synthesis sees.
    Deployed,
}

fn arch(text: &str, change: impl FnOnce(&mut Config)) -> Arch {
    let mut config = Config::from_toml(text, "test").expect("a configuration of ours");
    change(&mut config);
    config.check().expect("the changed configuration is legal");
    Arch::new(&config)
}

const TINY: &str = include_str!("../../configs/tiny.toml");
const ODD: &str = include_str!("../../configs/odd.toml");
const ZYNQ: &str = include_str!("../../configs/zynq7020.toml");
const BITFUSION: &str = include_str!("../../configs/bitfusion.toml");

fn brick2(c: &mut Config) {
    c.array.brick_bits = 2;
    c.array.columns = 16;
    c.requantize.bipolar = false;
}

#[test]
fn tiny() {
    check("tiny", &arch(TINY, |_| ()), Text::Simulated, 40_000);
}

#[test]
fn tiny_as_deployed() {
    check("tiny_deployed", &arch(TINY, |_| ()), Text::Deployed, 40_000);
}

#[test]
fn odd() {
    check("odd", &arch(ODD, |_| ()), Text::Simulated, 4_000);
}

/// 22 rows of 12 lanes: two blocks of rows, the partial sum hops once.
#[test]
fn two_blocks_as_deployed() {
    let change = |c: &mut Config| (c.array.rows, c.array.lanes) = (22, 12);
    check("two_blocks", &arch(TINY, change), Text::Deployed, 4_000);
}

/// 11 rows of 32 lanes: blocks of 3, 4 and 4 rows.
#[test]
fn three_uneven_blocks() {
    let change = |c: &mut Config| (c.array.rows, c.array.lanes) = (11, 32);
    check("three_blocks", &arch(TINY, change), Text::Simulated, 1_500);
}

#[test]
fn one_row_of_four_lanes_as_deployed() {
    let change = |c: &mut Config| (c.array.rows, c.array.lanes) = (1, 4);
    check("one_row", &arch(TINY, change), Text::Deployed, 40_000);
}

#[test]
fn no_sum_column() {
    check("no_sum", &arch(TINY, |c| c.requantize.bipolar = false), Text::Simulated, 10_000);
}

#[test]
fn two_bit_bricks() {
    check("brick2", &arch(TINY, brick2), Text::Simulated, 30_000);
}

#[test]
fn two_bit_bricks_as_deployed() {
    check("brick2_deployed", &arch(TINY, brick2), Text::Deployed, 30_000);
}

/// 11 rows of 16 lanes: the signs of the slices meet each block at its own time.
#[test]
fn two_bit_bricks_in_two_blocks_as_deployed() {
    let change = |c: &mut Config| {
        brick2(c);
        (c.array.rows, c.array.lanes) = (11, 16);
    };
    check("brick2_blocks", &arch(TINY, change), Text::Deployed, 2_000);
}

#[test]
#[ignore = "long: the whole array of zynq7020 and bitfusion"]
fn shipped_arrays() {
    for text in [Text::Simulated, Text::Deployed] {
        check("zynq7020", &arch(ZYNQ, |_| ()), text, 20_000);
        check("bitfusion", &arch(BITFUSION, |_| ()), text, 10_000);
    }
}

/// Settings for Verilator: a column reads copies of its inputs and not the signals of the group around it, so that all
/// columns are one C++ function. A tenth of the C++ where the bricks are spelled out.
const SETTINGS: &str = "`verilator_config\npublic_flat_rd -module \"brick_column_*\" -var \"*_i\"\n";

/// Builds the bench for `arch` and runs it over about `pixels` pixels.
fn check(name: &str, arch: &Arch, text: Text, pixels: u32) {
    let dir = scratch(&format!("array_{name}"));
    let files = write_files(&dir, hdl_gen::emit::array::files(arch).expect("templates render"));
    let defines = [
        ("ROWS", arch.rows),
        ("LANES", arch.lanes),
        ("BRICK", arch.brick_bits),
        ("GROUPS", arch.groups),
        ("DEPTH", arch.acc_depth),
        ("SUM", arch.has_sum_column as u32),
        ("DONE", arch.token_done_latency()),
        ("RMW", arch.acc_rmw_distance()),
        ("SWAP", arch.swap_latency()),
    ];
    let defines: Vec<String> = defines.iter().map(|(k, v)| format!("-D{k}={v}")).collect();
    let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/../testbenches/array/array_bench.cpp");
    let cflags = format!("-O1 {}", defines.join(" "));
    // -fno-const-bit-op-tree: that optimizer of Verilator 5.006 gives wrong results.
    let mut args =
        vec!["--cc", "--exe", "--build", "-Wall", "-fno-const-bit-op-tree", "--top-module", "array_core"];
    if text == Text::Deployed {
        std::fs::write(dir.join("bench.vlt"), SETTINGS).expect("our own folder");
        args.extend(["-UVERILATOR", "bench.vlt"]);
    }
    args.extend(["-CFLAGS", &cflags, "-Mdir", "obj", "-o", "bench", bench]);
    args.extend(files.iter().map(String::as_str));
    run(&dir, "verilator", &args);
    let seed = std::env::var("BRICKWORK_SEED").unwrap_or_else(|_| "1".into());
    let said = run(&dir, "obj/bench", &[&seed, &pixels.to_string()]);
    assert!(said.starts_with("ok "), "{name}, BRICKWORK_SEED={seed}: {said}");
}
