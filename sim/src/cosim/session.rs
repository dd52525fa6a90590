// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A running simulation process.

use super::error::CosimError;
use super::protocol::{Command, LiteAccess, Outstanding, Reply, ReplyError, Stop};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::thread::JoinHandle;
use std::time::Duration;

/// A simulation process and its pipes. Dropping it ends the process.
pub struct Session {
    child: Child,
    to: Option<BufWriter<ChildStdin>>,
    from: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    violated: bool,
}

/// Why and when [`Session::run`] stopped, and what it took.
#[derive(Clone, Debug)]
pub struct Ran {
    pub stop: Stop,
    /// Clock cycles.
    pub cycles: u64,
    pub cpu_time: Duration,
    /// Most memory that the process ever had.
    pub peak_bytes: u64,
}

/// Bytes of the process's messages that are kept.
const STDERR_BYTES: usize = 16 * 1024;

impl Session {
    /// Starts `executable`; `seed` draws the contents of registers and memories at power-on. The design is held in reset for
    /// some cycles.
    pub fn start(executable: &Path, seed: u32) -> Result<Session, CosimError> {
        let mut child = std::process::Command::new(executable)
            .arg((seed & 0x3fff_ffff).to_string())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .map_err(CosimError::io(format!("start {}", executable.display())))?;
        let to = child.stdin.take().map(|s| BufWriter::with_capacity(1 << 16, s));
        let from = BufReader::with_capacity(1 << 16, child.stdout.take().expect("stdout is piped"));
        let stderr = child.stderr.take().map(|s| std::thread::spawn(move || read_tail(s)));
        let mut session = Session { child, to, from, stderr, violated: false };
        session.exec(&[Command::Reset { cycles: 16 }])?;
        Ok(session)
    }

    /// Executes commands in order and returns their replies, one each. A broken AXI rule is an error; after any error the
    /// session is of no further use.
    pub fn exec(&mut self, commands: &[Command]) -> Result<Vec<Reply>, CosimError> {
        let mut all = commands.to_vec();
        all.push(Command::Violations);
        let mut replies = self.exchange(&all).map_err(|e| self.explain(e))?;
        match replies.pop() {
            Some(Reply::Violations(list)) if !list.is_empty() => {
                self.violated = true;
                Err(CosimError::Violations(list))
            }
            _ => Ok(replies),
        }
    }

    /// No rule was broken so far.
    pub fn usable(&self) -> bool {
        !self.violated && self.to.is_some()
    }

    /// Reads one register.
    pub fn read(&mut self, offset: u32) -> Result<u32, CosimError> {
        Ok(self.read_all(&[offset])?[0])
    }

    /// Reads registers, in order.
    pub fn read_all(&mut self, offsets: &[u32]) -> Result<Vec<u32>, CosimError> {
        let commands: Vec<_> = offsets.iter().map(|o| Command::RegRead { offset: *o }).collect();
        let replies = self.exec(&commands)?;
        offsets
            .iter()
            .zip(replies)
            .map(|(offset, reply)| match reply {
                Reply::Read { value, response: 0 } => Ok(value),
                Reply::Read { response, .. } => Err(CosimError::Register { offset: *offset, response }),
                other => Err(unexpected(&other)),
            })
            .collect()
    }

    /// Writes registers, in order.
    pub fn write_all(&mut self, writes: &[(u32, u32)]) -> Result<(), CosimError> {
        let commands: Vec<_> = writes
            .iter()
            .map(|(offset, value)| Command::RegWrite { offset: *offset, value: *value })
            .collect();
        let replies = self.exec(&commands)?;
        for ((offset, _), reply) in writes.iter().zip(replies) {
            match reply {
                Reply::Written { response: 0 } => {}
                Reply::Written { response } => {
                    return Err(CosimError::Register { offset: *offset, response })
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// A write and a read that overlap; gives the value read (0 without a read).
    pub fn access(&mut self, access: LiteAccess) -> Result<u32, CosimError> {
        match self.exec(&[Command::RegAccess(access)])?.pop() {
            Some(Reply::Access { bresp: 0, value, rresp: 0 }) => Ok(value),
            Some(Reply::Access { bresp, rresp, .. }) => {
                let offset = access.write.map(|w| w.0).or(access.read).unwrap_or_default();
                Err(CosimError::Register { offset, response: bresp.max(rresp) })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// What is under way on each port.
    pub fn outstanding(&mut self) -> Result<Vec<Outstanding>, CosimError> {
        match self.exec(&[Command::Outstanding])?.pop() {
            Some(Reply::Outstanding(list)) => Ok(list),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs until the interrupt or for `max_cycles`.
    pub fn run(&mut self, max_cycles: u64) -> Result<Ran, CosimError> {
        match self.exec(&[Command::Run { max_cycles }])?.pop() {
            Some(Reply::Ran { stop, cycles, nanoseconds, peak_bytes }) => {
                Ok(Ran { stop, cycles, cpu_time: Duration::from_nanos(nanoseconds), peak_bytes })
            }
            other => Err(unexpected(&other)),
        }
    }

    fn exchange(&mut self, commands: &[Command]) -> Result<Vec<Reply>, ReplyError> {
        let closed = || ReplyError::Io(std::io::ErrorKind::BrokenPipe.into());
        let to = self.to.as_mut().ok_or_else(closed)?;
        to.write_all(&(commands.len() as u32).to_le_bytes())?;
        commands.iter().try_for_each(|c| c.write(to))?;
        to.flush()?;
        commands.iter().map(|c| c.read_reply(&mut self.from)).collect()
    }

    /// A broken pipe says little: what the process said before it ended says more.
    fn explain(&mut self, error: ReplyError) -> CosimError {
        if matches!(error, ReplyError::Nonsense(_)) {
            return error.into();
        }
        self.to = None;
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
        let stderr = self.stderr.take().and_then(|t| t.join().ok()).unwrap_or_default();
        CosimError::Died { status, stderr }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.to = None; // end of its input: it ends by itself and closes its trace file
        let _ = self.child.wait();
    }
}

/// The error for a reply of another kind than asked for.
pub(crate) fn unexpected(reply: &impl std::fmt::Debug) -> CosimError {
    CosimError::Protocol { detail: format!("unexpected reply {reply:?}") }
}

/// Reads to the end and keeps the last part.
fn read_tail(mut from: ChildStderr) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..n]);
        let excess = kept.len().saturating_sub(STDERR_BYTES);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
