// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pools, means and maxima.

use super::fixed::Multiplier;
use super::lower::{image, Importer, Quant, Result, Value};
use super::model::Operator;
use super::ops::{requant, Activation};
use super::window::{moves, positive, Window};
use crate::ir::*;
use crate::requant::search;

impl<'m> Importer<'m> {
    fn pool(&mut self, op: &Operator) -> Result<(Window, Activation, Quant, Quant)> {
        let options = op.options.ok_or("it has no options")?;
        let kernel = [positive(options.int(4, 0)?, "filter")?, positive(options.int(3, 0)?, "filter")?];
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from.ty != to.ty {
            return Err("its input and output must have one type".into());
        }
        Ok((moves(options, kernel, None)?, Activation::read(op.options, 5)?, from, to))
    }

    pub fn max_pool_2d(&mut self, op: &Operator<'m>) -> Result<()> {
        let (window, activation, from, to) = self.pool(op)?;
        let (x, y) = (self.input_tensor(op, 0)?, self.output_tensor(op)?);
        // Positions outside do not count: they carry the smallest code. A border's code does count.
        let (border, [h, w, c]) = self.bordered(op, x, &window, from.range().0)?;
        let (pads, out) = window.pads([h, w])?;
        self.check_shape(y, &[1, out[0], out[1], c])?;
        let clamp = activation.clamp(&to)?;
        let pads = std::array::from_fn(|i| pads[i] + border.pads[i]);
        let output = self.new_codes(y)?;
        let (kernel, stride, pad_code) = (window.kernel, window.stride, from.range().0);
        let plain = clamp == to.range();
        let unclamped = format!("{}_unclamped", op.name);
        let target = match plain {
            true => output,
            false => self.new_tensor(&unclamped, [out[0], out[1], c], to)?,
        };
        let kind = PoolKind::Max;
        let pool = Pool { input: border.tensor, output: target, kernel, stride, pads, pad_code, kind };
        self.node(if plain { &op.name } else { &unclamped }, Op::Pool(pool));
        if !plain {
            self.function(&op.name, target, output, |code| code.clamp(clamp.0, clamp.1))?;
        }
        self.values[y] = Value::Codes(output);
        Ok(())
    }

    pub fn average_pool_2d(&mut self, op: &Operator<'m>) -> Result<()> {
        let (window, activation, from, to) = self.pool(op)?;
        let y = self.output_tensor(op)?;
        let input = self.codes(op, 0)?;
        let &[1, h, w, c] = &self.model.tensors[self.input_tensor(op, 0)?].dims[..] else {
            return Err("its input must have shape [1, height, width, channels]".into());
        };
        let (pads, out) = window.pads([h, w])?;
        if pads != [0; 4] {
            return Err(
                "averages at the border divide by fewer elements, which is not supported; use VALID padding"
                    .into(),
            );
        }
        self.check_shape(y, &[1, out[0], out[1], c])?;
        let clamp = activation.clamp(&to)?;
        let count = window.kernel.iter().product::<usize>() as i64;
        let average = move |sum: i64| {
            let half = if sum > 0 { count / 2 } else { -(count / 2) };
            ((sum + half) / count).clamp(clamp.0 as i64, clamp.1 as i64) as i32
        };
        let (lo, hi) = from.ty.range();
        let found = search(average, (lo * count, hi * count), true, 0, clamp);
        let (params, rounding) = found.map_err(|e| format!("its division has no exact multiplier: {e}"))?;
        let requant = Requant { zero_point: 0, ..requant(vec![params], rounding, &to, clamp) };
        self.sum(op, y, input, [h, w, c], window.kernel, window.stride, requant)
    }

    #[allow(clippy::too_many_arguments)]
    fn sum(
        &mut self,
        op: &Operator,
        y: usize,
        input: TensorId,
        [h, w, c]: [usize; 3],
        kernel: [usize; 2],
        stride: [usize; 2],
        requant: Requant,
    ) -> Result<()> {
        let shape = [(h - kernel[0]) / stride[0] + 1, (w - kernel[1]) / stride[1] + 1, c];
        let output = self.new_tensor(&self.model.tensors[y].name, shape, self.quant(y)?)?;
        let kind = PoolKind::Sum(requant);
        let pool = Pool { input, output, kernel, stride, pads: [0; 4], pad_code: 0, kind };
        self.node(&op.name, Op::Pool(pool));
        self.finish_shape(&format!("{}_shape", op.name), y, output)
    }

    /// Shape of a reduction's input as an image, and the window that is reduced.
    fn reduced(&mut self, x: usize, axes: usize, y: usize) -> Result<([usize; 3], [usize; 2])> {
        let dims = self.model.tensors[x].dims.clone();
        let mut reduced = vec![false; dims.len()];
        for axis in self.constant(axes)? {
            let wrapped = if axis < 0 { axis + dims.len() as i64 } else { axis };
            let slot = usize::try_from(wrapped).ok().and_then(|a| reduced.get_mut(a));
            *slot.ok_or_else(|| format!("axis {axis} does not exist"))? = true;
        }
        let [h, w, c] = image(&dims);
        let n = dims.len();
        let whole = |at: usize| at < n && reduced[at];
        let (over_w, over_c) = (n >= 2 && whole(n - 2), n >= 1 && whole(n - 1));
        let above = (0..n.saturating_sub(2)).filter(|&i| dims[i] > 1).map(|i| reduced[i]).collect::<Vec<_>>();
        if over_c && c > 1 || (above.contains(&true) && above.contains(&false)) {
            return Err(
                "reductions are supported over rows, columns or both; use a convolution over channels".into(),
            );
        }
        let kernel = [if above.contains(&true) { h } else { 1 }, if over_w { w } else { 1 }];
        let expected = (h / kernel[0]) * (w / kernel[1]) * c;
        if h * w * c == 0 || self.model.tensors[y].count() != expected {
            return Err(format!("its output must have {expected} elements"));
        }
        Ok(([h, w, c], kernel))
    }

    /// Maxima over rows, columns or both.
    pub fn reduce_max(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, axes, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from != to {
            return Err("its input and output must have one type, scale and zero point".into());
        }
        let ([h, w, c], kernel) = self.reduced(x, axes, y)?;
        let input = self.codes(op, 0)?;
        let name = self.model.tensors[y].name.clone();
        let output = self.new_tensor(&name, [h / kernel[0], w / kernel[1], c], to)?;
        let (kind, pad_code) = (PoolKind::Max, from.range().0);
        let pool = Pool { input, output, kernel, stride: kernel, pads: [0; 4], pad_code, kind };
        self.node(&op.name, Op::Pool(pool));
        self.finish_shape(&format!("{}_shape", op.name), y, output)
    }

    /// Means over rows, columns or both.
    pub fn mean(&mut self, op: &Operator<'m>) -> Result<()> {
        let (x, axes, y) = (self.input_tensor(op, 0)?, self.input_tensor(op, 1)?, self.output_tensor(op)?);
        let (from, to) = (self.quant(x)?, self.quant(y)?);
        if from.ty != to.ty {
            return Err("its input and output must have one type".into());
        }
        let ([h, w, c], kernel) = self.reduced(x, axes, y)?;
        let count = kernel.iter().product::<usize>() as i64;
        let input = self.codes(op, 0)?;
        if count == 1 {
            let scaled = mean_multiplier(&from, &to, 1)?;
            let (least, most) = to.range();
            let output = self.new_tensor(&self.model.tensors[y].name, [h, w, c], to)?;
            self.function(&op.name, input, output, |code| {
                let scaled = scaled.apply(code - from.zero_point);
                scaled.saturating_add(to.zero_point).clamp(least, most)
            })?;
            return self.finish_shape(&format!("{}_shape", op.name), y, output);
        }
        let requant = mean_requant(&from, &to, count)?;
        self.sum(op, y, input, [h, w, c], kernel, [1, 1], requant)
    }
}

/// The multiplier of the scales, divided by the number of elements, with as many bits as fit.
fn mean_multiplier(from: &Quant, to: &Quant, count: i64) -> Result<Multiplier> {
    let m = Multiplier::new(from.scale as f64 / to.scale as f64)?;
    let bits = 63 - (count as u64).leading_zeros() as i32;
    let shift = bits.min(32).min(31 + m.exponent);
    let mantissa = (((m.mantissa as i64) << shift) / count) as i32;
    Ok(Multiplier { mantissa, exponent: m.exponent - shift })
}

fn mean_requant(from: &Quant, to: &Quant, count: i64) -> Result<Requant> {
    let scaled = mean_multiplier(from, to, count)?;
    let bias = i32::try_from(-(from.zero_point as i64) * count).map_err(|_| "it has too many elements")?;
    if let Some((params, rounding)) = scaled.params(bias) {
        return Ok(requant(vec![params], rounding, to, to.range()));
    }
    let (lo, hi) = from.ty.range();
    let (least, most) = to.range();
    let rule = |sum: i64| {
        let y = scaled.apply((sum + bias as i64) as i32);
        y.saturating_add(to.zero_point).clamp(least, most)
    };
    let (params, rounding) =
        search(rule, (lo * count, hi * count), true, 0, (least, most)).map_err(|e| e.to_string())?;
    Ok(Requant { zero_point: 0, ..requant(vec![params], rounding, to, to.range()) })
}
