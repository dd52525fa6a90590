// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pareto fronts: of what is worse in both respects nothing is shown.

/// Numbers (in `points`) of the points that no other is at least as good as in both coordinates, by rising first one. Of
/// equal points the first counts.
pub fn front(points: &[[f64; 2]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| points[*a].partial_cmp(&points[*b]).expect("finite").then(a.cmp(b)));
    let mut lowest = f64::INFINITY;
    order.retain(|i| {
        let better = points[*i][1] < lowest;
        lowest = lowest.min(points[*i][1]);
        better
    });
    order
}

/// Whether a point of `points` is at least as good as `point` in both coordinates.
pub fn dominated(points: &[[f64; 2]], point: [f64; 2]) -> bool {
    points.iter().any(|p| p[0] <= point[0] && p[1] <= point[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nowhere_beaten_is_on_the_front() {
        let points = [[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [3.0, 3.0], [1.0, 4.0], [2.5, 1.5]];
        assert_eq!(front(&points), [1, 2, 6, 0]);
        assert!(dominated(&points, [2.0, 2.0]) && !dominated(&points, [1.5, 2.5]));
    }
}
