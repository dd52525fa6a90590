// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a model file to an integer graph and the host's part of the work.

use crate::host::{HostError, HostInput, HostOutput};
use crate::ir::Graph;
use crate::npz::Array;
use crate::tail::HostNode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A model, ready to be lowered and run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    pub graph: Graph,
    /// In the order of `graph.inputs`.
    pub inputs: Vec<HostInput>,
    /// In the order of `graph.outputs`.
    pub outputs: Vec<HostOutput>,
    /// What the host computes behind them. Values are numbered: `outputs`, then these nodes.
    pub tail: Vec<HostNode>,
    /// The model's own outputs.
    pub results: Vec<HostResult>,
    /// What a user should know: assumptions made, float sums that the reference itself rounds.
    pub notes: Vec<String>,
}

/// A model output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostResult {
    pub name: String,
    /// The model's own shape, batch (1) included.
    pub dims: Vec<usize>,
    /// Number of the value.
    pub value: usize,
}

/// The results of a model whose outputs are the decoded outputs of its graph, with nothing behind them.
pub fn plain_results(outputs: &[HostOutput]) -> Vec<HostResult> {
    let one =
        |(value, o): (usize, &HostOutput)| HostResult { name: o.name.clone(), dims: o.dims.clone(), value };
    outputs.iter().enumerate().map(one).collect()
}

impl Imported {
    /// Codes of the graph's inputs for one array per model input, by the model's names.
    pub fn encode(&self, array: impl Fn(&str) -> Option<Array>) -> Result<Vec<Vec<i32>>, HostError> {
        let encode = |input: &HostInput| {
            let found = array(&input.name).ok_or_else(|| HostError::Missing { name: input.name.clone() })?;
            input.encode(&found)
        };
        self.inputs.iter().map(encode).collect()
    }

    /// The model's outputs, in the order of `results`, for the codes of the graph's outputs.
    pub fn decode(&self, codes: &[Vec<i32>]) -> Vec<Array> {
        let mut values = self.outputs.iter().zip(codes).map(|(o, c)| o.decode(c)).collect::<Vec<_>>();
        for node in &self.tail {
            let inputs = node.inputs.iter().map(|&i| &values[i]).collect::<Vec<_>>();
            let result = node.run(&inputs);
            values.push(result);
        }
        self.results.iter().map(|r| values[r.value].clone()).collect()
    }
}

/// Why a model, or one of its nodes, cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// Node (or file, tensor) and, for a node, its operator.
    pub at: String,
    pub operator: Option<String>,
    pub reason: String,
}

impl ImportError {
    pub fn file(at: impl Into<String>, reason: impl Into<String>) -> ImportError {
        ImportError { at: at.into(), operator: None, reason: reason.into() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operator {
            Some(op) => write!(f, "{} ({op}): {}", self.at, self.reason),
            None => write!(f, "{}: {}", self.at, self.reason),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads a model file; the format follows from the file's extension. All that is wrong with it is told at once.
pub fn import(path: &Path) -> Result<Imported, Vec<ImportError>> {
    let shown = path.display().to_string();
    let name = path.file_stem().map_or("model".into(), |s| s.to_string_lossy().into_owned());
    let importer = match path.extension().and_then(|e| e.to_str()) {
        Some("onnx") => crate::onnx::import,
        Some("tflite") => crate::tflite::import,
        _ => {
            let reason = "unknown model format: the file name must end in .onnx or .tflite";
            return Err(vec![ImportError::file(shown, reason)]);
        }
    };
    let bytes = std::fs::read(path).map_err(|e| vec![ImportError::file(&shown, e.to_string())])?;
    importer(&name, &bytes)
}
