// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prints a rust-hdl block as one tidy Verilog file.
//!
//! rust-hdl writes one module per instance, with `$` in the names. Here equal modules are folded into one, `$` becomes
//! `__`, and the file is wrapped so that `verilator -Wall` accepts the masks by which rust-hdl extends widths.

use crate::emit::align::align;
use rust_hdl::prelude::*;
use std::collections::BTreeMap;
use std::fmt;

/// Why a block cannot be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafError {
    pub name: String,
    pub reason: String,
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf `{}`: {}", self.name, self.reason)
    }
}
impl std::error::Error for LeafError {}

/// One module of rust-hdl's output: its name, and the text from the port list to before `endmodule`.
struct Module<'a> {
    name: &'a str,
    body: &'a str,
}

/// The Verilog of `block` as module `name`, under the header comment `header` (lines without `//`).
/// The block must be connected (`connect_all`).
pub fn verilog<B: Block>(name: &str, header: &str, block: &B) -> Result<String, LeafError> {
    let mut defines = ModuleDefines::default();
    block.accept(name, &mut defines);
    let raw = defines.defines();
    let modules = split(&raw);
    if !modules.iter().any(|m| m.name == name) {
        return Err(LeafError {
            name: name.into(),
            reason: "rust-hdl printed no module of this name".into(),
        });
    }
    let comment: String = header.lines().map(|l| format!("// {l}").trim_end().to_string() + "\n").collect();
    Ok(format!(
        "// SPDX-License-Identifier: Apache-2.0 OR MIT\n{comment}// Printed from rust-hdl. It extends a width by a mask, hence the waivers.\n\
         /* verilator lint_off DECLFILENAME */\n/* verilator lint_off WIDTH */\n`default_nettype none\n\n{}\
         `default_nettype wire\n/* verilator lint_on WIDTH */\n/* verilator lint_on DECLFILENAME */\n",
        fold(name, modules)
    ))
}

fn split(text: &str) -> Vec<Module<'_>> {
    text.split("\nmodule ")
        .flat_map(|part| {
            let part = part.strip_prefix("module ").unwrap_or(part);
            let (name, rest) = part.split_once('(')?;
            let (body, _) = rest.split_once("\nendmodule")?;
            Some(Module { name: name.trim(), body })
        })
        .collect()
}

/// Folds modules with equal bodies, deepest first, and prints the survivors in that order.
fn fold(top: &str, mut modules: Vec<Module>) -> String {
    modules.sort_by_key(|m| std::cmp::Reverse(m.name.matches('$').count()));
    let mut alias: BTreeMap<String, String> = BTreeMap::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut text = String::new();
    for m in modules {
        let body = clean(m.body, &alias);
        if let Some(same) = seen.get(&body) {
            alias.insert(m.name.into(), same.clone());
            continue;
        }
        let name = fresh_name(top, m.name, &seen);
        // What is instantiated inside a leaf is as large as one LUT can hold; mapped by itself it stays so.
        let keep = if name == top { "" } else { "(* keep_hierarchy = \"yes\" *)\n" };
        text.push_str(&format!("{keep}module {name}({body}\nendmodule\n\n"));
        alias.insert(m.name.into(), name.clone());
        seen.insert(body, name);
    }
    text
}

/// `top$bricks$3` -> `top__bricks`; with a number behind when that name has another body.
fn fresh_name(top: &str, name: &str, seen: &BTreeMap<String, String>) -> String {
    let path = name.split('$').skip(1).filter(|p| p.parse::<u32>().is_err());
    let base = path.fold(top.to_string(), |n, p| format!("{n}__{p}"));
    let taken = |n: &String| seen.values().any(|v| v == n);
    (1..)
        .map(|i| if i == 1 { base.clone() } else { format!("{base}{i}") })
        .find(|n| !taken(n))
        .expect("finitely many names are taken")
}

/// Renames instantiated modules by `alias` and replaces `$` in identifiers by `__`.
fn clean(body: &str, alias: &BTreeMap<String, String>) -> String {
    let lines = body.lines().map(|line| {
        let line = line.trim_end();
        let word = line.split_whitespace().next().unwrap_or("");
        let line = match alias.get(word) {
            Some(new) => line.replacen(word, new, 1),
            None => line.to_string(),
        };
        let line =
            line.replace('$', "__").replace("__signed(", "$signed(").replace("__unsigned(", "$unsigned(");
        plain_selects(&line)
    });
    align(&lines.collect::<Vec<_>>().join("\n")).trim_end().to_string()
}

/// `x[(32'h3)+:(2)]` and `x[32'h3]` as `x[4:3]` and `x[3]`.
fn plain_selects(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let Some((text, bytes)) = select(from) else {
            out.push('[');
            rest = &from[1..];
            continue;
        };
        out.push_str(&text);
        rest = &from[bytes..];
    }
    out + rest
}

/// The plain form of the select that `from` begins with, and the bytes that it replaces.
fn select(from: &str) -> Option<(String, usize)> {
    let end = from.find(']')?;
    let inner = &from[1..end];
    let literal = |text: &str| u32::from_str_radix(text.strip_prefix("32'h")?, 16).ok();
    let text = match inner.split_once("+:") {
        None => format!("[{}]", literal(inner)?),
        Some((low, count)) => {
            let bare = |text: &str| text.strip_prefix('(')?.strip_suffix(')').map(str::to_string);
            let (low, count) = (literal(&bare(low)?)?, bare(count)?.parse::<u32>().ok()?);
            match count {
                0 => return None,
                1 => format!("[{low}]"),
                _ => format!("[{}:{low}]", low + count - 1),
            }
        }
    };
    Some((text, end + 1))
}

#[cfg(test)]
mod tests {
    use crate::leaf::{BitBrick, LaneCount};
    use rust_hdl::prelude::*;

    #[test]
    fn folds_equal_modules() {
        let mut block = LaneCount::default();
        block.connect_all();
        let text = super::verilog("lane_count", "lane_count : test", &block).unwrap();
        assert_eq!(text.matches("\nendmodule").count(), 3, "{text}");
        assert!(!text.contains("$"), "{text}");
        assert_eq!(text, super::verilog("lane_count", "lane_count : test", &block).unwrap());
    }

    #[test]
    fn writes_selects_plainly() {
        let line = "a = x[(32'h3)+:(2)] & y[(32'ha)+:(1)] ^ z[32'h1] + m[i] + w[(i)+:(1)];";
        assert_eq!(super::plain_selects(line), "a = x[4:3] & y[10] ^ z[1] + m[i] + w[(i)+:(1)];");
    }

    #[test]
    fn keeps_the_name_of_a_single_module() {
        let mut block = BitBrick::default();
        block.connect_all();
        let text = super::verilog("bit_brick", "bit_brick : test", &block).unwrap();
        assert!(text.contains("module bit_brick("), "{text}");
    }
}
