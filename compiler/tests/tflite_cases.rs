// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small TFLite networks of many shapes and operators against the results of TFLite's reference kernels
//! (`tools/make_tflite_cases.py`).
//!
//! Those of another folder besides:
//!
//!     BRICKWORK_TFLITE_CASES=build/cases cargo test -p brickwork-compiler --test tflite_cases

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::npz::{read_npz, Array};
use std::path::{Path, PathBuf};

fn array<'v>(vectors: &'v [(String, Array)], key: &str) -> &'v Array {
    &vectors.iter().find(|(k, _)| k == key).unwrap_or_else(|| panic!("{key} is there")).1
}

/// Codes of an operator's first output, for an array named `op03_CONV_2D_t25`; `None` where no node stands for it.
fn node_result<'v>(model: &Imported, values: &'v [Vec<i32>], key: &str) -> Option<&'v Vec<i32>> {
    let node = model.graph.nodes.iter().find(|n| key.starts_with(&format!("{}_t", n.name)))?;
    Some(&values[node.op.output()])
}

/// The first difference, in words.
fn differs(found: &[i32], expected: &[i32]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} values for {}", found.len(), expected.len()));
    }
    let wrong = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    let at = found.iter().zip(expected).position(|(a, b)| a != b)?;
    Some(format!("{wrong} of {} differ; at {at} {} for {}", found.len(), found[at], expected[at]))
}

fn check(path: &Path) -> Result<(), String> {
    let model =
        import(path).map_err(|e| e.iter().map(|e| format!("refused: {e}")).collect::<Vec<_>>().join("; "))?;
    let vectors = read_npz(&path.with_extension("npz")).expect("vectors are readable");
    // The arrays have the tensors' names where there are several.
    let input = |name: &str| array(&vectors, if model.inputs.len() == 1 { "input" } else { name });
    let expected = |name: &str| array(&vectors, if model.results.len() == 1 { "expected" } else { name });
    for i in 0..input(&model.inputs[0].name).shape[0] {
        let codes = model.encode(|name| input(name).item(i)).map_err(|e| e.to_string())?;
        let values = golden::run(&model.graph, &codes).map_err(|e| e.to_string())?;
        if i == 0 {
            for (key, expected) in vectors.iter().filter(|(k, _)| k.starts_with("op")) {
                let found = node_result(&model, &values, key).zip(expected.to_i32());
                if let Some(d) = found.and_then(|(f, e)| differs(f, &e)) {
                    return Err(format!("{key}: {d}"));
                }
            }
        }
        let outputs = model.graph.outputs.iter().map(|&t| values[t].clone()).collect::<Vec<_>>();
        for (o, result) in model.decode(&outputs).iter().enumerate() {
            let expected = expected(&model.results[o].name).item(i).expect("as many as inputs");
            match (result.to_i32(), expected.to_i32()) {
                (Some(f), Some(e)) => differs(&f, &e).map_or(Ok(()), |d| Err(format!("output {o}: {d}")))?,
                _ if result.data == expected.data => {}
                _ => return Err(format!("output {o}: floats differ")),
            }
        }
    }
    Ok(())
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).expect("folder is readable").map(|f| f.expect("entry").path());
    let mut models = files.filter(|p| p.extension().is_some_and(|e| e == "tflite")).collect::<Vec<_>>();
    models.sort();
    models
}

fn check_all(folder: &Path) -> usize {
    let all = models(folder);
    let failed = all.iter().filter_map(|p| Some((p, check(p).err()?))).collect::<Vec<_>>();
    failed.iter().for_each(|(p, e)| println!("{}: {e}", p.display()));
    assert!(failed.is_empty(), "{} of {} differ", failed.len(), all.len());
    all.len()
}

#[test]
fn cases_are_exact() {
    assert_eq!(check_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tflite")), 8);
    if let Some(folder) = std::env::var_os("BRICKWORK_TFLITE_CASES") {
        assert_ne!(check_all(Path::new(&folder)), 0, "BRICKWORK_TFLITE_CASES has networks");
    }
}
