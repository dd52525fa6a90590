// SPDX-License-Identifier: Apache-2.0 OR MIT
// A FIFO gives what it took, once and in order, and says truly whether it is empty or full. Any input in any cycle.
module sync_fifo_formal (
    input wire       clk,
    input wire       rst,
    input wire       wr_valid,
    input wire [1:0] wr_data,
    input wire       rd_ready
);
    localparam ADDR_W = 2;
    localparam HOLDS  = (1 << ADDR_W) + 1;
    wire       wr_ready, rd_valid, empty;
    wire [1:0] rd_data;
    sync_fifo #(.WIDTH(2), .ADDR_W(ADDR_W)) dut (
        .clk(clk), .rst(rst), .wr_valid_i(wr_valid), .wr_ready_o(wr_ready), .wr_data_i(wr_data),
        .rd_valid_o(rd_valid), .rd_ready_i(rd_ready), .rd_data_o(rd_data), .empty_o(empty)
    );

    // The specification: a queue whose oldest word is in the lowest place.
    reg [2*HOLDS-1:0] words = 0;
    reg [2:0]         held  = 0;
    reg               begun = 0;
    wire       push = wr_valid && wr_ready;
    wire       pop  = rd_valid && rd_ready;
    wire [2:0] left = held - {2'b00, pop};
    wire [2*HOLDS-1:0] rest = pop ? words >> 2 : words;
    always @(posedge clk) begin
        begun <= 1'b1;
        words <= rest | (push ? {{(2*HOLDS-2){1'b0}}, wr_data} << (2 * left) : {2*HOLDS{1'b0}});
        held  <= left + {2'b00, push};
        if (rst) begin
            words <= 0;
            held  <= 0;
        end
    end

    always @* begin
        if (!begun) assume (rst);
        else begin
            assert (empty == (held == 0));
            if (rd_valid) assert (held != 0 && rd_data == words[1:0]);
            // What is inside is offered in the next cycle at the latest, and there is room for at least a memory full.
            if (held > 1) assert (rd_valid);
            if (held < HOLDS - 1) assert (wr_ready);
            assert (held <= HOLDS);
        end
    end
endmodule
