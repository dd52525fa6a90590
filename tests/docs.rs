// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages that are made from the code are up to date.

mod common;

use common::{brickwork, golden, repo};

#[test]
fn isa_page_is_made_from_the_instruction_table() {
    let output = brickwork(&["isa", "--markdown"]);
    assert!(output.status.success());
    golden(&repo("docs/isa.md"), &String::from_utf8(output.stdout).unwrap());
}

#[test]
fn schema_file_is_made_from_the_configuration() {
    let output = brickwork(&["schema"]);
    assert!(output.status.success());
    golden(&repo("docs/config.schema.json"), &String::from_utf8(output.stdout).unwrap());
}
