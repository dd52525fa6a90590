// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A layered layout of a directed acyclic graph: each node in the rank below its last predecessor, edges through the
//! ranks between, few crossings, nodes near the middle of their neighbours.

/// Sizes of a block and of the room between two.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub block: (f64, f64),
    pub gap: (f64, f64),
}

/// Middles of the nodes, lines of the edges, size of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub nodes: Vec<[f64; 2]>,
    pub edges: Vec<Vec<[f64; 2]>>,
    pub width: f64,
    pub height: f64,
}

/// Width of the place through which an edge passes a rank.
const LANE: f64 = 26.0;
const SWEEPS: usize = 8;

/// Nodes and bends, rank by rank.
struct Ranks {
    rank: Vec<usize>,
    /// For each item its neighbours above and below; items behind the nodes are bends.
    up: Vec<Vec<usize>>,
    down: Vec<Vec<usize>>,
    rows: Vec<Vec<usize>>,
    nodes: usize,
    shape: Shape,
}

/// Lays out `count` nodes; an edge leads from a node to one with a larger number.
pub fn place(count: usize, edges: &[(usize, usize)], shape: &Shape) -> Placed {
    let (mut ranks, chains) = Ranks::new(count, edges, *shape);
    ranks.order();
    let x = ranks.columns();
    let (w, h) = shape.block;
    let left = (0..x.len()).map(|i| x[i] - ranks.width(i) / 2.0).fold(f64::INFINITY, f64::min).min(0.0);
    let right = (0..x.len()).map(|i| x[i] + ranks.width(i) / 2.0).fold(w, f64::max);
    let y = |rank: usize| rank as f64 * (h + shape.gap.1) + h / 2.0 + 1.0;
    let at = |item: usize| [x[item] - left + 1.0, y(ranks.rank[item])];
    let line = |chain: &Vec<usize>| {
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        let mut points = vec![[at(first)[0], at(first)[1] + h / 2.0]];
        for &bend in &chain[1..chain.len() - 1] {
            let [bx, by] = at(bend);
            points.extend([[bx, by - h / 2.0], [bx, by + h / 2.0]]);
        }
        points.push([at(last)[0], at(last)[1] - h / 2.0]);
        points
    };
    Placed {
        nodes: (0..count).map(at).collect(),
        edges: chains.iter().map(line).collect(),
        width: right - left + 2.0,
        height: ranks.rows.len() as f64 * (h + shape.gap.1) - shape.gap.1 + 2.0,
    }
}

impl Ranks {
    /// The ranks, and for each edge the items that it passes.
    fn new(count: usize, edges: &[(usize, usize)], shape: Shape) -> (Ranks, Vec<Vec<usize>>) {
        let mut rank = vec![0usize; count];
        let mut sorted = edges.to_vec();
        sorted.sort_unstable();
        for to in 0..count {
            for &(from, _) in sorted.iter().filter(|e| e.1 == to) {
                rank[to] = rank[to].max(rank[from] + 1);
            }
        }
        // an input stands just above its first reader
        for node in 0..count {
            if !edges.iter().any(|e| e.1 == node) {
                let below = edges.iter().filter(|e| e.0 == node).map(|e| rank[e.1]).min();
                rank[node] = below.map_or(0, |r| r.saturating_sub(1));
            }
        }
        let mut chains = Vec::new();
        for &(from, to) in edges {
            let mut chain = vec![from];
            for r in rank[from] + 1..rank[to] {
                chain.push(rank.len());
                rank.push(r);
            }
            chain.push(to);
            chains.push(chain);
        }
        let (mut up, mut down) = (vec![vec![]; rank.len()], vec![vec![]; rank.len()]);
        for pair in chains.iter().flat_map(|c| c.windows(2)) {
            down[pair[0]].push(pair[1]);
            up[pair[1]].push(pair[0]);
        }
        let mut rows = vec![vec![]; rank.iter().max().map_or(0, |r| r + 1)];
        rank.iter().enumerate().for_each(|(item, r)| rows[*r].push(item));
        (Ranks { rank, up, down, rows, nodes: count, shape }, chains)
    }

    fn width(&self, item: usize) -> f64 {
        if item < self.nodes {
            self.shape.block.0
        } else {
            LANE
        }
    }

    /// Sorts each rank by the mean place of its neighbours, down and up in turn.
    fn order(&mut self) {
        for sweep in 0..SWEEPS {
            let mut place = vec![0.0; self.rank.len()];
            for row in &self.rows {
                row.iter().enumerate().for_each(|(i, item)| place[*item] = i as f64);
            }
            let downward = sweep % 2 == 0;
            let count = self.rows.len();
            for step in 0..count {
                let r = if downward { step } else { count - 1 - step };
                let near = if downward { &self.up } else { &self.down };
                let key = |item: &usize| mean(near[*item].iter().map(|n| place[*n])).unwrap_or(place[*item]);
                let mut row = self.rows[r].clone();
                row.sort_by(|a, b| key(a).total_cmp(&key(b)));
                row.iter().enumerate().for_each(|(i, item)| place[*item] = i as f64);
                self.rows[r] = row;
            }
        }
    }

    /// Middles: beside each other first, then drawn to the mean of the neighbours as far as the row allows.
    fn columns(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.rank.len()];
        for row in &self.rows {
            let total: f64 = row.iter().map(|i| self.width(*i) + self.shape.gap.0).sum();
            let mut at = -total / 2.0;
            for item in row {
                x[*item] = at + (self.width(*item) + self.shape.gap.0) / 2.0;
                at += self.width(*item) + self.shape.gap.0;
            }
        }
        for _ in 0..4 * SWEEPS {
            for row in &self.rows {
                let wishes: Vec<f64> = row.iter().map(|item| self.wish(*item, &x)).collect();
                let (left, right) = (self.settle(row, &wishes, true), self.settle(row, &wishes, false));
                for (i, item) in row.iter().enumerate() {
                    x[*item] = (left[i] + right[i]) / 2.0;
                }
            }
        }
        x
    }

    /// The mean of the neighbours; lines between nodes shall be straight rather than those through bends.
    fn wish(&self, item: usize, x: &[f64]) -> f64 {
        let near = self.up[item].iter().chain(&self.down[item]);
        let heavy = |n: usize| if item < self.nodes && n < self.nodes { 8 } else { 1 };
        mean(near.flat_map(|n| std::iter::repeat_n(x[*n], heavy(*n)))).unwrap_or(x[item])
    }

    /// Gives each item of a row its wish, or the nearest place beside the one before it, from the left or from the right. The
    /// mean of both keeps the distances too.
    fn settle(&self, row: &[usize], wishes: &[f64], from_left: bool) -> Vec<f64> {
        let distance = |a: usize, b: usize| (self.width(a) + self.width(b)) / 2.0 + self.shape.gap.0;
        let mut x = wishes.to_vec();
        let last = row.len() - 1;
        for i in 1..row.len() {
            match from_left {
                true => x[i] = x[i].max(x[i - 1] + distance(row[i - 1], row[i])),
                false => {
                    let (i, before) = (last - i, last - i + 1);
                    x[i] = x[i].min(x[before] - distance(row[i], row[before]));
                }
            }
        }
        x
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(s, n), v| (s + v, n + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { block: (100.0, 40.0), gap: (20.0, 30.0) };

    #[test]
    fn a_chain_is_a_straight_line_down() {
        let placed = place(3, &[(0, 1), (1, 2)], &SHAPE);
        assert!(
            placed.nodes.windows(2).all(|n| n[0][0] == n[1][0] && n[1][1] - n[0][1] == 70.0),
            "{placed:?}"
        );
        assert!(placed.edges.iter().all(|e| e.len() == 2));
    }

    #[test]
    fn blocks_of_a_rank_do_not_overlap_and_all_lies_in_the_picture() {
        // two branches, a skip, a second input that is read late
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (3, 5), (4, 5)];
        let placed = place(6, &edges, &SHAPE);
        for (i, a) in placed.nodes.iter().enumerate() {
            assert!(a[0] >= 50.0 && a[0] + 50.0 <= placed.width, "{placed:?}");
            assert!(a[1] >= 20.0 && a[1] + 20.0 <= placed.height, "{placed:?}");
            for b in &placed.nodes[..i] {
                assert!(a[1] != b[1] || (a[0] - b[0]).abs() >= 100.0, "{placed:?}");
            }
        }
        assert!(placed.edges[4].len() > 2, "the skip bends around the rank between");
        for (edge, &(from, to)) in placed.edges.iter().zip(&edges) {
            assert!(placed.nodes[from][1] < placed.nodes[to][1]);
            assert!(edge.windows(2).all(|p| p[0][1] <= p[1][1]), "edges run down: {edge:?}");
        }
    }

    #[test]
    fn nothing_is_laid_out_as_nothing() {
        assert!(place(0, &[], &SHAPE).nodes.is_empty());
    }
}
