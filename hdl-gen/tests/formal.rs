// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Formal properties of the parts that share state with the outside: AXI masters, AXI-Lite, FIFOs, token counters. Proved with
//! Yosys' SAT solver for every input, from reset to a bounded number of cycles; the token counters without a bound.
//! Each property is also shown to fail on a damaged copy of the RTL. What is stated: testbenches/formal.

mod support;

use hdl_gen::emit::{self, RtlFile};
use hdl_gen::{Arch, Config};
use std::fs;
use support::{run, scratch, write_files};

fn arch() -> Arch {
    // Bursts of two beats: several of them within the bound.
    let text = include_str!("../../configs/tiny.toml").to_string() + "\n[axi]\nburst_beats = 2\n";
    Arch::new(&Config::from_toml(&text, "tiny.toml").expect("a configuration of ours"))
}

fn rtl(module: &str) -> String {
    let files: Vec<RtlFile> = emit::rtl_files(&arch()).expect("the files are printed");
    let name = format!("{module}.v");
    files.into_iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} is generated")).text
}

fn bench(name: &str) -> String {
    let path = format!("{}/../testbenches/formal/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn file(name: &str, text: String) -> RtlFile {
    RtlFile { name: name.into(), text }
}

/// Whether every assertion of `top` holds in the first `cycles` cycles after any start.
fn holds(test: &str, rtl: &str, top: &str, cycles: u32) -> bool {
    let dir = scratch(test);
    write_files(&dir, vec![file("rtl.v", rtl.into()), file("bench.sv", bench(&format!("{top}.sv")))]);
    let said = run(
        &dir,
        "yosys",
        &[
            "-p",
            &format!(
                "read_verilog rtl.v; read_verilog -formal -sv bench.sv; hierarchy -top {top}; proc; flatten; opt; \
                 memory -nordff; memory_map; opt -full; async2sync; dffunmap; opt; \
                 sat -prove-asserts -set-assumes -tempinduct-baseonly -maxsteps {cycles} {top}"
            ),
        ],
    );
    let found = said.contains("model found for base case: FAIL!");
    let none = said.contains("proved base case for");
    assert!(found != none, "yosys neither searched to the end nor found a violation:\n{said}");
    none
}

/// The text with one place changed.
fn damaged(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is in the text to damage");
    text.replacen(from, to, 1)
}

#[test]
fn a_fifo_gives_what_it_took() {
    let fifo = rtl("sync_fifo");
    assert!(holds("formal_fifo", &fifo, "sync_fifo_formal", 14));
    for (i, (from, to)) in [
        ("if (push != load)", "if (push && !load)"),
        ("wr_ready_o = !count_q[ADDR_W]", "wr_ready_o = 1'b1"),
        ("(!rd_valid_q || rd_ready_i)", "rd_ready_i"),
        ("if (load) rd_ptr_q", "if (load && !push) rd_ptr_q"),
    ]
    .iter()
    .enumerate()
    {
        let wrong = damaged(&fifo, from, to);
        assert!(!holds(&format!("formal_fifo_{i}"), &wrong, "sync_fifo_formal", 14), "{from} -> {to}");
    }
}

#[test]
fn an_axi_reader_keeps_the_rules() {
    let reader = rtl("axi_reader") + &rtl("sync_fifo");
    assert!(holds("formal_reader", &reader, "axi_reader_formal", 12));
    for (i, (from, to)) in [
        ("room_q >= len_ext", "room_q != 0"),
        ("to_boundary = BURST - {1'b0, addr_q[BURST_LOG2-1:0]}", "to_boundary = BURST"),
        ("else if (m_axi_arready) arvalid_q <= 1'b0", "else arvalid_q <= 1'b0"),
        ("(!arvalid_q || m_axi_arready)", "1'b1"),
        ("row_end ? next_row", "row_end ? addr_q"),
    ]
    .iter()
    .enumerate()
    {
        let wrong = damaged(&reader, from, to);
        assert!(!holds(&format!("formal_reader_{i}"), &wrong, "axi_reader_formal", 12), "{from} -> {to}");
    }
}

#[test]
fn a_job_of_the_axi_reader_ends() {
    let reader = rtl("axi_reader") + &rtl("sync_fifo");
    assert!(holds("formal_live", &reader, "axi_reader_live", 42));
    let wrong = damaged(&reader, "pop ? room_left + ROOM_ONE : room_left", "room_left");
    assert!(!holds("formal_live_damaged", &wrong, "axi_reader_live", 42));
}

#[test]
fn axi_lite_answers_every_access_once() {
    let slave = rtl("axil_slave");
    assert!(holds("formal_axil", &slave, "axil_slave_formal", 12));
    for (i, (from, to)) in [
        ("bvalid_q ? !s_axil_bready : write", "write"),
        ("aw_full_q && w_full_q && !bvalid_q", "aw_full_q && w_full_q"),
        ("if (read) rdata_q", "rdata_q"),
        ("!ar_full_q && !rst", "!ar_full_q"),
    ]
    .iter()
    .enumerate()
    {
        let wrong = damaged(&slave, from, to);
        assert!(!holds(&format!("formal_axil_{i}"), &wrong, "axil_slave_formal", 12), "{from} -> {to}");
    }
}

#[test]
fn the_write_master_keeps_the_rules() {
    // What the memory holds does not matter to the protocol, and would be most of the proof.
    let store = damaged(&rtl("post_store"), "fetched_q <= mem[rd_q]", "fetched_q <= data_i");
    let store = damaged(&store, "if (push_i) mem[wr_q] <= data_i;", "");
    assert!(holds("formal_store", &store, "post_store_formal", 20));
    for (i, (from, to)) in [
        ("fetched_last_q <= (fetch_left_q == 9'd1)", "fetched_last_q <= (fetch_left_q == 9'd2)"),
        ("fetching_q <= fetch_left_q != 9'd1", "fetching_q <= fetch_left_q > 9'd2"),
        ("else if (m_axi_st_awready) aw_valid_q <= 1'b0", "else aw_valid_q <= 1'b0"),
        ("&& (open_q == 8'd0)", ""),
        ("(avail_q >= plan_len)", "1'b1"),
    ]
    .iter()
    .enumerate()
    {
        let wrong = damaged(&store, from, to);
        assert!(!holds(&format!("formal_store_{i}"), &wrong, "post_store_formal", 20), "{from} -> {to}");
    }
}

/// Whether the token counters equal their specification in every state that can be reached, without a bound.
fn tokens_equal(test: &str, rtl: &str) -> bool {
    let dir = scratch(test);
    write_files(&dir, vec![file("rtl.v", rtl.into()), file("spec.v", bench("token_counters_spec.v"))]);
    let script = "read_verilog rtl.v spec.v; proc; flatten; opt_clean; \
                  equiv_make token_counters_spec token_counters both; hierarchy -top both; opt_clean; \
                  equiv_simple -undef; equiv_induct -undef; equiv_status";
    let said = run(&dir, "yosys", &["-p", script]);
    said.contains("Equivalence successfully proven!")
}

#[test]
fn token_counters_count() {
    // A queue takes only what is present: an assumption, here a part of the module.
    let take = "take_i[4*d+s];";
    let counters = damaged(&rtl("token_counters"), take, "take_i[4*d+s] && present_q;");
    assert!(tokens_equal("formal_tokens", &counters));
    for (i, (from, to)) in [
        ("count_q[7:1] != 7'd0", "count_q[7:2] != 6'd0"),
        ("up && full", "full"),
        ("if (up != down)", "if (up || down)"),
        ("up ? 8'd1 : 8'd255", "8'd1"),
    ]
    .iter()
    .enumerate()
    {
        assert!(
            !tokens_equal(&format!("formal_tokens_{i}"), &damaged(&counters, from, to)),
            "{from} -> {to}"
        );
    }
}
