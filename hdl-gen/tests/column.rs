// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processing elements and columns: the bricks of a column and the adder of their partial sum, both texts of it, under
//! Verilator against plain integer sums (`testbenches/array/column_bench.cpp`). A column of one row is one processing
//! element; the smallest is tried with every pattern of its operands. `BRICKWORK_SEED` sets the seed of the others.

mod support;

use hdl_gen::{Arch, Config};
use support::{run, scratch, write_files};

const TINY: &str = include_str!("../../configs/tiny.toml");
const CYCLES: &str = "30000";

fn arch(brick_bits: u32, rows: u32, lanes: u32) -> Arch {
    let mut config = Config::from_toml(TINY, "tiny.toml").expect("a configuration of ours");
    config.array.brick_bits = brick_bits;
    config.array.columns = 32 / brick_bits;
    config.requantize.bipolar = brick_bits == 1;
    (config.array.rows, config.array.lanes) = (rows, lanes);
    config.check().expect("the changed configuration is legal");
    Arch::new(&config)
}

/// Lanes and bits of the partial sum in a file name `brick_column_n<lanes>w<bits>.v`.
fn shape(file: &str) -> Option<(&str, &str)> {
    file.strip_prefix("brick_column_n")?.strip_suffix(".v")?.split_once('w')
}

/// Both texts of every kind of column that the array of `rows` x `lanes` has.
fn check(brick_bits: u32, rows: u32, lanes: u32) {
    let arch = arch(brick_bits, rows, lanes);
    let files = hdl_gen::emit::array::files(&arch).expect("templates render");
    let names: Vec<String> = files.iter().map(|f| f.name.clone()).collect();
    let columns: Vec<&String> = names.iter().filter(|n| shape(n).is_some()).collect();
    assert!(!columns.is_empty(), "no column among {names:?}");
    let seed = std::env::var("BRICKWORK_SEED").unwrap_or_else(|_| "1".into());
    for (column, deployed) in columns.iter().flat_map(|c| [(c, false), (c, true)]) {
        let (n, w) = shape(column).expect("filtered above");
        let dir = scratch(&format!("column_{brick_bits}_{n}_{w}_{deployed}"));
        write_files(&dir, files.clone());
        let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/../testbenches/array/column_bench.cpp");
        let cflags = format!("-O1 -DLANES={n} -DPSUM_W={w} -DBRICK={brick_bits}");
        // -fno-const-bit-op-tree: that optimizer of Verilator 5.006 gives wrong results.
        let mut args =
            vec!["--cc", "--exe", "--build", "-Wall", "-fno-const-bit-op-tree", "--prefix", "Vcolumn"];
        if deployed {
            args.push("-UVERILATOR");
        }
        args.extend(["-CFLAGS", &cflags, "-Mdir", "obj", "-o", "bench", bench, column]);
        if deployed {
            args.push(&names[0]); // the leaf
        }
        args.extend(["--top-module", column.trim_end_matches(".v")]);
        run(&dir, "verilator", &args);
        let said = run(&dir, "obj/bench", &[&seed, CYCLES]);
        assert!(said.starts_with("ok "), "{column}, deployed {deployed}, BRICKWORK_SEED={seed}: {said}");
    }
}

#[test]
fn a_processing_element_with_every_operand() {
    check(1, 1, 4);
}

#[test]
fn a_processing_element_of_two_bit_bricks_with_every_operand() {
    check(2, 1, 4);
}

#[test]
fn columns_of_one_bit_bricks() {
    check(1, 3, 8);
    check(1, 9, 16);
}

#[test]
fn columns_of_two_bit_bricks() {
    check(2, 3, 8);
    check(2, 9, 16);
}
