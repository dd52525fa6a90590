// SPDX-License-Identifier: Apache-2.0 OR MIT
// token_counters : the tokens that order the four instruction queues
//   Counter (s, d) counts what queue s has signalled to queue d and d has not taken. Queues: 0 load, 1 wgt, 2 pass, 3 post.
// Formats  signal_i[4*s + d], take_i[4*d + s], present_o[4*d + s]; counters of 8 bits; s = d does not exist and reads absent
// Latency  a signal in cycle t is present in t+1, its overflow said in t+1
// Reset    all counters
// Maps to  12 counters of 8 bits, about 150 LUTs
`default_nettype none
module token_counters (
    input  wire        clk,
    input  wire        rst,
    input  wire [15:0] signal_i,
    input  wire [15:0] take_i,
    output wire [15:0] present_o,
    output wire        overflow_o              // a counter at 255 was signalled
);
    wire [15:0] overflow;
    reg         overflow_q;
    assign overflow_o = overflow_q;
    always @(posedge clk)
        if (rst) overflow_q <= 1'b0;
        else     overflow_q <= |overflow;

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
                    // What is taken is known late in the cycle: it only enables the counter.
                    reg        present_q;      // count_q is not 0
                    wire       up     = signal_i[4*s+d];
                    wire       down   = take_i[4*d+s];
                    wire [7:0] one    = up ? 8'd1 : 8'd255;
                    assign present_o[4*d+s] = present_q;
                    wire       full   = count_q == 8'd255;
                    assign overflow[4*d+s]  = up && full;
                    always @(posedge clk)
                        if (rst) begin
                            count_q   <= 8'd0;
                            present_q <= 1'b0;
                        end else begin
                            if (up != down) count_q <= count_q + one;
                            present_q <= up ? down || !full : down ? count_q[7:1] != 7'd0 : present_q;
                        end
                end
            end
        end
    endgenerate
endmodule
`default_nettype wire
