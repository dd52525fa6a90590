// SPDX-License-Identifier: Apache-2.0 OR MIT
// sync_fifo : first-in first-out memory with a registered output word
//   Streams  wr_valid_i/wr_ready_o/wr_data_i in, rd_valid_o/rd_ready_i/rd_data_o out; both at one word per cycle
// Formats  WIDTH bits, uninterpreted; holds 2^ADDR_W words in the memory and one in the output register
// Latency  a word written in cycle t is offered in cycle t+2 when the FIFO was empty
// Reset    pointers, count and output valid; the memory and the output word have none
// Maps to  BLOCK = 0: RAM32M/RAM64M (distributed RAM); BLOCK = 1: RAMB (up to 72 bits x 512 words in a RAMB36)
`default_nettype none
module sync_fifo #(
    parameter WIDTH  = 8,
    parameter ADDR_W = 4,                      // at least 1
    parameter BLOCK  = 0
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             wr_valid_i,
    output wire             wr_ready_o,
    input  wire [WIDTH-1:0] wr_data_i,
    output wire             rd_valid_o,
    input  wire             rd_ready_i,
    output wire [WIDTH-1:0] rd_data_o,
    output wire             empty_o            // nothing in the memory nor in the output register
);
    localparam [ADDR_W:0]   COUNT_ONE  = 1;
    localparam [ADDR_W:0]   COUNT_ZERO = 0;
    localparam [ADDR_W-1:0] PTR_ONE    = 1;

    reg [ADDR_W-1:0] wr_ptr_q;
    reg [ADDR_W-1:0] rd_ptr_q;
    reg [ADDR_W:0]   count_q;                  // words in the memory
    reg              rd_valid_q;

    wire push = wr_valid_i && wr_ready_o;
    wire load = count_q != 0 && (!rd_valid_q || rd_ready_i);

    assign wr_ready_o = !count_q[ADDR_W];
    assign rd_valid_o = rd_valid_q;
    assign empty_o    = count_q == 0 && !rd_valid_q;

    always @(posedge clk)
        if (rst) begin
            wr_ptr_q   <= 0;
            rd_ptr_q   <= 0;
            count_q    <= 0;
            rd_valid_q <= 1'b0;
        end else begin
            if (push) wr_ptr_q <= wr_ptr_q + PTR_ONE;
            if (load) rd_ptr_q <= rd_ptr_q + PTR_ONE;
            if (push != load) count_q <= count_q + (push ? COUNT_ONE : ~COUNT_ZERO);
            rd_valid_q <= load || (rd_valid_q && !rd_ready_i);
        end

    generate
        if (BLOCK != 0) begin : g_block
            (* ram_style = "block" *) reg [WIDTH-1:0] mem [0:(1<<ADDR_W)-1];
            reg [WIDTH-1:0] rd_data_q;
            always @(posedge clk) begin
                if (push) mem[wr_ptr_q] <= wr_data_i;
                if (load) rd_data_q <= mem[rd_ptr_q];
            end
            assign rd_data_o = rd_data_q;
        end else begin : g_distributed
            (* ram_style = "distributed" *) reg [WIDTH-1:0] mem [0:(1<<ADDR_W)-1];
            reg [WIDTH-1:0] rd_data_q;
            always @(posedge clk) begin
                if (push) mem[wr_ptr_q] <= wr_data_i;
                if (load) rd_data_q <= mem[rd_ptr_q];
            end
            assign rd_data_o = rd_data_q;
        end
    endgenerate
endmodule
`default_nettype wire
