// brick_pe : one PE of 1-bit bricks: LANES AND gates, their population count, the adder of the partial sum
//   psum_o = psum_i + popcount(act_i & wgt_i)      exact: PSUM_W holds the sum of this row and all rows above
// Formats  act_i, wgt_i one bit per lane; psum unsigned
// Latency  act_i, wgt_i -> psum_o 3; psum_i -> psum_o 1 cycle; free-running
// Reset    none: validity travels beside the data
// Maps to  per 18 lanes 18 LUT6 (lane_count), then small adders and a carry chain of PSUM_W bits
// The simulated count ($countones) is proved equal to lane_count by SAT.
`default_nettype none
module brick_pe #(
    parameter LANES  = 16,
    parameter IN_W   = 8,                      // width of the sum of the rows above
    parameter PSUM_W = 8                       // IN_W or more
) (
    input  wire              clk,
    input  wire [LANES-1:0]  act_i,
    input  wire [LANES-1:0]  wgt_i,
    input  wire [IN_W-1:0]   psum_i,
    output reg  [PSUM_W-1:0] psum_o
);
    wire [PSUM_W:0] above = {{(PSUM_W-IN_W+1){1'b0}}, psum_i};
    wire unused_above = above[PSUM_W];
`ifdef VERILATOR
`ifndef BRICKWORK_DEPLOYED
`define BRICKWORK_COUNTONES
`endif
`endif
`ifdef BRICKWORK_COUNTONES
    reg [PSUM_W-1:0] count_q;
    reg [PSUM_W-1:0] count_q2;
    always @(posedge clk) begin
        count_q  <= PSUM_W'($countones(act_i & wgt_i));
        count_q2 <= count_q;
        psum_o   <= above[PSUM_W-1:0] + count_q2;
    end
`undef BRICKWORK_COUNTONES
`else
    // Lanes in groups of 18, the last one filled with zeros.
    localparam LEAVES = (LANES + 17) / 18;
    wire [18*LEAVES-1:0] act = {{(18*LEAVES-LANES){1'b0}}, act_i};
    wire [18*LEAVES-1:0] wgt = {{(18*LEAVES-LANES){1'b0}}, wgt_i};
    wire [3*LEAVES-1:0]  ones;
    wire [3*LEAVES-1:0]  twos;
    reg  [3*LEAVES-1:0]  ones_q;
    reg  [3*LEAVES-1:0]  twos_q;
    genvar i;
    generate
        for (i = 0; i < LEAVES; i = i + 1) begin : g_leaf
            lane_count u_lanes (
                .act (act[18*i +: 18]),
                .wgt (wgt[18*i +: 18]),
                .ones(ones[3*i +: 3]),
                .twos(twos[3*i +: 3])
            );
        end
    endgenerate

    reg [PSUM_W+3:0] count_d;
    integer k;
    always @* begin
        count_d = {(PSUM_W+4){1'b0}};
        for (k = 0; k < LEAVES; k = k + 1)
            count_d = count_d + {{(PSUM_W+1){1'b0}}, ones_q[3*k +: 3]} + {{PSUM_W{1'b0}}, twos_q[3*k +: 3], 1'b0};
    end
    wire unused_count = &{1'b0, count_d[PSUM_W+3:PSUM_W]};
    reg [PSUM_W-1:0] count_q;
    always @(posedge clk) begin
        ones_q  <= ones;
        twos_q  <= twos;
        count_q <= count_d[PSUM_W-1:0];
        psum_o  <= above[PSUM_W-1:0] + count_q;
    end
`endif
endmodule
`default_nettype wire
