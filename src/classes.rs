// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Networks that classify: the classes with the highest scores, and how many labels are met.

use crate::data::numbers;
use brickwork_compiler::import::Imported;
use brickwork_compiler::npz::Array;
use serde::Serialize;

/// Classes that are named for each input.
const NAMED: usize = 3;
/// Scores of one class each, at most.
const MOST_CLASSES: usize = 10_000;

/// One class of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    pub class: usize,
    /// From the file beside the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub score: f64,
}

/// The model has one output, one score per class, and not as many as input values (as an autoencoder has).
pub fn is_classifier(model: &Imported) -> bool {
    let elements = |dims: &[usize]| dims.iter().product::<usize>();
    let [result] = model.results.as_slice() else { return false };
    let scores = elements(&result.dims);
    result.dims.iter().filter(|d| **d != 1).count() == 1
        && (2..=MOST_CLASSES).contains(&scores)
        && model.inputs.iter().all(|i| elements(&i.dims) != scores)
}

/// The classes with the highest scores, the best first; of equal ones the first.
pub fn top(scores: &Array, names: &[String]) -> Vec<Class> {
    let values = numbers(&scores.data);
    let mut order: Vec<usize> = (0..values.len()).filter(|&i| !values[i].is_nan()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    let one = |&class: &usize| Class { class, name: names.get(class).cloned(), score: values[class] };
    order.iter().take(NAMED).map(one).collect()
}

/// The integers of an array of labels.
pub fn labels(array: &Array) -> Option<Vec<usize>> {
    let exact = |v: &f64| (v.fract() == 0.0 && *v >= 0.0).then_some(*v as usize);
    numbers(&array.data).iter().map(exact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_highest_scores_and_the_first_of_equal_ones() {
        let scores = Array::f32(vec![1, 5], vec![0.5, 2.0, f32::NAN, 2.0, -1.0]).expect("matching shape");
        let found = top(&scores, &["a".into(), "b".into()]);
        let classes: Vec<usize> = found.iter().map(|c| c.class).collect();
        assert_eq!(classes, [1, 3, 0]);
        assert_eq!((found[0].name.as_deref(), found[1].name.as_deref()), (Some("b"), None));
    }

    #[test]
    fn labels_are_whole_numbers() {
        let array = |v: Vec<f32>| Array::f32(vec![v.len()], v).expect("matching shape");
        assert_eq!(labels(&array(vec![3.0, 0.0])), Some(vec![3, 0]));
        assert_eq!(labels(&array(vec![0.5])), None);
        assert_eq!(labels(&array(vec![-1.0])), None);
    }
}
