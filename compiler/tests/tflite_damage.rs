// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Damaged TFLite files: the importer gives a graph that keeps its rules, or errors; it never panics, takes long or takes
//! much memory.

#[path = "support/random.rs"]
mod random;

use brickwork_compiler::tflite::import;
use random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        System.dealloc(pointer, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tests take turns: the counters are one for all.
static TURN: Mutex<()> = Mutex::new(());

/// What an import may take, for files of up to 100 kB.
const MOST_BYTES: usize = 64 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// Words that offsets, sizes, types and scales turn into.
const WORDS: [u32; 16] = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    255,
    256,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x3f80_0000,
    0x7fc0_0000,
];

/// One to eight changes: bits, bytes, words, copied stretches, lost or doubled bytes, a lost end.
fn damage(file: &mut Vec<u8>, r: &mut Random) {
    for _ in 0..1 + r.below(8) {
        let at = r.below(file.len());
        match r.below(10) {
            0 => file[at] ^= 1 << r.below(8),
            1 => file[at] = r.next() as u8,
            2..=4 => {
                let at = at & !3;
                let word = WORDS[r.below(WORDS.len())];
                file.iter_mut().skip(at).zip(word.to_le_bytes()).for_each(|(b, w)| *b = w);
            }
            5 | 6 => {
                // A small number a little changed: dimensions, tensor numbers, offsets.
                let at = at & !3;
                if let Some(word) = file.get(at..at + 4) {
                    let old = u32::from_le_bytes(word.try_into().expect("four bytes"));
                    let new = old.wrapping_add(r.below(9) as u32).wrapping_sub(4);
                    file[at..at + 4].copy_from_slice(&new.to_le_bytes());
                }
            }
            7 => {
                let (from, length) = (r.below(file.len()), 1 + r.below(64));
                let stretch = file[from..(from + length).min(file.len())].to_vec();
                file.iter_mut().skip(at).zip(stretch).for_each(|(b, s)| *b = s);
            }
            8 => drop(file.remove(at)),
            _ if r.below(4) == 0 => file.truncate(at.max(1)),
            _ => file.insert(at, r.next() as u8),
        }
        if file.is_empty() {
            file.push(0);
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let small =
        ["activations", "detector", "streaming", "unsigned", "wide"].map(|n| format!("tests/tflite/{n}"));
    let all = small.into_iter().chain(["../models/kws_ref_model".to_string()]);
    all.map(|n| {
        let path = root.join(format!("{n}.tflite"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (n, bytes)
    })
    .collect()
}

/// How many of `count` damaged files were imported all the same.
fn run(count: u64, seed: u64) -> usize {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let files = seeds();
    let mut imported = 0;
    for i in 0..count {
        let number = seed + i;
        let mut r = Random::of(number);
        // The large file is taken now and then.
        let (name, bytes) = &files[r.below(files.len() + 20).min(24) % files.len()];
        let mut file = bytes.clone();
        damage(&mut file, &mut r);
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| import("damaged", &file));
        let (time, peak) = (start.elapsed(), PEAK.load(Relaxed) - before);
        let result = result.unwrap_or_else(|_| panic!("panic on {name}, number {number}"));
        assert!(time < LONGEST, "{name}, number {number}: {time:?}");
        assert!(peak < MOST_BYTES, "{name}, number {number}: {peak} bytes");
        match result {
            Ok(model) => {
                assert_eq!(model.graph.check(), Ok(()), "{name}, number {number}");
                imported += 1;
            }
            Err(errors) => assert!(!errors.is_empty(), "{name}, number {number}: no reason"),
        }
    }
    println!("{imported} of {count} damaged files (numbers from {seed}) were still networks");
    imported
}

#[test]
fn damaged_files_are_errors_or_networks() {
    let imported = run(6000, 1);
    assert!((60..5940).contains(&imported), "damage that is too strong or too weak tests little: {imported}");
}

#[test]
#[ignore = "long: 100 000 files"]
fn many_damaged_files_are_errors_or_networks() {
    run(100_000, 1_000_000);
}

#[test]
fn truncated_files_are_errors() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, file) = &seeds()[0];
    for length in (0..file.len()).step_by(7) {
        assert!(import("cut", &file[..length]).is_err(), "{length} bytes");
    }
}
