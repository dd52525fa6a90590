// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The printed leaf cells: proved equal to a plain definition by SAT, compared with it under Verilator input by input.

mod support;

use hdl_gen::emit::{array, post};
use hdl_gen::{Arch, Config};
use std::fs;
use support::{run, scratch, write_files};

const LANE_SPEC: &str = "
module lane_gate (input [17:0] act, input [17:0] wgt, output [4:0] n);
    wire [2:0] ones, twos;
    lane_count u_leaf (.act(act), .wgt(wgt), .ones(ones), .twos(twos));
    assign n = {2'd0, ones} + {1'd0, twos, 1'd0};
endmodule
module lane_spec (input [17:0] act, input [17:0] wgt, output [4:0] n);
    wire [17:0] p = act & wgt;
    assign n = p[0] + p[1] + p[2] + p[3] + p[4] + p[5] + p[6] + p[7] + p[8] + p[9] + p[10] + p[11]
        + p[12] + p[13] + p[14] + p[15] + p[16] + p[17];
endmodule
";

const BRICK_SPEC: &str = "
module brick_gate (input [1:0] x, input x_signed, input [1:0] w, input w_signed, output [4:0] p);
    bit_brick u_leaf (.x(x), .x_signed(x_signed), .w(w), .w_signed(w_signed), .p(p));
endmodule
module brick_spec (input [1:0] x, input x_signed, input [1:0] w, input w_signed, output signed [4:0] p);
    wire signed [2:0] a = {x_signed & x[1], x};
    wire signed [2:0] b = {w_signed & w[1], w};
    assign p = a * b;
endmodule
";

/// As in numfmt: a fraction of 25 bits, and one more for what is behind them, against a half.
const FLOAT_SPEC: &str = "
module float_gate (input [47:0] p, input low, input by16, input by8, input guard, input [15:0] whole, input negative, output inc);
    post_float_ties u_gate (
        .clk(1'b0), .p_i(p), .low_i(low), .shift16_i(by16), .shift8_i(by8), .guard_st14_i(guard), .whole_st14_i(whole),
        .negative_st14_i(negative), .guard_i(guard), .odd_i(whole[0]), .inc_o(inc));
endmodule
module float_spec (input [47:0] p, input low, input by16, input by8, input guard, input [15:0] whole, input negative, output inc);
    wire [4:0]  by        = {by16, by8, 3'd0};
    wire [71:0] shifted   = {p, 24'd0} >> by;
    wire        rest      = low | (|shifted[23:0]);
    wire [15:0] magnitude = negative ? ~whole : whole;
    reg  [4:0]  bits;
    integer i;
    always @* begin
        bits = 5'd0;
        for (i = 0; i < 16; i = i + 1) if (magnitude[i]) bits = i + 1;
    end
    wire signed [29:0] distance = $signed({4'd0, guard, shifted[47:24], rest}) - 30'sd33554432;
    wire signed [29:0] tie      = 30'sd2 <<< bits;
    assign inc = whole[0] ? distance >= -tie : distance > tie;
endmodule
";

const ROUND_SPEC: &str = "
module round_gate (input [1:0] rounding, input guard, input rest, input odd, input negative, output inc);
    round_increment u_leaf (
        .rounding(rounding), .guard(guard), .rest(rest), .odd(odd), .negative(negative), .inc(inc));
endmodule
module round_spec (input [1:0] rounding, input guard, input rest, input odd, input negative, output reg inc);
    always @*
        case (rounding)
            2'd0: inc = 1'b0;
            2'd1: inc = guard;
            2'd2: inc = guard && (rest || odd);
            2'd3: inc = guard && (rest || !negative);
        endcase
endmodule
";

fn arch() -> Arch {
    let text = include_str!("../../configs/tiny.toml");
    Arch::new(&Config::from_toml(text, "tiny.toml").expect("a configuration of ours"))
}

fn lane_count() -> String {
    array::lane_count(&arch()).expect("the leaf is printed").text
}

fn bit_brick() -> String {
    array::bit_brick(&arch()).expect("the leaf is printed").text
}

fn round_increment() -> String {
    post_file("round_increment.v")
}

/// `post_float_ties` without its registers.
fn float_ties() -> String {
    let text = post_file("post_float_ties.v");
    assert!(text.contains("always @(posedge clk)"));
    text.replace("always @(posedge clk)", "always @*").replace(" <= ", " = ")
}

fn post_file(name: &str) -> String {
    let files = post::files(&arch()).expect("the files are printed");
    files.into_iter().find(|f| f.name == name).expect("it is among them").text
}

/// Whether SAT proves `gate` equal to `spec` in `text`.
fn equal(test: &str, text: &str, gate: &str, spec: &str) -> bool {
    let dir = scratch(test);
    fs::write(dir.join("both.v"), text).unwrap();
    let script = format!(
        "read_verilog both.v; hierarchy; setattr -mod -unset keep_hierarchy *; proc; flatten; opt; miter -equiv -flatten -make_outputs {gate} {spec} miter; \
         hierarchy -top miter; opt; sat -prove trigger 0 miter"
    );
    let said = run(&dir, "yosys", &["-p", &script]);
    assert!(said.contains("SUCCESS!") != said.contains("FAIL!"), "yosys neither proved nor refuted:\n{said}");
    said.contains("SUCCESS!")
}

#[test]
fn lane_count_is_a_population_count() {
    let leaf = lane_count();
    assert!(equal("leaf_lane", &format!("{leaf}{LANE_SPEC}"), "lane_gate", "lane_spec"));
}

#[test]
fn bit_brick_is_a_product() {
    let leaf = bit_brick();
    assert!(equal("leaf_brick", &format!("{leaf}{BRICK_SPEC}"), "brick_gate", "brick_spec"));
}

#[test]
fn round_increment_is_the_rounding_rules() {
    let leaf = round_increment();
    assert!(equal("leaf_round", &format!("{leaf}{ROUND_SPEC}"), "round_gate", "round_spec"));
}

#[test]
fn float_ties_are_those_of_the_number_formats() {
    let text = float_ties();
    assert!(equal("leaf_float", &format!("{text}{FLOAT_SPEC}"), "float_gate", "float_spec"));
    let damaged = text.replacen("at & near", "at", 1);
    assert_ne!(text, damaged, "the text to damage is there");
    assert!(!equal("leaf_float_damaged", &format!("{damaged}{FLOAT_SPEC}"), "float_gate", "float_spec"));
}

/// The proof can fail: a brick whose second bit lost a term is found out.
#[test]
fn a_damaged_brick_is_refuted() {
    let leaf = bit_brick();
    let damaged = leaf.replacen("p1 = m1 ^ m2", "p1 = m1 | m2", 1);
    assert_ne!(leaf, damaged, "the text to damage is there");
    assert!(!equal("leaf_damaged", &format!("{damaged}{BRICK_SPEC}"), "brick_gate", "brick_spec"));
}

const LEAF_BENCH: &str = r#"
#include "Vlane_count.h"
#include <cstdint>
#include <cstdio>
int main() {
    Vlane_count top;
    uint32_t noise = 1;
    for (uint32_t p = 0; p < 1u << 18; p++) {
        // wgt holds the pattern and lanes that act switches off
        noise = noise * 1664525u + 1013904223u;
        uint32_t off = (noise >> 7) & ~p & 0x3ffff;
        uint32_t act[3] = {0x3ffff, p, p}, wgt[3] = {p, 0x3ffff, p | off};
        for (int i = 0; i < 3; i++) {
            top.act = act[i];
            top.wgt = wgt[i];
            top.eval();
            if (top.ones + 2 * top.twos != __builtin_popcount(p)) {
                printf("act %05x wgt %05x: ones %d twos %d\n", act[i], wgt[i], top.ones, top.twos);
                return 1;
            }
        }
    }
    printf("ok\n");
    return 0;
}
"#;

#[test]
fn lane_count_counts_every_pattern_under_verilator() {
    let dir = scratch("leaf_verilator");
    write_files(&dir, vec![array::lane_count(&arch()).expect("the leaf is printed")]);
    fs::write(dir.join("bench.cpp"), LEAF_BENCH).unwrap();
    let args = "--cc --exe --build -Wall -fno-const-bit-op-tree -Mdir obj -o bench lane_count.v bench.cpp";
    run(&dir, "verilator", &args.split(' ').collect::<Vec<_>>());
    assert_eq!(run(&dir, "obj/bench", &[]).trim(), "ok");
}
