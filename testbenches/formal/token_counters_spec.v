// SPDX-License-Identifier: Apache-2.0 OR MIT
// What token_counters is to do, written plainly: a counter is what was signalled less what was taken. Names of registers are
// those of the module, so that the proof knows which belong together; a queue takes only what is present.
module token_counters_spec (
    input  wire        clk,
    input  wire        rst,
    input  wire [15:0] signal_i,
    input  wire [15:0] take_i,
    output wire [15:0] present_o,
    output wire        overflow_o
);
    wire [15:0] overflow;
    reg         overflow_q;
    assign overflow_o = overflow_q;
    always @(posedge clk) overflow_q <= !rst && |overflow;
    genvar s, d;
    generate
        for (d = 0; d < 4; d = d + 1) begin : g_dst
            for (s = 0; s < 4; s = s + 1) begin : g_src
                if (s == d) begin : g_none
                    assign present_o[4*d+s] = 1'b0;
                    assign overflow[4*d+s]  = 1'b0;
                end else begin : g_counter
                    reg  [7:0] count_q;
                    wire       present_q = count_q != 8'd0;
                    assign present_o[4*d+s] = present_q;
                    assign overflow[4*d+s]  = count_q == 8'd255 && signal_i[4*s+d];
                    always @(posedge clk)
                        count_q <= rst ? 8'd0 : count_q + {7'd0, signal_i[4*s+d]} - {7'd0, take_i[4*d+s] && present_q};
                end
            end
        end
    endgenerate
endmodule
