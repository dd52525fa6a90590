// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Functions of one code go into the layer that makes the code: its clamp or its table. Graph to graph; no value changes.

use super::prepare::readers;
use crate::ir::{Copy, Graph, Op, PoolKind, Requant};
use hdl_gen::numfmt::round_scaled;

/// Fuses copies that compute a function of each code into the operator before. `kept`: tensors that must exist in full.
pub fn functions(graph: &Graph, kept: &[bool]) -> Graph {
    let mut out = graph.clone();
    let counts = readers(graph);
    let mut gone = vec![false; graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        let Op::Copy(copy) = &node.op else { continue };
        let Some(before) = (0..at).find(|&i| graph.nodes[i].op.output() == copy.input) else { continue };
        if kept[copy.input] || counts[copy.input] != 1 || gone[before] || !is_function(graph, copy) {
            continue;
        }
        // the operator may have taken over a function already
        let fused = fuse(&out, before, copy);
        if let Some(op) = fused {
            out.nodes[before].op = op;
            out.nodes[before].name = format!("{}+{}", out.nodes[before].name, node.name);
            gone[at] = true;
        }
    }
    let mut number = 0..;
    out.nodes.retain(|_| !gone[number.next().unwrap_or(0)]);
    out
}

/// Every code at its place becomes a function of itself.
fn is_function(graph: &Graph, copy: &Copy) -> bool {
    let [a, b] = [copy.input, copy.output].map(|t| graph.tensors[t].shape);
    copy.first_channel == 0 && copy.upsample == 1 && a == b
}

/// The operator with the copy's function behind its own requantization, where the machine has that in one.
fn fuse(graph: &Graph, before: usize, copy: &Copy) -> Option<Op> {
    let mut op = graph.nodes[before].op.clone();
    let behind = copy.requant.as_ref()?;
    let (requant, output) = match &mut op {
        Op::Conv(o) => (&mut o.requant, &mut o.output),
        Op::Add(o) => (&mut o.sum, &mut o.output),
        Op::Pool(o) => match &mut o.kind {
            PoolKind::Sum(q) => (q, &mut o.output),
            PoolKind::Max => return None,
        },
        Op::Copy(o) => (o.requant.as_mut()?, &mut o.output),
        Op::Concat(_) | Op::Reshape(_) => return None,
    };
    *requant = composed(requant, behind)?;
    *output = copy.output;
    Some(op)
}

/// One requantization for two, the second a function of codes that only clamps or looks up a table of at most 256 codes.
fn composed(first: &Requant, second: &Requant) -> Option<Requant> {
    let [params] = second.channels[..] else { return None };
    if first.raw || second.raw || first.table.is_some() {
        return None;
    }
    let (lo, hi) = first.clamp;
    if lo > hi || hi - lo > 255 {
        return None;
    }
    let value = |code: i32| {
        let scaled = round_scaled(code as i64 + params.bias as i64, &params, second.rounding);
        let clamped =
            (scaled + second.zero_point as i64).clamp(second.clamp.0 as i64, second.clamp.1 as i64) as i32;
        second.table.as_ref().map_or(clamped, |t| t[(clamped & 255) as usize] as i32)
    };
    let codes: Vec<i32> = (lo..=hi).map(value).collect();
    let (least, most) = (*codes.iter().min()?, *codes.iter().max()?);
    if (lo..=hi).zip(&codes).all(|(c, v)| c.clamp(least, most) == *v) {
        return Some(Requant { clamp: (lo.max(least), hi.min(most)), ..first.clone() })
            .filter(|q| q.clamp.0 <= q.clamp.1);
    }
    let mut table = vec![0i16; 256];
    for (code, value) in (lo..=hi).zip(&codes) {
        table[(code & 255) as usize] = i16::try_from(*value).ok()?;
    }
    // codes that cannot occur take the value of one that can, so that every entry is of the result's type
    let spare = table[(lo & 255) as usize];
    for i in (0..256).filter(|i| !(lo..=hi).any(|c| c & 255 == *i)) {
        table[i as usize] = spare;
    }
    Some(Requant { table: Some(table), ..first.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::ir::{ChannelParams, Conv, IntType, Node, Rounding, Tensor, Weights};

    const INT8: IntType = IntType { bits: 8, signed: true };

    fn requant(multiplier: i32, shift: u8, clamp: (i32, i32), table: Option<Vec<i16>>) -> Requant {
        let channels = vec![ChannelParams { bias: 3, multiplier, addend: 0, shift }];
        Requant { channels, rounding: Rounding::HalfUp, zero_point: -2, clamp, table, raw: false }
    }

    /// A convolution and a function of its codes.
    fn graph(behind: Requant) -> Graph {
        let tensor =
            |name: &str| Tensor { name: name.into(), shape: [2, 5, 3], ty: INT8, scale: 1.0, zero_point: 0 };
        let own = requant(1 << 30, 3, (-100, 90), None);
        let conv = Conv {
            input: 0,
            output: 1,
            weights: Weights { shape: [3, 1, 1, 3], data: (-4..5).collect(), ty: INT8, bipolar: false },
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            pad_code: 0,
            groups: 1,
            requant: Requant { channels: own.channels.repeat(3), ..own },
        };
        let copy = Copy { input: 1, output: 2, first_channel: 0, upsample: 1, requant: Some(behind) };
        Graph {
            name: "g".into(),
            tensors: ["x", "y", "z"].map(tensor).to_vec(),
            nodes: vec![
                Node { name: "a".into(), op: Op::Conv(conv) },
                Node { name: "b".into(), op: Op::Copy(copy) },
            ],
            inputs: vec![0],
            outputs: vec![2],
        }
    }

    #[test]
    fn no_bit_changes_and_the_copy_is_gone() {
        let table: Vec<i16> = (0..256).map(|i| ((i * 37) % 247 - 120) as i16).collect();
        for behind in [
            requant(i32::MAX, 0, (-128, 127), Some(table)),
            requant(1 << 29, 0, (-50, 60), None),
            requant(i32::MAX, 0, (-7, 127), None),
        ] {
            let plain = graph(behind);
            let fused = functions(&plain, &[false, false, true]);
            assert_eq!(fused.nodes.len(), 1);
            let input: Vec<i32> = (0..30).map(|i| i * 37 % 256 - 128).collect();
            let run = |g: &Graph| golden::outputs(g, std::slice::from_ref(&input)).expect("it runs");
            // the tensor between is not given any more
            let mut without = fused;
            without.tensors.remove(1);
            without.outputs = vec![1];
            if let Op::Conv(c) = &mut without.nodes[0].op {
                c.output = 1;
            }
            assert_eq!(run(&plain), run(&without));
        }
    }

    #[test]
    fn what_is_kept_or_read_twice_stays() {
        let plain = graph(requant(1 << 29, 0, (-50, 60), None));
        assert_eq!(functions(&plain, &[false, true, true]).nodes.len(), 2);
    }
}
