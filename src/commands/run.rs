// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork run`.

use super::Outcome;
use crate::cli::Run;
use crate::data::{self, Batch};
use crate::evaluate::{self, Evaluated, Job, Produced};
use crate::picture::{self, Rule, Sidecar, Target};
use crate::{generate, run_program, Failure};
use brickwork_compiler::npz::Array;
use hdl_gen::Arch;

/// Runs a network or a program; returns what is printed.
pub fn run(arguments: &Run) -> Result<(String, Outcome), Failure> {
    arguments.common.check()?;
    arguments.output.as_deref().map_or(Ok(()), data::check_output)?;
    let arch = Arch::new(&generate::load_config(&arguments.common.config)?);
    let Evaluated { report, produced, .. } = match arguments.model.extension().and_then(|e| e.to_str()) {
        Some("bwp") => program(arguments, &arch)?,
        _ => network(arguments, &arch)?,
    };
    if let Some(path) = &arguments.output {
        data::write(path, &columns(&produced))?;
    }
    Ok(super::finished(&report, arguments.common.json))
}

fn network(arguments: &Run, arch: &Arch) -> Result<Evaluated, Failure> {
    let model = evaluate::load_model(&arguments.model)?;
    let sidecar = Sidecar::read(&arguments.model, arguments.picture.preprocess.as_deref())?;
    let targets: Vec<Target> = model.inputs.iter().map(Target::from).collect();
    let (inputs, notes) = inputs(arguments, &targets, &sidecar.image)?;
    let job = Job {
        model: &model,
        arch,
        common: &arguments.common,
        inputs: &inputs,
        expected: None,
        class_names: &sidecar.classes.names,
    };
    let mut evaluated = evaluate::evaluate(&job)?;
    evaluated.report.notes.extend(notes);
    super::write_page(&mut evaluated, (arch, &arguments.common), &arguments.model, Some(&model))?;
    Ok(evaluated)
}

fn program(arguments: &Run, arch: &Arch) -> Result<Evaluated, Failure> {
    let program = evaluate::load_program(&arguments.model)?;
    let sidecar = Sidecar::read(&arguments.model, arguments.picture.preprocess.as_deref())?;
    let targets: Vec<Target> = program.info.inputs.iter().map(Target::from).collect();
    let (inputs, notes) = inputs(arguments, &targets, &sidecar.image)?;
    let mut evaluated = run_program::run(&program, arch, &arguments.common, &inputs)?;
    evaluated.report.notes.extend(notes);
    super::write_page(&mut evaluated, (arch, &arguments.common), &arguments.model, None)?;
    Ok(evaluated)
}

/// The inputs from one file of arrays, or from pictures; and what was done to the pictures.
fn inputs(arguments: &Run, targets: &[Target], rule: &Rule) -> Result<(Batch, Vec<String>), Failure> {
    let files = &arguments.input;
    let pictures = files.iter().filter(|f| picture::is_picture(f)).count();
    match (files.as_slice(), targets) {
        ([file], _) if pictures == 0 => Ok((Batch::read(file)?, vec![])),
        (_, [target]) if pictures == files.len() => {
            let rule = arguments.picture.rule()?.or(rule.clone());
            let cure = arguments.model.with_extension("toml");
            let (array, notes) = picture::batch(files, target, &rule, &cure)?;
            let source = files.first().map_or(String::new(), |f| f.display().to_string());
            Ok((Batch { arrays: vec![(target.name.clone(), array)], source }, notes))
        }
        _ if pictures == files.len() => Err(Failure::Other(format!(
            "the model has {} inputs; a picture fills one, use a .npz file with all of them",
            targets.len()
        ))),
        _ => Err(Failure::Other("--input takes one .npy or .npz file, or pictures only".into())),
    }
}

/// The results of all inputs, by name, each with the batch as its first axis.
fn columns(produced: &[Produced]) -> Vec<(String, Array)> {
    let rows: Vec<Vec<&(String, Array)>> =
        produced.iter().map(|p| p.outputs.iter().chain(&p.tensors).collect()).collect();
    let Some(first) = rows.first() else { return vec![] };
    let mut named: Vec<(String, Array)> = Vec::new();
    for (i, (name, _)) in first.iter().enumerate() {
        let items: Vec<Array> = rows.iter().map(|r| r[i].1.clone()).collect();
        // A tensor may be an output, too, under the same name: keep the first.
        if let Some(array) = data::stack(&items).filter(|_| named.iter().all(|(n, _)| n != name)) {
            named.push((name.clone(), array));
        }
    }
    named
}
