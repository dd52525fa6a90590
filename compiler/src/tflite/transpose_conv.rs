// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Transposed convolutions as ordinary ones: each row of the output, by its number modulo the stride, is a convolution of its
//! own, whose channels are the columns modulo the stride. Shapes put rows, columns and channels in order.

use super::lower::{Importer, Result, Value};
use super::model::Operator;
use super::ops::Activation;
use super::window::{positive, Layer};
use crate::ir::*;
use crate::phases::{Axis, Phase, BLOCK};

impl<'m> Importer<'m> {
    pub fn transpose_conv(&mut self, op: &Operator<'m>) -> Result<()> {
        let options = op.options.ok_or("it has no options")?;
        let at = |i: usize| op.inputs.get(i).copied().flatten();
        // The kernel's inputs are output shape, weights, activation, bias.
        let plain = Operator { inputs: vec![at(2), at(1), at(3)], ..op.clone() };
        let (x, w, y) =
            (self.input_tensor(&plain, 0)?, self.input_tensor(&plain, 1)?, self.output_tensor(op)?);
        let &[oc, kh, kw, ic] = &self.model.tensors[w].dims[..] else {
            return Err("its weights must have 4 dimensions".into());
        };
        let dims = [x, y].map(|t| self.model.tensors[t].dims.clone());
        let (&[1, h, wide, channels], &[1, oh, ow, found]) = (&dims[0][..], &dims[1][..]) else {
            return Err("its input and output must have shape [1, height, width, channels]".into());
        };
        if channels != ic || found != oc || [h, wide, ic, oc, oh, ow, kh, kw].contains(&0) {
            return Err(format!("shapes {:?} and {:?} do not go with its weights", dims[0], dims[1]));
        }
        let same = match options.byte(0)? {
            0 => true,
            1 => false,
            n => return Err(format!("padding {n} is not known")),
        };
        let stride = [positive(options.int(2, 0)?, "stride")?, positive(options.int(1, 0)?, "stride")?];
        if stride.iter().any(|&s| s > 16) {
            return Err(format!("stride {stride:?}; at most 16 is supported"));
        }
        let axis = |size: usize, out: usize, stride: usize, kernel: usize| {
            let forward =
                if same { out.div_ceil(stride) } else { (out + stride).saturating_sub(kernel) / stride };
            let reach = forward.saturating_sub(1) * stride + kernel;
            let axis = Axis { size, out, stride, kernel, pad: reach.saturating_sub(out) / 2 };
            match forward == size {
                true => Ok(axis),
                false => Err(format!("an output of {out} does not go with an input of {size}")),
            }
        };
        let axes = [axis(h, oh, stride[0], kh)?, axis(wide, ow, stride[1], kw)?];
        let activation = Activation::read(op.options, 3)?;
        let layer = self.layer(&plain, [oc, kh, kw, ic], 0, |o, k, i| (o * kh * kw + k) * ic + i)?;
        if layer.input.ty.bits == 16 && at(3).is_none() {
            return Err(
                "16-bit codes without a bias are not supported; the kernel rounds them otherwise".into()
            );
        }
        let input = self.codes(&plain, 0)?;
        self.phases(op, y, input, axes, &layer, activation)
    }

    /// One convolution for each phase of the rows, and their results in order.
    fn phases(
        &mut self,
        op: &Operator,
        y: usize,
        input: TensorId,
        [rows, columns]: [Axis; 2],
        layer: &Layer,
        activation: Activation,
    ) -> Result<()> {
        let oc = layer.shape[0];
        let block = oc.next_multiple_of(BLOCK);
        let ((count, ..), (wide, ..)) = (rows.window(), columns.window());
        let flat = wide * columns.stride * block;
        let mut parts = Vec::new();
        for p in 0..rows.stride {
            let name = format!("{}_rows{p}", op.name);
            let taps = rows.window().2.saturating_mul(columns.window().2);
            self.take_constants(taps.saturating_mul(columns.stride * block * layer.shape[3]))?;
            let one = layer.phase(rows.phase(p), [rows, columns], block);
            let (weights, requant) = one.requantized(activation)?;
            let output = self.new_tensor(&name, [count, wide, columns.stride * block], layer.output)?;
            let ((_, [top, bottom], _), (_, [left, right], _)) = (rows.window(), columns.window());
            let conv = Conv {
                input,
                output,
                weights,
                stride: [1, 1],
                dilation: [1, 1],
                pads: [top, left, bottom, right],
                pad_code: layer.input.zero_point,
                groups: 1,
                requant,
            };
            self.node(&name, Op::Conv(conv));
            parts.push(self.in_shape(&format!("{name}_flat"), output, [count, 1, flat], layer)?);
        }
        let joined = match parts[..] {
            [one] => one,
            _ => {
                let name = format!("{}_joined", op.name);
                let output = self.new_tensor(&name, [count, 1, rows.stride * flat], layer.output)?;
                let requants = vec![None; parts.len()];
                self.node(&name, Op::Concat(Concat { inputs: parts, output, requants }));
                output
            }
        };
        let whole = [count * rows.stride, wide * columns.stride, block];
        let name = format!("{}_whole", op.name);
        let whole = self.in_shape(&name, joined, whole, layer)?;
        let output = match self.graph.tensors[whole].shape == [rows.out, columns.out, oc] {
            true => whole,
            false => {
                let output = self.new_codes(y)?;
                let copy = Copy { input: whole, output, first_channel: 0, upsample: 1, requant: None };
                self.node(&op.name, Op::Copy(copy));
                output
            }
        };
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    fn in_shape(
        &mut self,
        name: &str,
        input: TensorId,
        shape: [usize; 3],
        layer: &Layer,
    ) -> Result<TensorId> {
        if self.graph.tensors[input].shape == shape {
            return Ok(input);
        }
        let output = self.new_tensor(name, shape, layer.output)?;
        self.node(name, Op::Reshape(Reshape { input, output }));
        Ok(output)
    }
}

impl Layer {
    /// The convolution that gives one phase of the rows; its channels are the phases of the columns, `block` for each.
    fn phase(&self, row: Phase, [rows, columns]: [Axis; 2], block: usize) -> Layer {
        let [oc, _, kw, ic] = self.shape;
        let (top, left) = (rows.window().1[0], columns.window().1[0]);
        let ((.., kh2), (.., kw2)) = (rows.window(), columns.window());
        let channels = columns.stride * block;
        let mut data = vec![0; channels * kh2 * kw2 * ic];
        let (mut bias, mut multipliers) = (vec![0; channels], vec![self.multipliers[0]; channels]);
        for c in (0..channels).filter(|c| c % block < oc) {
            let (column, o) = (columns.phase(c / block), c % block);
            (bias[c], multipliers[c]) = (self.bias[o], self.multipliers[o]);
            for (i, j) in (0..kh2).flat_map(|i| (0..kw2).map(move |j| (i, j))) {
                let place = (row.position(i, top, rows.stride), column.position(j, left, columns.stride));
                if let (Some(ky), Some(kx)) = place {
                    let from = ((o * self.shape[1] + ky) * kw + kx) * ic;
                    let to = ((c * kh2 + i) * kw2 + j) * ic;
                    data[to..to + ic].copy_from_slice(&self.data[from..from + ic]);
                }
            }
        }
        let shape = [channels, kh2, kw2, ic];
        Layer { shape, data, bias, multipliers, ..*self }
    }
}
