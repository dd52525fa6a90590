// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Networks of well-known shapes with random weights on the machine model of `zynq7020`: exact, and within their cycles; and
//! tensors that small banks hold in parts only.

#[path = "../../compiler/tests/support/real_shapes.rs"]
mod real_shapes;

use brickwork_compiler::golden;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::program::Program;
use brickwork_sim::image::{Image, RunOptions};
use brickwork_sim::machine::Machine;
use hdl_gen::{Arch, Config};
use real_shapes::network;

fn zynq() -> Arch {
    let text = include_str!("../../configs/zynq7020.toml");
    Arch::new(&Config::from_toml(text, "zynq7020.toml").expect("the configuration is correct"))
}

/// `tiny` with banks of so many words.
fn tiny(depth: u32) -> Arch {
    let text = include_str!("../../configs/tiny.toml");
    let mut config = Config::from_toml(text, "tiny.toml").expect("the configuration is correct");
    config.banks.depth = depth;
    config.check().expect("the depth is a valid one");
    Arch::new(&config)
}

/// Compiles and runs a network; cycles. Every tensor that the program stores must be the golden model's.
fn run(name: &str, all_tensors: bool) -> u64 {
    run_on(zynq(), name, all_tensors)
}

fn run_on(arch: Arch, name: &str, all_tensors: bool) -> u64 {
    let (graph, input) = network(name);
    let options = Options { all_tensors, ..Options::default() };
    let compiled = || -> Program { compile(&graph, &arch, &options).expect("compiles") };
    let program = compiled();
    assert_eq!(program, compiled(), "the same program every time");
    let inputs = [input];
    let mut image = Image::new(&program, &inputs).expect("the input fits");
    let options = RunOptions { watchdog_cycles: 200_000, ..RunOptions::default() };
    let result = Machine::new(&arch).run(&mut image, &options);
    assert_eq!(result.error, None);
    let expected = golden::run(&graph, &inputs).expect("the golden model runs");
    let outputs = program.info.outputs.iter().zip(program.unpack_output(&image.regions[2]));
    let mut stored = 0;
    for (t, codes) in program.unpack_intermediates(&image.regions[2]).into_iter().chain(outputs) {
        let wrong = (0..codes.len()).filter(|i| codes[*i] != expected[t.id][*i]).count();
        assert_eq!(wrong, 0, "{} of {} codes of {}", wrong, codes.len(), t.name);
        stored += 1;
    }
    assert_eq!(stored, graph.outputs.len() + if all_tensors { graph.nodes.len() } else { 0 });
    println!("{name}: {} cycles", result.cycles);
    result.cycles
}

/// A row of 31 pixels with 72 channels of 8 bits takes 2232 plane-words, five of them 11160; the banks hold 512.
#[test]
fn tensors_much_larger_than_the_banks_go_in_rectangles() {
    for all_tensors in [false, true] {
        run_on(tiny(128), "rectangles", all_tensors);
    }
}

#[test]
fn streams_longer_than_a_coordinate_counts() {
    for depth in [128, 2048] {
        for all_tensors in [false, true] {
            run_on(tiny(depth), "long", all_tensors);
        }
    }
}

macro_rules! networks {
    ($($name:ident, $limit:expr;)*) => {
        $(#[test]
        fn $name() {
            let cycles = run(stringify!($name), false);
            assert!(cycles <= $limit, "{cycles} cycles, {} allowed", $limit);
            run(stringify!($name), true);
        })*
    };
}

networks! {
    resnet8, 66_000;
    dscnn, 39_000;
    vww, 110_000;
    autoencoder, 19_500;
    ultranet, 382_000;
    slim320, 1_446_000;
}
