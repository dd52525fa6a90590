// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fast golden model gives what the reference gives: on random graphs, at the ends of all ranges, in threads and
//! batches, and (long) on every tensor of the real networks; with every instruction set that this processor has.

use brickwork_compiler::golden::{reference, GoldenError, Instructions, Plan};
use brickwork_compiler::import::import;
use brickwork_compiler::ir::*;
use hdl_gen::numfmt::float32_multiplier;
use std::path::PathBuf;

#[allow(dead_code)]
#[path = "support/random_graphs.rs"]
mod random_graphs;

use random_graphs::{random_case, Kind, Rng};

/// Nodes that were compared, and those among them that the plan left to the reference.
#[derive(Default)]
struct Count {
    nodes: usize,
    by_reference: usize,
}

/// Compares all tensors, or the errors, for every instruction set.
fn compare(graph: &Graph, inputs: &[Vec<i32>], at: &str, count: &mut Count) {
    let expected = reference::run(graph, inputs);
    for with in Instructions::available() {
        let plan = Plan::with(graph, with).expect("a checked graph has a plan");
        let got = plan.run(inputs);
        let Some(wrong) = first_difference(graph, &expected, &got) else { continue };
        panic!("{at}, {}: {wrong}", with.name());
    }
    count.nodes += graph.nodes.len();
    count.by_reference += Plan::new(graph).expect("a plan").by_reference().len();
}

type Values = Result<Vec<Vec<i32>>, GoldenError>;

fn first_difference(graph: &Graph, expected: &Values, got: &Values) -> Option<String> {
    let (Ok(expected), Ok(got)) = (expected, got) else {
        return (expected != got).then(|| format!("expected {expected:?}, got {got:?}"));
    };
    let t = (0..expected.len()).find(|&t| expected[t] != got[t])?;
    let i = expected[t].iter().zip(&got[t]).position(|(e, g)| e != g);
    let values = i.map(|i| (expected[t][i], got[t][i]));
    Some(format!("tensor {} at {i:?}: {values:?} of {graph:#?}", graph.tensors[t].name))
}

fn random_graphs_agree(seeds: std::ops::Range<u64>, size: usize) {
    let mut count = Count::default();
    for seed in seeds {
        for kind in Kind::ALL {
            let (graph, inputs) = random_case(seed, kind, size);
            compare(&graph, &inputs, &format!("{kind:?}, seed {seed}, size {size}"), &mut count);
        }
    }
    println!("{} nodes, {} of them by reference", count.nodes, count.by_reference);
    assert!(count.by_reference * 2 < count.nodes, "most random layers take the fast path");
}

#[test]
fn random_layers_and_networks() {
    random_graphs_agree(0..60, 9);
}

#[test]
#[ignore = "minutes: make test-long"]
fn many_random_layers_and_networks() {
    random_graphs_agree(1_000..2_500, 9);
    random_graphs_agree(10_000..10_200, 24);
}

fn one_conv(conv: Conv, input: Tensor, output: Tensor) -> Graph {
    Graph {
        name: "one".into(),
        tensors: vec![input, output],
        nodes: vec![Node { name: "conv".into(), op: Op::Conv(conv) }],
        inputs: vec![0],
        outputs: vec![1],
    }
}

fn tensor(name: &str, shape: [usize; 3], ty: IntType) -> Tensor {
    Tensor { name: name.into(), shape, ty, scale: 1.0, zero_point: 0 }
}

/// Parameters whose biased accumulators stay within 32 bits, often just so, where codes are at most `reach`.
fn params(rng: &mut Rng, weight: i64, reach: i64) -> ChannelParams {
    let room = (1i64 << 31) - 1 - reach * weight.abs();
    let bias = rng.range(-room, room);
    let (multiplier, addend) = (rng.next() as i32, rng.next() as u32);
    let shift = rng.size(0, 63) as u8;
    ChannelParams {
        bias: rng.pick(&[0, 1, -1, room, -room, bias, bias >> 16]) as i32,
        multiplier: rng.pick(&[i32::MIN + 1, i32::MAX, 1 << 30, 0, 1, -1, multiplier, multiplier]),
        addend: rng.pick(&[0, u32::MAX, addend]),
        shift: rng.pick(&[0, 1, 2, 8, 30, 31, 32, 33, 62, 63, shift, shift % 24, shift % 24]),
    }
}

/// For float32 mantissas of 24 bits and sums that have no more, so that products lie beside halves often.
fn params_for(rounding: Rounding, rng: &mut Rng, weight: i64, reach: i64) -> ChannelParams {
    if rounding != Rounding::Float32 {
        return params(rng, weight, reach);
    }
    let little = 1f32 + f32::EPSILON * rng.range(-3, 3) as f32;
    let scale = little * 0.5f32.powi(rng.size(1, 20) as i32) * rng.pick(&[1.0, 0.75, 0.99]);
    let (multiplier, shift) = float32_multiplier(scale).expect("between 2^-22 and 1");
    let bias = rng.range(-(1 << 23), 1 << 23) as i32;
    ChannelParams { bias: rng.pick(&[0, 1, bias, bias >> 8]), multiplier, addend: 0, shift }
}

/// Every code of a byte, times a weight per channel, through requantizations at the ends of their ranges.
#[test]
fn requantizations_at_the_ends_of_their_ranges() {
    let (mut beyond, mut floats) = (0, 0);
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let ty = IntType { bits: 8, signed: rng.one_in(2) };
        let rounding = Rounding::ALL[seed as usize % Rounding::ALL.len()];
        let channels = 37;
        let weights: Vec<i32> = (0..channels).map(|_| rng.pick(&[1, -1, 127, -128, 3])).collect();
        let bits = rng.pick(&[1, 4, 8, 12, 16]);
        let out = IntType { bits, signed: rng.one_in(2) };
        let (lo, hi) = out.range();
        let raw = rng.one_in(4);
        // Beyond 32 bits the fast path has the roundings that add and shift once.
        let floor = matches!(rounding, Rounding::Floor | Rounding::HalfUp);
        let reach = if floor && rng.one_in(3) { 0 } else { 256 };
        let requant = Requant {
            channels: weights.iter().map(|&w| params_for(rounding, &mut rng, w as i64, reach)).collect(),
            rounding,
            zero_point: rng.pick(&[0, 3, -128, 65535, -65536]),
            clamp: (lo as i32, hi as i32),
            table: (bits == 8 && rng.one_in(3)).then(|| (0..256).map(|_| rng.code(out) as i16).collect()),
            raw,
        };
        let w = IntType { bits: 8, signed: true };
        let conv = Conv {
            input: 0,
            output: 1,
            weights: Weights { shape: [channels, 1, 1, 1], data: weights, ty: w, bipolar: false },
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            groups: 1,
            requant,
        };
        let out = if raw { IntType::RAW } else { out };
        let g = one_conv(conv, tensor("in", [4, 64, 1], ty), tensor("out", [4, 64, channels], out));
        let (lo, hi) = ty.range();
        let codes = (lo..=hi).map(|c| c as i32).collect::<Vec<_>>();
        let mut count = Count::default();
        compare(&g, &[codes], &format!("seed {seed}, {rounding:?}"), &mut count);
        // Of float32 there remain results beyond 16 bits.
        let float = rounding == Rounding::Float32;
        assert!(count.by_reference == 0 || reach == 0 || float, "seed {seed}: 32 bits suffice");
        beyond += (reach == 0 && count.by_reference == 0) as usize;
        floats += (float && count.by_reference == 0) as usize;
    }
    assert!(floats > 10, "most float32 layers take the fast path");
    assert!(beyond > 5, "some channels beyond 32 bits take the fast path, too");
}

/// Sums at the ends of what 32 bits hold, and beyond, from the largest codes and weights.
#[test]
fn sums_at_the_ends_of_32_bits() {
    let types = [
        (8, true, 8, true),
        (8, false, 8, true),
        (8, false, 8, false),
        (16, true, 16, true),
        (15, false, 16, true),
    ];
    for (bits, signed, wbits, wsigned) in types {
        let (ty, wty) = (IntType { bits, signed }, IntType { bits: wbits, signed: wsigned });
        let most = ty.range().1.max(-ty.range().0) * wty.range().1.max(-wty.range().0);
        let fits = (i32::MAX as i64 / most) as usize;
        for terms in [1, 2, 3, 5, 8, fits.min(3000), fits.min(3000) + 1] {
            for (groups, kernel) in [(1, 1), (1, 3), (3, 1)] {
                ends(ty, wty, terms.div_ceil(kernel * kernel), groups, kernel);
            }
        }
    }
}

fn ends(ty: IntType, wty: IntType, terms: usize, groups: usize, kernel: usize) {
    let (lo, hi, wlo, whi) =
        (ty.range().0 as i32, ty.range().1 as i32, wty.range().0 as i32, wty.range().1 as i32);
    let taps = kernel * kernel * terms;
    let data = [wlo, whi, 0, wlo, whi, -(wty.signed as i32)].map(|w| vec![w; taps]).concat();
    let params = ChannelParams { bias: 0, multiplier: 1 << 30, addend: 0, shift: 0 };
    let conv = Conv {
        input: 0,
        output: 1,
        weights: Weights { shape: [6, kernel, kernel, terms], data, ty: wty, bipolar: false },
        stride: [1, 1],
        dilation: [1, 1],
        pads: [kernel - 1; 4],
        pad_code: lo,
        groups,
        requant: Requant {
            channels: vec![params; 6],
            rounding: Rounding::HalfUp,
            zero_point: 0,
            clamp: (0, 0),
            table: None,
            raw: true,
        },
    };
    let shape = [2, 2, terms * groups];
    let output = tensor("out", [1 + kernel, 1 + kernel, 6], IntType::RAW);
    let g = one_conv(conv, tensor("in", shape, ty), output);
    let size = shape.iter().product();
    for codes in
        [vec![lo; size], vec![hi; size], (0..size).map(|i| if i % 2 == 0 { lo } else { hi }).collect()]
    {
        let at = format!("{ty:?} x {wty:?}, {terms} terms, {groups} groups, kernel {kernel}");
        compare(&g, &[codes], &at, &mut Count::default());
    }
}

/// A graph with layers that are large enough for threads.
fn large(seed: u64) -> (Graph, Vec<Vec<i32>>) {
    let mut b = random_graphs::Builder::new(seed);
    let ty = IntType { bits: 8, signed: true };
    let x = b.input([61, 37, 24], ty);
    let y = b.conv_same(x, 40);
    let z = b.conv_same(y, 33);
    b.graph.outputs = vec![y, z];
    let inputs = b.inputs();
    (b.graph, inputs)
}

#[test]
fn threads_and_batches_change_nothing() {
    for seed in 0..4 {
        let (graph, inputs) = large(seed);
        let expected = reference::run(&graph, &inputs).expect("runs");
        let expected = graph.outputs.iter().map(|&t| expected[t].clone()).collect::<Vec<_>>();
        let plan = Plan::new(&graph).expect("a plan");
        let zeros = vec![vec![0; inputs[0].len()]];
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let batch = [inputs.clone(), zeros.clone(), inputs.clone(), inputs.clone(), zeros.clone()];
            let (one, all) = pool.install(|| (plan.outputs(&inputs), plan.batch(&batch)));
            assert_eq!(one.as_ref(), Ok(&expected), "seed {seed}, {threads} threads");
            let all = all.expect("runs");
            for i in [0, 2, 3] {
                assert_eq!(all[i], expected, "seed {seed}, {threads} threads, input {i}");
            }
            assert_eq!(all[1], all[4], "seed {seed}, {threads} threads");
        }
        let mut wrong = vec![zeros; 3];
        wrong[1][0][5] = 1000;
        let error = GoldenError::Code { tensor: "t0".into(), index: 5, value: 1000 };
        assert_eq!(plan.batch(&wrong), Err(error));
    }
}

#[test]
#[ignore = "minutes: make test-long"]
fn real_networks_tensor_by_tensor() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let own = std::env::var_os("BRICKWORK_MODELS").map(PathBuf::from);
    for folder in own.into_iter().chain([root.join("models"), root.join("../shared/models")]) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !path.extension().is_some_and(|e| e == "tflite" || e == "onnx") {
                continue;
            }
            let model = import(&path).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
            let mut rng = Rng::new(7);
            let codes = |&t: &usize| {
                let t = &model.graph.tensors[t];
                (0..t.len()).map(|_| rng.code(t.ty)).collect()
            };
            let inputs = model.graph.inputs.iter().map(codes).collect::<Vec<_>>();
            let mut count = Count::default();
            compare(&model.graph, &inputs, &path.display().to_string(), &mut count);
            println!("{}: {} nodes, {} by reference", path.display(), count.nodes, count.by_reference);
        }
    }
}
