// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pixel loop nests: in which order the array sees the pixels, as counts and jumps of `pass.shape` and `pass.jump`.

use super::layout::Layout;

/// Where the pixels of a result come from, for one input tensor.
///
/// Result pixel (py, px), element (wy, wx) of its window: the tap (0, 0) reads input pixel
/// `origin + p * step + w * window_step`, or `p / upsample` where `upsample` > 1. Axes are `[y, x]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub origin: [isize; 2],
    pub step: [usize; 2],
    pub window_step: [usize; 2],
    pub upsample: usize,
}

impl Geometry {
    /// Every result pixel from the same input pixel.
    pub const SAME: Geometry = Geometry { origin: [0, 0], step: [1, 1], window_step: [1, 1], upsample: 1 };

    /// Input coordinates of tap (0, 0).
    pub fn input(&self, p: [usize; 2], w: [usize; 2]) -> [isize; 2] {
        [0, 1].map(|a| {
            self.origin[a] + (p[a] / self.upsample * self.step[a] + w[a] * self.window_step[a]) as isize
        })
    }
}

/// A run of result pixels in row-major order: whole rows, or a part of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub y: usize,
    pub ny: usize,
    pub x: usize,
    pub nx: usize,
}

impl Chunk {
    pub fn pixels(&self) -> usize {
        self.ny * self.nx
    }
}

/// One loop: turns and what a step adds (inner loops starting over).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    pub turns: usize,
    pub addr: isize,
    pub y: isize,
    pub x: isize,
}

/// Start and loops (innermost first) of a pass. Addresses are relative to row 0 of the tensor, in plane-words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nest {
    pub addr: isize,
    pub y: isize,
    pub x: isize,
    pub loops: [Loop; 4],
}

impl Nest {
    /// The nest of a chunk: windows innermost, so that the pixels of one window follow each other.
    pub fn new(layout: &Layout, g: &Geometry, chunk: &Chunk, window: [usize; 2]) -> Nest {
        let (row, pixel) = (layout.row() as isize, layout.pixel() as isize);
        // (turns, dy, dx) of the plain counters, innermost first
        let counters: [(usize, usize, usize); 4] = match g.upsample {
            1 => [
                (window[1], 0, g.window_step[1]),
                (window[0], g.window_step[0], 0),
                (chunk.nx, 0, g.step[1]),
                (chunk.ny, g.step[0], 0),
            ],
            u => {
                debug_assert!(chunk.nx < u || chunk.nx.is_multiple_of(u));
                debug_assert!(chunk.ny < u || chunk.ny.is_multiple_of(u));
                let (ux, uy) = (u.min(chunk.nx), u.min(chunk.ny));
                [(ux, 0, 0), (chunk.nx / ux, 0, 1), (uy, 0, 0), (chunk.ny / uy, 1, 0)]
            }
        };
        let mut loops = [Loop { turns: 1, addr: 0, y: 0, x: 0 }; 4];
        let (mut back_y, mut back_x) = (0isize, 0isize);
        for (l, (turns, dy, dx)) in loops.iter_mut().zip(counters) {
            let (y, x) = (dy as isize - back_y, dx as isize - back_x);
            *l = Loop { turns, addr: y * row + x * pixel, y, x };
            back_y += (turns - 1) as isize * dy as isize;
            back_x += (turns - 1) as isize * dx as isize;
        }
        let [y, x] = g.input([chunk.y, chunk.x], [0, 0]);
        Nest { addr: y * row + x * pixel, y, x, loops }
    }

    /// Pixels streamed.
    pub fn pixels(&self) -> usize {
        self.loops.iter().map(|l| l.turns).product()
    }

    /// The sequence (address, y, x) that the pass unit makes of it.
    #[cfg(test)]
    pub fn enumerate(&self) -> Vec<(isize, isize, isize)> {
        let mut counts = [0usize; 4];
        let (mut a, mut y, mut x) = (self.addr, self.y, self.x);
        let mut out = Vec::with_capacity(self.pixels());
        loop {
            out.push((a, y, x));
            let Some(step) = (0..4).find(|i| counts[*i] + 1 < self.loops[*i].turns) else {
                return out;
            };
            counts[..step].fill(0);
            counts[step] += 1;
            let l = &self.loops[step];
            (a, y, x) = (a + l.addr, y + l.y, x + l.x);
        }
    }
}

/// Cuts the result grid into chunks of at most `limit` result pixels, whole rows where a row fits. With upsampling a chunk
/// has a multiple of the factor of rows and columns, or less than one factor.
pub fn chunks(grid: [usize; 2], limit: usize, upsample: usize) -> Vec<Chunk> {
    let [h, w] = grid;
    let limit = limit.max(1);
    if w > limit || (w % upsample != 0 && w > upsample) {
        let xs = spans(w, limit, upsample);
        return (0..h)
            .flat_map(|y| xs.iter().map(move |(x, nx)| Chunk { y, ny: 1, x: *x, nx: *nx }))
            .collect();
    }
    spans(h, limit / w, upsample).into_iter().map(|(y, ny)| Chunk { y, ny, x: 0, nx: w }).collect()
}

/// Even pieces of `0..size` of at most `limit`, as (start, length). A piece is a multiple of `unit` or lies between two
/// multiples.
pub fn spans(size: usize, limit: usize, unit: usize) -> Vec<(usize, usize)> {
    let limit = if limit >= unit { limit - limit % unit } else { limit };
    let even = size.div_ceil(size.div_ceil(limit)).next_multiple_of(unit.min(limit)).min(limit);
    let mut out = Vec::new();
    let mut at = 0;
    while at < size {
        let rest = size - at;
        let n = match even >= unit {
            true if rest > unit && rest < even => rest - rest % unit,
            true => even.min(rest),
            false => even.min(unit - at % unit).min(rest),
        };
        out.push((at, n));
        at += n;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::IntType;
    use crate::lower::test_arch;

    fn layout(shape: [usize; 3]) -> Layout {
        Layout::new(&test_arch(), shape, IntType { bits: 5, signed: true })
    }

    #[test]
    fn a_nest_visits_the_pixels_of_the_definition_in_order() {
        let l = layout([13, 17, 9]);
        let cases = [
            (Geometry { origin: [-1, -2], step: [2, 3], window_step: [1, 1], upsample: 1 }, [1, 1]),
            (Geometry { origin: [0, 0], step: [4, 2], window_step: [2, 1], upsample: 1 }, [2, 2]),
            (Geometry { origin: [-3, 1], step: [1, 1], window_step: [1, 1], upsample: 1 }, [3, 5]),
        ];
        for (g, window) in cases {
            for chunk in [Chunk { y: 1, ny: 3, x: 0, nx: 4 }, Chunk { y: 2, ny: 1, x: 3, nx: 2 }] {
                let mut expect = Vec::new();
                for py in chunk.y..chunk.y + chunk.ny {
                    for px in chunk.x..chunk.x + chunk.nx {
                        for wy in 0..window[0] {
                            for wx in 0..window[1] {
                                let [y, x] = g.input([py, px], [wy, wx]);
                                let a = y * l.row() as isize + x * l.pixel() as isize;
                                expect.push((a, y, x));
                            }
                        }
                    }
                }
                assert_eq!(Nest::new(&l, &g, &chunk, window).enumerate(), expect, "{g:?} {chunk:?}");
            }
        }
    }

    #[test]
    fn upsampling_repeats_pixels_and_rows() {
        let l = layout([3, 4, 9]);
        for (limit, grid, u) in [2, 7, 8, 16, 100]
            .into_iter()
            .flat_map(|l| [(l, [6, 8], 2), (l, [5, 7], 2), (l, [8, 11], 3), (l, [2, 2], 3), (l, [9, 12], 3)])
        {
            let g = Geometry { upsample: u, ..Geometry::SAME };
            let mut next = 0;
            for chunk in chunks(grid, limit, u) {
                assert_eq!(chunk.y * grid[1] + chunk.x, next);
                next += chunk.pixels();
                assert!(chunk.pixels() <= limit);
                let mut expect = Vec::new();
                for y in chunk.y..chunk.y + chunk.ny {
                    for x in chunk.x..chunk.x + chunk.nx {
                        expect.push(((y / u) as isize, (x / u) as isize));
                    }
                }
                let got: Vec<_> = Nest::new(&l, &g, &chunk, [1, 1])
                    .enumerate()
                    .into_iter()
                    .map(|(_, y, x)| (y, x))
                    .collect();
                assert_eq!(got, expect, "limit {limit} {chunk:?}");
            }
            assert_eq!(next, grid[0] * grid[1]);
        }
    }

    #[test]
    fn chunks_cover_the_grid_once_in_order() {
        for (grid, limit) in [([5, 7], 3), ([5, 7], 7), ([5, 7], 20), ([1, 1], 1), ([9, 4], 1000)] {
            let mut next = 0;
            for c in chunks(grid, limit, 1) {
                assert!(c.pixels() <= limit);
                assert_eq!(c.y * grid[1] + c.x, next);
                next += c.pixels();
            }
            assert_eq!(next, grid[0] * grid[1]);
        }
    }
}
