// bit_brick_pe : one PE of 2x2-bit bricks: LANES products, their sum, the adder of the partial sum
//   psum_o = psum_i + sum over lanes of act * wgt      exact
// Formats  act_i, wgt_i two bits per lane, signed where act_signed_i / wgt_signed_i (of this step, of this column); psum signed PSUM_W
// Latency  act_i, wgt_i -> psum_o 3; psum_i -> psum_o 1 cycle; free-running
// Reset    none: validity travels beside the data
// Maps to  5 LUT6 per brick (bit_brick) and an adder tree
`default_nettype none
module bit_brick_pe #(
    parameter LANES  = 16,
    parameter PSUM_W = 12
) (
    input  wire                     clk,
    input  wire [2*LANES-1:0]       act_i,
    input  wire [2*LANES-1:0]       wgt_i,
    input  wire                     act_signed_i,
    input  wire                     wgt_signed_i,
    input  wire signed [PSUM_W-1:0] psum_i,
    output reg  signed [PSUM_W-1:0] psum_o
);
    wire [5*LANES-1:0] product;
    reg  [5*LANES-1:0] product_q;
    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_brick
            bit_brick u_brick (
                .x       (act_i[2*i +: 2]),
                .x_signed(act_signed_i),
                .w       (wgt_i[2*i +: 2]),
                .w_signed(wgt_signed_i),
                .p       (product[5*i +: 5])
            );
        end
    endgenerate

    reg signed [PSUM_W-1:0] sum_d;
    reg signed [PSUM_W-1:0] sum_q;
    integer k;
    always @* begin
        sum_d = {PSUM_W{1'b0}};
        for (k = 0; k < LANES; k = k + 1)
            sum_d = sum_d + {{(PSUM_W-5){product_q[5*k+4]}}, product_q[5*k +: 5]};
    end
    always @(posedge clk) begin
        product_q <= product;
        sum_q     <= sum_d;
        psum_o    <= psum_i + sum_q;
    end
endmodule
`default_nettype wire
