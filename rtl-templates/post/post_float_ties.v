// SPDX-License-Identifier: Apache-2.0 OR MIT
// post_float_ties : whether a floor must be incremented where float32 rounds: first to 24 bits of mantissa, then to an integer
// Function  hdl_gen::numfmt::float32_increment: with e bits of integer part, what lies within 2^(e - 25) of a half is a tie, to even
// Formats   p_i = bits 53..6 of the product, low_i = any of bits 5..0; shift16_i, shift8_i: what its fraction is shifted by;
//           guard, whole, negative: first bit of the fraction, low 16 bits and sign of the floor; inc_o 0 or 1
// Latency   p_i, low_i, shift16_i stage 12; shift8_i stage 13; *_st14_i stage 14; guard_i, odd_i, inc_o stage 15
// Reset     none, datapath only
// Maps to   multiplexers and two LUT levels of comparison without carry chain
`default_nettype none
module post_float_ties (
    input  wire        clk,
    input  wire [47:0] p_i,
    input  wire        low_i,
    input  wire        shift16_i,
    input  wire        shift8_i,
    input  wire        guard_st14_i,
    input  wire [15:0] whole_st14_i,
    input  wire        negative_st14_i,
    input  wire        guard_i,
    input  wire        odd_i,
    output wire        inc_o
);
    // the 24 bits of the fraction behind the guard bit, and whether any bit behind them is set
    reg  [31:0] hi_q;
    reg  [23:0] fraction_q;
    reg         hi_rest_q, rest_q, rest15_q;
    always @(posedge clk) begin
        hi_q       <= shift16_i ? p_i[47:16] : p_i[31:0];               // stage 13
        hi_rest_q  <= low_i | (shift16_i & (|p_i[15:0]));
        fraction_q <= shift8_i ? hi_q[31:8] : hi_q[23:0];               // stage 14
        rest_q     <= hi_rest_q | (shift8_i & (|hi_q[7:0]));
    end

    // stage 15: distance from the half in units of 2^-25, as bits (above the half) or as its one's complement (below it);
    // size_q[i]: the integer part has more than i bits, so size_q has e ones and 2^e is the reach of the ties
    wire [15:0] magnitude = whole_st14_i ^ {16{negative_st14_i}};
    wire [23:0] distance  = fraction_q ^ {24{~guard_st14_i}};
    reg  [15:0] size_q;
    reg  [16:0] distance_q;
    reg         beyond_q;
    integer i;
    always @(posedge clk) begin
        for (i = 0; i < 16; i = i + 1) size_q[i] <= |(magnitude >> i);
        distance_q <= distance[16:0];
        beyond_q   <= |distance[23:17];
        rest15_q   <= rest_q;
    end

    // bits of the distance above 2^e, at 2^e, and below
    wire far  = beyond_q | (|(distance_q[16:1] & ~size_q));
    wire at   = |(distance_q & {size_q, 1'b1} & ~{1'b0, size_q});
    wire near = rest15_q | (|(distance_q[15:0] & size_q));
    assign inc_o = guard_i ? (odd_i | far | (at & near)) : (odd_i & ~far & ~at);
endmodule
`default_nettype wire
