// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From an [`Arch`] to Verilog files. Rust computes and decides; the templates lay out.
//!
//! Each unit of the machine has one module here that lists its files. Templates use `<: :>`, `<% %>`, `<# #>`, so that
//! Verilog's braces need no escape. Every template sees these variables:
//!
//! | name | what |
//! |---|---|
//! | `a` | the [`Arch`], field by field |
//! | `d` | [`Derived`]: address widths and the like |
//! | `op` | opcode literals, e.g. `op.pass_shape` = `8'h31` |
//! | `f` | part selects of operands, e.g. `f.pass.addr` = `[15:0]` |
//! | `x` | what the unit adds for this file |

pub(crate) mod align;
pub mod array;
pub mod compute;
pub mod control;
pub mod post;
pub mod vivado;

use crate::arch::Arch;
use crate::isa::{Field, INSTRUCTIONS};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// One generated Verilog file; the file is named after its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtlFile {
    /// File name, e.g. `post_unit.v`.
    pub name: String,
    pub text: String,
}

/// A template that does not render: a defect of ours, not of the user's input.
#[derive(Debug)]
pub struct EmitError {
    pub file: String,
    pub reason: String,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot render {}: {}", self.file, self.reason)
    }
}
impl std::error::Error for EmitError {}

/// Numbers that only Verilog needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Derived {
    /// Address of a bank word.
    pub bank_aw: u32,
    /// Address of a plane-word: bank_aw + 2.
    pub plane_aw: u32,
    pub acc_aw: u32,
    pub wgt_aw: u32,
    pub tap_aw: u32,
    /// Address of a parameter word of `requant_lanes` channels.
    pub param_aw: u32,
    /// Address of one channel in a `param` load.
    pub param_entry_aw: u32,
    pub queue_aw: u32,
    /// Configuration hash as a Verilog literal.
    pub hash: String,
}

impl Derived {
    pub fn new(arch: &Arch) -> Self {
        let aw = |depth: u32| u32::BITS - (depth - 1).leading_zeros();
        Derived {
            bank_aw: aw(arch.bank_depth),
            plane_aw: aw(arch.plane_words),
            acc_aw: aw(arch.acc_depth),
            wgt_aw: aw(arch.wgt_depth),
            tap_aw: aw(arch.tap_depth),
            param_aw: aw(arch.param_depth),
            param_entry_aw: aw(arch.param_depth * arch.requant_lanes),
            queue_aw: aw(arch.queue_depth),
            hash: format!("64'h{:016x}", arch.hash),
        }
    }
}

#[derive(Serialize)]
struct Vars<'a, X: Serialize> {
    a: &'a Arch,
    d: Derived,
    op: BTreeMap<String, String>,
    f: BTreeMap<String, BTreeMap<&'static str, String>>,
    x: &'a X,
}

/// Instruction names as template identifiers: `pass.shape` -> `pass_shape`.
fn ident(mnemonic: &str) -> String {
    mnemonic.replace('.', "_")
}

/// Renders `template` (its text) into the file `name`, with `x` as the unit's own variables.
pub fn render<X: Serialize>(arch: &Arch, name: &str, template: &str, x: &X) -> Result<RtlFile, EmitError> {
    let body = render_body(arch, name, template, x)?;
    Ok(RtlFile { name: name.into(), text: format!("{}{}", banner(arch), align::align(&body)) })
}

/// The same for a language whose comments begin with `comment`; nothing is aligned.
pub fn render_as<X: Serialize>(
    comment: &str,
    arch: &Arch,
    name: &str,
    template: &str,
    x: &X,
) -> Result<RtlFile, EmitError> {
    let body = render_body(arch, name, template, x)?;
    Ok(RtlFile { name: name.into(), text: format!("{comment}{}{body}", &banner(arch)[2..]) })
}

fn render_body<X: Serialize>(arch: &Arch, name: &str, template: &str, x: &X) -> Result<String, EmitError> {
    let fail = |e: tera::Error| EmitError { file: name.into(), reason: error_chain(&e) };
    let vars = Vars {
        a: arch,
        d: Derived::new(arch),
        op: INSTRUCTIONS.iter().map(|i| (ident(i.mnemonic), format!("8'h{:02x}", i.op as u8))).collect(),
        f: INSTRUCTIONS
            .iter()
            .map(|i| {
                let selects = i.fields.iter().map(|f: &Field| (f.name, f.select()));
                (ident(i.mnemonic), selects.collect())
            })
            .collect(),
        x,
    };
    let mut tera = tera::Tera::default();
    tera.autoescape_on(Vec::<&str>::new());
    tera.set_delimiters(delimiters()).map_err(fail)?;
    tera.add_raw_template(name, template).map_err(fail)?;
    let context = tera::Context::from_serialize(&vars).map_err(fail)?;
    tera.render(name, &context).map_err(fail)
}

/// A Verilog file that is the same for every configuration.
pub fn fixed(arch: &Arch, name: &str, text: &str) -> RtlFile {
    RtlFile { name: name.into(), text: format!("{}{text}", banner(arch)) }
}

fn delimiters() -> tera::Delimiters {
    tera::Delimiters {
        block_start: "<%".into(),
        block_end: "%>".into(),
        variable_start: "<:".into(),
        variable_end: ":>".into(),
        comment_start: "<#".into(),
        comment_end: "#>".into(),
    }
}

fn error_chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text.push_str(&format!(": {s}"));
        source = s.source();
    }
    text
}

/// First lines of every file: who made it, from what. No date, so that the same input gives the same bytes.
pub fn banner(arch: &Arch) -> String {
    format!(
        "// Generated by brickwork {} from configuration {} ({:016x}). Do not edit.\n",
        env!("CARGO_PKG_VERSION"),
        arch.config.name,
        arch.hash
    )
}

/// All Verilog files of the accelerator, leaves first, the top (`brickwork_top.v`) last.
pub fn rtl_files(arch: &Arch) -> Result<Vec<RtlFile>, EmitError> {
    let mut files = array::files(arch)?;
    files.extend(compute::files(arch)?);
    files.extend(post::files(arch)?);
    files.extend(control::files(arch)?);
    Ok(files)
}
