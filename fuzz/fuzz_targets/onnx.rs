// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any bytes: a graph that keeps its rules, or errors.
#![no_main]

use brickwork_compiler::onnx::import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = import("fuzzed", bytes) {
        assert!(model.graph.check().is_ok());
    }
});
