// SPDX-License-Identifier: Apache-2.0 OR MIT
// post_param_ram : requantization parameters of one lane
// Formats  a word is {shift[5:0], addend[31:0], multiplier[31:0], bias[31:0]}
// Latency  rd_addr_i -> rd_data_o 2 cycles
// Reset    none
// Maps to  block RAM
`default_nettype none
module post_param_ram #(
    parameter ADDR_W = 9
) (
    input  wire              clk,
    input  wire              wr_en_i,
    input  wire [ADDR_W-1:0] wr_addr_i,
    input  wire [101:0]      wr_data_i,
    input  wire [ADDR_W-1:0] rd_addr_i,
    output wire [101:0]      rd_data_o
);
    (* ram_style = "block" *) reg [101:0] mem [0:(1<<ADDR_W)-1];
    reg [101:0] ram_q, data_q;
    always @(posedge clk) begin
        if (wr_en_i) mem[wr_addr_i] <= wr_data_i;
        ram_q <= mem[rd_addr_i];
    end
    always @(posedge clk) data_q <= ram_q;
    assign rd_data_o = data_q;
endmodule
`default_nettype wire
