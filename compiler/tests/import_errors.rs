// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Damaged and unsupported models: errors with a place, never a panic.

#[path = "support/random.rs"]
mod random;

use brickwork_compiler::import::{import, ImportError};
use brickwork_compiler::onnx;
use onnx_rs::ast::*;
use random::Random;
use std::path::{Path, PathBuf};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn errors(bytes: &[u8]) -> Vec<String> {
    let Err(list) = onnx::import("model", bytes) else { panic!("must be refused") };
    list.iter().map(ImportError::to_string).collect()
}

#[test]
fn damaged_files_never_panic() {
    for name in ["tests/qonnx/convolutions.onnx", "tests/qonnx/residual.onnx", "tests/qonnx/bipolar.onnx"] {
        let bytes = file(name);
        for seed in 1..=400u64 {
            let mut r = Random::of(seed);
            let mut damaged = bytes.clone();
            for _ in 0..1 + r.below(6) {
                let at = r.below(damaged.len());
                damaged[at] = r.next() as u8;
            }
            if seed % 4 == 0 {
                damaged.truncate(r.below(bytes.len()));
            }
            let outcome =
                std::panic::catch_unwind(|| onnx::import("model", &damaged).map(|m| m.graph.check()));
            match outcome {
                Ok(Ok(check)) => assert_eq!(check, Ok(()), "{name} seed {seed}"),
                Ok(Err(list)) => assert!(!list.is_empty(), "{name} seed {seed}"),
                Err(_) => panic!("{name}, seed {seed}: panicked"),
            }
        }
    }
}

#[test]
fn truncated_files_are_errors() {
    let bytes = file("tests/qonnx/bipolar.onnx");
    let whole = onnx::import("model", &bytes).unwrap();
    for end in 0..bytes.len() {
        // The operator set imports stand last and may be missing.
        match onnx::import("model", &bytes[..end]) {
            Ok(model) => assert_eq!(model, whole, "cut at {end}"),
            Err(list) => assert!(!list.is_empty(), "cut at {end}"),
        }
    }
    assert!(onnx::import("model", &bytes[..bytes.len() - 60]).is_err());
}

#[test]
fn missing_files_and_other_formats_are_errors() {
    let text = |path: &str| import(Path::new(path)).unwrap_err()[0].to_string();
    assert!(text("no/such.onnx").starts_with("no/such.onnx: "));
    assert!(text("model.xyz").contains("unknown model format"));
}

fn input(dims: &[i64]) -> ValueInfo<'static> {
    let dim = |&v: &i64| TensorShapeDimension { value: Dimension::Value(v), denotation: "" };
    let shape = Some(TensorShape { dim: dims.iter().map(dim).collect() });
    let value = Some(TypeValue::Tensor(TensorTypeProto { elem_type: DataType::Float, shape }));
    ValueInfo { name: "x", r#type: Some(TypeProto { value, denotation: "" }), ..Default::default() }
}

fn node(op: &'static str, inputs: &[&'static str], output: &'static str) -> Node<'static> {
    let op_type = OpType::from(op);
    Node { name: output, op_type, input: inputs.to_vec(), output: vec![output], ..Default::default() }
}

fn scalars() -> Vec<TensorProto<'static>> {
    let scalar = |name, v| TensorProto::from_f32(name, vec![], vec![v]);
    vec![scalar("one", 1.0), scalar("zero", 0.0), scalar("two", 2.0), scalar("forty", 40.0)]
}

fn model(nodes: Vec<Node<'static>>, weights: Vec<TensorProto<'static>>, output: &'static str) -> Vec<u8> {
    let graph = Graph {
        name: "g",
        node: nodes,
        input: vec![input(&[1, 4])],
        output: vec![ValueInfo { name: output, ..Default::default() }],
        initializer: scalars().into_iter().chain(weights).collect(),
        ..Default::default()
    };
    onnx_rs::encode(&Model { ir_version: 8, graph: Some(graph), ..Default::default() })
}

fn quant(input: &'static str, output: &'static str) -> Node<'static> {
    let mut n = node("Quant", &[input, "one", "zero", "two"], output);
    n.domain = "onnx.brevitas";
    n
}

fn square() -> Vec<TensorProto<'static>> {
    vec![TensorProto::from_f32("w", vec![4, 4], (0..16).map(|i| (i % 3) as f32 - 1.0).collect())]
}

#[test]
fn the_smallest_network_is_accepted() {
    let bytes = model(vec![quant("x", "q"), node("MatMul", &["q", "w"], "y")], square(), "y");
    let imported = onnx::import("small", &bytes).unwrap();
    assert_eq!(imported.graph.nodes.len(), 1);
}

#[test]
fn all_unsupported_operators_are_named_at_once() {
    let nodes = vec![
        quant("x", "q"),
        node("Det", &["q"], "a"),
        node("MatMul", &["a", "w"], "b"),
        node("NonZero", &["b"], "y"),
    ];
    let list = errors(&model(nodes, square(), "y"));
    assert_eq!(
        list,
        ["a (Det): this operator is not supported", "y (NonZero): this operator is not supported"]
    );
}

#[test]
fn foreign_domains_are_refused() {
    let mut foreign = quant("x", "q");
    foreign.domain = "com.example";
    let list = errors(&model(vec![foreign, node("MatMul", &["q", "w"], "y")], square(), "y"));
    assert_eq!(list, ["q (Quant): operator domain \"com.example\" is not supported"]);
}

#[test]
fn floats_that_no_quantizer_made_are_refused() {
    let list = errors(&model(vec![node("MatMul", &["x", "w"], "y")], square(), "y"));
    assert_eq!(
        list,
        ["y (MatMul): its input is not quantized: a Quant or BipolarQuant is missing before it"]
    );
    let halves = vec![TensorProto::from_f32("w", vec![4, 4], vec![0.5; 16])];
    let list = errors(&model(vec![quant("x", "q"), node("MatMul", &["q", "w"], "y")], halves, "y"));
    assert_eq!(list, ["y (MatMul): weight 0.5 is no integer of 16 bits: a Quant is missing"]);
}

#[test]
fn widths_and_shapes_are_checked() {
    let mut wide = quant("x", "q");
    wide.input[3] = "forty";
    let list = errors(&model(vec![wide, node("MatMul", &["q", "w"], "y")], square(), "y"));
    assert_eq!(list, ["q (Quant): bit width 40: 1 to 16, a whole number, is supported"]);
    let odd = vec![TensorProto::from_f32("w", vec![3, 4], vec![1.0; 12])];
    let list = errors(&model(vec![quant("x", "q"), node("MatMul", &["q", "w"], "y")], odd, "y"));
    assert!(list[0].starts_with("y (MatMul): input of shape [1, 4]"), "{list:?}");
    let list = errors(&model(vec![quant("x", "q"), node("MatMul", &["q", "nowhere"], "y")], square(), "y"));
    assert_eq!(list, ["y (MatMul): reads tensor \"nowhere\", which nothing before it gives"]);
}
