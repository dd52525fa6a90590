// SPDX-License-Identifier: Apache-2.0 OR MIT
// activation_banks : ROWS copies of the activation memory, each with its own read address
//   Row r gets the step stream r cycles after row 0. A write goes to all copies, one cycle after it is offered.
// Formats  see activation_row; act row r at bits r*LANES*BRICK_BITS.., tap_wr_i / swap_act_o bit r = row r
// Latency  v_i -> act of row r 4 + r cycles; swap_i (one before v_i) -> swap_act_o[r] 5 + r; II 1
// Reset    see activation_row
// Maps to  ROWS x 4 block RAMs; one set of write registers
`default_nettype none
module activation_banks #(
    parameter ROWS = 9,
    parameter LANES = 16,
    parameter BRICK_BITS = 1,
    parameter BANK_AW = 12
) (
    input  wire                             clk,
    input  wire                             rst,
    input  wire [3:0]                       bank_wr_en_i,
    input  wire [BANK_AW-1:0]               bank_wr_addr_i,
    input  wire [4*LANES-1:0]               bank_wr_data_i,
    input  wire [ROWS-1:0]                  tap_wr_i,
    input  wire [35:0]                      tap_i,
    input  wire                             swap_i,
    input  wire                             start_i,
    input  wire [23:0]                      hw_i,
    input  wire                             v_i,
    input  wire [BANK_AW+1:0]               addr_i,
    input  wire [11:0]                      y_i,
    input  wire [11:0]                      x_i,
    input  wire [BRICK_BITS-1:0]            pad_i,
    output wire [ROWS-1:0]                  swap_act_o,
    output wire [ROWS*LANES*BRICK_BITS-1:0] act_o
);
    localparam ACT_W = LANES * BRICK_BITS;

    reg [3:0]         wr_en_q;
    reg [BANK_AW-1:0] wr_addr_q;
    reg [4*LANES-1:0] wr_data_q;
    always @(posedge clk)
        if (rst) wr_en_q <= 4'd0;
        else     wr_en_q <= bank_wr_en_i;
    always @(posedge clk) begin
        wr_addr_q <= bank_wr_addr_i;
        wr_data_q <= bank_wr_data_i;
    end

    wire [ROWS:0]              swap, start, v;
    wire [(ROWS+1)*24-1:0]     hw;
    wire [(ROWS+1)*(BANK_AW+2)-1:0] addr;
    wire [(ROWS+1)*12-1:0]     y, x;
    wire [(ROWS+1)*BRICK_BITS-1:0] pad;
    assign swap[0]           = swap_i;
    assign start[0]          = start_i;
    assign v[0]              = v_i;
    assign hw[23:0]          = hw_i;
    assign addr[BANK_AW+1:0] = addr_i;
    assign y[11:0]           = y_i;
    assign x[11:0]           = x_i;
    assign pad[BRICK_BITS-1:0] = pad_i;

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            activation_row #(
                .LANES(LANES), .BRICK_BITS(BRICK_BITS), .BANK_AW(BANK_AW)
            ) u_row (
                .clk(clk), .rst(rst),
                .wr_en_i(wr_en_q), .wr_addr_i(wr_addr_q), .wr_data_i(wr_data_q),
                .tap_wr_i(tap_wr_i[r]), .tap_i(tap_i),
                .swap_i(swap[r]), .start_i(start[r]), .hw_i(hw[r*24 +: 24]), .v_i(v[r]),
                .addr_i(addr[r*(BANK_AW+2) +: BANK_AW+2]), .y_i(y[r*12 +: 12]), .x_i(x[r*12 +: 12]),
                .pad_i(pad[r*BRICK_BITS +: BRICK_BITS]),
                .swap_o(swap[r+1]), .start_o(start[r+1]), .hw_o(hw[(r+1)*24 +: 24]), .v_o(v[r+1]),
                .addr_o(addr[(r+1)*(BANK_AW+2) +: BANK_AW+2]), .y_o(y[(r+1)*12 +: 12]), .x_o(x[(r+1)*12 +: 12]),
                .pad_o(pad[(r+1)*BRICK_BITS +: BRICK_BITS]),
                .swap_act_o(swap_act_o[r]), .act_o(act_o[r*ACT_W +: ACT_W])
            );
        end
    endgenerate
    // what the last row would hand on
    wire unused_tail = &{1'b0, swap[ROWS], start[ROWS], v[ROWS], hw[ROWS*24 +: 24], addr[ROWS*(BANK_AW+2) +: BANK_AW+2],
                         y[ROWS*12 +: 12], x[ROWS*12 +: 12], pad[ROWS*BRICK_BITS +: BRICK_BITS]};
endmodule
`default_nettype wire
