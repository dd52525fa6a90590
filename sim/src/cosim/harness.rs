// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C++ side, rendered for an architecture's ports.

use hdl_gen::emit::{self, EmitError, RtlFile};
use hdl_gen::Arch;
use serde::Serialize;

/// Variables of `harness.cpp.tera`.
#[derive(Serialize)]
struct HarnessContext {
    read_ports: Vec<Port>,
    write_ports: Vec<Port>,
    port_count: usize,
    /// Longest burst that the design may announce, in beats.
    max_burst: u32,
}

#[derive(Serialize)]
struct Port {
    /// `if`, `ld0`, `st`: what stands between `m_axi_` and the signal.
    name: String,
    /// Distinct numbers give distinct random streams.
    number: usize,
}

/// Names of the AXI read ports, in the order of their numbers.
fn read_port_names(arch: &Arch) -> Vec<String> {
    std::iter::once("if".to_string()).chain((0..arch.read_ports).map(|i| format!("ld{i}"))).collect()
}

/// All C++ files and Verilator's settings; the first one has `main`.
pub fn files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let read_ports: Vec<Port> =
        read_port_names(arch).into_iter().enumerate().map(|(number, name)| Port { name, number }).collect();
    let write_ports = vec![Port { name: "st".into(), number: read_ports.len() }];
    let context = HarnessContext {
        port_count: read_ports.len() + write_ports.len(),
        read_ports,
        write_ports,
        max_burst: arch.burst_beats,
    };
    Ok(vec![
        emit::render(arch, "harness.cpp", include_str!("../../harness/harness.cpp.tera"), &context)?,
        emit::fixed(arch, "axi.h", include_str!("../../harness/axi.h")),
        emit::fixed(arch, "memory.h", include_str!("../../harness/memory.h")),
        emit::fixed(arch, "pipe.h", include_str!("../../harness/pipe.h")),
        emit::fixed(arch, "harness.vlt", include_str!("../../harness/harness.vlt")),
    ])
}

/// The same as a library that drivers link with (`model.h`); the first file is compiled, it includes the others.
pub fn library_files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let mut all = vec![emit::fixed(arch, "model.cpp", include_str!("../../harness/model.cpp"))];
    all.push(emit::fixed(arch, "model.h", MODEL_HEADER));
    all.extend(files(arch)?);
    Ok(all)
}

/// The C header of the library.
pub const MODEL_HEADER: &str = include_str!("../../harness/model.h");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_port_is_bound() {
        let text = include_str!("../../../configs/tiny.toml");
        let mut config: hdl_gen::Config = toml::from_str(text).expect("tiny.toml is valid");
        config.axi.read_ports = 4;
        let files = files(&Arch::new(&config)).expect("the harness renders");
        for name in ["if", "ld0", "ld3", "st"] {
            assert!(files[0].text.contains(&format!("top->m_axi_{name}_")), "port {name} is missing");
        }
    }
}
