// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pixels made of channels, channels made of pixels, and channels in another order.

use super::constant::{int, text};
use super::emit::CodeSpec;
use super::lower::Importer;
use super::model::Node;
use super::requants::with_params;
use super::value::{image_order, Base, ConvTemplate, FloatValue, Move, Pending, PendingOp, WindowTemplate};
use crate::host::CodeMap;
use crate::ir::{Copy, IntType, Op, Rounding, TensorId, Weights};
use crate::requant::identity;

/// How the elements of an image lie in a tensor of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Arrangement {
    /// Pixels in their places, channels from these.
    Channels(Vec<usize>),
    /// Each pixel of the tensor holds `rows` x `columns` of the image; element (k, y, x) is channel
    /// `picks[(y % rows * columns + x % columns) * channels + k]`.
    Inside { rows: usize, columns: usize, picks: Vec<usize> },
    /// Each pixel of the image holds `rows` x `columns` of the tensor: channel k is row, column and channel `picks[k]` of them.
    Outside { rows: usize, columns: usize, picks: Vec<[usize; 3]> },
}

/// The arrangement of `shape` in a tensor `[h, w, c]`, proven element by element.
fn arrangement(v: &FloatValue, shape: [usize; 3], [h, w, c]: [usize; 3]) -> Option<Arrangement> {
    let [height, width, channels] = shape;
    if [h, w, c, height, width, channels].contains(&0) {
        return None;
    }
    let place = |k: usize, y: usize, x: usize| v.place((k * height + y) * width + x);
    let all = |expected: &dyn Fn(usize, usize, usize) -> usize| {
        let pixels = |k| (0..height).flat_map(move |y| (0..width).map(move |x| (k, y, x)));
        (0..channels).flat_map(pixels).all(|(k, y, x)| place(k, y, x) == expected(k, y, x))
    };
    if height % h == 0 && width % w == 0 {
        let (rows, columns) = (height / h, width / w);
        let first = |i: usize| place(i % channels, i / channels / columns, i / channels % columns) % c;
        let picks = (0..rows * columns * channels).map(first).collect::<Vec<_>>();
        let expected = |k: usize, y: usize, x: usize| {
            let inside = (y % rows * columns + x % columns) * channels + k;
            (y / rows * w + x / columns) * c + picks[inside]
        };
        return all(&expected).then(|| match rows * columns {
            1 => Arrangement::Channels(picks.clone()),
            _ => Arrangement::Inside { rows, columns, picks: picks.clone() },
        });
    }
    if h % height != 0 || w % width != 0 {
        return None;
    }
    let (rows, columns) = (h / height, w / width);
    let first = |k: usize| {
        let at = place(k, 0, 0);
        [at / c / w, at / c % w, at % c]
    };
    let picks = (0..channels).map(first).collect::<Vec<_>>();
    let expected = |k: usize, y: usize, x: usize| {
        let [row, column, channel] = picks[k];
        ((y * rows + row) * w + x * columns + column) * c + channel
    };
    let near = picks.iter().all(|p| p[0] < rows && p[1] < columns);
    (near && all(&expected)).then(|| Arrangement::Outside { rows, columns, picks: picks.clone() })
}

impl Importer<'_> {
    /// The codes in the order of an image; `None`: they lie in no order that channels and pixels of each other explain.
    pub fn arranged(&mut self, name: &str, v: &FloatValue, shape: [usize; 3]) -> Option<FloatValue> {
        let Base::Codes(t) = v.base else { return None };
        let found = arrangement(v, shape, self.graph.tensors[t].shape)?;
        let mut chain = v.chain.clone();
        let output = match found {
            Arrangement::Channels(picks) => {
                chain = chain.selected(&picks);
                self.permuted_channels(name, t, &picks)
            }
            _ if chain.width() != 1 => return None,
            Arrangement::Inside { rows, columns, picks } => {
                let kept = picks.len() == self.graph.tensors[t].shape[2];
                let t = match kept && picks.iter().enumerate().all(|(i, &p)| i == p) {
                    true => t,
                    false => self.permuted_channels(name, t, &picks),
                };
                let by = Move::Shuffle { rows, columns, block: shape[2] };
                let parts = self.channel_parts(name, t, rows);
                self.shuffled_codes(name, name, parts, &by, shape).ok()?
            }
            Arrangement::Outside { rows, columns, picks } => {
                let c = self.graph.tensors[t].shape[2];
                let place = |[row, column, channel]: [usize; 3]| (row * columns + column) * c + channel;
                let mut data = vec![0; shape[2] * rows * columns * c];
                for (k, &pick) in picks.iter().enumerate() {
                    data[k * rows * columns * c + place(pick)] = 1;
                }
                self.picked_codes(name, t, [shape[2], rows, columns, c], data, shape)
            }
        };
        Some(FloatValue { base: Base::Codes(output), order: image_order(shape), chain, ..v.clone() })
    }

    /// The tensor with its channels in another order: a 1x1 layer with a single 1 for each.
    fn permuted_channels(&mut self, name: &str, t: TensorId, picks: &[usize]) -> TensorId {
        let shape = self.graph.tensors[t].shape;
        let c = shape[2];
        let data = picks.iter().flat_map(|&p| (0..c).map(move |i| (i == p) as i32)).collect();
        let name = format!("{name}_channels");
        self.picked_codes(&name, t, [picks.len(), 1, 1, c], data, [shape[0], shape[1], picks.len()])
    }

    /// Codes that a convolution of single ones (as wide as its steps) picks.
    fn picked_codes(
        &mut self,
        name: &str,
        input: TensorId,
        weights: [usize; 4],
        data: Vec<i32>,
        shape: [usize; 3],
    ) -> TensorId {
        let (ty, range) = (self.graph.tensors[input].ty, self.ranges[input]);
        let output = self.tensor(name, shape, ty, range);
        let kernel = [weights[1], weights[2]];
        let weights =
            Weights { shape: weights, data, ty: IntType { bits: 1, signed: false }, bipolar: false };
        let window = WindowTemplate { kernel, stride: kernel, pads: [0; 4] };
        let template = ConvTemplate {
            input,
            weights: weights.clone(),
            window,
            dilation: [1, 1],
            groups: 1,
            pad_code: 0,
        };
        let whole = CodeSpec { ty, clamp: (range.0 as i32, range.1 as i32), map: CodeMap::SAME };
        let copied = with_params(vec![identity(Rounding::Floor); shape[2]], Rounding::Floor, whole);
        self.conv(name, &template, weights, copied, output);
        output
    }

    /// The channels of each row of [`Move::Shuffle`] as codes: a convolution is one for each.
    pub fn row_parts(
        &mut self,
        name: &str,
        v: &FloatValue,
        rows: usize,
        spec: CodeSpec,
    ) -> Result<Vec<TensorId>, String> {
        if let Base::Pending(p) = &v.base {
            if let (PendingOp::Conv(c), true) = (&p.op, rows > 1) {
                if c.groups == 1 {
                    let each = p.shape[2] / rows;
                    let one = |r: usize| {
                        let picks = (r * each..(r + 1) * each).collect::<Vec<_>>();
                        let mut pending = channels_of(p, c, &picks);
                        pending.name = format!("{}_rows{r}", p.name);
                        let (name, chain) = (format!("{name}_rows{r}"), v.chain.selected(&picks));
                        self.emit(&name, &pending, &chain, spec)
                    };
                    return (0..rows).map(one).collect();
                }
            }
        }
        let codes = self.codes(&format!("{name}_before"), v, spec)?;
        let Base::Codes(t) = codes.base else { return Err("its input is not quantized".into()) };
        Ok(self.channel_parts(name, t, rows))
    }

    /// A tensor's channels in `rows` equal parts.
    pub fn channel_parts(&mut self, name: &str, t: TensorId, rows: usize) -> Vec<TensorId> {
        if rows == 1 {
            return vec![t];
        }
        let (ty, range, [h, w, c]) = (self.graph.tensors[t].ty, self.ranges[t], self.graph.tensors[t].shape);
        let part = |r: usize| {
            let name = format!("{name}_rows{r}");
            let output = self.tensor(&name, [h, w, c / rows], ty, range);
            let copy = Copy { input: t, output, first_channel: r * (c / rows), upsample: 1, requant: None };
            self.node(&name, Op::Copy(copy));
            output
        };
        (0..rows).map(part).collect()
    }

    /// [`Move::Shuffle`] of its rows' parts: shapes put columns in order, a concatenation the rows; what lies beyond `shape` is cut.
    pub fn shuffled_codes(
        &mut self,
        node: &str,
        name: &str,
        parts: Vec<TensorId>,
        by: &Move,
        shape: [usize; 3],
    ) -> Result<TensorId, String> {
        let &Move::Shuffle { rows, columns, block } = by else { return Err("no shuffle".into()) };
        let [h, w, _] = self.graph.tensors[parts[0]].shape;
        let flat = w * columns * block;
        let mut whole = parts[0];
        if rows > 1 {
            let ids = parts.iter().map(|&t| self.reshaped(name, t, [h, 1, flat])).collect::<Vec<_>>();
            let shape = [h, 1, rows * flat];
            whole = self.join_codes(&format!("{node}_joined"), &format!("{name}_joined"), ids, shape);
        }
        let whole = self.reshaped(name, whole, [h * rows, w * columns, block]);
        if self.graph.tensors[whole].shape == shape {
            return Ok(whole);
        }
        let output = self.tensor(name, shape, self.graph.tensors[whole].ty, self.ranges[whole]);
        let copy = Copy { input: whole, output, first_channel: 0, upsample: 1, requant: None };
        self.node(node, Op::Copy(copy));
        Ok(output)
    }
}

/// The waiting convolution with some of its channels.
fn channels_of(p: &Pending, c: &ConvTemplate, picks: &[usize]) -> Pending {
    let terms = c.weights.shape[1..].iter().product::<usize>();
    let data = picks.iter().flat_map(|&o| c.weights.data[o * terms..(o + 1) * terms].iter().copied());
    let shape = [picks.len(), c.weights.shape[1], c.weights.shape[2], c.weights.shape[3]];
    let weights = Weights { shape, data: data.collect(), ..c.weights };
    let take = |list: &Vec<f32>| match list.len() {
        1 => list.clone(),
        _ => picks.iter().map(|&o| list[o]).collect(),
    };
    Pending {
        name: p.name.clone(),
        op: PendingOp::Conv(ConvTemplate { weights, ..c.clone() }),
        shape: [p.shape[0], p.shape[1], picks.len()],
        bounds: picks.iter().map(|&o| p.bounds[o]).collect(),
        linear: p.linear.as_ref().map(take),
    }
}

/// Shape of DepthToSpace or SpaceToDepth, and the place of each element.
pub fn shuffled_order(node: &Node, dims: &[usize]) -> Result<(Vec<usize>, Vec<usize>), String> {
    let &[1, c, h, w] = dims else {
        return Err(format!("input of shape {dims:?}; [1, channels, rows, columns] is supported"));
    };
    let size = int(node, "blocksize", 0)?;
    let size =
        usize::try_from(size).ok().filter(|s| (1..=16).contains(s)).ok_or(format!("blocksize {size}"))?;
    if node.op == "SpaceToDepth" {
        if h % size != 0 || w % size != 0 {
            return Err(format!("{h} rows and {w} columns are no multiples of {size}"));
        }
        let (rows, columns) = (h / size, w / size);
        let place = |e: usize| {
            let (k, y, x) = (e / (rows * columns), e / columns % rows, e % columns);
            (k % c * h + y * size + k / c / size) * w + x * size + k / c % size
        };
        return Ok((vec![1, c * size * size, rows, columns], (0..c * h * w).map(place).collect()));
    }
    let block = c / (size * size);
    if block * size * size != c || block == 0 {
        return Err(format!("{c} channels are no multiple of {}", size * size));
    }
    let depth_first = match text(node, "mode", "DCR")? {
        "DCR" => true,
        "CRD" => false,
        mode => return Err(format!("mode {mode} is unknown")),
    };
    let channel = |k: usize, r: usize, s: usize| match depth_first {
        true => (r * size + s) * block + k,
        false => (k * size + r) * size + s,
    };
    let place = |e: usize| {
        let (k, y, x) = (e / (h * w * size * size), e / (w * size) % (h * size), e % (w * size));
        (channel(k, y % size, x % size) * h + y / size) * w + x / size
    };
    Ok((vec![1, block, h * size, w * size], (0..c * h * w).map(place).collect()))
}
