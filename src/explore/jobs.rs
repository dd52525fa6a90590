// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files with which a search runs on many machines: a Slurm array, a list for GNU parallel, and the merge at the end.

use crate::out_dir::Tree;

/// Files that cut the search of `arguments` (behind `brickwork explore`, without `-o` and `--shard`) into `count` shards.
/// `dir`: where they write.
pub fn files(arguments: &[String], dir: &str, count: u32) -> Tree {
    let words: Vec<String> = arguments.iter().map(|a| quoted(a)).collect();
    let search = format!("brickwork explore {}", words.join(" "));
    let place = quoted(dir);
    let shard = |n: &str| format!("{search} --shard {n}/{count} -o {place}/shard-{n}");
    let slurm = format!(
        "#!/bin/sh\n\
         # One shard for each task: sbatch explore.slurm; when all are done: sh merge.sh\n\
         # A task that is stopped and queued again goes on where it was.\n\
         #SBATCH --job-name=brickwork-explore\n\
         #SBATCH --array=1-{count}\n\
         #SBATCH --requeue\n\
         set -eu\n\
         exec {}\n",
        shard("\"$SLURM_ARRAY_TASK_ID\"")
    );
    let list: String = (1..=count).map(|n| format!("{} --threads 1\n", shard(&n.to_string()))).collect();
    let journals: Vec<String> = (1..=count).map(|n| format!("{place}/shard-{n}/journal.jsonl")).collect();
    let merge = format!(
        "#!/bin/sh\n\
         # Makes one result of all shards, finished or not.\n\
         set -eu\n\
         exec brickwork explore merge {} -o {place}/merged\n",
        journals.join(" ")
    );
    vec![("explore.slurm".into(), slurm), ("explore.parallel".into(), list), ("merge.sh".into(), merge)]
}

/// A word as the shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_there_once_and_words_survive_the_shell() {
        let arguments = ["a model.onnx", "it's", "--clock", "150"].map(String::from);
        let files = files(&arguments, "out", 3);
        let text = |name: &str| &files.iter().find(|f| f.0 == name).expect("written").1;
        assert_eq!(
            text("explore.parallel").lines().nth(1),
            Some("brickwork explore 'a model.onnx' 'it'\\''s' --clock 150 --shard 2/3 -o out/shard-2 --threads 1")
        );
        assert!(text("explore.slurm").contains("#SBATCH --array=1-3\n"));
        assert!(text("merge.sh").contains("merge out/shard-1/journal.jsonl out/shard-2/journal.jsonl"));
    }
}
