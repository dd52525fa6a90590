// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operators that move elements: pads, slices, enlargements, maxima, and shapes as images.

use super::constant::{float, ints, permutation, text, transpose_order};
use super::emit::CodeSpec;
use super::lower::Importer;
use super::model::{check_activation, Node};
use super::ops::optional;
use super::ops::Constants;
use super::requants::with_params;
use super::value::{image_order, Base, ConvTemplate, FloatValue, Move, PendingOp, WindowTemplate};
use super::windows::pool_window;
use super::windows::pooled_shape;
use crate::host::{CodeMap, FloatChain};
use crate::ir::{IntType, Op, Reshape, Rounding, TensorId, Weights};
use crate::requant::identity;

/// Elements that a transposition before other layers may have.
const MOST_PERMUTED: usize = 1024;

impl Importer<'_> {
    /// Elements moved about: at once where they are codes, else behind the quantizer that follows.
    pub fn moved(
        &mut self,
        node: &Node,
        v: FloatValue,
        by: Move,
        shape: [usize; 3],
    ) -> Result<FloatValue, String> {
        let v = match v.int {
            Some(_) => self.integer_codes(&format!("{}_input", node.name), v)?,
            None => v,
        };
        let mut dims = v.dims.clone();
        dims[1] = shape[2];
        match dims.len() {
            3 => dims[2] = shape[1],
            4 => (dims[2], dims[3]) = (shape[0], shape[1]),
            _ => {}
        }
        check_activation(&shape)?;
        let (order, int) = (image_order(shape), v.int);
        if matches!(v.base, Base::Input(_)) {
            return Err("its input is not quantized".into());
        }
        let falls = |v: &FloatValue| {
            let channels = if v.chain.width() == 1 { 1 } else { shape[2] };
            (0..channels).any(|c| v.chain.direction(c).is_none_or(|d| d < 0))
        };
        match v.base {
            Base::Codes(t) if !(matches!(by, Move::Max(_)) && falls(&v)) => {
                let name = node.outputs.first().cloned().unwrap_or_default();
                let pad = match by {
                    Move::Pad(_) => {
                        let views = self.views(t, &v.chain).ok_or("its input is no multiple of one scale")?;
                        Some(self.zero_code(t, &views)?)
                    }
                    _ => None,
                };
                let chain = match by {
                    Move::Slice(first) => v.chain.selected(&(first..first + shape[2]).collect::<Vec<_>>()),
                    _ => v.chain,
                };
                let t = self.moved_codes(&node.name, &name, t, &by, shape, pad)?;
                Ok(FloatValue { dims, base: Base::Codes(t), chain, order, int })
            }
            _ => {
                let op = PendingOp::Moved { inner: v, by };
                let base = self.pending(node, op, shape, vec![(0, 0)]);
                Ok(FloatValue { dims, base, chain: FloatChain::default(), order, int })
            }
        }
    }

    pub fn pad(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let mode = text(node, "mode", "constant")?;
        if mode != "constant" {
            return Err(format!(
                "mode {mode}; constant borders are supported (or pads of the convolution behind)"
            ));
        }
        let (v, shape) = self.as_image(&node.name, v)?;
        let list = match optional(node, constants, 1, "list of pads")? {
            Some(t) => t.integers()?.to_vec(),
            None => ints(node, "pads")?.ok_or("the pads are missing")?,
        };
        let axes = match optional(node, constants, 3, "list of axes")? {
            Some(t) => t.integers()?.to_vec(),
            None => (0..v.dims.len() as i64).collect(),
        };
        let value = match optional(node, constants, 2, "value")? {
            Some(t) => t.scalar()?,
            None => float(node, "value", 0.0)?,
        };
        if value != 0.0 {
            return Err(format!("pads with {value}; only 0 is supported"));
        }
        if list.len() != 2 * axes.len() {
            return Err(format!("{} pads for {} axes", list.len(), axes.len()));
        }
        let mut pads = vec![[0usize; 2]; v.dims.len()];
        for (i, &a) in axes.iter().enumerate() {
            let along = super::constant::axis(a, v.dims.len())?;
            for side in 0..2 {
                let p = list[i + side * axes.len()];
                let p = usize::try_from(p).ok().filter(|&p| p < 1 << 10);
                pads[along][side] = p.ok_or("pads that are negative or very large are not supported")?;
            }
        }
        if pads[..2] != [[0; 2]; 2] {
            return Err("only rows and columns can be padded".into());
        }
        let [y, x] = match pads.len() {
            4 => [pads[2], pads[3]],
            3 => [[0; 2], pads[2]],
            _ => return Err("only rows and columns can be padded".into()),
        };
        let border = [y[0], x[0], y[1], x[1]];
        if border == [0; 4] {
            return Ok(v);
        }
        let new = [shape[0] + y[0] + y[1], shape[1] + x[0] + x[1], shape[2]];
        self.moved(node, v, Move::Pad(border), new)
    }

    /// Nearest-neighbour enlargement by a whole factor.
    pub fn resize(
        &mut self,
        node: &Node,
        v: FloatValue,
        constants: &Constants,
    ) -> Result<FloatValue, String> {
        let mode = text(node, "mode", "nearest")?;
        if mode != "nearest" {
            return Err(format!(
                "mode {mode}; nearest is supported, or a ConvTranspose with the same weights"
            ));
        }
        let (v, shape) = self.as_image(&node.name, v)?;
        let rank = v.dims.len();
        let scales_at = if node.op == "Upsample" || node.inputs.len() == 2 { 1 } else { 2 };
        let scales = match optional(node, constants, scales_at, "list of scales")? {
            Some(t) if !t.is_empty() => Some(t.floats()?.to_vec()),
            _ => match node.attributes.get("scales") {
                Some(super::model::Attribute::Floats(f)) => Some(f.clone()),
                _ => None,
            },
        };
        let sizes = match (scales, optional(node, constants, 3, "list of sizes")?) {
            (Some(s), _) if s.len() == rank => {
                v.dims.iter().zip(s).map(|(&d, s)| (d as f64 * s as f64).floor()).collect::<Vec<_>>()
            }
            (None, Some(t)) if t.len() == rank => t.integers()?.iter().map(|&s| s as f64).collect(),
            _ => return Err("neither scales nor sizes for every axis are given".into()),
        };
        let new: Vec<usize> = sizes.iter().map(|&s| s.clamp(0.0, 1e6) as usize).collect();
        let factor = new[rank - 1] / v.dims[rank - 1].max(1);
        let spatial = match rank {
            4 => new[2] == factor * v.dims[2] && new[3] == factor * v.dims[3],
            _ => false,
        };
        if new[..2] != v.dims[..2] || !spatial || factor == 0 || factor > 16 {
            return Err(format!(
                "from {:?} to {new:?}; a whole factor for rows and columns is supported",
                v.dims
            ));
        }
        let transform = match node.op.as_str() {
            "Upsample" => "asymmetric",
            _ => text(node, "coordinate_transformation_mode", "half_pixel")?,
        };
        let nearest = match node.op.as_str() {
            "Upsample" => "floor",
            _ => text(node, "nearest_mode", "round_prefer_floor")?,
        };
        let source = |i: usize| -> Option<f64> {
            let (i, f) = (i as f64, factor as f64);
            let at = match transform {
                "asymmetric" => i / f,
                "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric" => (i + 0.5) / f - 0.5,
                _ => return None,
            };
            Some(match nearest {
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                _ => return None,
            })
        };
        let plain = (0..factor * 4).all(|i| source(i).is_some_and(|s| s.max(0.0) == (i / factor) as f64));
        if !plain {
            return Err(format!("{transform} with {nearest} does not repeat every pixel {factor} times"));
        }
        if factor == 1 {
            return Ok(v);
        }
        self.moved(node, v, Move::Upsample(factor), [shape[0] * factor, shape[1] * factor, shape[2]])
    }

    pub fn slice(&mut self, node: &Node, v: FloatValue, constants: &Constants) -> Result<FloatValue, String> {
        let operands = constants.get(1..).unwrap_or(&[]);
        let ranges = super::constant::slice_ranges(node, &v.dims, operands)?;
        self.cut(node, v, &ranges)
    }

    /// Channels of an image, or (where nothing but elements is asked for) any selection.
    pub fn cut(
        &mut self,
        node: &Node,
        v: FloatValue,
        ranges: &[(usize, i64, usize)],
    ) -> Result<FloatValue, String> {
        let whole = |i: usize| ranges[i] == (0, 1, v.dims[i]);
        if (0..ranges.len()).all(whole) {
            return Ok(v);
        }
        if let (Some([h, w, c]), true, 4) = (v.image(), whole(0) && whole(1), v.dims.len()) {
            let forward = ranges[2..].iter().all(|r| r.1 > 0);
            if forward && !matches!(v.base, Base::Input(_)) && !self.at_end {
                let corner = [ranges[2].0, ranges[3].0];
                let step = [ranges[2].1 as usize, ranges[3].1 as usize];
                let (v, _) = self.as_image(&node.name, v)?;
                let shape = [ranges[2].2, ranges[3].2, c];
                let picked =
                    self.moved(node, v, Move::Pick { corner, step }, wide([h, w, c], corner, step))?;
                return match wide([h, w, c], corner, step) == shape {
                    true => Ok(picked),
                    false => {
                        let rest = [(0, 1, 1), (0, 1, c), (0, 1, shape[0]), (0, 1, shape[1])];
                        let (dims, order) = super::constant::slice_order(&picked.dims, &rest);
                        Ok(picked.reordered(dims, &order))
                    }
                };
            }
        }
        if v.image().is_none() || (0..ranges.len()).any(|i| i != 1 && !whole(i)) || ranges[1].1 != 1 {
            let (dims, order) = super::constant::slice_order(&v.dims, ranges);
            return Ok(v.reordered(dims, &order));
        }
        let (v, shape) = self.as_image(&node.name, v)?;
        self.moved(node, v, Move::Slice(ranges[1].0), [shape[0], shape[1], ranges[1].2])
    }

    /// The value as an image that stands as `[y][x][c]` in its base, where need be behind a reshape of its tensor.
    pub fn as_image(&mut self, name: &str, v: FloatValue) -> Result<(FloatValue, [usize; 3]), String> {
        let v = self.no_input(v)?;
        let shape = match v.image() {
            Some(shape) => shape,
            None => return self.permuted(name, v),
        };
        let own = match &v.base {
            Base::Input(_) => return Ok((v, shape)),
            Base::Codes(t) => self.graph.tensors[*t].shape,
            Base::Pending(p) => p.shape,
        };
        if own == shape {
            return Ok((v, shape));
        }
        let Base::Codes(t) = v.base else { return Err("reshaped before it is quantized".into()) };
        if v.chain.width() != 1 && own[2] != shape[2] {
            return Err("reshaped although channels have constants of their own".into());
        }
        let output = self.reshaped(name, t, shape);
        Ok((FloatValue { base: Base::Codes(output), ..v }, shape))
    }

    /// Codes in the order of an image; where channels and pixels do not explain it, a few by a dense layer with a single 1 for each.
    fn permuted(&mut self, name: &str, v: FloatValue) -> Result<(FloatValue, [usize; 3]), String> {
        let refused = || "its input does not lie as an image [1, c, h, w] in memory".to_string();
        let shape = super::value::image_shape(&v.dims).ok_or_else(refused)?;
        let (Base::Codes(t), n) = (&v.base, v.count()) else { return Err(refused()) };
        let t = *t;
        let [h, w, c] = self.graph.tensors[t].shape;
        if let Some(v) = self.arranged(&format!("{name}_arranged"), &v, shape) {
            return Ok((v, shape));
        }
        if n * h * w * c > MOST_PERMUTED * MOST_PERMUTED || v.chain.width() != 1 {
            return Err(format!(
                "{}, and {n} of {} elements are too many to be put in order",
                refused(),
                h * w * c
            ));
        }
        let places = image_order(shape);
        let mut data = vec![0; n * h * w * c];
        for e in 0..n {
            let to = places.as_ref().map_or(e, |o| o[e]);
            data[to * h * w * c + v.place(e)] = 1;
        }
        let (ty, range) = (self.graph.tensors[t].ty, self.ranges[t]);
        let weights =
            Weights { shape: [n, h, w, c], data, ty: IntType { bits: 1, signed: false }, bipolar: false };
        let flat = self.tensor(&format!("{name}_order"), [1, 1, n], ty, range);
        let whole = CodeSpec { ty, clamp: (range.0 as i32, range.1 as i32), map: CodeMap::SAME };
        let requant = with_params(vec![identity(Rounding::Floor); n], Rounding::Floor, whole);
        let window = WindowTemplate { kernel: [h, w], ..WindowTemplate::POINT };
        let template = ConvTemplate {
            input: t,
            weights: weights.clone(),
            window,
            dilation: [1, 1],
            groups: 1,
            pad_code: 0,
        };
        self.conv(&format!("{name}_order"), &template, weights, requant, flat);
        let output = if shape == [1, 1, n] { flat } else { self.reshaped(name, flat, shape) };
        Ok((FloatValue { base: Base::Codes(output), order: places, ..v }, shape))
    }

    pub fn reshaped(&mut self, name: &str, t: TensorId, shape: [usize; 3]) -> TensorId {
        let (ty, range) = (self.graph.tensors[t].ty, self.ranges[t]);
        let output = self.tensor(&format!("{name}_reshaped"), shape, ty, range);
        self.node(&format!("{name}_reshape"), Op::Reshape(Reshape { input: t, output }));
        output
    }

    pub fn pool_max(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let (v, shape) = self.as_image(&node.name, v)?;
        let window = pool_window(node, &v, &shape)?;
        let out = pooled_shape(&shape, &window)?;
        self.moved(node, v, Move::Max(window), out)
    }

    /// A maximum on `[1, h, w, c]`.
    pub fn pool_max_last(&mut self, node: &Node, v: FloatValue) -> Result<FloatValue, String> {
        let turned = |v: FloatValue, perm: [usize; 4]| {
            let dims = perm.iter().map(|&p| v.dims[p]).collect();
            let picks = transpose_order(&v.dims, &perm);
            v.reordered(dims, &picks)
        };
        if v.dims.len() != 4 {
            return Err(format!("its input has shape {:?}, must be [1, height, width, channels]", v.dims));
        }
        let pooled = self.pool_max(node, turned(v, [0, 3, 1, 2]))?;
        Ok(turned(pooled, [0, 2, 3, 1]))
    }
}

/// Shape of the pixels from a corner on in steps.
fn wide([h, w, c]: [usize; 3], corner: [usize; 2], step: [usize; 2]) -> [usize; 3] {
    [(h - corner[0]).div_ceil(step[0]), (w - corner[1]).div_ceil(step[1]), c]
}

pub fn transpose(node: &Node, v: FloatValue) -> Result<FloatValue, String> {
    let perm = permutation(node, v.dims.len())?;
    let dims = perm.iter().map(|&p| v.dims[p]).collect();
    let picks = transpose_order(&v.dims, &perm);
    Ok(v.reordered(dims, &picks))
}
