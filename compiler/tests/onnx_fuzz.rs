// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Damaged ONNX files: an import gives a graph that keeps all rules, or errors; it never panics, hangs or takes memory without
//! bound.

#[path = "support/random.rs"]
mod random;

use brickwork_compiler::onnx;
use random::Random;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Small files of every kind.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = Vec::new();
    for directory in ["qonnx", "onnx"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "onnx") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 12);
    found
}

/// Bytes changed, cut out, repeated, swapped; small numbers made large and names exchanged.
fn damaged(bytes: &[u8], r: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + r.below(5) {
        if out.is_empty() {
            break;
        }
        let at = r.below(out.len());
        let length = 1 + r.below(12).min(out.len() - at - 1);
        match r.below(8) {
            0 => out[at] = r.below(256) as u8,
            1 => out[at] ^= 1 << r.below(8),
            2 => drop(out.drain(at..at + length)),
            3 => {
                let piece = out[at..at + length].to_vec();
                let to = r.below(out.len());
                out.splice(to..to, piece);
            }
            4 => out[at..at + length].fill(255),
            5 => {
                let other = r.below(out.len());
                out.swap(at, other);
            }
            6 => out[at] = out[at].wrapping_add(1),
            _ => out.truncate(out.len() - r.below(out.len() / 4 + 1)),
        }
    }
    out
}

/// Imports `count` damaged files; returns how many were still accepted.
fn fuzz(count: usize, first_seed: u64) -> usize {
    let files = seeds();
    let mut accepted = 0;
    for i in 0..count {
        let seed = first_seed + i as u64;
        let mut r = Random::of(seed);
        let (name, bytes) = &files[i % files.len()];
        let file = damaged(bytes, &mut r);
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| onnx::import("model", &file));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{name}, seed {seed}: took {took:?}");
        match outcome {
            Ok(Ok(model)) => {
                assert_eq!(model.graph.check(), Ok(()), "{name}, seed {seed}");
                accepted += 1;
            }
            Ok(Err(errors)) => assert!(!errors.is_empty(), "{name}, seed {seed}"),
            Err(_) => panic!("{name}, seed {seed}: panicked"),
        }
    }
    accepted
}

#[test]
fn damaged_files_give_graphs_or_errors() {
    let accepted = fuzz(3000, 1);
    println!("{accepted} of 3000 damaged files are still networks");
    assert!(accepted > 100);
}

#[test]
#[ignore = "long: 100 000 files"]
fn damaged_files_by_the_hundred_thousand() {
    let accepted = fuzz(100_000, 1_000_000);
    println!("{accepted} of 100000 damaged files are still networks");
}

/// A field of a protocol buffer that holds bytes.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = body.len();
    while length >= 128 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(body);
    out
}

/// Found by damaged files: a node without outputs made the importer panic.
#[test]
fn nodes_without_outputs_are_refused() {
    // NodeProto: input 1, op_type 4; GraphProto: node 1
    for op in ["Relu", "Concat", "QuantizeLinear", "Split", "TopK"] {
        let node = [field(1, b"x"), field(4, op.as_bytes())].concat();
        assert!(onnx::import("model", &field(7, &field(1, &node))).is_err(), "{op}");
    }
}

/// Graphs within attributes within graphs: refused by depth, not by the stack's end.
#[test]
fn nested_graphs_are_refused() {
    let mut graph = Vec::new();
    for _ in 0..20_000 {
        // AttributeProto.g in NodeProto.attribute in GraphProto.node
        graph = field(1, &field(5, &field(6, &graph)));
        if graph.len() > 4_000_000 {
            break;
        }
    }
    assert!(onnx::import("model", &field(7, &graph)).is_err());
}
