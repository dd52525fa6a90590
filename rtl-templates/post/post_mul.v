// SPDX-License-Identifier: Apache-2.0 OR MIT
// post_mul : p_o = v * m + c, 42 x 32 bits signed, exact
// Formats  v signed 42, m signed 32, c unsigned 33; p_o = bits 73..6 of the sum (74 bits hold it), low_o = any of bits 5..0
// Latency  v_i, m_i stage 6, c_i stage 7, p_o and low_o stage 12; II 1
// Reset    none, datapath only
// Maps to  4 DSP48E1 in one cascade: v = 17 + 25 bits, m = 17 + 15 bits; every second step shifts the sum by 17
`default_nettype none
module post_mul (
    input  wire               clk,
    input  wire signed [41:0] v_i,
    input  wire signed [31:0] m_i,
    input  wire [32:0]        c_i,
    output wire [67:0]        p_o,
    output wire               low_o
);
    // low x low, plus c
    reg signed [17:0] va_q, ma_q;
    reg signed [35:0] pa_q;
    reg signed [47:0] ca_q, sa_q;
    // low x high
    reg signed [17:0] vb1_q, vb2_q;
    reg signed [14:0] mb1_q, mb2_q;
    reg signed [32:0] pb_q;
    reg signed [47:0] sb_q;
    // high x low
    reg signed [24:0] vc1_q, vc2_q, vc3_q;
    reg signed [17:0] mc1_q, mc2_q, mc3_q;
    reg signed [42:0] pc_q;
    reg signed [47:0] sc_q;
    // high x high
    reg signed [24:0] vd4_q;
    reg signed [14:0] md3_q, md4_q;
    reg signed [39:0] pd_q;
    reg signed [47:0] sd_q;
    // what the cascade leaves behind
    reg  [10:0] low_a_q, low_b_q, low_c_q;
    reg         any_a_q, any_b_q, any_c_q;
    reg  [16:0] mid_q;

    always @(posedge clk) begin
        // stage 7
        va_q  <= {1'b0, v_i[16:0]};
        ma_q  <= {1'b0, m_i[16:0]};
        vb1_q <= {1'b0, v_i[16:0]};
        mb1_q <= m_i[31:17];
        vc1_q <= v_i[41:17];
        mc1_q <= {1'b0, m_i[16:0]};
        // stage 8
        pa_q  <= va_q * ma_q;
        ca_q  <= {15'd0, c_i};
        vb2_q <= vb1_q;
        mb2_q <= mb1_q;
        vc2_q <= vc1_q;
        mc2_q <= mc1_q;
        // stage 9
        sa_q  <= $signed({{12{pa_q[35]}}, pa_q}) + ca_q;
        pb_q  <= vb2_q * mb2_q;
        vc3_q <= vc2_q;
        mc3_q <= mc2_q;
        md3_q <= mb2_q;
        // stage 10
        low_a_q <= sa_q[16:6];
        any_a_q <= |sa_q[5:0];
        sb_q  <= $signed({{15{pb_q[32]}}, pb_q}) + (sa_q >>> 17);
        pc_q  <= vc3_q * mc3_q;
        vd4_q <= vc3_q;
        md4_q <= md3_q;
        // stage 11
        low_b_q <= low_a_q;
        any_b_q <= any_a_q;
        sc_q  <= $signed({{5{pc_q[42]}}, pc_q}) + sb_q;
        pd_q  <= vd4_q * md4_q;
        // stage 12
        low_c_q <= low_b_q;
        any_c_q <= any_b_q;
        mid_q <= sc_q[16:0];
        sd_q  <= $signed({{8{pd_q[39]}}, pd_q}) + (sc_q >>> 17);
    end
    assign p_o   = {sd_q[39:0], mid_q, low_c_q};
    assign low_o = any_c_q;
    wire unused_top = &{1'b0, sd_q[47:40]};
endmodule
`default_nettype wire
