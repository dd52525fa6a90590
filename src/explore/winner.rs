// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The best configuration as a file that `gen`, `compile` and `run` take.

use super::journal::Header;
use super::objective::mean;
use super::search::Found;
use crate::Failure;
use hdl_gen::Config;
use std::fmt::Write;

/// The file's text, read back and checked.
///
/// Errors: it does not come back as it was, which a search without faults does not give.
pub fn toml(header: &Header, found: &Found) -> Result<String, Failure> {
    let config = found.point.config(&header.target.given);
    let text = format!("{}\n{}", comment(header, found), toml::to_string(&config).map_err(Failure::other)?);
    match Config::from_toml(&text, "winner.toml")? == config {
        true => Ok(text),
        false => Err(Failure::Other("the configuration does not come back from its file as it was".into())),
    }
}

fn comment(header: &Header, found: &Found) -> String {
    let Header { target, networks, objective, seed, .. } = header;
    let device = target.device();
    let [lut, ram] = target.names();
    let clock = target.given.clock_mhz;
    let mut out = format!(
        "# Found by `brickwork explore` (version {}, seed {seed}): best {} of the configurations it tried.\n",
        header.brickwork,
        objective.say(&found.seconds, &found.cost)
    );
    for ((n, cycles), seconds) in networks.iter().zip(&found.cycles).zip(&found.seconds) {
        let fps = 1.0 / seconds;
        let _ = writeln!(out, "#   {}: {cycles} cycles, {fps:.1} frames/s at {clock} MHz", n.name);
    }
    if networks.len() > 1 {
        let _ = writeln!(out, "#   geometric mean: {:.1} frames/s", 1.0 / mean(&found.seconds));
    }
    let _ = writeln!(
        out,
        "# Expected on {}: {} of {} {lut}, {} of {} {ram}, {} of {} multipliers (`brickwork fit`).",
        device.name,
        found.cost.lut,
        device.luts,
        found.cost.block_ram,
        device.block_rams,
        found.cost.dsp,
        device.dsps
    );
    out
}
