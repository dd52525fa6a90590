// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any model and vectors by hand: the golden model against the reference.
//!
//!     BRICKWORK_MODEL=X.onnx BRICKWORK_VECTORS=X.npz cargo test -p brickwork-compiler --test external -- --ignored --nocapture

use brickwork_compiler::golden;
use brickwork_compiler::import::import;
use brickwork_compiler::npz::{read_npz, Array, Data};
use std::path::PathBuf;

fn variable(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("set {name}")))
}

fn floats(array: &Array) -> Vec<f32> {
    match &array.data {
        Data::F32(v) => v.clone(),
        other => panic!("float32 expected, not {other:?}"),
    }
}

#[test]
#[ignore = "takes a model and vectors from the environment"]
fn model_gives_the_expected_outputs() {
    let model = import(&variable("BRICKWORK_MODEL")).unwrap_or_else(|errors| {
        errors.iter().for_each(|e| println!("{e}"));
        panic!("{} errors", errors.len())
    });
    model.notes.iter().for_each(|n| println!("note: {n}"));
    let vectors = read_npz(&variable("BRICKWORK_VECTORS")).unwrap();
    let array = |name: &str| &vectors.iter().find(|(n, _)| n == name).expect("array").1;
    let (input, expected) = (array("input"), array("expected"));
    let mut differing = 0;
    let start = std::time::Instant::now();
    for i in 0..input.shape[0] {
        let codes = model.encode(|_| input.item(i)).unwrap();
        let got = model.decode(&golden::outputs(&model.graph, &codes).unwrap());
        let want = expected.item(i).unwrap();
        let pairs = floats(&got[0]).into_iter().zip(floats(&want)).collect::<Vec<_>>();
        let wrong = pairs.iter().filter(|(g, w)| g != w).count();
        let largest = pairs.iter().map(|(g, w)| (g - w).abs()).fold(0f32, f32::max);
        println!("item {i}: {wrong} of {} differ, largest difference {largest}", pairs.len());
        differing += wrong;
    }
    println!("{:?} for {} items", start.elapsed(), input.shape[0]);
    assert_eq!(differing, 0);
}
