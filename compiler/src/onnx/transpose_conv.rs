// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `ConvTranspose`: a convolution whose channels are the outputs of one remainder by the strides, then pixels of channels.

use super::constant::{int, ints, text, transpose_order, ConstTensor};
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::waiting;
use super::products::integer_weights;
use super::value::{image_order, FloatValue, Move, WindowTemplate};
use super::windows::{pair, window};
use crate::ir::Weights;
use crate::phases::{Axis, BLOCK};

impl Importer<'_> {
    /// Weights `[ic, oc / groups, (kh,) kw]`.
    pub fn transposed_convolution(
        &mut self,
        node: &Node,
        v: FloatValue,
        w: &ConstTensor,
        bias: Option<&ConstTensor>,
    ) -> Result<FloatValue, String> {
        let (v, shape) = self.as_image(&node.name, v)?;
        let (v, t, views) = self.integers(&node.name, &v)?;
        let [ic, ocg, kh, kw] = match w.dims[..] {
            [ic, oc, kh, kw] if v.dims.len() == 4 => [ic, oc, kh, kw],
            [ic, oc, kw] if v.dims.len() == 3 => [ic, oc, 1, kw],
            _ => return Err(format!("input of shape {:?}, weights of shape {:?}", v.dims, w.dims)),
        };
        let groups = usize::try_from(int(node, "group", 1)?).ok().filter(|&g| g > 0 && ic % g == 0);
        let groups = groups.ok_or("its groups do not go with its weights")?;
        if ic != shape[2] || [ic, ocg, kh, kw].contains(&0) {
            return Err(format!("weights {:?} and {} input channels do not fit", w.dims, shape[2]));
        }
        let oc = ocg.checked_mul(groups).ok_or("too many channels")?;
        let axes = axes(node, shape, [kh, kw])?;
        let block = oc.next_multiple_of(BLOCK);
        let [(count, [top, bottom], rows), (wide, [left, right], columns)] =
            [axes[0].window(), axes[1].window()];
        let phases = axes[0].stride * axes[1].stride;
        check_activation(&[phases, block, rows, columns, ic])?;
        // [ic][oc / groups][ky][kx] -> [oc][ky][kx][ic / groups]
        let icg = ic / groups;
        let picks = (0..groups).flat_map(|g| {
            let order = transpose_order(&[icg, ocg, kh, kw], &[1, 2, 3, 0]);
            order.into_iter().map(move |i| g * icg * ocg * kh * kw + i)
        });
        let (plain, scales) = integer_weights(w, &picks.collect::<Vec<_>>(), [oc, kh, kw, icg])?;
        let channels = phases * block;
        let mut data = vec![0; channels * rows * columns * ic];
        for c in (0..channels).filter(|c| c % block < oc) {
            let (phase, o) = (c / block, c % block);
            let (row, column) =
                (axes[0].phase(phase / axes[1].stride), axes[1].phase(phase % axes[1].stride));
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let place = (row.position(i, top, axes[0].stride), column.position(j, left, axes[1].stride));
                let (Some(ky), Some(kx)) = place else { continue };
                let from = ((o * kh + ky) * kw + kx) * icg;
                let to = ((c * rows + i) * columns + j) * ic + o / ocg * icg;
                data[to..to + icg].copy_from_slice(&plain.data[from..from + icg]);
            }
        }
        let bipolar = plain.bipolar && data.iter().all(|&v| v != 0);
        let weights = Weights { shape: [channels, rows, columns, ic], data, ty: plain.ty, bipolar };
        let template =
            WindowTemplate { kernel: [rows, columns], stride: [1, 1], pads: [top, left, bottom, right] };
        let own = |c: usize| (c % block).min(oc - 1);
        let owns = (0..channels).map(own).collect::<Vec<_>>();
        let scales = owns.iter().map(|&o| scales[o]).collect();
        let linear = w.quant.as_ref().is_some_and(|q| q.linear);
        let result = self.dense(node, t, &views, weights, scales, template, [1, 1], 1, linear)?;
        debug_assert_eq!(result.shape, [count, wide, channels]);
        // The reference adds floats.
        self.note_rounding(node, u64::MAX);
        let dims = match v.dims.len() {
            3 => vec![1, channels, wide],
            _ => vec![1, channels, count, wide],
        };
        let inner = waiting(dims, result.pending, result.from_int, image_order(result.shape));
        let inner = self.biased_channels(inner, bias, oc, &owns)?;
        let by = Move::Shuffle { rows: axes[0].stride, columns: axes[1].stride, block };
        self.moved(node, inner, by, [axes[0].out, axes[1].out, oc])
    }
}

/// Rows and columns. Errors: what is not plain.
fn axes(node: &Node, shape: [usize; 3], kernel: [usize; 2]) -> Result<[Axis; 2], String> {
    if pair(node, "dilations")? != [1, 1] {
        return Err("dilations other than 1 are not supported".into());
    }
    if !matches!(text(node, "auto_pad", "NOTSET")?, "NOTSET" | "" | "VALID")
        || ints(node, "output_shape")?.is_some()
    {
        return Err("auto_pad and output_shape are not supported; give pads and output_padding".into());
    }
    if ints(node, "kernel_shape")?.is_some() && pair(node, "kernel_shape")? != kernel {
        return Err(format!("kernel_shape is not that of its weights, {kernel:?}"));
    }
    let WindowTemplate { stride, pads, .. } = window(node, &shape, Some(kernel), [1, 1])?;
    let more = match ints(node, "output_padding")?.as_deref() {
        None => [0, 0],
        Some(&[a, b]) => [a, b],
        Some(&[b]) => [0, b],
        Some(other) => return Err(format!("output_padding {other:?}")),
    };
    let axis = |a: usize| {
        let extra = usize::try_from(more[a]).ok().filter(|&e| e < stride[a]);
        let extra = extra.ok_or(format!("output_padding {}: 0 to stride - 1 is supported", more[a]))?;
        if stride[a] > 16 || kernel[a] > 1 << 10 {
            return Err(format!("stride {}, kernel {}; at most 16 and 1024", stride[a], kernel[a]));
        }
        let whole = (shape[a] - 1) * stride[a] + kernel[a] + extra;
        let out = whole.checked_sub(pads[a] + pads[a + 2]).filter(|&o| o > 0);
        let out = out.ok_or("its pads leave nothing")?;
        Ok(Axis { size: shape[a], out, stride: stride[a], kernel: kernel[a], pad: pads[a] })
    };
    Ok([axis(0)?, axis(1)?])
}
