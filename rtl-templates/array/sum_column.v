// sum_column : sum of all activations of a step over rows and lanes, Horner over the steps, accumulators of 18 bits
//   S = sum of x; with it a bipolar weight costs one bit: sum x w = S - 2 * sum over w = -1 of x
// Formats  act_i as array_core's; 18-bit two's complement, wraps
// Latency  as array_group: row 0's act_i -> foot ROWS + 3, foot -> readable 5; rd_en_i -> rd_data_o 2
// Reset    the running sum only
// Maps to  ROWS brick_pe with all weights 1, 1 block RAM of 18 bits
`default_nettype none
module sum_column #(
    parameter ROWS   = 9,
    parameter LANES  = 16,
    parameter PSUM_W = 8,
    parameter ADDR_W = 9
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire [ROWS*LANES-1:0] act_i,
    input  wire                  t1_read_i,
    input  wire [ADDR_W-1:0]     t1_acc_i,
    input  wire                  t2_step_i,
    input  wire                  t2_last_i,
    input  wire                  t2_negate_i,
    input  wire                  t3_overwrite_i,
    input  wire                  t4_write_i,
    input  wire [ADDR_W-1:0]     t4_acc_i,
    input  wire                  rd_en_i,
    input  wire [ADDR_W-1:0]     rd_addr_i,
    output wire [17:0]           rd_data_o
);
    reg  [ROWS*LANES-1:0]      act_q;
    wire [PSUM_W*(ROWS+1)-1:0] psum;
    always @(posedge clk) act_q <= act_i;
    assign psum[PSUM_W-1:0] = {PSUM_W{1'b0}};
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            brick_pe #(.LANES(LANES), .IN_W(PSUM_W), .PSUM_W(PSUM_W)) u_pe (
                .clk(clk), .act_i(act_q[LANES*r +: LANES]), .wgt_i({LANES{1'b1}}),
                .psum_i(psum[PSUM_W*r +: PSUM_W]), .psum_o(psum[PSUM_W*(r+1) +: PSUM_W])
            );
        end
    endgenerate

    // Two registers, as the fusion of a group has.
    reg [PSUM_W-1:0] foot_q;
    reg [PSUM_W-1:0] foot_q2;
    reg [16:0] run_q;
    reg [17:0] result_q;
    wire [17:0] fused  = {{(18-PSUM_W){1'b0}}, foot_q2};
    wire [17:0] horner = {run_q, 1'b0} + (fused ^ {18{t2_negate_i}}) + {17'd0, t2_negate_i};
    always @(posedge clk) begin
        foot_q   <= psum[PSUM_W*ROWS +: PSUM_W];
        foot_q2  <= foot_q;
        result_q <= horner;
    end
    always @(posedge clk)
        if (rst || (t2_step_i && t2_last_i)) run_q <= 17'd0;
        else if (t2_step_i)                  run_q <= horner[16:0];

    (* ram_style = "block" *) reg [17:0] mem [0:(1<<ADDR_W)-1];
    reg  [17:0] ram_q;
    reg  [17:0] ram_q2;
    reg  [17:0] acc_q;
    wire              read_en   = rd_en_i || t1_read_i;
    wire [ADDR_W-1:0] read_addr = rd_en_i ? rd_addr_i : t1_acc_i;
    always @(posedge clk) begin
        if (t4_write_i) mem[t4_acc_i] <= acc_q;
        if (read_en) ram_q <= mem[read_addr];
    end
    always @(posedge clk) begin
        ram_q2 <= ram_q;
        acc_q  <= result_q + (ram_q2 & {18{!t3_overwrite_i}});
    end
    assign rd_data_o = ram_q2;
endmodule
`default_nettype wire
