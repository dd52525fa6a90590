// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Dilated convolutions as converters write them: SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND. Neither of the two moves
//! anything here: the convolution between them gets a dilation.

use super::lower::{image, Importer, Result, Value};
use super::model::Operator;
use crate::ir::{Conv, Op, TensorId};

/// Codes whose rows and columns stand in batches: each batch has every `block`-th of them.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    pub tensor: TensorId,
    /// Rows, columns.
    pub block: [usize; 2],
    /// `[top, left, bottom, right]`, before the cut into batches.
    pub pads: [usize; 4],
}

const ALONE: &str = "is supported around a convolution of stride 1, followed by BATCH_TO_SPACE_ND";

impl<'m> Importer<'m> {
    pub fn space_to_batch(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let (block, pads) = self.blocks(op, x)?;
        let tensor = self.codes(op, 0)?;
        if self.quant(x)? != self.quant(y)? {
            return Err("its input and output must have one type, scale and zero point".into());
        }
        let [h, w, c] = self.graph.tensors[tensor].shape;
        let size = [h + pads[0] + pads[2], w + pads[1] + pads[3]];
        if (0..2).any(|a| !size[a].is_multiple_of(block[a])) {
            return Err(format!("{size:?} rows and columns cannot be cut into blocks of {block:?}"));
        }
        self.check_batch(y, [size[0] / block[0], size[1] / block[1], c])?;
        self.values[y] = Value::Batches(Batches { tensor, block, pads });
        Ok(())
    }

    /// Block and pads (or crops) `[top, left, bottom, right]`; with three axes there are columns only.
    fn blocks(&mut self, op: &Operator, x: usize) -> Result<([usize; 2], [usize; 4])> {
        let rank = self.model.tensors[x].dims.len();
        let (block, pads) = (self.input_tensor(op, 1)?, self.input_tensor(op, 2)?);
        let number = |v: &i64| usize::try_from(*v).ok().filter(|v| *v < 1 << 16);
        let block: Option<Vec<usize>> = self.constant(block)?.iter().map(number).collect();
        let pads: Option<Vec<usize>> = self.constant(pads)?.iter().map(number).collect();
        let found = match (rank, &block.unwrap_or_default()[..], &pads.unwrap_or_default()[..]) {
            (4, &[by, bx], &[top, bottom, left, right]) => ([by, bx], [top, left, bottom, right]),
            (3, &[bx], &[left, right]) => ([1, bx], [0, left, 0, right]),
            _ => return Err("is supported for rows and columns of a single image".into()),
        };
        match found.0.contains(&0) {
            true => Err("a block of 0".into()),
            false => Ok(found),
        }
    }

    /// Files do not always say how many batches there are.
    fn check_batch(&self, y: usize, shape: [usize; 3]) -> Result<()> {
        let dims = &self.model.tensors[y].dims;
        match !dims.is_empty() && image(&dims[1..]) == shape {
            true => Ok(()),
            false => Err(format!("its output has shape {dims:?}, must have {shape:?} behind the first axis")),
        }
    }

    /// Whether the operator works on batches; then it waits for BATCH_TO_SPACE_ND.
    pub fn in_batches(&mut self, op: &Operator<'m>) -> Result<bool> {
        let x = op.inputs.first().copied().flatten();
        let Some(batches @ (Value::Batches(_) | Value::BatchedConv(..))) = x.map(|x| self.values[x]) else {
            return Ok(false);
        };
        let y = self.output_tensor(op)?;
        match (op.kind.as_str(), batches) {
            ("BATCH_TO_SPACE_ND", _) => return Ok(false),
            ("CONV_2D" | "DEPTHWISE_CONV_2D", Value::Batches(b)) => {
                self.values[y] = Value::BatchedConv(b, self.number);
            }
            ("RESHAPE" | "EXPAND_DIMS" | "SQUEEZE", _) => {
                let [from, to] = [x.unwrap_or(y), y].map(|t| {
                    let dims = &self.model.tensors[t].dims;
                    image(dims.get(1..).unwrap_or(&[]))
                });
                if from != to {
                    return Err(format!(
                        "between batches it must keep rows and columns, {from:?} becomes {to:?}"
                    ));
                }
                self.values[y] = batches;
            }
            _ => return Err(format!("SPACE_TO_BATCH_ND before it {ALONE}")),
        }
        Ok(true)
    }

    pub fn batch_to_space(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let Value::BatchedConv(Batches { tensor, block, pads }, number) = self.values[x] else {
            return Err("is supported behind SPACE_TO_BATCH_ND and a convolution only".into());
        };
        let (own, crops) = self.blocks(op, x)?;
        if own != block || self.quant(x)? != self.quant(y)? {
            return Err(
                "its block, type, scale or zero point is not that of the convolution before it".into()
            );
        }
        let model = self.model;
        let conv = &model.operators[number];
        let (window, layer, activation) = match conv.kind.as_str() {
            "CONV_2D" => self.conv_parts(conv)?,
            _ => self.depthwise_parts(conv)?,
        };
        if window.stride != [1, 1] || window.dilation != [1, 1] {
            return Err(format!("SPACE_TO_BATCH_ND {ALONE}"));
        }
        let [h, w, ic] = self.graph.tensors[tensor].shape;
        let size = [h + pads[0] + pads[2], w + pads[1] + pads[3]];
        let (inner, out) = window.pads([size[0] / block[0], size[1] / block[1]])?;
        let at = |i: usize| (pads[i] + inner[i] * block[i % 2]).checked_sub(crops[i]);
        let all = [at(0), at(1), at(2), at(3)];
        let [Some(top), Some(left), Some(bottom), Some(right)] = all else {
            return Err(format!("crops {crops:?} more than the border {pads:?}"));
        };
        let oc = layer.shape[0];
        let found = self.output_tensor(conv)?;
        self.check_batch(found, [out[0], out[1], oc])?;
        let groups = super::window::groups(conv, &layer, ic)?;
        let (weights, requant) = layer.requantized(activation)?;
        let output = self.new_codes(y)?;
        let expected = [0, 1].map(|a| (out[a] * block[a]).saturating_sub(crops[a] + crops[a + 2]));
        if self.graph.tensors[output].shape != [expected[0], expected[1], oc] {
            return Err(format!("its output must have {expected:?} rows and columns and {oc} channels"));
        }
        let (stride, pads, pad_code) = ([1, 1], [top, left, bottom, right], layer.input.zero_point);
        let dilated =
            Conv { input: tensor, output, weights, stride, dilation: block, pads, pad_code, groups, requant };
        self.node(&op.name, Op::Conv(dilated));
        self.values[y] = Value::Codes(output);
        Ok(())
    }
}
