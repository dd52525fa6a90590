// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small networks of QuantizeLinear / DequantizeLinear and of integer operators (see tools/make_onnx_cases.py), imported and
//! run by the golden model, against ONNX Runtime, bit for bit.

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::{Op, Rounding};
use brickwork_compiler::npz::{read_npz, Array, Data};
use std::path::PathBuf;

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

/// Integers as they are, floats as their bits.
fn bits(a: &Array) -> Vec<i64> {
    match &a.data {
        // -0 and +0 are one result: an integer has one zero.
        Data::F32(v) => v.iter().map(|x| (x + 0.0).to_bits() as i64).collect(),
        Data::I64(v) => v.clone(),
        _ => a.to_i32().expect("integers").into_iter().map(i64::from).collect(),
    }
}

fn check(name: &str) -> Imported {
    let model = import(&case(&format!("{name}.onnx"))).unwrap_or_else(|errors| {
        let list = errors.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        panic!("{name}: {}", list.join("\n"))
    });
    println!("{name}: {:?} {:#?}", kinds(&model), model.notes);
    let vectors = read_npz(&case(&format!("{name}.npz"))).unwrap();
    let array = |name: &str| &vectors.iter().find(|(n, _)| n == name).expect("array").1;
    let mut differing = 0;
    for i in 0..array("input").shape[0] {
        let codes = model.encode(|_| array("input").item(i)).unwrap();
        let results = model.decode(&golden::outputs(&model.graph, &codes).unwrap());
        for (r, result) in results.iter().enumerate() {
            let (got, expected) = (bits(result), bits(&array(&format!("expected_{r}")).item(i).unwrap()));
            assert_eq!(got.len(), expected.len());
            let wrong = got.iter().zip(&expected).filter(|(g, e)| g != e).count();
            if wrong > 0 {
                println!("item {i} result {r}: {wrong} of {} differ", got.len());
            }
            differing += wrong;
        }
    }
    assert_eq!(differing, 0, "{name}");
    model
}

fn kinds(model: &Imported) -> Vec<&'static str> {
    model.graph.nodes.iter().map(|n| n.op.kind()).collect()
}

#[test]
fn convolutions_between_quantizers_are_exact() {
    check("qdq_conv");
}

/// 24 of its 42 layers have channels for which no multiplier and shift gives what float32's rounding gives.
#[test]
fn the_face_detector_rounds_as_float32_does() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/face_slim320_qdq.onnx");
    let model = import(&file).expect("it is imported");
    let convs = model.graph.nodes.iter().filter_map(|n| match &n.op {
        Op::Conv(c) => Some(c.requant.rounding),
        _ => None,
    });
    assert_eq!(convs.collect::<Vec<_>>(), [Rounding::Float32; 42]);
    assert!(!model.notes.iter().any(|n| n.contains("pieces")), "{:?}", model.notes);
}

#[test]
fn unsigned_activations_and_weights_are_exact() {
    check("qdq_uint8");
}

#[test]
fn sums_joins_averages_and_curves_are_exact() {
    check("qdq_residual");
}

#[test]
fn one_dimensional_streams_are_exact() {
    check("qdq_stream");
}

#[test]
fn heads_joined_over_cells_are_exact() {
    check("qdq_heads");
}

#[test]
fn means_over_pixels_are_exact_and_a_quantizer_written_twice_is_one() {
    let model = check("qdq_shared");
    assert_eq!(kinds(&model), ["conv", "conv", "add", "sum_pool", "sum_pool", "conv"]);
}

#[test]
fn transposed_convolutions_and_pixels_made_of_channels_are_exact() {
    check("qdq_enlarging");
}

#[test]
fn a_last_average_of_what_nothing_quantizes_is_the_hosts() {
    assert_eq!(kinds(&check("average_last")), ["conv"]);
}

#[test]
fn operators_with_constants_are_exact() {
    check("operators_constants");
}

#[test]
fn the_operator_form_with_joins_and_softmax_is_exact() {
    check("operators_tail");
}

#[test]
fn the_operator_form_is_exact() {
    check("operators");
}

#[test]
fn integer_operators_are_exact() {
    let model = check("integers");
    assert_eq!(model.notes, Vec::<String>::new());
    let bits = model.graph.tensors.iter().map(|t| (t.ty.bits, t.ty.signed)).collect::<Vec<_>>();
    assert_eq!(bits[..3], [(8, false), (4, false), (4, false)]);
}

#[test]
fn a_detectors_decoding_is_the_hosts() {
    let model = check("detector");
    assert_eq!(model.results.len(), 2);
    assert!(model.notes.iter().any(|n| n.contains("softmax")), "{:?}", model.notes);
}
