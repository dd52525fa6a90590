// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows of convolutions and pools; averages.

use super::constant::{axis, int, ints, text};
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::{optional, waiting, Constants};
use super::value::{image_order, odd_part, FloatValue, Pending, PendingOp, WindowTemplate};
use crate::host::{FloatStep, FromInt};

impl Importer<'_> {
    /// ReduceMean over all rows and columns: a global average.
    pub fn mean(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let rank = v.dims.len();
        let list = match optional(node, constants, 1, "list of axes")? {
            Some(t) => t.integers()?.to_vec(),
            None => ints(node, "axes")?.unwrap_or_default(),
        };
        let mut axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if rank < 3 || axes != (2..rank).collect::<Vec<_>>() {
            return Err(format!("a mean over axes {list:?} of {rank}; all rows and columns are supported"));
        }
        let global = Node { op: "GlobalAveragePool".into(), ..node.clone() };
        let pooled = self.pool_average(&global, v)?;
        // the reference's own sums are those of floats
        self.note_rounding(node, u64::MAX);
        let dims = pooled.dims[..2].to_vec();
        Ok(if int(node, "keepdims", 1)? == 0 { pooled.with_dims(dims) } else { pooled })
    }

    pub fn pool_average(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let (v, _) = self.as_image(&node.name, v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let shape = v.image().ok_or("its input does not lie as an image [1, c, h, w] in memory")?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        let [view] = views[..] else { return Err("scales that differ from channel to channel".into()) };
        let count = (window.kernel[0] * window.kernel[1]) as i64;
        let (mut lo, mut hi) = self.ranges[t];
        let pad_code =
            match window.pads {
                [0, 0, 0, 0] => 0,
                _ if int(node, "count_include_pad", 0)? == 0 => return Err(
                    "at the border it divides by the number of positions inside, which differs from pixel \
                            to pixel; use count_include_pad = 1, no padding, or a depthwise convolution"
                        .into(),
                ),
                _ => {
                    let zero = self.zero_code(t, &views)?;
                    (lo, hi) = (lo.min(zero), hi.max(zero));
                    zero as i32
                }
            };
        if v.int.is_some() {
            return Err("not supported on integers; a DequantizeLinear or Cast is missing".into());
        }
        let (least, most) = view.integers((lo, hi));
        let global = node.op.contains("Global");
        // DequantizeLinear's own float sums are not the reference's.
        let quantized = global && v.chain.steps.is_empty() && v.chain.integer.is_empty();
        self.note_rounding(
            node,
            !quantized as u64
                * count as u64
                * least.unsigned_abs().max(most.unsigned_abs())
                * odd_part(view.scale),
        );
        let op = PendingOp::Sum { input: t, window, pad_code };
        let bounds = vec![(count * lo, count * hi)];
        // Ties abound where input and output have one scale, and the reference's float sums break them at random: the rule
        // of the global average breaks them to even.
        let plain = v.chain.steps.is_empty() && v.chain.integer.is_empty();
        let linear = (global || (plain && node.op == "AveragePool")).then(|| vec![view.scale]);
        let pending = Pending { name: node.name.clone(), op, shape: out, bounds, linear };
        let from_int = FromInt {
            factor: view.factor,
            offset: vec![count * view.offset],
            scale: vec![view.scale as f64],
        };
        let dims = if v.dims.len() == 3 { vec![1, out[2], out[1]] } else { vec![1, out[2], out[0], out[1]] };
        let v = waiting(dims, pending, from_int, image_order(out));
        Ok(v.then(FloatStep::Div(vec![count as f32])))
    }
}

/// A two-element attribute of positive numbers, `[1, 1]` when absent.
pub fn pair(node: &Node, name: &str) -> Result<[usize; 2], String> {
    let Some(list) = ints(node, name)? else { return Ok([1, 1]) };
    let bad = || format!("{name} {list:?}; two positive numbers are supported");
    let positive = |v: i64| usize::try_from(v).ok().filter(|&v| v > 0 && v < 1 << 16);
    match list[..] {
        [a, b] => Ok([positive(a).ok_or_else(bad)?, positive(b).ok_or_else(bad)?]),
        [b] => Ok([1, positive(b).ok_or_else(bad)?]),
        _ => Err(bad()),
    }
}

/// Kernel, stride and pads of a window operator.
pub fn window(
    node: &Node,
    shape: &[usize; 3],
    kernel: Option<[usize; 2]>,
    dilation: [usize; 2],
) -> Result<WindowTemplate, String> {
    let kernel = match kernel {
        Some(k) => k,
        None => {
            ints(node, "kernel_shape")?.ok_or("kernel_shape is missing")?;
            pair(node, "kernel_shape")?
        }
    };
    let stride = pair(node, "strides")?;
    let pads = match (text(node, "auto_pad", "NOTSET")?, ints(node, "pads")?) {
        ("NOTSET" | "", None) | ("VALID", _) => [0; 4],
        ("NOTSET" | "", Some(list)) => {
            let small = list.iter().map(|&p| usize::try_from(p).ok().filter(|&p| p < 1 << 16));
            let small = small.collect::<Option<Vec<_>>>();
            let small = small.and_then(|v| match v[..] {
                [left, right] => Some([0, left, 0, right]),
                _ => <[usize; 4]>::try_from(v).ok(),
            });
            small.ok_or_else(|| format!("pads {list:?}; four numbers, none negative, are supported"))?
        }
        (mode @ ("SAME_UPPER" | "SAME_LOWER"), _) => {
            let mut pads = [0; 4];
            for axis in 0..2 {
                let out = shape[axis].div_ceil(stride[axis]);
                let extent = kernel[axis].saturating_sub(1) * dilation[axis] + 1;
                let total = ((out - 1) * stride[axis] + extent).saturating_sub(shape[axis]);
                let less = total / 2;
                let (before, after) =
                    if mode == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                (pads[axis], pads[axis + 2]) = (before, after);
            }
            pads
        }
        (mode, _) => return Err(format!("auto_pad {mode} is unknown")),
    };
    if kernel.contains(&0) {
        return Err("the kernel is empty".into());
    }
    Ok(WindowTemplate { kernel, stride, pads })
}

/// Window of a pooling node; the global ones take the whole image.
pub fn pool_window(node: &Node, v: &FloatValue, shape: &[usize; 3]) -> Result<WindowTemplate, String> {
    if !matches!(v.dims.len(), 3 | 4) {
        return Err(format!("input of shape {:?}; 1-D and 2-D pooling are supported", v.dims));
    }
    if node.op.contains("Global") {
        return Ok(WindowTemplate { kernel: [shape[0], shape[1]], stride: [1, 1], pads: [0; 4] });
    }
    if int(node, "storage_order", 0)? != 0 || pair(node, "dilations")? != [1, 1] {
        return Err("storage_order and dilations are not supported".into());
    }
    let mut w = window(node, shape, None, [1, 1])?;
    if int(node, "ceil_mode", 0)? != 0 {
        for (axis, &size) in shape[..2].iter().enumerate() {
            let room = size + w.pads[axis] + w.pads[axis + 2];
            let rest = room.checked_sub(w.kernel[axis]).ok_or("the window is larger than the image")?;
            // A last window that begins inside the image (or its front border) counts.
            let windows = rest.div_ceil(w.stride[axis]);
            if rest % w.stride[axis] != 0 && windows * w.stride[axis] < size + w.pads[axis] {
                if !node.op.contains("Max") {
                    return Err("ceil_mode with windows over the edge is supported for MaxPool only".into());
                }
                w.pads[axis + 2] += windows * w.stride[axis] - rest;
            }
        }
    }
    Ok(w)
}

pub fn pooled_shape(shape: &[usize; 3], w: &WindowTemplate) -> Result<[usize; 3], String> {
    let out = |axis: usize| {
        let room = shape[axis] + w.pads[axis] + w.pads[axis + 2];
        Some(room.checked_sub(w.kernel[axis])? / w.stride[axis] + 1)
    };
    match (out(0), out(1)) {
        (Some(h), Some(x)) => {
            check_activation(&[h, x, shape[2]])?;
            Ok([h, x, shape[2]])
        }
        _ => Err(format!("the window {:?} is larger than the image", w.kernel)),
    }
}
