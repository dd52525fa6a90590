// SPDX-License-Identifier: Apache-2.0 OR MIT
// token_counters : the tokens that order the four instruction queues
//   Counter (s, d) counts what queue s has signalled to queue d and d has not taken. Queues: 0 load, 1 wgt, 2 pass, 3 post.
// Formats  signal_i[4*s + d], take_i[4*d + s], present_o[4*d + s]; counters of 8 bits; s = d does not exist and reads absent
// Latency  a signal in cycle t is present in t+1
// Reset    all counters
// Maps to  12 counters of 8 bits, about 150 LUTs
`default_nettype none
module token_counters (
    input  wire        clk,
    input  wire        rst,
    input  wire [15:0] signal_i,
    input  wire [15:0] take_i,
    output wire [15:0] present_o,
    output wire        overflow_o              // a counter at 255 is signalled and not taken
);
    wire [15:0] overflow;
    assign overflow_o = |overflow;

    genvar s, d;
    generate
        for (d = 0; d < 4; d = d + 1) begin : g_dst
            for (s = 0; s < 4; s = s + 1) begin : g_src
                if (s == d) begin : g_none
                    wire unused = &{1'b0, signal_i[4*s+d], take_i[4*d+s]};
                    assign present_o[4*d+s] = 1'b0;
                    assign overflow[4*d+s]  = 1'b0;
                end else begin : g_counter
                    reg [7:0] count_q;
                    wire up   = signal_i[4*s+d] && !take_i[4*d+s];
                    wire down = take_i[4*d+s] && !signal_i[4*s+d];
                    assign present_o[4*d+s] = count_q != 8'd0;
                    assign overflow[4*d+s]  = up && count_q == 8'd255;
                    always @(posedge clk)
                        if (rst)       count_q <= 8'd0;
                        else if (up)   count_q <= count_q + 8'd1;
                        else if (down) count_q <= count_q - 8'd1;
                end
            end
        end
    endgenerate
endmodule
`default_nettype wire
