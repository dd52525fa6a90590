// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real ONNX networks (see docs/semantics.md): every vector and every given intermediate, on the golden model.
//!
//! Networks that the repository does not ship lie in the directory `BRICKWORK_MODELS`, or in `../shared/models` beside the
//! repository; where they are missing, the test says so and passes.

use brickwork_compiler::golden;
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::ir::*;
use brickwork_compiler::npz::{read_npz, Array, Data};
use brickwork_compiler::requant::identity;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn find(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = std::env::var_os("BRICKWORK_MODELS").map(PathBuf::from);
    let places = own.into_iter().chain([root.join("models"), root.join("../shared/models")]);
    let found = places.map(|p| p.join(name)).find(|p| p.exists());
    if found.is_none() {
        println!("skipped: {name} is not there; set BRICKWORK_MODELS to its directory");
    }
    found
}

struct Net {
    model: Imported,
    vectors: BTreeMap<String, Array>,
}

fn load(model: &str, vectors: &[&str]) -> Option<Net> {
    let start = std::time::Instant::now();
    let path = find(model)?;
    let mut all = BTreeMap::new();
    for v in vectors {
        all.extend(read_npz(&find(v)?).unwrap());
    }
    let model = import(&path).unwrap_or_else(|errors| {
        let list = errors.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        panic!("{}", list.join("\n"))
    });
    println!("imported in {:?}; notes: {:#?}", start.elapsed(), model.notes);
    Some(Net { model, vectors: all })
}

/// Integers of an array in C order, whatever their type.
fn integers(a: &Array) -> Vec<i64> {
    match &a.data {
        Data::I8(v) => v.iter().map(|&x| x as i64).collect(),
        Data::U8(v) => v.iter().map(|&x| x as i64).collect(),
        Data::I16(v) => v.iter().map(|&x| x as i64).collect(),
        Data::I32(v) => v.iter().map(|&x| x as i64).collect(),
        Data::I64(v) => v.clone(),
        other => panic!("integers expected, not {other:?}"),
    }
}

fn bits(a: &Array) -> Vec<u32> {
    match &a.data {
        Data::F32(v) => v.iter().map(|x| (x + 0.0).to_bits()).collect(),
        other => panic!("float32 expected, not {}", other.descr()),
    }
}

/// Codes `[y][x][c]` as `[c][y][x]`.
fn planar(codes: &[i32], [h, w, c]: [usize; 3]) -> Vec<i64> {
    (0..c).flat_map(|ch| (0..h * w).map(move |p| codes[p * c + ch] as i64)).collect()
}

/// What a node of the model became: its tensor.
fn tensor(net: &Net, node: &str) -> usize {
    let found = net.model.graph.nodes.iter().find(|n| n.name == node);
    found.unwrap_or_else(|| panic!("the graph has no node {node}")).op.output()
}

/// The codes of a tensor in the order of the reference.
fn codes(net: &Net, values: &[Vec<i32>], name: &str) -> Vec<i64> {
    let t = tensor(net, name);
    planar(&values[t], net.model.graph.tensors[t].shape)
}

/// The accumulators of a convolution, for the codes of its input.
fn accumulators(net: &Net, values: &[Vec<i32>], node: &str) -> Vec<i64> {
    let graph = &net.model.graph;
    let found = graph.nodes.iter().find(|n| n.name == node).expect("the node");
    let Op::Conv(conv) = &found.op else { panic!("{node} is no convolution") };
    let mut conv = conv.clone();
    let mut tensors = vec![graph.tensors[conv.input].clone(), graph.tensors[conv.output].clone()];
    let codes = values[conv.input].clone();
    tensors[1].ty = IntType::RAW;
    conv.requant.raw = true;
    conv.requant.rounding = Rounding::Floor;
    conv.requant.channels.fill(identity(Rounding::Floor));
    let shape = tensors[1].shape;
    (conv.input, conv.output) = (0, 1);
    let nodes = vec![Node { name: node.into(), op: Op::Conv(conv) }];
    let one = Graph { name: "one".into(), tensors, nodes, inputs: vec![0], outputs: vec![1] };
    planar(&golden::outputs(&one, &[codes]).unwrap()[0], shape)
}

fn same(name: &str, got: &[i64], expected: &[i64]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let wrong = got.iter().zip(expected).filter(|(g, e)| g != e).count();
    let first = got.iter().zip(expected).position(|(g, e)| g != e);
    assert_eq!(wrong, 0, "{name}: {wrong} of {} differ, first at {first:?}", got.len());
}

#[test]
fn ultranet_int_is_exact() {
    let Some(net) = load("ultranet_int.onnx", &["ultranet_int.vectors.npz"]) else { return };
    for i in 0..3 {
        let input = net.vectors["input"].item(i).unwrap();
        let codes_in = net.model.encode(|_| Some(input.clone())).unwrap();
        let start = std::time::Instant::now();
        let values = golden::run(&net.model.graph, &codes_in).unwrap();
        println!("input {i}: {:?}", start.elapsed());
        let outputs = net.model.graph.outputs.iter().map(|&t| values[t].clone()).collect::<Vec<_>>();
        let results = net.model.decode(&outputs);
        same("head", &integers(&results[0]), &integers(&net.vectors["expected"].item(i).unwrap()));
        if i == 0 {
            for l in 0..8 {
                let expected = |kind: &str| integers(&net.vectors[&format!("mid_{kind}{l}")]);
                same("conv", &codes(&net, &values, &format!("acc{l}")), &expected("conv"));
                if l < 4 {
                    same("pool", &codes(&net, &values, &format!("pool{l}")), &expected("pool"));
                }
                if l >= 3 {
                    same("acc", &accumulators(&net, &values, &format!("acc{l}")), &expected("acc"));
                }
            }
        }
    }
}

#[test]
fn ultranet_qonnx_is_exact() {
    let Some(net) = load("ultranet_qonnx.onnx", &["ultranet_int.vectors.npz", "ultranet_qonnx.vectors.npz"])
    else {
        return;
    };
    let Some(int) = load("ultranet_int.onnx", &["ultranet_int.vectors.npz"]) else { return };
    for i in 0..3 {
        let bytes = int.vectors["input"].item(i).unwrap();
        let floats = integers(&bytes).iter().map(|&b| b as f32 / 255.0).collect();
        let input = Array::f32(bytes.shape.clone(), floats).unwrap();
        let codes_in = net.model.encode(|_| Some(input.clone())).unwrap();
        let values = golden::run(&net.model.graph, &codes_in).unwrap();
        let outputs = net.model.graph.outputs.iter().map(|&t| values[t].clone()).collect::<Vec<_>>();
        let results = net.model.decode(&outputs);
        if i == 0 {
            for l in 1..8 {
                same(
                    "a",
                    &codes(&net, &values, &format!("c{l}")),
                    &integers(&net.vectors[&format!("mid_a{l}")]),
                );
            }
        }
        let got = bits(&results[0]);
        let expected = bits(&net.vectors["expected"].item(i).unwrap());
        let wrong = got.iter().zip(&expected).filter(|(g, e)| g != e).count();
        assert_eq!(wrong, 0, "input {i}: {wrong} of {} differ", got.len());
    }
}

#[test]
fn face_detector_is_exact() {
    let Some(net) = load("face_slim320_qdq.onnx", &["face_slim320_qdq.vectors.npz"]) else { return };
    let mut mids = 0;
    for i in 0..3 {
        let rgb = net.vectors["input_rgb_u8"].item(i).unwrap();
        let pixels = integers(&rgb);
        let value = |c: usize, p: usize| (pixels[p * 3 + c] as f32 - 127.0) / 128.0;
        let floats =
            (0..3).flat_map(|c| (0..240 * 320).map(move |p| (c, p))).map(|(c, p)| value(c, p)).collect();
        let input = Array::f32(vec![3, 240, 320], floats).unwrap();
        let codes_in = net.model.encode(|_| Some(input.clone())).unwrap();
        let values = golden::run(&net.model.graph, &codes_in).unwrap();
        let outputs = net.model.graph.outputs.iter().map(|&t| values[t].clone()).collect::<Vec<_>>();
        let results = net.model.decode(&outputs);
        let mut vectors = net.vectors.iter().collect::<Vec<_>>();
        vectors.sort_by_key(|(name, _)| !name.starts_with("mid"));
        for (name, expected) in vectors {
            let node = name.split_once('_').map_or("", |n| n.1);
            if name.starts_with("head") {
                same(name, &codes(&net, &values, node), &integers(&expected.item(i).unwrap()));
            } else if name.starts_with("mid_conv") && i == 0 {
                let node = node.split_once('_').map_or("", |n| n.1);
                same(name, &codes(&net, &values, node), &integers(&expected.item(0).unwrap()));
                mids += 1;
            }
        }
        if i == 0 {
            assert_eq!(mids, 42);
            let t = net.model.graph.inputs[0];
            let got = planar(&values[t], net.model.graph.tensors[t].shape);
            same("mid_in0", &got, &integers(&net.vectors["mid_in0"]));
        }
        assert_eq!(results.len(), 2);
        for (result, named) in results.iter().zip(&net.model.results) {
            let name = &named.name;
            let expected = &net.vectors[&format!("expected_{name}")];
            let wrong = bits(result)
                .into_iter()
                .zip(bits(&expected.item(i).unwrap()))
                .filter(|(g, e)| g != e)
                .count();
            assert_eq!(wrong, 0, "{name} of input {i}: {wrong} differ");
        }
    }
}
