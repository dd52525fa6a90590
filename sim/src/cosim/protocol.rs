// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The binary protocol of `sim/harness/harness.cpp.tera`: a message is a count and that many commands; the replies come
//! back in order. All numbers little-endian; a text is its length in 4 bytes and its bytes.

use super::error::{CosimError, Violation};
use crate::image::Fault;
use std::io::{Read, Write};

/// One command.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// Forget all memory.
    ClearRegions,
    /// Memory at `base`; reads outside all regions give 0.
    Region {
        base: u64,
        bytes: &'a [u8],
    },
    /// Regions that the design wrote to.
    GetDirty,
    /// `beats_per_256`: data beats of all ports together in 256 cycles, 0 = no limit.
    Timing {
        latency_cycles: u32,
        stall: u8,
        seed: u64,
        beats_per_256: u32,
    },
    Faults(&'a [Fault]),
    RegWrite {
        offset: u32,
        value: u32,
    },
    RegRead {
        offset: u32,
    },
    /// A write, a read or both at once.
    RegAccess(LiteAccess),
    /// Forget marks, busy times and port statistics.
    Monitor,
    /// Run until the interrupt or for `max_cycles`.
    Run {
        max_cycles: u64,
    },
    Marks,
    Busy,
    Stats,
    /// Pull `aresetn` low.
    Reset {
        cycles: u32,
    },
    Violations,
    /// Record to `path` from a run cycle or, if not negative, from a mark on. An empty path ends the recording.
    Trace {
        path: &'a str,
        from_cycle: u64,
        from_mark: i32,
        cycles: u64,
    },
    /// It is a violation if a transaction is outstanding now.
    ExpectIdle {
        when: &'a str,
    },
    Outstanding,
}

/// Register accesses that overlap in time; each channel starts when its delay (in cycles) is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiteAccess {
    /// Offset, value, byte strobes.
    pub write: Option<(u32, u32, u8)>,
    /// Offset.
    pub read: Option<u32>,
    /// AW, W, B (ready after valid), AR, R (ready after valid).
    pub delays: [u8; 5],
}

/// What is under way on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    pub port: String,
    /// Announced and not ended (reads) or not answered (writes).
    pub bursts: u32,
    /// Beats of the burst that is arriving.
    pub partial_beats: u32,
}

/// Why `Run` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Irq,
    Cycles,
    Violation,
    /// Nothing moved for a million cycles.
    Stuck,
}

/// Transfers of one port.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PortStats {
    pub port: String,
    pub bursts: u64,
    pub beats: u64,
}

/// One answer.
#[derive(Clone, Debug)]
pub enum Reply {
    None,
    /// `[(base, bytes)]`
    Dirty(Vec<(u64, Vec<u8>)>),
    Written {
        response: u8,
    },
    Read {
        value: u32,
        response: u8,
    },
    Ran {
        stop: Stop,
        cycles: u64,
        nanoseconds: u64,
        peak_bytes: u64,
    },
    /// Responses, and the value read.
    Access {
        bresp: u8,
        value: u32,
        rresp: u8,
    },
    Outstanding(Vec<Outstanding>),
    /// `[(id, cycle)]`
    Marks(Vec<(u16, u64)>),
    /// `[(cycle, mask of busy queues from this cycle on)]`
    Busy {
        full: bool,
        changes: Vec<(u64, u8)>,
    },
    Stats(Vec<PortStats>),
    Violations(Vec<Violation>),
    Trace {
        ok: bool,
    },
}

impl Command<'_> {
    fn op(&self) -> u8 {
        match self {
            Command::ClearRegions => 1,
            Command::Region { .. } => 2,
            Command::GetDirty => 3,
            Command::Timing { .. } => 4,
            Command::Faults(_) => 5,
            Command::RegWrite { .. } => 6,
            Command::RegRead { .. } => 7,
            Command::Monitor => 8,
            Command::Run { .. } => 9,
            Command::Marks => 10,
            Command::Busy => 11,
            Command::Stats => 12,
            Command::Reset { .. } => 13,
            Command::Violations => 14,
            Command::Trace { .. } => 15,
            Command::ExpectIdle { .. } => 16,
            Command::RegAccess(_) => 17,
            Command::Outstanding => 18,
        }
    }

    pub fn write(&self, w: &mut impl Write) -> std::io::Result<()> {
        w.write_all(&[self.op()])?;
        match self {
            Command::Region { base, bytes } => {
                w.write_all(&base.to_le_bytes())?;
                w.write_all(&(bytes.len() as u64).to_le_bytes())?;
                w.write_all(bytes)
            }
            Command::Timing { latency_cycles, stall, seed, beats_per_256 } => {
                w.write_all(&latency_cycles.to_le_bytes())?;
                w.write_all(&[*stall])?;
                w.write_all(&seed.to_le_bytes())?;
                w.write_all(&beats_per_256.to_le_bytes())
            }
            Command::Faults(faults) => {
                w.write_all(&(faults.len() as u32).to_le_bytes())?;
                faults.iter().try_for_each(|f| write_fault(w, f))
            }
            Command::RegWrite { offset, value } => {
                w.write_all(&offset.to_le_bytes())?;
                w.write_all(&value.to_le_bytes())
            }
            Command::RegRead { offset } => w.write_all(&offset.to_le_bytes()),
            Command::RegAccess(access) => write_access(w, access),
            Command::Run { max_cycles } => w.write_all(&max_cycles.to_le_bytes()),
            Command::Reset { cycles } => w.write_all(&cycles.to_le_bytes()),
            Command::Trace { path, from_cycle, from_mark, cycles } => {
                write_text(w, path)?;
                w.write_all(&from_cycle.to_le_bytes())?;
                w.write_all(&from_mark.to_le_bytes())?;
                w.write_all(&cycles.to_le_bytes())
            }
            Command::ExpectIdle { when } => write_text(w, when),
            _ => Ok(()),
        }
    }

    /// Reads the answer to this command.
    pub fn read_reply(&self, r: &mut impl Read) -> Result<Reply, ReplyError> {
        Ok(match self {
            Command::GetDirty => Reply::Dirty(list(r, |r| {
                let base = u64_of(r)?;
                let mut bytes = vec![0; u64_of(r)? as usize];
                r.read_exact(&mut bytes)?;
                Ok((base, bytes))
            })?),
            Command::RegWrite { .. } => Reply::Written { response: u8_of(r)? },
            Command::RegRead { .. } => Reply::Read { value: u32_of(r)?, response: u8_of(r)? },
            Command::Run { .. } => Reply::Ran {
                stop: stop_of(r)?,
                cycles: u64_of(r)?,
                nanoseconds: u64_of(r)?,
                peak_bytes: u64_of(r)?,
            },
            Command::Marks => Reply::Marks(list(r, |r| Ok((u16_of(r)?, u64_of(r)?)))?),
            Command::Busy => {
                let full = u8_of(r)? != 0;
                Reply::Busy { full, changes: list(r, |r| Ok((u64_of(r)?, u8_of(r)?)))? }
            }
            Command::RegAccess(_) => Reply::Access { bresp: u8_of(r)?, value: u32_of(r)?, rresp: u8_of(r)? },
            Command::Outstanding => Reply::Outstanding(list(r, |r| {
                Ok(Outstanding { port: text_of(r)?, bursts: u32_of(r)?, partial_beats: u32_of(r)? })
            })?),
            Command::Stats => Reply::Stats(list(r, |r| {
                Ok(PortStats { port: text_of(r)?, bursts: u64_of(r)?, beats: u64_of(r)? })
            })?),
            Command::Violations => Reply::Violations(list(r, |r| {
                Ok(Violation { port: text_of(r)?, rule: text_of(r)?, detail: text_of(r)?, cycle: u64_of(r)? })
            })?),
            Command::Trace { .. } => Reply::Trace { ok: u8_of(r)? != 0 },
            _ => Reply::None,
        })
    }
}

/// An answer that could not be read.
#[derive(Debug)]
pub enum ReplyError {
    Io(std::io::Error),
    Nonsense(String),
}
impl From<std::io::Error> for ReplyError {
    fn from(e: std::io::Error) -> Self {
        ReplyError::Io(e)
    }
}
impl From<ReplyError> for CosimError {
    fn from(e: ReplyError) -> Self {
        match e {
            ReplyError::Io(e) => {
                CosimError::Io { doing: "read from the simulation process".into(), source: e }
            }
            ReplyError::Nonsense(detail) => CosimError::Protocol { detail },
        }
    }
}

fn write_text(w: &mut impl Write, text: &str) -> std::io::Result<()> {
    w.write_all(&(text.len() as u32).to_le_bytes())?;
    w.write_all(text.as_bytes())
}
fn write_access(w: &mut impl Write, access: &LiteAccess) -> std::io::Result<()> {
    let (offset, value, strobes) = access.write.unwrap_or_default();
    w.write_all(&[access.write.is_some() as u8 | (access.read.is_some() as u8) << 1])?;
    w.write_all(&offset.to_le_bytes())?;
    w.write_all(&value.to_le_bytes())?;
    w.write_all(&[strobes])?;
    w.write_all(&access.read.unwrap_or_default().to_le_bytes())?;
    w.write_all(&access.delays)
}
fn write_fault(w: &mut impl Write, f: &Fault) -> std::io::Result<()> {
    w.write_all(&f.start.to_le_bytes())?;
    w.write_all(&f.bytes.to_le_bytes())?;
    w.write_all(&[if f.decerr { 3 } else { 2 }])
}
fn array<const N: usize>(r: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    r.read_exact(&mut bytes)?;
    Ok(bytes)
}
fn u8_of(r: &mut impl Read) -> std::io::Result<u8> {
    Ok(array::<1>(r)?[0])
}
fn u16_of(r: &mut impl Read) -> std::io::Result<u16> {
    Ok(u16::from_le_bytes(array(r)?))
}
fn u32_of(r: &mut impl Read) -> std::io::Result<u32> {
    Ok(u32::from_le_bytes(array(r)?))
}
fn u64_of(r: &mut impl Read) -> std::io::Result<u64> {
    Ok(u64::from_le_bytes(array(r)?))
}
fn text_of(r: &mut impl Read) -> Result<String, ReplyError> {
    let mut bytes = vec![0; u32_of(r)? as usize];
    r.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|e| ReplyError::Nonsense(e.to_string()))
}
fn stop_of(r: &mut impl Read) -> Result<Stop, ReplyError> {
    match u8_of(r)? {
        0 => Ok(Stop::Irq),
        1 => Ok(Stop::Cycles),
        2 => Ok(Stop::Violation),
        3 => Ok(Stop::Stuck),
        n => Err(ReplyError::Nonsense(format!("stop reason {n}"))),
    }
}
fn list<R: Read, T>(r: &mut R, item: impl Fn(&mut R) -> Result<T, ReplyError>) -> Result<Vec<T>, ReplyError> {
    (0..u32_of(r)?).map(|_| item(r)).collect()
}
