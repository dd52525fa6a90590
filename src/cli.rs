// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line.

use crate::explore::objective::Objective;
use crate::isa_constants::Language;
use crate::picture::{Channels, Resize, Rule};
use crate::report::page;
use crate::Failure;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  brickwork gen configs/zynq7020.toml
  brickwork verify models/TFC_1W2A.onnx --config configs/tiny.toml --inputs models/TFC_1W2A.vectors.npz
  brickwork run models/TFC_1W2A.onnx --config configs/tiny.toml --backend golden --input digit.png";

/// Generator, compiler and co-simulation of a multi-bit-width systolic accelerator for quantized neural networks.
///
/// Exit status: 0 done, 1 results differ, 2 could not be done.
#[derive(Debug, Parser)]
#[command(name = "brickwork", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the accelerator of a configuration: Verilog, file list and config.json
    Gen(Gen),
    /// Estimate what the accelerator of a configuration takes of its device
    Fit(Fit),
    /// Compile a network to a program file and report its layers and cycles
    Compile(Compile),
    /// Find the configuration that suits a device and some networks, or see what narrower widths would buy
    Explore(Explore),
    /// Run a network or a program on inputs
    Run(Run),
    /// Run a network on inputs and compare every value; exit status 1 if any differs
    Verify(Verify),
    /// Print the instructions of a program file
    Disasm(Disasm),
    /// Print the JSON schema of configuration files, for editors
    Schema(Schema),
    /// Print the instruction set, the registers and the error codes
    Isa(Isa),
}

#[derive(Debug, Args)]
pub struct Gen {
    /// Configuration file
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// Folder to write [default: build/<name of the configuration>]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the content of config.json instead of the summary
    #[arg(long)]
    pub json: bool,
    /// Write it even if the device is too small
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Fit {
    /// Configuration file
    #[arg(value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// Print the estimate as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Compile {
    /// Network (.onnx, .tflite)
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Configuration file
    #[arg(long, value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// Program file to write [default: build/<name of the configuration>/<name of the model>.bwp]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also store the tensors between the layers, for comparison
    #[arg(long)]
    pub all_tensors: bool,
    #[command(flatten)]
    pub page: Page,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// The page that shows where every cycle went.
#[derive(Clone, Debug, Args)]
pub struct Page {
    /// Report page to write: one HTML file, with the same data as JSON beside it [default: build/<name of the
    /// configuration>/<name of the model>.html]
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write no report page
    #[arg(long, conflicts_with = "report")]
    pub no_report: bool,
}

impl Page {
    /// Where the page goes; `None`: nowhere. Errors: a name that does not end in `.html`.
    pub fn path(&self, config: &str, model: &Path) -> Result<Option<PathBuf>, Failure> {
        let given = self.report.clone();
        given.as_deref().map_or(Ok(()), page::check_path)?;
        Ok(given.or_else(|| (!self.no_report).then(|| page::default_path(config, model))))
    }
}

const EXPLORE_EXAMPLES: &str = "\
Examples:
  brickwork explore models/pretrainedResnet_quant.tflite --device xc7z020
  brickwork explore models/*.tflite --device xc7z020 --from configs/zynq7020.toml --objective fps-per-lut
  brickwork explore models/*.tflite --device xc7z020 --jobs 16 -o build/big
  brickwork explore merge build/big/shard-*/journal.jsonl -o build/big/merged
  brickwork explore models/pretrainedResnet_quant.tflite --widths --config configs/zynq7020.toml

A search that was ended in any way goes on when the same command is given again. docs/explore.md explains everything.";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXPLORE_EXAMPLES)]
pub struct Explore {
    #[command(subcommand)]
    pub action: Option<ExploreAction>,
    #[command(flatten)]
    pub arguments: ExploreArguments,
}

#[derive(Debug, Subcommand)]
pub enum ExploreAction {
    /// Make one result of the journals of several shards, finished or not
    Merge(Merge),
}

#[derive(Debug, Args)]
pub struct Merge {
    /// Journals of one search (journal.jsonl)
    #[arg(value_name = "JOURNAL", required = true)]
    pub journals: Vec<PathBuf>,
    /// Folder to write
    #[arg(short, long, value_name = "DIR", default_value = "build/explore")]
    pub output: PathBuf,
    /// Print report.json instead of the tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExploreArguments {
    /// Networks (.onnx, .tflite)
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<PathBuf>,
    /// Device or part that configurations must fit, e.g. xc7z020
    #[arg(long, value_name = "DEVICE", required_unless_present = "widths")]
    pub device: Option<String>,
    /// Clock of the accelerator in MHz
    #[arg(long, value_name = "MHZ", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub clock: u32,
    /// Megabytes per second that the memory gives [default: as much as the ports take]
    #[arg(long, value_name = "MB/S", value_parser = clap::value_parser!(u32).range(1..))]
    pub bandwidth: Option<u32>,
    /// What is to be as good as possible
    #[arg(long, value_enum, default_value_t = Objective::Fps)]
    pub objective: Objective,
    /// Most LUTs, in percent of the device's
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub fill: u32,
    /// Configurations with exact cycles after which the search ends
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: u32,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads [default: all cores]; they do not change the result
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Narrow a number, as in rows=4..12 or brick_bits=1; may be repeated
    #[arg(long, value_name = "FIELD=LO..HI")]
    pub limit: Vec<String>,
    /// Configuration to begin and to compare with; may be repeated
    #[arg(long, value_name = "CONFIG.toml")]
    pub from: Vec<PathBuf>,
    /// The part I of N of a search on several machines
    #[arg(long, value_name = "I/N", default_value = "1/1", value_parser = shard)]
    pub shard: [u32; 2],
    /// Write job files for N shards (Slurm, GNU parallel) instead of searching
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub jobs: Option<u32>,
    /// Replay the networks with other bits of activations x weights on the accelerator of --config
    #[arg(long, value_name = "AxW,..", num_args = 0..=1, require_equals = true, default_missing_value = "", requires = "config", conflicts_with_all = ["device", "jobs"])]
    pub widths: Option<String>,
    /// Configuration file of --widths
    #[arg(long, value_name = "CONFIG.toml", requires = "widths")]
    pub config: Option<PathBuf>,
    /// With --widths, one more replay with the widths of single layers; may be repeated
    #[arg(long, value_name = "NAME=AxW", requires = "widths")]
    pub layer: Vec<String>,
    /// Folder to write; a search that has begun there goes on
    #[arg(short, long, value_name = "DIR", default_value = "build/explore")]
    pub output: PathBuf,
    /// Print report.json or widths.json instead of the tables
    #[arg(long)]
    pub json: bool,
}

fn shard(text: &str) -> Result<[u32; 2], String> {
    let parts =
        text.split_once('/').and_then(|(i, n)| Some([i.parse::<u32>().ok()?, n.parse::<u32>().ok()?]));
    parts.filter(|[i, n]| (1..=*n).contains(i)).ok_or("write I/N with I from 1 to N, as in 2/8".into())
}

impl ExploreArguments {
    /// The words of the search behind `brickwork explore`, without shard, threads and folder.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.models.iter().map(|m| m.display().to_string()).collect();
        let mut add = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        let objective = self.objective.to_possible_value();
        self.device.iter().for_each(|d| add("device", d.clone()));
        add("clock", self.clock.to_string());
        self.bandwidth.iter().for_each(|b| add("bandwidth", b.to_string()));
        objective.iter().for_each(|o| add("objective", o.get_name().into()));
        add("fill", self.fill.to_string());
        add("budget", self.budget.to_string());
        add("seed", self.seed.to_string());
        self.limit.iter().for_each(|l| add("limit", l.clone()));
        self.from.iter().for_each(|f| add("from", f.display().to_string()));
        words
    }
}

#[derive(Debug, Args)]
pub struct Run {
    /// Network (.onnx, .tflite) or program (.bwp)
    #[arg(value_name = "MODEL|PROGRAM")]
    pub model: PathBuf,
    /// Inputs: a .npy file, a .npz file with the array `input` or the model's own names (the batch is the first axis), or
    /// a picture (.png, .jpg); may be repeated for several pictures
    #[arg(long, value_name = "FILE", required = true)]
    pub input: Vec<PathBuf>,
    /// Results: a .npz file with the model's output names, or a .npy file
    #[arg(long, value_name = "Y.npz")]
    pub output: Option<PathBuf>,
    /// Write each input picture, with the boxes that were found drawn into it, to this folder (for a model with [detector]
    /// in the file beside it)
    #[arg(long, value_name = "DIR")]
    pub draw: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
    // Last: its heading would go on.
    #[command(flatten)]
    pub picture: Picture,
}

/// How pictures become inputs: value = (pixel - mean) / scale, pixels 0 to 255.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures as inputs")]
pub struct Picture {
    /// File with [image], [classes], [detector] [default: the model's name with .toml, if there is one]
    #[arg(long, value_name = "FILE.toml")]
    pub preprocess: Option<PathBuf>,
    /// How a picture of another size is made to fit
    #[arg(long, value_enum)]
    pub resize: Option<Resize>,
    /// Order of the channels of the network's input
    #[arg(long, value_enum)]
    pub channels: Option<Channels>,
    /// Subtracted from pixels: one value, or one per channel
    #[arg(long, value_name = "M,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Option<Vec<f32>>,
    /// Divides the difference: one value, or one per channel
    #[arg(long, value_name = "S,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub scale: Option<Vec<f32>>,
    /// Height and width, for a network whose input is a plain vector
    #[arg(long, value_name = "H,W", value_delimiter = ',', num_args = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub size: Option<Vec<u32>>,
}

impl Picture {
    /// What the flags say.
    pub fn rule(&self) -> Result<Rule, Failure> {
        let size = match self.size.as_deref() {
            None => None,
            Some(&[h, w]) => Some([h as usize, w as usize]),
            Some(other) => {
                return Err(Failure::Other(format!(
                    "--size takes a height and a width, not {} values",
                    other.len()
                )))
            }
        };
        let (mean, scale) = (self.mean.clone(), self.scale.clone());
        Ok(Rule { channels: self.channels, resize: self.resize, mean, scale, size })
    }
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Network (.onnx, .tflite)
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Arrays `input` and `expected`, or the model's own names; the batch is the first axis
    #[arg(long, value_name = "X.npz")]
    pub inputs: PathBuf,
    /// Expected results, where they are not in the file of the inputs
    #[arg(long, value_name = "Y.npz")]
    pub expect: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

/// What `run` and `verify` share.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file
    #[arg(long, value_name = "CONFIG.toml")]
    pub config: PathBuf,
    /// What computes: the network's integer model, the machine model, or the generated Verilog under Verilator
    #[arg(long, value_enum, default_value_t = Backend::Rtl)]
    pub backend: Backend,
    /// Take the first N inputs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_limit: Option<u32>,
    /// Store, and compare or write, the tensors between the layers of every input
    #[arg(long)]
    pub all_tensors: bool,
    /// Record the first input's waveform (rtl only)
    #[arg(long, value_name = "FILE.fst")]
    pub trace: Option<PathBuf>,
    /// Begin the recording at this cycle, or when this layer is finished
    #[arg(long, value_name = "CYCLE|LAYER", default_value = "0", requires = "trace")]
    pub trace_from: String,
    /// Longest recording in cycles
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "trace")]
    pub trace_cycles: u64,
    /// Cycles from an address to its first data in the memory model
    #[arg(long, value_name = "CYCLES", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    pub latency: u32,
    /// Chance of a memory stall per cycle and channel, in 1/256
    #[arg(long, value_name = "0..255", default_value_t = 0)]
    pub stall: u8,
    /// Seed of the stalls
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub page: Page,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    Golden,
    Machine,
    Rtl,
}

impl Common {
    /// Inputs to run at most.
    pub fn batch_limit(&self) -> usize {
        self.batch_limit.map_or(usize::MAX, |n| n as usize)
    }

    /// Errors: options that the backend does not have; a recording into a folder that is not there; the name of a page.
    pub fn check(&self) -> Result<(), Failure> {
        let missing =
            |path: &PathBuf| path.parent().is_some_and(|p| !p.as_os_str().is_empty() && !p.is_dir());
        match &self.trace {
            Some(_) if self.backend != Backend::Rtl => {
                Err(Failure::Other("--trace records the RTL; use --backend rtl".into()))
            }
            Some(path) if missing(path) => Err(Failure::file("write", path, "its folder does not exist")),
            _ if self.page.report.is_some() && self.backend == Backend::Golden => {
                let cure =
                    "--report shows cycles, which the golden model has none of; use --backend machine or rtl";
                Err(Failure::Other(cure.into()))
            }
            _ => self.page.report.as_deref().map_or(Ok(()), page::check_path),
        }
    }
}

impl Backend {
    /// As a reader calls it.
    pub fn title(self) -> &'static str {
        match self {
            Backend::Golden => "golden model",
            Backend::Machine => "machine model",
            Backend::Rtl => "RTL",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Backend::Golden => "golden",
            Backend::Machine => "machine",
            Backend::Rtl => "rtl",
        }
    }
}

#[derive(Debug, Args)]
pub struct Disasm {
    /// Program file
    #[arg(value_name = "FILE.bwp")]
    pub program: PathBuf,
}

#[derive(Debug, Args)]
pub struct Schema {
    /// As the page docs/configuration.md
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct Isa {
    /// As the page docs/isa.md
    #[arg(long)]
    pub markdown: bool,
    /// Registers and error codes as constants of a language, as the drivers have them
    #[arg(long, value_enum, value_name = "LANGUAGE", conflicts_with = "markdown")]
    pub constants: Option<Language>,
}
