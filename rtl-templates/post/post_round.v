// SPDX-License-Identifier: Apache-2.0 OR MIT
// post_round : y = round(p / 2^(31 + shift)) as a floor and an increment
// Function  the five modes of hdl_gen::numfmt::Rounding, exact on the full p: 0 floor, 1 half up, 2 half even,
//           3 TFLite (p already carries 2^30; then ties away from zero at `shift`), 4..7 float32
// Formats   p_i = bits 73..6 of p, low_i = any of bits 5..0; floor_o signed 43, inc_o 0 or 1; y = floor_o + inc_o
//           shift: 6 bits, of them shift_hi_i the top two, shift_lo_i the lowest two; for float32 0, 8, 16, 24
// Latency   p_i, low_i stage 12; shift_hi_i stage 12, shift_mid_i stage 13, shift_lo_i stage 14; floor_o, inc_o stage 16
// Reset     none, datapath only
// Maps to   shifts by multiplexers, one carry chain, round_increment, post_float_ties
`default_nettype none
module post_round (
    input  wire        clk,
    input  wire [2:0]  rounding_i,
    input  wire [67:0] p_i,
    input  wire        low_i,
    input  wire [1:0]  shift_hi_i,
    input  wire [1:0]  shift_mid_i,
    input  wire [1:0]  shift_lo_i,
    output wire signed [42:0] floor_o,
    output wire        inc_o
);
    localparam [2:0] TFLITE = 3'd3;

    // u = p / 2^30, so that bit 0 is the guard bit at shift 0; TFLite has done with everything below bit 31
    wire        tflite = (rounding_i == TFLITE);
    wire [43:0] u      = {p_i[67:25], p_i[24] & ~tflite};
    wire        sign   = u[43];
    wire        below  = ~tflite & (low_i | (|p_i[23:0]));

    reg  [43:0] hi_q, mid_q, lo_q;
    reg         hi_rest_q, mid_rest_q, lo_rest_q;

    wire any_a = |u[15:0];
    wire any_b = |u[31:16];
    wire any_c = |u[43:32];
    always @(posedge clk)                           // stage 13: by 0, 16, 32, 48
        case (shift_hi_i)
            2'd0:    begin hi_q <= u;                          hi_rest_q <= below; end
            2'd1:    begin hi_q <= {{16{sign}}, u[43:16]};     hi_rest_q <= below | any_a; end
            2'd2:    begin hi_q <= {{32{sign}}, u[43:32]};     hi_rest_q <= below | any_a | any_b; end
            default: begin hi_q <= {44{sign}};                 hi_rest_q <= below | any_a | any_b | any_c; end
        endcase
    always @(posedge clk)                           // stage 14: by 0, 4, 8, 12
        case (shift_mid_i)
            2'd0:    begin mid_q <= hi_q;                          mid_rest_q <= hi_rest_q; end
            2'd1:    begin mid_q <= {{4{hi_q[43]}}, hi_q[43:4]};   mid_rest_q <= hi_rest_q | (|hi_q[3:0]); end
            2'd2:    begin mid_q <= {{8{hi_q[43]}}, hi_q[43:8]};   mid_rest_q <= hi_rest_q | (|hi_q[7:0]); end
            default: begin mid_q <= {{12{hi_q[43]}}, hi_q[43:12]}; mid_rest_q <= hi_rest_q | (|hi_q[11:0]); end
        endcase
    always @(posedge clk)                           // stage 15: by 0, 1, 2, 3
        case (shift_lo_i)
            2'd0:    begin lo_q <= mid_q;                          lo_rest_q <= mid_rest_q; end
            2'd1:    begin lo_q <= {mid_q[43], mid_q[43:1]};       lo_rest_q <= mid_rest_q | mid_q[0]; end
            2'd2:    begin lo_q <= {{2{mid_q[43]}}, mid_q[43:2]};  lo_rest_q <= mid_rest_q | (|mid_q[1:0]); end
            default: begin lo_q <= {{3{mid_q[43]}}, mid_q[43:3]};  lo_rest_q <= mid_rest_q | (|mid_q[2:0]); end
        endcase

    wire        inc, inc_float;
    round_increment u_increment (
        .rounding(rounding_i[1:0]), .guard(lo_q[0]), .rest(lo_rest_q), .odd(lo_q[1]), .negative(lo_q[43]), .inc(inc)
    );
    post_float_ties u_float (
        .clk(clk), .p_i(p_i[47:0]), .low_i(low_i), .shift16_i(shift_hi_i[0]), .shift8_i(shift_mid_i[1]),
        .guard_st14_i(mid_q[0]), .whole_st14_i(mid_q[16:1]), .negative_st14_i(mid_q[43]), .guard_i(lo_q[0]), .odd_i(lo_q[1]),
        .inc_o(inc_float)
    );
    reg  [42:0] floor_q;
    reg         inc_q;
    always @(posedge clk) begin                     // stage 16
        floor_q <= lo_q[43:1];
        inc_q   <= rounding_i[2] ? inc_float : inc;
    end
    assign floor_o = floor_q;
    assign inc_o   = inc_q;
endmodule
`default_nettype wire
