// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Last layers that nothing quantizes: the host computes them in the reference's order of float additions.

use super::constant::{int, transpose_order, ConstTensor};
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::optional;
use super::value::{HostValue, Value};
use crate::float_layers::{FloatConv, FloatProduct};
use crate::tail::HostOp;
use std::collections::BTreeSet;

/// Operators that only change shapes.
const SHAPES: [&str; 6] = ["Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"];

/// Nodes followed by `behind`'s products only, through shapes: averages before a last layer that nothing quantizes.
pub fn averages_before_products(nodes: &[Node], behind: &BTreeSet<usize>) -> BTreeSet<usize> {
    let readers = |n: &Node| -> Vec<usize> {
        let reads = |m: &Node| m.inputs.iter().any(|i| n.outputs.contains(i));
        (0..nodes.len()).filter(|&m| reads(&nodes[m])).collect()
    };
    let mut found = BTreeSet::new();
    for (number, node) in nodes.iter().enumerate().filter(|(_, n)| n.op == "GlobalAveragePool") {
        let (mut open, mut products, mut steps) = (readers(node), 0, 0);
        let only_products = loop {
            let Some(next) = open.pop() else { break true };
            steps += 1;
            match nodes[next].op.as_str() {
                op if SHAPES.contains(&op) && steps < 16 => open.extend(readers(&nodes[next])),
                "Gemm" | "MatMul" if behind.contains(&next) => products += 1,
                _ => break false,
            }
        };
        if only_products && products > 0 {
            found.insert(number);
        }
    }
    found
}

impl Importer<'_> {
    /// A last convolution whose float sums the reference rounds on the way.
    pub fn convolution_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<HostValue, String> {
        let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
        let x = self.host_input(node, 0, &inputs[0])?;
        let (shape, image) = match (&w.dims[..], &x.dims[..]) {
            (&[oc, icg, kh, kw], &[1, c, h, x]) => ([oc, icg, kh, kw], [h, x, c]),
            (&[oc, icg, kw], &[1, c, x]) => ([oc, icg, 1, kw], [1, x, c]),
            _ => return Err("1-D and 2-D convolutions are supported".into()),
        };
        let groups =
            usize::try_from(int(node, "group", 1)?).ok().filter(|&g| g > 0).ok_or("group is not positive")?;
        let dilation = super::windows::pair(node, "dilations")?;
        let window = super::windows::window(node, &image, Some([shape[2], shape[3]]), dilation)?;
        let bias = match optional(node, constants, 2, "bias")? {
            Some(t) => Some(t.floats()?.to_vec()),
            None => None,
        };
        let out = |axis: usize| {
            let extent = (shape[2 + axis] - 1) * dilation[axis] + 1;
            let room = image[axis] + window.pads[axis] + window.pads[axis + 2];
            Some(room.checked_sub(extent)? / window.stride[axis] + 1)
        };
        let (Some(h), Some(wide)) = (out(0), out(1)) else {
            return Err("the kernel is larger than the image".into());
        };
        let fits = groups.checked_mul(shape[1]) == Some(image[2]) && shape[0] > 0 && shape[0] % groups == 0;
        if !fits || bias.as_ref().is_some_and(|b: &Vec<f32>| b.len() != shape[0]) {
            return Err("weights, groups and bias do not fit".into());
        }
        let mut dims = x.dims.clone();
        dims[1] = shape[0];
        match dims.len() {
            3 => dims[2] = wide,
            _ => (dims[2], dims[3]) = (h, wide),
        }
        check_activation(&dims)?;
        let (stride, pads) = (window.stride, window.pads);
        let conv = FloatConv { weights: w.floats()?.to_vec(), shape, stride, dilation, pads, groups, bias };
        Ok(self.host_node(&node.outputs[0], HostOp::Conv(conv), &[&x], dims))
    }

    /// A last dense layer whose float sums the reference rounds on the way.
    pub fn product_on_host(
        &mut self,
        node: &Node,
        inputs: &[Option<Value>],
        constants: &[Option<&ConstTensor>],
    ) -> Result<HostValue, String> {
        super::products::check_plain(node)?;
        let w = constants.get(1).copied().flatten().ok_or("its weights are not constant")?;
        let &[rows, columns] = &w.dims[..] else { return Err(format!("weights of shape {:?}", w.dims)) };
        if w.quant.is_none() && w.floats()?.iter().any(|v| v.fract() != 0.0) {
            return Err("its weights are not quantized".into());
        }
        let transposed = int(node, "transB", 0)? != 0;
        let (k, n, w) = match transposed {
            true => (columns, rows, w.gather(vec![columns, rows], &transpose_order(&w.dims, &[1, 0]))),
            false => (rows, columns, w.clone()),
        };
        let bias = match optional(node, constants, 2, "bias")? {
            Some(t) => Some(t.broadcast(&[1, n]).ok_or("its bias does not fit")?.floats()?.to_vec()),
            None => None,
        };
        let x = self.host_input(node, 0, &inputs[0])?;
        if x.dims.last() != Some(&k) || k == 0 || n == 0 {
            return Err(format!("input of shape {:?} and weights of shape {:?} do not fit", x.dims, w.dims));
        }
        let mut dims = x.dims.clone();
        *dims.last_mut().expect("has a last axis") = n;
        check_activation(&dims)?;
        let product = FloatProduct { weights: w.floats()?.to_vec(), k, n, transposed, bias };
        Ok(self.host_node(&node.outputs[0], HostOp::Product(product), &[&x], dims))
    }
}
