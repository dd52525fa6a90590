// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `brickwork run`.

use super::Outcome;
use crate::cli::Run;
use crate::data::{self, Batch};
use crate::detector::{Detector, Found};
use crate::evaluate::{self, Evaluated, Job, Produced};
use crate::picture::{self, Rule, Sidecar, Target};
use crate::{drawing, generate, run_program, Failure};
use brickwork_compiler::npz::Array;
use hdl_gen::Arch;

/// Runs a network or a program; returns what is printed.
pub fn run(arguments: &Run) -> Result<(String, Outcome), Failure> {
    arguments.common.check()?;
    arguments.output.as_deref().map_or(Ok(()), data::check_output)?;
    check_drawing(arguments)?;
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
    if let Some(detector) = &sidecar.detector {
        let rule = arguments.picture.rule()?.or(sidecar.image.clone());
        let names = &sidecar.classes.names;
        evaluated.report.boxes = boxes(arguments, detector, &targets, &rule, (&evaluated.produced, names))?;
    } else if arguments.draw.is_some() {
        let cure = arguments.model.with_extension("toml");
        return Err(Failure::Other(format!(
            "--draw: how results become boxes is not known; write a table [detector] into {}",
            cure.display()
        )));
    }
    super::write_page(&mut evaluated, (arch, &arguments.common), &arguments.model, Some(&model))?;
    Ok(evaluated)
}

/// Errors: boxes cannot be drawn into what is no picture, or without the network around the program.
fn check_drawing(arguments: &Run) -> Result<(), Failure> {
    let program = arguments.model.extension().is_some_and(|e| e == "bwp");
    match &arguments.draw {
        Some(_) if program => Err(Failure::Other("--draw takes a model, not a program".into())),
        Some(_) if !arguments.input.iter().all(|f| picture::is_picture(f)) => {
            Err(Failure::Other("--draw takes pictures as inputs".into()))
        }
        _ => Ok(()),
    }
}

/// The boxes of every input; for pictures in their pixels, and drawn where that is asked for.
fn boxes(
    arguments: &Run,
    detector: &Detector,
    targets: &[Target],
    rule: &Rule,
    (produced, names): (&[Produced], &[String]),
) -> Result<Vec<Vec<Found>>, Failure> {
    let [target] = targets else {
        return Err(Failure::Other("[detector] is for models with one input".into()));
    };
    let size = target.size(rule)?;
    let mut all = Vec::new();
    for (i, p) in produced.iter().enumerate() {
        let mut found = detector.boxes(&p.outputs, size, names)?;
        let file = arguments.input.get(i).filter(|f| picture::is_picture(f));
        if let Some(file) = file {
            let picture = picture::read(file)?;
            let frame = target.frame(rule, &picture)?;
            found = found.into_iter().map(|f| f.moved(frame.scale, frame.origin)).collect();
            if let Some(folder) = &arguments.draw {
                let stem = file.file_stem().map_or("picture".into(), |s| s.to_string_lossy());
                let mut drawn = picture.into_rgb8();
                drawing::draw(&mut drawn, &found);
                drawing::write(&folder.join(format!("{stem}.png")), &drawn)?;
            }
        }
        all.push(found);
    }
    Ok(all)
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
