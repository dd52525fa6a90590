// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork fit`.

use crate::cli;
use crate::{generate, Failure};
use hdl_gen::fit::{Fit, Resources};
use hdl_gen::Arch;

/// Estimates the accelerator; returns what is printed. A device that is too small is said, not refused.
pub fn run(arguments: &cli::Fit) -> Result<String, Failure> {
    let config = generate::load_config(&arguments.config)?;
    let fit = Fit::new(&Arch::new(&config));
    if arguments.json {
        let mut text = serde_json::to_string_pretty(&fit).map_err(Failure::other)?;
        text.push('\n');
        return Ok(text);
    }
    Ok(format!("{}: {}\n\n{}\n{}", config.name, config.device.part, table(&fit), verdict(&fit)))
}

/// The line of `gen`: resources with their share of the device.
pub fn line(fit: &Fit) -> String {
    if fit.device.is_none() {
        let (t, names) = (&fit.total, fit.names());
        let each = names.iter().zip([t.lut, t.ff, t.block_ram, t.dsp]);
        return each.map(|(name, n)| format!("{n:.0} {name}")).collect::<Vec<_>>().join(", ");
    }
    let shares = fit.shares();
    let each = shares.iter().map(|(name, n, has)| {
        let percent = 100.0 * n / *has as f64;
        format!("{n:.0} {name} ({percent:.0} %)")
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Refuses what cannot fit.
pub fn check(fit: &Fit) -> Result<(), Failure> {
    let excess: Vec<String> = fit.excess().iter().map(ToString::to_string).collect();
    match excess.is_empty() {
        true => Ok(()),
        false => Err(Failure::other(format!(
            "the accelerator does not fit its device: {}; --force writes it all the same",
            excess.join("; ")
        ))),
    }
}

fn verdict(fit: &Fit) -> String {
    let excess: Vec<String> = fit.excess().iter().map(|e| format!("does not fit: {e}\n")).collect();
    match (fit.device, excess.is_empty()) {
        (None, _) => "The part is not known: no shares, no check.\n".into(),
        (Some(device), true) => format!("fits {}: {}\n", device.name, line(fit)),
        (Some(_), false) => excess.concat(),
    }
}

fn table(fit: &Fit) -> String {
    let [lut, ff, ram, dsp] = fit.names();
    let head = format!("{:24} {:>9} {lut:>8} {ff:>8} {ram:>10} {dsp:>10}\n", "module", "instances");
    let row = |name: &str, n: u32, r: &Resources| {
        let (times, ram) = (n as f64, r.block_ram * n as f64);
        format!(
            "{name:24} {n:>9} {:>8.0} {:>8.0} {ram:>10.1} {:>10.0}\n",
            r.lut * times,
            r.ff * times,
            r.dsp * times
        )
    };
    let rows: String = fit.modules.iter().map(|m| row(&m.module, m.instances, &m.each)).collect();
    format!("{head}{rows}{}", row("total", 1, &fit.total))
}
