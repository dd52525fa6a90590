// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The published QONNX network TFC_1W2A, imported and run by the golden model, against the reference's vectors.

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::Op;
use brickwork_compiler::npz::{read_npz, Array, Data};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn tfc() -> Imported {
    import(&models().join("TFC_1W2A.onnx")).unwrap_or_else(|e| panic!("{e:?}"))
}

fn vectors() -> BTreeMap<String, Array> {
    read_npz(&models().join("TFC_1W2A.vectors.npz")).unwrap().into_iter().collect()
}

fn bits(array: &Array) -> Vec<u32> {
    match &array.data {
        Data::F32(v) => v.iter().map(|x| x.to_bits()).collect(),
        other => panic!("float32 expected, not {other:?}"),
    }
}

fn floats(array: &Array) -> Vec<f32> {
    bits(array).into_iter().map(f32::from_bits).collect()
}

#[test]
fn logits_are_the_references_bit_for_bit() {
    let (model, vectors) = (tfc(), vectors());
    let digits = vectors["input"].shape[0];
    assert!(digits >= 20);
    for i in 0..digits {
        let codes = model.encode(|_| vectors["input"].item(i)).unwrap();
        let results = model.decode(&golden::outputs(&model.graph, &codes).unwrap());
        assert_eq!(bits(&results[0]), bits(&vectors["expected"].item(i).unwrap()), "digit {i}");
        assert_eq!(results[0].shape, [1, 10]);
    }
}

#[test]
fn every_quantizers_codes_are_the_references() {
    let (model, vectors) = (tfc(), vectors());
    let codes = model.encode(|_| vectors["input"].item(0)).unwrap();
    let values = golden::run(&model.graph, &codes).unwrap();
    let reference = |name: &str| floats(&vectors[name]).into_iter().map(|v| v as i32).collect::<Vec<_>>();
    let quantized = ["n07_Quant", "n10_Quant", "n13_Quant", "n16_Quant", "n17_MatMul"];
    let tensors = model.graph.inputs.iter().copied().chain(model.graph.nodes.iter().map(|n| n.op.output()));
    let tensors = tensors.collect::<Vec<_>>();
    assert_eq!(tensors.len(), quantized.len());
    for (t, name) in tensors.into_iter().zip(quantized) {
        assert_eq!(values[t], reference(name), "{name}");
    }
}

#[test]
fn weights_are_bipolar_and_activations_two_bits() {
    let model = tfc();
    assert_eq!(model.graph.nodes.len(), 4);
    assert_eq!(model.notes, Vec::<String>::new());
    for node in &model.graph.nodes {
        let Op::Conv(conv) = &node.op else { panic!("{} is no conv", node.name) };
        assert!(conv.weights.bipolar, "{}", node.name);
        let input = &model.graph.tensors[conv.input];
        assert_eq!((input.ty.bits, input.ty.signed), (2, true), "{}", node.name);
    }
}
