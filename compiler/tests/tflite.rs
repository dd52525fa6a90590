// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MLPerf Tiny's networks against the vectors of TFLite's reference kernels: every output of every input, and every
//! operator's output of the first.

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::npz::{read_npz, Array};
use std::path::{Path, PathBuf};

fn model(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(file)
}

fn element(array: &Array, i: usize) -> Vec<i32> {
    let count = array.shape[1..].iter().product::<usize>();
    array.to_i32().expect("integers")[i * count..(i + 1) * count].to_vec()
}

/// The result of a node named `op03_...`, for a vector named `op03_CONV_2D_t25`; `None` where the operator is the host's.
fn node_result<'v>(model: &Imported, values: &'v [Vec<i32>], name: &str) -> Option<&'v Vec<i32>> {
    let node = model.graph.nodes.iter().find(|n| name.starts_with(&format!("{}_t", n.name)))?;
    Some(&values[node.op.output()])
}

/// Exact on all vectors; the number of intermediate tensors compared.
fn exact(name: &str) -> usize {
    let imported = import(&model(&format!("{name}.tflite"))).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let vectors = read_npz(&model(&format!("{name}.vectors.npz"))).expect("vectors are readable");
    let of = |key: &str| &vectors.iter().find(|(k, _)| k == key).expect("array is there").1;
    let (input, expected) = (of("input"), of("expected"));
    let mut compared = 0;
    for i in 0..input.shape[0] {
        let values = golden::run(&imported.graph, &[element(input, i)]).expect("runs");
        let codes = imported.graph.outputs.iter().map(|&t| values[t].clone()).collect::<Vec<_>>();
        let results = imported.decode(&codes);
        assert_eq!(results[0].to_i32().expect("codes"), element(expected, i), "{name}, input {i}");
        if i > 0 {
            continue;
        }
        for (key, array) in vectors.iter().filter(|(k, _)| k.starts_with("op")) {
            if let Some(found) = node_result(&imported, &values, key) {
                assert_eq!(found, &array.to_i32().expect("codes"), "{name}, {key}");
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn autoencoder() {
    assert_eq!(exact("ad01_int8"), 10);
}

#[test]
fn residual_network() {
    assert_eq!(exact("pretrainedResnet_quant"), 11);
}

#[test]
fn keyword_spotting() {
    assert_eq!(exact("kws_ref_model"), 11);
}

#[test]
fn visual_wake_words() {
    assert_eq!(exact("vww_96_int8"), 29);
}
