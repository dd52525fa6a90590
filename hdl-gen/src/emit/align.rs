// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sets declarations under each other and breaks long lists: widths, names and numbers of signals depend on the configuration,
//! so no template can.

/// Lines of code are broken before this column where they can be.
const WIDTH: usize = 120;

/// A line such as `    input  wire [7:0] act_i,   // comment`, in its parts.
struct Declaration<'a> {
    indent: &'a str,
    /// `input  wire`, `output wire signed`, `reg`, ...
    head: &'a str,
    /// `[7:0]`, or nothing.
    range: &'a str,
    /// From the name to the comment.
    name: &'a str,
    comment: Option<&'a str>,
    /// Of a port list: ends in a comma, or is its last line.
    port: bool,
}

const PORTS: [&str; 5] = ["input  wire", "input wire", "output wire", "output reg", "inout  wire"];
const SIGNALS: [&str; 2] = ["wire", "reg"];

impl<'a> Declaration<'a> {
    /// `None`: another line, or a declaration with a value.
    fn of(line: &'a str) -> Option<Declaration<'a>> {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let (code, comment) = match code.find("//") {
            Some(at) => (code[..at].trim_end(), Some(&code[at..])),
            None => (code.trim_end(), None),
        };
        let starts = |head: &&&str| code.strip_prefix(**head).is_some_and(|rest| rest.starts_with(' '));
        let kind = PORTS.iter().chain(&SIGNALS).find(starts)?;
        let mut head = &code[..kind.len()];
        let mut rest = code[kind.len()..].trim_start();
        if let Some(after) = rest.strip_prefix("signed ") {
            head = &code[..code.len() - rest.len() + "signed".len()];
            rest = after.trim_start();
        }
        let (range, name) = match rest.strip_prefix('[') {
            Some(_) => {
                let end = rest.find(']')? + 1;
                (&rest[..end], rest[end..].trim_start())
            }
            None => ("", rest),
        };
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let port = head.starts_with("in") || head.starts_with("out");
        (named && !name.contains('=')).then_some(Declaration { indent, head, range, name, comment, port })
    }

    /// Columns of the range and of the name.
    fn columns(&self, line: &str) -> (Option<usize>, usize) {
        let at = |part: &str| part.as_ptr() as usize - line.as_ptr() as usize;
        ((!self.range.is_empty()).then(|| at(self.range)), at(self.name))
    }
}

/// `text` with the declarations that follow each other aligned; those that already are stay as they are. Ports belong together
/// across comments and blank lines.
pub fn align(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let group = group(&lines[at..]);
        if group == 0 {
            out.extend(broken(lines[at]));
            at += 1;
            continue;
        }
        out.extend(aligned(&lines[at..at + group]));
        at += group;
    }
    let mut text = out.join("\n");
    text.push('\n');
    text
}

/// A long line of code in parts, cut behind commas; the parts after the first stand further in.
fn broken(line: &str) -> Vec<String> {
    let indent = line.len() - line.trim_start().len();
    let mut parts = Vec::new();
    let mut rest = line.to_string();
    while rest.len() > WIDTH && !rest.contains("//") {
        let Some(cut) = rest[..WIDTH].rfind(", ").filter(|cut| *cut > indent + 8) else { break };
        parts.push(rest[..=cut].to_string());
        rest = format!("{:1$}{2}", "", indent + 8, &rest[cut + 2..]);
    }
    parts.push(rest);
    parts
}

/// Number of lines that are aligned together, from the first of `lines` on.
fn group(lines: &[&str]) -> usize {
    let Some(first) = Declaration::of(lines[0]) else { return 0 };
    let passes = |line: &str| {
        let code = line.trim_start();
        first.port && (code.is_empty() || code.starts_with("//") || code.starts_with('`'))
    };
    let same =
        |line: &str| Declaration::of(line).is_some_and(|d| d.port == first.port && d.indent == first.indent);
    let end = lines.iter().take_while(|l| same(l) || passes(l)).count();
    // Nothing but declarations at the end.
    lines[..end].iter().rposition(|l| same(l)).map_or(0, |last| last + 1)
}

fn aligned(lines: &[&str]) -> Vec<String> {
    let parsed: Vec<(&str, Option<Declaration>)> = lines.iter().map(|l| (*l, Declaration::of(l))).collect();
    let declarations = || parsed.iter().filter_map(|(l, d)| d.as_ref().map(|d| (*l, d)));
    let ranges: Vec<usize> = declarations().filter_map(|(l, d)| d.columns(l).0).collect();
    let names: Vec<usize> = declarations().map(|(l, d)| d.columns(l).1).collect();
    let equal = |columns: &[usize]| columns.windows(2).all(|w| w[0] == w[1]);
    if equal(&ranges) && equal(&names) {
        return lines.iter().map(|l| l.to_string()).collect();
    }
    let widest = |of: fn(&Declaration) -> usize| declarations().map(|(_, d)| of(d)).max().unwrap_or(0);
    let (head, range) = (widest(|d| d.head.len()), widest(|d| d.range.len()));
    let code = |d: &Declaration| match range {
        0 => format!("{}{:head$} {}", d.indent, d.head, d.name),
        _ => format!("{}{:head$} {:range$} {}", d.indent, d.head, d.range, d.name),
    };
    let comment = declarations().filter(|(_, d)| d.comment.is_some()).map(|(_, d)| code(d).len() + 1).max();
    let column = comment.unwrap_or(0).max(47);
    parsed
        .iter()
        .map(|(line, d)| match d {
            None => line.to_string(),
            Some(d) => match d.comment {
                Some(comment) => format!("{:column$}{comment}", code(d)),
                None => code(d),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn widths_and_names_stand_under_each_other() {
        let text = "module m (\n    input  wire clk,\n    // data\n    input  wire [143:0] act_i,  // words\n    \
                    output wire signed [8:0] psum_o\n);\n    reg [7:0] a_q;\n    wire [15:0] b;\n    wire c = a;\n";
        let wanted = "module m (\n    input  wire                clk,\n    // data\n    \
                      input  wire        [143:0] act_i,          // words\n    \
                      output wire signed [8:0]   psum_o\n);\n    reg  [7:0]  a_q;\n    wire [15:0] b;\n    wire c = a;\n";
        assert_eq!(align(text), wanted);
        assert_eq!(align(wanted), wanted, "a second time changes nothing");
    }

    #[test]
    fn long_lists_are_broken_behind_commas() {
        let names: Vec<String> = (0..40).map(|i| format!("act_r{i}")).collect();
        let text = format!("    wire [639:0] act = {{{}}};\n", names.join(", "));
        let broken = align(&text);
        assert!(broken.lines().count() == 4 && broken.lines().all(|l| l.len() <= 120), "{broken}");
        assert_eq!(broken.replace(",\n            ", ", "), text);
        assert_eq!(align(&broken), broken);
    }

    #[test]
    fn what_is_aligned_and_what_is_no_declaration_stays() {
        let text =
            "    reg  [6:0] a_q;\n    reg        b_q;\n\n    wire [7:0] x = 8'd1;\n    wire y = 1'b0;\n    \
                    reg [7:0] mem [0:3];\n    always @(posedge clk) a_q <= x;\n";
        assert_eq!(align(text), text);
    }
}
