// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong around a simulation, as opposed to inside the simulated machine (see [`crate::image::RunResult`]).

use std::fmt;
use std::path::PathBuf;

/// A broken rule of AXI, seen by the harness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `s_axil`, `if`, `ld0`, ..., `st`.
    pub port: String,
    /// e.g. `PAYLOAD_STABLE`, `BOUNDARY_4K`, `WLAST`.
    pub rule: String,
    pub detail: String,
    /// Clock cycles since the simulation began.
    pub cycle: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}, rule {}, cycle {}: {}", self.port, self.rule, self.cycle, self.detail)
    }
}

/// Why a co-simulation could not be built or run.
#[derive(Debug)]
pub enum CosimError {
    /// A file or process operation failed.
    Io { doing: String, source: std::io::Error },
    /// A program that building needs is not installed.
    ToolMissing { tool: String },
    /// A template of ours does not render.
    Emit(hdl_gen::emit::EmitError),
    /// Verilator or the C++ compiler failed; `tail` is the end of its log.
    BuildFailed { step: &'static str, log: PathBuf, tail: String },
    /// The simulation process ended; `stderr` is what it said.
    Died { status: String, stderr: String },
    /// The simulation process answered something that is no answer.
    Protocol { detail: String },
    /// The design broke a rule of AXI.
    Violations(Vec<Violation>),
    /// The design is not what the architecture says.
    WrongDesign { register: &'static str, expected: u32, got: u32 },
    /// A register access was answered with an error.
    Register { offset: u32, response: u8 },
    /// The run did not end.
    NotFinished { cycles: u64, why: &'static str },
    /// Soft reset did not bring the machine back.
    StillBusy { status: u32 },
    /// A trace was asked for, but the simulation was built without.
    NoTrace,
}

impl CosimError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> CosimError {
        let doing = doing.into();
        move |source| CosimError::Io { doing, source }
    }
}

impl fmt::Display for CosimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CosimError::Io { doing, source } => write!(f, "cannot {doing}: {source}"),
            CosimError::ToolMissing { tool } => write!(
                f,
                "`{tool}` is not installed: co-simulation needs Verilator 5, make and a C++ compiler (Debian and Ubuntu: \
                 `apt install verilator make g++ zlib1g-dev`)"
            ),
            CosimError::Emit(e) => write!(f, "{e}"),
            CosimError::BuildFailed { step, log, tail } => {
                write!(f, "building the simulation failed in {step}; the end of {}:\n{tail}", log.display())
            }
            CosimError::Died { status, stderr } => write!(f, "the simulation process ended ({status}):\n{stderr}"),
            CosimError::Protocol { detail } => write!(f, "the simulation process answered nonsense: {detail}"),
            CosimError::Violations(list) => {
                write!(f, "the design breaks AXI rules:")?;
                list.iter().try_for_each(|v| write!(f, "\n  {v}"))
            }
            CosimError::WrongDesign { register, expected, got } => write!(
                f,
                "register {register} of the simulated design reads 0x{got:08x}, the configuration says 0x{expected:08x}"
            ),
            CosimError::Register { offset, response } => {
                write!(f, "access to register 0x{offset:02x} was answered with response {response}")
            }
            CosimError::NotFinished { cycles, why } => write!(f, "the run did not end in {cycles} cycles: {why}"),
            CosimError::StillBusy { status } => {
                write!(f, "soft reset did not bring the machine back: STATUS reads 0x{status:x}")
            }
            CosimError::NoTrace => write!(f, "this simulation was built without tracing: set `trace` when building it"),
        }
    }
}

impl std::error::Error for CosimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CosimError::Io { source, .. } => Some(source),
            CosimError::Emit(e) => Some(e),
            _ => None,
        }
    }
}

impl From<hdl_gen::emit::EmitError> for CosimError {
    fn from(e: hdl_gen::emit::EmitError) -> Self {
        CosimError::Emit(e)
    }
}
