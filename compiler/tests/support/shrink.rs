// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a graph that fails to a small one that still fails: layers are removed, sizes halved, options taken away.

use brickwork_compiler::golden;
use brickwork_compiler::ir::*;

/// A graph and the codes of its inputs.
pub type Sample = (Graph, Vec<Vec<i32>>);

/// The smallest sample found for which `fails` still holds; `most` tries at most.
pub fn shrink(sample: &Sample, most: usize, mut fails: impl FnMut(&Sample) -> bool) -> Sample {
    let mut best = sample.clone();
    let mut tries = 0;
    loop {
        let smaller = candidates(&best).into_iter().filter(|s| is_smaller(s, &best)).find(|s| {
            tries += 1;
            tries <= most && fails(s)
        });
        match smaller {
            Some(s) => best = s,
            None => return best,
        }
    }
}

/// Candidates are legal and have less of something; this keeps the search from going in circles.
fn is_smaller(a: &Sample, b: &Sample) -> bool {
    weight(a) < weight(b) && a.0.check().is_ok()
}

/// How much there is of everything, more important things first.
fn weight((graph, _): &Sample) -> (usize, usize, usize) {
    let elements: usize = graph.tensors.iter().map(|t| t.len()).sum();
    let bits: usize = graph.tensors.iter().map(|t| t.ty.bits as usize).sum();
    let options: usize = graph.nodes.iter().map(|n| options(&n.op)).sum();
    (graph.nodes.len(), elements + bits + options + graph.outputs.len(), options)
}

/// What a reader would have to think of.
fn options(op: &Op) -> usize {
    let requant = |r: &Requant| {
        let channels = r.channels.iter();
        let odd = channels.filter(|c| c.bias != 0 || c.addend != 0 || c.multiplier < 0).count();
        odd + (r.zero_point != 0) as usize + r.table.is_some() as usize + r.rounding as usize
    };
    match op {
        Op::Conv(c) => {
            let window = c.stride.iter().chain(&c.dilation).chain(&c.pads).sum::<usize>();
            window
                + c.weights.data.len()
                + c.weights.ty.bits as usize
                + requant(&c.requant)
                + (c.pad_code != 0) as usize
        }
        Op::Pool(p) => p.kernel.iter().chain(&p.stride).chain(&p.pads).sum(),
        Op::Add(a) => requant(&a.sum),
        Op::Concat(c) => c.requants.iter().flatten().map(requant).sum(),
        Op::Copy(c) => c.upsample + c.first_channel + c.requant.iter().map(requant).sum::<usize>(),
        Op::Reshape(_) => 0,
    }
}

fn candidates(sample: &Sample) -> Vec<Sample> {
    let (graph, inputs) = sample;
    let mut list = Vec::new();
    if let Ok(values) = golden::run(graph, inputs) {
        for node in graph.nodes.iter().rev() {
            list.extend(starting_at(graph, node.op.output(), &values));
        }
    }
    for node in &graph.nodes {
        list.push(prune(Graph { outputs: vec![node.op.output()], ..graph.clone() }, inputs));
    }
    for &t in &graph.outputs {
        list.push(prune(Graph { outputs: vec![t], ..graph.clone() }, inputs));
    }
    for axis in 0..3 {
        let all: Vec<usize> = (0..graph.inputs.len()).collect();
        for less in [|n: usize| n / 2, |n: usize| n - 1] {
            list.extend(cropped(sample, &all, axis, less));
            all.iter().for_each(|i| list.extend(cropped(sample, &[*i], axis, less)));
        }
    }
    list.extend((0..graph.inputs.len()).filter_map(|i| narrowed(sample, i)));
    for i in 0..graph.nodes.len() {
        for op in simpler(&graph.nodes[i].op) {
            let mut changed = graph.clone();
            changed.nodes[i].op = op;
            list.extend(infer(changed).map(|g| (g, inputs.clone())));
        }
    }
    list
}

/// The graph with `tensor` as an input.
fn starting_at(graph: &Graph, tensor: TensorId, values: &[Vec<i32>]) -> Option<Sample> {
    if graph.tensors[tensor].ty.bits > 16 || graph.outputs == [tensor] {
        return None;
    }
    let mut cut = graph.clone();
    cut.nodes.retain(|n| n.op.output() != tensor);
    cut.inputs.push(tensor);
    cut.outputs.retain(|t| *t != tensor);
    let inputs: Vec<Vec<i32>> = cut.inputs.iter().map(|t| values[*t].clone()).collect();
    Some(prune(cut, &inputs))
}

/// Without what the outputs do not need.
fn prune(mut graph: Graph, inputs: &[Vec<i32>]) -> Sample {
    let mut needed = vec![false; graph.tensors.len()];
    graph.outputs.iter().for_each(|t| needed[*t] = true);
    for node in graph.nodes.iter().rev() {
        if needed[node.op.output()] {
            node.op.inputs().into_iter().for_each(|t| needed[t] = true);
        }
    }
    graph.nodes.retain(|n| needed[n.op.output()]);
    let keep = |t: &&TensorId| needed[**t];
    let codes =
        graph.inputs.iter().zip(inputs).filter(|(t, _)| needed[**t]).map(|(_, c)| c.clone()).collect();
    graph.inputs = graph.inputs.iter().filter(keep).copied().collect();
    let number = |t: TensorId| needed[..t].iter().filter(|n| **n).count();
    for list in [&mut graph.inputs, &mut graph.outputs] {
        list.iter_mut().for_each(|t| *t = number(*t));
    }
    graph.nodes.iter_mut().for_each(|n| renumber(&mut n.op, &number));
    let mut at = 0;
    graph.tensors.retain(|_| {
        at += 1;
        needed[at - 1]
    });
    (graph, codes)
}

fn renumber(op: &mut Op, number: &impl Fn(TensorId) -> TensorId) {
    let ids: Vec<&mut TensorId> = match op {
        Op::Conv(o) => vec![&mut o.input, &mut o.output],
        Op::Add(o) => vec![&mut o.a, &mut o.b, &mut o.output],
        Op::Pool(o) => vec![&mut o.input, &mut o.output],
        Op::Concat(o) => o.inputs.iter_mut().chain([&mut o.output]).collect(),
        Op::Copy(o) => vec![&mut o.input, &mut o.output],
        Op::Reshape(o) => vec![&mut o.input, &mut o.output],
    };
    ids.into_iter().for_each(|t| *t = number(*t));
}

/// The first rows, columns or channels of some inputs.
fn cropped(
    (graph, inputs): &Sample,
    which: &[usize],
    axis: usize,
    less: fn(usize) -> usize,
) -> Option<Sample> {
    let (mut graph, mut inputs) = (graph.clone(), inputs.clone());
    for &i in which {
        let tensor = &mut graph.tensors[graph.inputs[i]];
        let [h, w, c] = tensor.shape;
        tensor.shape[axis] = less(tensor.shape[axis]);
        if tensor.is_empty() {
            return None;
        }
        let [nh, nw, nc] = tensor.shape;
        let kept = (0..h * w * c).filter(|k| k / (w * c) < nh && k / c % w < nw && k % c < nc);
        inputs[i] = kept.map(|k| inputs[i][k]).collect();
    }
    infer(graph).map(|g| (g, inputs))
}

/// An input of half as many bits.
fn narrowed((graph, inputs): &Sample, which: usize) -> Option<Sample> {
    let (mut graph, mut inputs) = (graph.clone(), inputs.clone());
    let ty = &mut graph.tensors[graph.inputs[which]].ty;
    if ty.bits < 2 {
        return None;
    }
    ty.bits /= 2;
    let (lo, hi) = ty.range();
    inputs[which].iter_mut().for_each(|v| *v = (*v).clamp(lo as i32, hi as i32));
    infer(graph).map(|g| (g, inputs))
}

/// The operator with one option less.
fn simpler(op: &Op) -> Vec<Op> {
    match op {
        Op::Conv(c) => simpler_conv(c).into_iter().map(Op::Conv).collect(),
        Op::Add(a) => plainer(&a.sum).into_iter().map(|sum| Op::Add(Add { sum, ..a.clone() })).collect(),
        Op::Pool(p) => {
            let kernel = p.kernel.map(|k| k.div_ceil(2));
            let mut list = vec![
                Pool { pads: [0; 4], ..p.clone() },
                Pool { stride: [1; 2], ..p.clone() },
                Pool { kernel, pads: [0; 4], ..p.clone() },
            ];
            if let PoolKind::Sum(r) = &p.kind {
                list.extend(plainer(r).into_iter().map(|r| Pool { kind: PoolKind::Sum(r), ..p.clone() }));
            }
            list.into_iter().map(Op::Pool).collect()
        }
        Op::Concat(c) => {
            let all = c.requants.iter().flatten().flat_map(plainer);
            let with = |r: Requant| {
                let set = |old: &Option<Requant>| {
                    old.as_ref().map(|o| Requant { channels: o.channels.clone(), ..r.clone() })
                };
                Op::Concat(Concat { requants: c.requants.iter().map(set).collect(), ..c.clone() })
            };
            all.map(with).collect()
        }
        Op::Copy(c) => {
            let mut list = vec![Copy { upsample: 1, ..c.clone() }, Copy { first_channel: 0, ..c.clone() }];
            let requants = c.requant.iter().flat_map(plainer);
            list.extend(requants.map(|r| Copy { requant: Some(r), ..c.clone() }));
            list.into_iter().map(Op::Copy).collect()
        }
        Op::Reshape(_) => vec![],
    }
}

fn simpler_conv(c: &Conv) -> Vec<Conv> {
    let mut list = Vec::new();
    let [oc, kh, kw, _] = c.weights.shape;
    for part in [oc / 2, oc - 1] {
        if part > 0 && c.groups == 1 {
            list.push(Conv { weights: crop_weights(&c.weights, [part, kh, kw]), ..c.clone() });
        }
    }
    for kernel in [[kh.div_ceil(2), kw], [kh, kw.div_ceil(2)]] {
        let weights = crop_weights(&c.weights, [oc, kernel[0], kernel[1]]);
        let extent = [0, 1].map(|a| (kernel[a] - 1) * c.dilation[a]);
        let pads = [0, 1, 2, 3].map(|i| c.pads[i].min(extent[i % 2]));
        list.push(Conv { weights, pads, ..c.clone() });
    }
    let pads = [0, 1, 2, 3].map(|i| [0, 1, 2, 3].map(|j| if i == j { 0 } else { c.pads[j] }));
    list.extend(pads.map(|pads| Conv { pads, ..c.clone() }));
    list.push(Conv { stride: [1, c.stride[1]], ..c.clone() });
    list.push(Conv { stride: [c.stride[0], 1], ..c.clone() });
    list.push(Conv { dilation: [1; 2], ..c.clone() });
    list.push(Conv { pad_code: 0, ..c.clone() });
    if !c.weights.bipolar && c.weights.ty.bits > 1 {
        let mut weights = c.weights.clone();
        weights.ty.bits /= 2;
        let (lo, hi) = weights.ty.range();
        weights.data.iter_mut().for_each(|w| *w = (*w).clamp(lo as i32, hi as i32));
        list.push(Conv { weights, ..c.clone() });
    }
    list.extend(plainer(&c.requant).into_iter().map(|requant| Conv { requant, ..c.clone() }));
    list
}

/// The requantization without one of its options.
fn plainer(r: &Requant) -> Vec<Requant> {
    let channels = |f: fn(&ChannelParams) -> ChannelParams| r.channels.iter().map(f).collect();
    vec![
        Requant { table: None, ..r.clone() },
        Requant { zero_point: 0, ..r.clone() },
        Requant { rounding: Rounding::Floor, ..r.clone() },
        Requant { channels: channels(|c| ChannelParams { bias: 0, ..*c }), ..r.clone() },
        Requant { channels: channels(|c| ChannelParams { addend: 0, ..*c }), ..r.clone() },
        Requant {
            channels: channels(|c| ChannelParams { multiplier: c.multiplier.abs(), ..*c }),
            ..r.clone()
        },
    ]
}

/// The first output channels and kernel rows and columns.
fn crop_weights(w: &Weights, [oc, kh, kw]: [usize; 3]) -> Weights {
    let [_, h, width, ic] = w.shape;
    select_weights(w, [oc, kh, kw, ic], |o, y, x, i| ((o * h + y) * width + x) * ic + i)
}

fn select_weights(
    w: &Weights,
    shape: [usize; 4],
    from: impl Fn(usize, usize, usize, usize) -> usize,
) -> Weights {
    let [oc, kh, kw, ic] = shape;
    let index = |k: usize| from(k / (kh * kw * ic), k / (kw * ic) % kh, k / ic % kw, k % ic);
    let data = (0..oc * kh * kw * ic).map(|k| w.data[index(k)]).collect();
    Weights { shape, data, ..w.clone() }
}

/// Shapes, types, weights and parameters that fit the inputs and options; `None` where there is no such graph.
fn infer(mut graph: Graph) -> Option<Graph> {
    for i in 0..graph.nodes.len() {
        let mut op = graph.nodes[i].op.clone();
        let given: Vec<Tensor> = op.inputs().iter().map(|t| graph.tensors[*t].clone()).collect();
        let out = &mut graph.tensors[op.output()];
        out.shape = match &mut op {
            Op::Conv(c) => fit_conv(c, &given[0])?,
            Op::Add(_) => given[0].shape,
            Op::Pool(p) => fit_pool(p, &given[0], out)?,
            Op::Concat(c) => fit_concat(c, &given),
            Op::Copy(c) => fit_copy(c, &given[0], out),
            Op::Reshape(_) => {
                let (n, [_, w, c]) = (given[0].len(), out.shape);
                out.ty = given[0].ty;
                match out.shape {
                    [1, 1, _] => [1, 1, n],
                    _ if n % (w * c) == 0 => [n / (w * c), w, c],
                    _ => return None,
                }
            }
        };
        graph.nodes[i].op = op;
    }
    graph.check().is_ok().then_some(graph)
}

fn windows(
    input: [usize; 3],
    extent: [usize; 2],
    pads: [usize; 4],
    stride: [usize; 2],
) -> Option<[usize; 2]> {
    let room = [0, 1].map(|a| input[a] + pads[a] + pads[a + 2]);
    let fits = (0..2).all(|a| extent[a] <= room[a]);
    fits.then(|| [0, 1].map(|a| (room[a] - extent[a]) / stride[a] + 1))
}

fn fit_conv(c: &mut Conv, input: &Tensor) -> Option<[usize; 3]> {
    let [oc, kh, kw, icg] = c.weights.shape;
    let ic = input.shape[2];
    let shape = match c.groups {
        1 if ic <= icg => [oc, kh, kw, ic],
        1 => return None,
        g if ic.is_multiple_of(icg) && ic <= g * icg => [oc / g * (ic / icg), kh, kw, icg],
        _ => return None,
    };
    c.groups = if c.groups == 1 { 1 } else { ic / icg };
    c.weights = select_weights(&c.weights, shape, |o, y, x, i| ((o * kh + y) * kw + x) * icg + i);
    fit_channels(&mut c.requant, shape[0]);
    c.pad_code = fit_code(c.pad_code, input.ty);
    let extent = [0, 1].map(|a| ([kh, kw][a] - 1) * c.dilation[a] + 1);
    let [h, w] = windows(input.shape, extent, c.pads, c.stride)?;
    Some([h, w, shape[0]])
}

fn fit_pool(p: &mut Pool, input: &Tensor, out: &mut Tensor) -> Option<[usize; 3]> {
    p.pad_code = fit_code(p.pad_code, input.ty);
    if p.kind == PoolKind::Max {
        out.ty = input.ty;
    }
    let [h, w] = windows(input.shape, p.kernel, p.pads, p.stride)?;
    Some([h, w, input.shape[2]])
}

fn fit_concat(c: &mut Concat, given: &[Tensor]) -> [usize; 3] {
    for (r, t) in c.requants.iter_mut().zip(given) {
        r.iter_mut().for_each(|r| fit_channels(r, t.shape[2]));
    }
    let [h, w, _] = given[0].shape;
    [h, w, given.iter().map(|t| t.shape[2]).sum()]
}

fn fit_copy(c: &mut Copy, input: &Tensor, out: &mut Tensor) -> [usize; 3] {
    let [h, w, ic] = input.shape;
    c.first_channel = c.first_channel.min(ic - 1);
    let channels = out.shape[2].min(ic - c.first_channel);
    match &mut c.requant {
        Some(r) => fit_channels(r, channels),
        None => out.ty = input.ty,
    }
    [out.shape[0].min(h * c.upsample), out.shape[1].min(w * c.upsample), channels]
}

fn fit_channels(r: &mut Requant, channels: usize) {
    r.channels.truncate(channels);
}

fn fit_code(code: i32, ty: IntType) -> i32 {
    let (lo, hi) = ty.range();
    code.clamp(lo as i32, hi as i32)
}

/// A graph for people: one line for each tensor and operator, long lists cut.
pub fn describe((graph, inputs): &Sample) -> String {
    let ty = |t: IntType| format!("{}{}", if t.signed { "int" } else { "uint" }, t.bits);
    let mut text = String::new();
    for (i, t) in graph.tensors.iter().enumerate() {
        text += &format!("tensor {i}: {:?} {}\n", t.shape, ty(t.ty));
    }
    for n in &graph.nodes {
        text += &format!("{}: {}\n", n.name, cut_lists(&format!("{:?}", n.op)));
    }
    text += &format!("inputs {:?} outputs {:?}\n", graph.inputs, graph.outputs);
    for (t, codes) in graph.inputs.iter().zip(inputs) {
        text += &format!("codes of {t}: {}\n", cut_lists(&format!("{codes:?}")));
    }
    text
}

/// Lists of more than 300 characters without their ends.
fn cut_lists(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('[').enumerate() {
        let bracket = if i > 0 { "[" } else { "" };
        match part.split_once(']') {
            Some((list, rest)) if list.len() > 300 => {
                let head: String = list.chars().take(280).collect();
                out += &format!("{bracket}{head} ...]{rest}");
            }
            _ => out += &format!("{bracket}{part}"),
        }
    }
    out
}
