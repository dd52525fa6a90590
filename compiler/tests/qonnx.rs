// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small QONNX networks (see tools/make_qonnx_cases.py), imported and run by the golden model, against the reference's
//! outputs, bit for bit.

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::Tensor;
use brickwork_compiler::npz::{read_npz, Array, Data};
use std::path::PathBuf;

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/qonnx").join(name)
}

fn bits(array: &Array) -> Vec<u32> {
    match &array.data {
        // -0 and +0 are one result: an integer has one zero.
        Data::F32(v) => v.iter().map(|x| (x + 0.0).to_bits()).collect(),
        other => panic!("float32 expected, not {other:?}"),
    }
}

fn check(name: &str) -> Imported {
    let model = import(&case(&format!("{name}.onnx"))).unwrap_or_else(|errors| {
        let list = errors.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        panic!("{}", list.join("\n"))
    });
    let vectors = read_npz(&case(&format!("{name}.npz"))).unwrap();
    let array = |name: &str| &vectors.iter().find(|(n, _)| n == name).expect("array").1;
    for i in 0..array("input").shape[0] {
        let codes = model.encode(|_| array("input").item(i)).unwrap();
        let results = model.decode(&golden::outputs(&model.graph, &codes).unwrap());
        assert_eq!(bits(&results[0]), bits(&array("expected").item(i).unwrap()), "{name}: item {i}");
    }
    model
}

fn kinds(model: &Imported) -> Vec<&'static str> {
    model.graph.nodes.iter().map(|n| n.op.kind()).collect()
}

#[test]
fn convolutions_of_all_kinds_are_exact() {
    let model = check("convolutions");
    // The copy is the ReLU behind a quantizer.
    assert_eq!(kinds(&model), ["conv", "conv", "copy", "conv", "max_pool", "conv"]);
}

#[test]
fn sums_concatenations_and_averages_are_exact() {
    let model = check("residual");
    assert_eq!(kinds(&model), ["conv", "conv", "add", "conv", "concat", "sum_pool", "conv", "sum_pool"]);
}

#[test]
fn bipolar_activations_are_exact() {
    let model = check("bipolar");
    assert_eq!(kinds(&model), ["conv"; 4]);
    let bits = model.graph.tensors.iter().map(|t| t.ty.bits).collect::<Vec<_>>();
    assert_eq!(bits, [1, 1, 2, 1, 32]);
}

#[test]
fn codes_finer_than_the_accumulator_get_larger_weights() {
    let model = check("steep");
    assert_eq!(kinds(&model), ["conv", "max_pool", "max_pool"]);
    assert!(model.notes.iter().any(|n| n.contains("weights enlarged")), "{:?}", model.notes);
}

#[test]
fn uneven_thresholds_are_exact() {
    let model = check("thresholds");
    assert!(model.notes.iter().any(|n| n.contains("pieces")), "{:?}", model.notes);
    assert!(model.graph.tensors.iter().any(|t| t.ty.bits == 1), "bipolar activations take one bit");
}

#[test]
fn few_bit_perceptrons_with_truncation_and_tables_are_exact() {
    check("perceptron");
}

#[test]
fn one_dimensional_depthwise_streams_are_exact() {
    check("stream");
}

#[test]
fn last_layers_that_nothing_quantizes_add_as_the_reference_does() {
    for name in ["brevitas", "product", "pooled"] {
        let model = check(name);
        assert!(model.tail.iter().any(|n| n.op.kind() == "product"), "{name}: {:?}", model.notes);
    }
}

#[test]
fn networks_as_the_package_rewrites_them_are_the_same() {
    let nodes = kinds(&check("brevitas"));
    for name in ["channels_last", "extracted"] {
        assert_eq!(kinds(&check(name)), nodes, "{name}");
    }
    let model = check("qcdq");
    let bits = |t: &Tensor| t.ty.bits;
    assert_eq!(
        model.graph.tensors.iter().map(bits).collect::<Vec<_>>(),
        [8, 4, 4, 4, 6],
        "{:?}",
        kinds(&model)
    );
}
