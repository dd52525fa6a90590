// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong with a configuration: one variant per rule, each with its values and a cure.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// A rule of the configuration that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigErrorKind {
    /// The text is not TOML.
    Syntax { message: String },
    /// Every field is known.
    UnknownField { field: String, nearest: Option<&'static str>, known: Vec<&'static str> },
    /// Fields without a default are given.
    MissingField { field: &'static str },
    /// Sections with such fields are given.
    MissingSection { section: &'static str },
    /// A field has its type.
    WrongType { field: &'static str, expected: &'static str, found: String },
    /// Numbers lie in their range.
    OutOfRange { field: &'static str, value: i128, min: u32, max: u32 },
    /// Depths are powers of two in their range.
    NotPowerOfTwo { field: &'static str, value: i128, min: u32, max: u32 },
    /// A field with few possible values has one of them.
    NotOneOf { field: &'static str, value: i128, choices: &'static [u32] },
    /// `name` is an identifier: letters, digits, `_`; begins with a letter; at most 64 characters.
    NotIdentifier { value: String },
    /// `name` is no reserved word of Verilog or SystemVerilog.
    ReservedWord { value: String },
    /// `device.part` has 1 to 64 characters: letters, digits, `-`, `_`, `.`.
    NotPartName { value: String },
    /// `array.lanes` is a multiple of `requantize.lanes`.
    LanesNotRequantMultiple { lanes: u32, requant_lanes: u32 },
    /// `array.columns * array.brick_bits` is a multiple of 8 * `requantize.lanes`.
    ColumnsNotGrouped { columns: u32, brick_bits: u32, requant_lanes: u32 },
    /// `array.columns * array.brick_bits` is at most 1024 (128 fusion groups).
    TooManyColumns { columns: u32, brick_bits: u32 },
    /// The fusion groups (`array.columns * array.brick_bits / 8`) divide `array.lanes` or are a multiple of it.
    GroupsAgainstLanes { groups: u32, lanes: u32 },
    /// `array.rows * array.lanes * array.columns` is at most [`super::MAX_BRICKS`].
    TooManyBricks { bricks: u64 },
    /// `requantize.bipolar` needs `array.brick_bits` = 1.
    BipolarNeedsOneBitBricks { brick_bits: u32 },
    /// The tap table holds the taps of one pass: `weights.taps` >= `array.rows`.
    TapsBelowRows { taps: u32, rows: u32 },
    /// The weight buffer holds the weights of one pass: rows * groups words.
    WeightsBelowPass { depth: u32, needed: u32 },
    /// The parameter buffer holds the parameters of one pass.
    ParamsBelowPass { depth: u32, needed: u32 },
    /// On-chip memories together have at most [`super::MAX_MEMORY_BITS`].
    TooMuchMemory { bits: u64 },
}

use ConfigErrorKind as K;

impl fmt::Display for ConfigErrorKind {
    /// The rule and the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            K::Syntax { message } => write!(f, "{message}"),
            K::UnknownField { field, .. } => write!(f, "unknown field `{field}`"),
            K::MissingField { field } => write!(f, "`{field}` is missing"),
            K::MissingSection { section } => write!(f, "section `[{section}]` is missing"),
            K::WrongType { field, expected, found } => write!(f, "{field} must be {expected}, not {found}"),
            K::OutOfRange { field, value, min, max } => write!(f, "{field} = {value} is outside {min}..={max}"),
            K::NotPowerOfTwo { field, value, min, max } => {
                write!(f, "{field} = {value} is not a power of two in {min}..={max}")
            }
            K::NotOneOf { field, value, choices } => {
                write!(f, "{field} = {value} is not {}", alternatives(choices))
            }
            K::NotIdentifier { value } => write!(
                f,
                "name = {value:?} is not an identifier (letters, digits, `_`; a letter first; at most 64 characters)"
            ),
            K::ReservedWord { value } => {
                write!(f, "name = {value:?} is a reserved word of Verilog or SystemVerilog")
            }
            K::NotPartName { value } => write!(
                f,
                "device.part = {value:?} is not a part name (1 to 64 letters, digits, `-`, `_`, `.`)"
            ),
            K::LanesNotRequantMultiple { lanes, requant_lanes } => {
                write!(f, "array.lanes = {lanes} is not a multiple of requantize.lanes = {requant_lanes}")
            }
            K::ColumnsNotGrouped { columns, brick_bits, requant_lanes } => write!(
                f,
                "array.columns * array.brick_bits = {} is not a multiple of 8 * requantize.lanes = {}",
                columns * brick_bits,
                8 * requant_lanes
            ),
            K::TooManyColumns { columns, brick_bits } => {
                write!(f, "array.columns * array.brick_bits = {} is above 1024", columns * brick_bits)
            }
            K::GroupsAgainstLanes { groups, lanes } => write!(
                f,
                "the {groups} fusion groups (array.columns * array.brick_bits / 8) neither divide \
                 array.lanes = {lanes} nor are a multiple of it"
            ),
            K::TooManyBricks { bricks } => write!(
                f,
                "array.rows * array.lanes * array.columns = {bricks} bricks are above {}",
                super::MAX_BRICKS
            ),
            K::BipolarNeedsOneBitBricks { brick_bits } => write!(
                f,
                "requantize.bipolar = true (the default) needs array.brick_bits = 1, which is {brick_bits}"
            ),
            K::TapsBelowRows { taps, rows } => {
                write!(f, "weights.taps = {taps} is below array.rows = {rows}: the taps of one pass do not fit")
            }
            K::WeightsBelowPass { depth, needed } => write!(
                f,
                "weights.depth = {depth} is below the {needed} words of one pass (rows * fusion groups)"
            ),
            K::ParamsBelowPass { depth, needed } => write!(
                f,
                "requantize.param_depth = {depth} is below the {needed} words that the channels of one pass take"
            ),
            K::TooMuchMemory { bits } => write!(
                f,
                "the on-chip memories have {bits} bits together, above {} (64 Mbit)",
                super::MAX_MEMORY_BITS
            ),
        }
    }
}

impl ConfigErrorKind {
    /// What to do about it.
    pub fn cure(&self) -> String {
        match self {
            K::Syntax { .. } => "not TOML from here on".into(),
            K::UnknownField { nearest: Some(n), .. } => format!("did you mean `{n}`?"),
            K::UnknownField { nearest: None, known, .. } => format!("known here: {}", known.join(", ")),
            K::MissingField { field } => {
                let (section, name) = field.rsplit_once('.').unwrap_or(("", field));
                match section {
                    "" => format!("add `{name} = ...` at the top of the file"),
                    s => format!("add `{name} = ...` to `[{s}]`"),
                }
            }
            K::MissingSection { section } => format!("add a section `[{section}]`"),
            K::WrongType { expected, .. } => format!("write {expected}"),
            K::OutOfRange { value, min, max, .. } => {
                format!("try {}", if *value < *min as i128 { min } else { max })
            }
            K::NotPowerOfTwo { value, min, max, .. } => format!("try {}", powers_near(*value, *min, *max)),
            K::NotOneOf { choices, .. } => format!("write {}", alternatives(choices)),
            K::NotIdentifier { value } => format!("try {:?}", identifier_like(value)),
            K::ReservedWord { value } => format!("try {:?}", format!("{value}_0")),
            K::NotPartName { .. } => "write the vendor's part name, e.g. \"xc7z020clg400-1\"".into(),
            K::LanesNotRequantMultiple { lanes, requant_lanes } => {
                format!("try {}", multiples_near(*lanes, *requant_lanes, 32))
            }
            K::ColumnsNotGrouped { columns, brick_bits, requant_lanes } => {
                format!("try {}", multiples_near(*columns, 8 * requant_lanes / brick_bits, 1024 / brick_bits))
            }
            K::TooManyColumns { brick_bits, .. } => format!("try {} or less", 1024 / brick_bits),
            K::GroupsAgainstLanes { groups, lanes } => {
                format!("choose columns so that the groups are a multiple of {lanes}, or lanes as a multiple of {groups}")
            }
            K::TooManyBricks { .. } => "take fewer rows, lanes or columns".into(),
            K::BipolarNeedsOneBitBricks { .. } => {
                "write `bipolar = false` in `[requantize]`: bipolar weights then take two bits".into()
            }
            K::TapsBelowRows { rows, .. } => format!("try {} or more", rows.next_power_of_two()),
            K::WeightsBelowPass { needed, .. } | K::ParamsBelowPass { needed, .. } => {
                format!("try {} or more", needed.next_power_of_two())
            }
            K::TooMuchMemory { .. } => "reduce a depth; the banks count once per row".into(),
        }
    }
}

/// `1, 2 or 4`.
fn alternatives(choices: &[u32]) -> String {
    let words: Vec<_> = choices.iter().map(u32::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The powers of two on both sides of `value`, within the range.
fn powers_near(value: i128, min: u32, max: u32) -> String {
    let v = value.clamp(min as i128, max as i128) as u32;
    let above = v.next_power_of_two();
    let below = if above == v { v } else { above / 2 };
    pair(below, above)
}

/// The multiples of `step` on both sides of `value`, up to `max`.
fn multiples_near(value: u32, step: u32, max: u32) -> String {
    let below = (value / step * step).clamp(step, max);
    let above = (value.div_ceil(step) * step).clamp(step, max / step * step);
    pair(below, above)
}

fn pair(a: u32, b: u32) -> String {
    if a == b {
        a.to_string()
    } else {
        format!("{a} or {b}")
    }
}

/// `value` with everything that an identifier cannot have replaced.
fn identifier_like(value: &str) -> String {
    let body: String =
        value.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(62).collect();
    match body.chars().next() {
        Some(c) if c.is_ascii_alphabetic() => body,
        _ => format!("c{body}"),
    }
}

/// A broken rule and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Bytes of the text that break the rule.
    pub at: Range<usize>,
    /// Other values that take part in the rule, with their names.
    pub context: Vec<(Range<usize>, &'static str)>,
    pub kind: ConfigErrorKind,
}

/// All that is wrong with one configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub file_name: String,
    pub text: String,
    /// In the order of the text; never empty.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors as a compiler prints them, with colour if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        self.errors.iter().map(|e| self.render_one(&renderer, e)).collect::<Vec<_>>().join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, error: &ConfigError) -> String {
        let title = error.kind.to_string();
        let cure = error.kind.cure();
        let mut snippet = Snippet::source(&self.text)
            .path(&self.file_name)
            .annotation(AnnotationKind::Primary.span(self.clip(&error.at)).label(&cure));
        for (at, name) in &error.context {
            snippet = snippet.annotation(AnnotationKind::Context.span(self.clip(at)).label(*name));
        }
        renderer.render(&[Level::ERROR.primary_title(&title).element(snippet)])
    }

    /// The span within the text, on character boundaries, on one line.
    fn clip(&self, at: &Range<usize>) -> Range<usize> {
        let floor = |mut i: usize| {
            i = i.min(self.text.len());
            while !self.text.is_char_boundary(i) {
                i -= 1;
            }
            i
        };
        let (start, end) = (floor(at.start), floor(at.end));
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |n| start + n);
        start..end.clamp(start, line_end.max(start))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}
impl std::error::Error for ConfigErrors {}
