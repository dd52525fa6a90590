// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The published network TFC_1W2A on the generated RTL: pixels in, the reference's logits out, bit for bit.

use brickwork_compiler::import::import;
use brickwork_compiler::lower::{compile, Options};
use brickwork_compiler::npz::{read_npz, Array, Data};
use brickwork_sim::cosim::{BuildOptions, Cosim};
use brickwork_sim::image::{Image, MemoryTiming};
use hdl_gen::{Arch, Config};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn arch(config: &str) -> Arch {
    let path = root().join("configs").join(config).with_extension("toml");
    let text = std::fs::read_to_string(&path).unwrap();
    Arch::new(&Config::from_toml(&text, config).unwrap_or_else(|e| panic!("{config}: {e:?}")))
}

fn bits(array: &Array) -> Vec<u32> {
    match &array.data {
        Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
        other => panic!("float32 expected, not {other:?}"),
    }
}

/// Runs `digits` digits on the RTL of `config` and compares every logit.
fn digits_are_exact(config: &str, digits: usize, timing: MemoryTiming) {
    let arch = arch(config);
    let model = import(&root().join("models/TFC_1W2A.onnx")).unwrap_or_else(|e| panic!("{e:?}"));
    let vectors: BTreeMap<String, Array> =
        read_npz(&root().join("models/TFC_1W2A.vectors.npz")).unwrap().into_iter().collect();
    let program = compile(&model.graph, &arch, &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut cosim = Cosim::build(&arch, &BuildOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(digits <= vectors["input"].shape[0]);
    for i in 0..digits {
        let codes = model.encode(|_| vectors["input"].item(i)).unwrap();
        let mut image = Image::new(&program, &codes).unwrap();
        let run = cosim.run(&mut image, &timing).unwrap_or_else(|e| panic!("{config}, digit {i}: {e}"));
        assert_eq!(run.error, None, "{config}, digit {i}");
        let logits = model.decode(&program.unpack_output(&image.regions[2]));
        assert_eq!(bits(&logits[0]), bits(&vectors["expected"].item(i).unwrap()), "{config}, digit {i}");
        println!("{config}: digit {i} exact in {} cycles", run.cycles);
    }
}

#[test]
fn tiny_gives_the_references_logits() {
    digits_are_exact("tiny", 20, MemoryTiming::default());
}

#[test]
fn tiny_gives_them_with_a_memory_that_stalls() {
    digits_are_exact("tiny", 2, MemoryTiming { stall: 100, seed: 7, ..MemoryTiming::default() });
}

#[test]
#[ignore = "long: Verilator takes minutes to build the 2-bit bricks"]
fn two_bit_bricks_give_the_references_logits() {
    digits_are_exact("bitfusion", 20, MemoryTiming::default());
}

#[test]
fn zynq7020_gives_the_references_logits() {
    digits_are_exact("zynq7020", 20, MemoryTiming::default());
}
