// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Measures the golden model: `cargo run --release -p brickwork-compiler --example golden_speed -- MODEL INPUT.npz OUTPUT.npz
//! [--threads N] [--seconds S]`. tools/bench_golden.py holds it against other runtimes.
//!
//! INPUT has the model's inputs by name (or the only one as `input`), the batch as first axis; the results go to OUTPUT.
//! Measured is the whole way from the input's array to the result's, host operators included, per input: for a batch, whose
//! inputs the threads share out among themselves; for one input, whose large layers they share; and in one thread. Prints
//! one JSON object; times are the shortest of as many runs as fit into S seconds.

use brickwork_compiler::golden::{GoldenError, Instructions, Plan};
use brickwork_compiler::import::{import, Imported};
use brickwork_compiler::npz::{npz_bytes, read_npz, Array};
use rayon::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A batch has as many inputs (the given ones, again and again) as take about this long, at most [`BATCH`]: the shorter, the
/// likelier a run that nothing else on the machine disturbs.
const BATCH_SECONDS: f64 = 1e-3;
const BATCH: usize = 64;

struct Arguments {
    files: Vec<PathBuf>,
    threads: usize,
    seconds: f64,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut all = Arguments { files: vec![], threads: 2, seconds: 2.0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--threads" => all.threads = value()?.parse()?,
            "--seconds" => all.seconds = value()?.parse()?,
            _ => all.files.push(word.into()),
        }
    }
    Ok(all)
}

/// The arrays of input `i`, in the order of the model's inputs.
fn inputs(model: &Imported, arrays: &[(String, Array)], i: usize) -> Option<Vec<(String, Array)>> {
    let one = |name: &String| {
        let only = model.inputs.len() == 1;
        let found = arrays.iter().find(|(n, _)| n == name || (only && n == "input"))?;
        Some((name.clone(), found.1.item(i)?))
    };
    model.inputs.iter().map(|input| one(&input.name)).collect()
}

type Input = Vec<(String, Array)>;

/// What computes the codes of the outputs for those of the inputs.
type Compute<'a> = &'a (dyn Fn(&[Vec<i32>]) -> Result<Vec<Vec<i32>>, GoldenError> + Sync);

/// The model's results for one input.
fn one(model: &Imported, compute: Compute, input: &Input) -> Result<Vec<Array>, String> {
    let array = |name: &str| input.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone());
    let codes = model.encode(array).map_err(|e| e.to_string())?;
    let codes = compute(&codes).map_err(|e| e.to_string())?;
    Ok(model.decode(&codes))
}

/// The shortest time of as many calls as fit, at least 3.
fn shortest(seconds: f64, mut f: impl FnMut()) -> Duration {
    let (start, mut best, mut runs) = (Instant::now(), Duration::MAX, 0);
    while runs < 3 || start.elapsed().as_secs_f64() < seconds {
        let from = Instant::now();
        f();
        best = best.min(from.elapsed());
        runs += 1;
    }
    best
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { files, threads, seconds } = arguments()?;
    let [model_file, input_file, output_file] = &files[..] else {
        return Err("give MODEL INPUT.npz OUTPUT.npz".into());
    };
    let model = import(model_file).map_err(|errors| errors[0].to_string())?;
    let arrays = read_npz(input_file)?;
    let given: Vec<Input> = (0..).map_while(|i| inputs(&model, &arrays, i)).collect();
    if given.is_empty() {
        return Err("INPUT has no input of the model".into());
    }
    let from = Instant::now();
    let plan = Plan::new(&model.graph)?;
    let planned = from.elapsed();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let in_threads: Compute = &|codes| plan.outputs(codes);
    let alone: Compute = &|codes| plan.outputs_in_this_thread(codes);
    let results = given.iter().map(|input| one(&model, in_threads, input)).collect::<Result<Vec<_>, _>>()?;
    write(&model, &results, output_file)?;

    let run = |compute: Compute, input: &Input| {
        assert!(one(&model, compute, input).is_ok(), "what ran once runs again");
    };
    let part = seconds / 3.0;
    let in_one_thread = shortest(part, || run(alone, &given[0])).as_secs_f64();
    let single = pool.install(|| shortest(part, || run(in_threads, &given[0]))).as_secs_f64();
    let size = ((BATCH_SECONDS / in_one_thread) as usize).clamp(1, (BATCH / threads).max(1)) * threads;
    let batch: Vec<&Input> = given.iter().cycle().take(size).collect();
    let run_batch = || batch.par_iter().for_each(|input| run(alone, input));
    let of_batch = pool.install(|| shortest(part, run_batch)).as_secs_f64() / size as f64;
    let object = serde_json::json!({
        "model": model.graph.name,
        "instructions": Instructions::best().name(),
        "threads": threads,
        "batch": size,
        "seconds": of_batch.min(single).min(in_one_thread),
        "seconds_of_batch": of_batch,
        "seconds_of_layers": single,
        "seconds_in_one_thread": in_one_thread,
        "plan_seconds": planned.as_secs_f64(),
        "by_reference": plan.by_reference(),
    });
    println!("{object}");
    Ok(())
}

/// Results of all inputs, by name, the batch as first axis.
fn write(model: &Imported, results: &[Vec<Array>], path: &Path) -> Result<(), Box<dyn Error>> {
    let mut arrays = Vec::new();
    for (k, result) in model.results.iter().enumerate() {
        for (i, arrays_of_input) in results.iter().enumerate() {
            arrays.push((format!("{}/{i}", result.name), arrays_of_input[k].clone()));
        }
    }
    std::fs::write(path, npz_bytes(&arrays)?)?;
    Ok(())
}
