// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The register map and the error codes as constants of the drivers' languages; the files below `drivers/` are made here.

use hdl_gen::isa::{ErrorCode, Register, ERRORS, FLAGS, ID_VALUE, REGISTERS, VERSION_VALUE};
use std::fmt::Write;

/// A language that a driver is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    C,
    Python,
    Rust,
}

const MADE: &str = "Made by `brickwork isa --constants` from hdl-gen/src/isa/registers.rs; `make bless` writes it. Do not edit.";
const LICENCE: &str = "SPDX-License-Identifier: Apache-2.0 OR MIT";

/// The constants as a source file of `language`.
pub fn text(language: Language) -> String {
    match language {
        Language::C => c(),
        Language::Python => python(),
        Language::Rust => rust(),
    }
}

/// `bad opcode` as `BAD_OPCODE`.
fn constant(name: &str) -> String {
    name.to_ascii_uppercase().replace(' ', "_")
}

/// Text of a comment in the languages: no code marks.
fn plain(doc: &str) -> String {
    doc.replace('`', "")
}

fn errors() -> impl Iterator<Item = (&'static ErrorCode, String, String)> {
    ERRORS.iter().map(|(code, name, doc)| (code, constant(name), plain(doc)))
}

fn c() -> String {
    let mut t =
        format!("/* {LICENCE} */\n/* brickwork_regs.h : registers and error codes. {} */\n", plain(MADE));
    t.push_str("#ifndef BRICKWORK_REGS_H\n#define BRICKWORK_REGS_H\n\n");
    let _ = write!(t, "#define BRICKWORK_ID_VALUE 0x{ID_VALUE:08x}u\n#define BRICKWORK_VERSION_VALUE 0x{VERSION_VALUE:08x}u\n\n");
    t.push_str("/* Byte offsets. */\n");
    for Register { name, offset, doc, .. } in REGISTERS {
        let _ = writeln!(t, "#define BRICKWORK_REG_{name} 0x{offset:02x}u /* {} */", plain(doc));
    }
    t.push_str("\n/* Flags. */\n");
    for f in FLAGS {
        let _ = writeln!(t, "#define BRICKWORK_{}_{} 0x{:x}u", f.register, f.name, f.mask());
    }
    t.push_str("\n/* Values of ERROR_CODE. */\nenum brickwork_error_code {\n");
    for (code, name, doc) in errors() {
        let _ = writeln!(t, "    BRICKWORK_ERROR_{name} = {}, /* {doc} */", *code as u32);
    }
    let names: Vec<String> = ERRORS.iter().map(|(_, name, _)| format!("\"{name}\"")).collect();
    let _ = write!(t, "}};\n#define BRICKWORK_ERROR_NAMES \\\n    {{ {} }}\n\n#endif\n", names.join(", "));
    t
}

fn python() -> String {
    let mut t = format!("# {LICENCE}\n\"\"\"Registers and error codes. {MADE}\"\"\"\n\n");
    let _ =
        write!(t, "ID_VALUE = 0x{ID_VALUE:08x}\nVERSION_VALUE = 0x{VERSION_VALUE:08x}\n\n# Byte offsets.\n");
    for Register { name, offset, doc, .. } in REGISTERS {
        let _ = writeln!(t, "REG_{name} = 0x{offset:02x}  # {}", plain(doc));
    }
    t.push_str("\n# Flags.\n");
    for f in FLAGS {
        let _ = writeln!(t, "{}_{} = 0x{:x}", f.register, f.name, f.mask());
    }
    t.push_str("\n# Values of ERROR_CODE.\n");
    for (code, name, doc) in errors() {
        let _ = writeln!(t, "ERROR_{name} = {}  # {doc}", *code as u32);
    }
    t.push_str("ERROR_NAMES = [\n");
    for (_, name, _) in ERRORS {
        let _ = writeln!(t, "    \"{name}\",");
    }
    t.push_str("]\n");
    t
}

fn rust() -> String {
    let mut t = format!("// {LICENCE}\n//! Registers and error codes. {MADE}\n\n");
    let _ = write!(
        t,
        "/// Value of the register `ID`.\npub const ID_VALUE: u32 = 0x{ID_VALUE:08x};\n\
         /// Value of the register `VERSION`: major 16, minor 8, patch 8 bits.\npub const VERSION_VALUE: u32 = 0x{VERSION_VALUE:08x};\n"
    );
    for Register { name, offset, doc, .. } in REGISTERS {
        let _ = write!(t, "\n/// Byte offset: {doc}.\npub const REG_{name}: u32 = 0x{offset:02x};\n");
    }
    for f in FLAGS {
        let _ = write!(
            t,
            "\n/// Flag of `{}`.\npub const {}_{}: u32 = 0x{:x};\n",
            f.register,
            f.register,
            f.name,
            f.mask()
        );
    }
    for (code, name, doc) in errors() {
        let _ = write!(
            t,
            "\n/// Value of `ERROR_CODE`: {doc}.\npub const ERROR_{name}: u32 = {};\n",
            *code as u32
        );
    }
    let names: Vec<String> = ERRORS.iter().map(|(_, name, _)| format!("    \"{name}\",\n")).collect();
    let _ = write!(
        t,
        "\n/// Names of the error codes.\npub const ERROR_NAMES: [&str; {}] = [\n{}];\n",
        names.len(),
        names.concat()
    );
    t
}
