// SPDX-License-Identifier: Apache-2.0 OR MIT
// axil_slave : AXI4-Lite subordinate in front of a register file
//   A write acts in the one cycle in which wr_en_o is 1. A read takes rd_data_i for rd_addr_o, which the register file
//   answers in the same cycle. Every access is answered OKAY; addresses without a register read as 0 and ignore writes.
// Formats  32-bit registers, 12 address bits (of which the lowest two do not matter)
// Latency  write: acts 1 cycle after the later of address and data, answered 1 later; read: 2 cycles. No combinational
//          path from an input to an output
// Reset    all valids; not ready while in reset, which may end later here than for the manager
// Maps to  about 100 flip-flops
`default_nettype none
module axil_slave (
    input  wire        clk,
    input  wire        rst,
    input  wire [11:0] s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [11:0] s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready,
    output wire        wr_en_o,
    output wire [9:0]  wr_addr_o,              // in words
    output wire [31:0] wr_data_o,
    output wire [3:0]  wr_strb_o,
    output wire [9:0]  rd_addr_o,              // in words
    input  wire [31:0] rd_data_i
);
    reg        aw_full_q;
    reg [9:0]  aw_addr_q;
    reg        w_full_q;
    reg [31:0] w_data_q;
    reg [3:0]  w_strb_q;
    reg        bvalid_q;
    reg        ar_full_q;
    reg [9:0]  ar_addr_q;
    reg        rvalid_q;
    reg [31:0] rdata_q;

    wire write  = aw_full_q && w_full_q && !bvalid_q;
    wire read   = ar_full_q && !rvalid_q;
    wire unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0]};

    always @(posedge clk)
        if (rst) begin
            aw_full_q <= 1'b0;
            w_full_q  <= 1'b0;
            bvalid_q  <= 1'b0;
            ar_full_q <= 1'b0;
            rvalid_q  <= 1'b0;
        end else begin
            aw_full_q <= aw_full_q ? !write : s_axil_awvalid;
            w_full_q  <= w_full_q ? !write : s_axil_wvalid;
            bvalid_q  <= bvalid_q ? !s_axil_bready : write;
            ar_full_q <= ar_full_q ? !read : s_axil_arvalid;
            rvalid_q  <= rvalid_q ? !s_axil_rready : read;
        end

    always @(posedge clk) begin
        if (!aw_full_q) aw_addr_q <= s_axil_awaddr[11:2];
        if (!w_full_q) begin
            w_data_q <= s_axil_wdata;
            w_strb_q <= s_axil_wstrb;
        end
        if (!ar_full_q) ar_addr_q <= s_axil_araddr[11:2];
        if (read) rdata_q <= rd_data_i;
    end

    assign s_axil_awready = !aw_full_q && !rst;
    assign s_axil_wready  = !w_full_q && !rst;
    assign s_axil_bresp   = 2'b00;
    assign s_axil_bvalid  = bvalid_q;
    assign s_axil_arready = !ar_full_q && !rst;
    assign s_axil_rdata   = rdata_q;
    assign s_axil_rresp   = 2'b00;
    assign s_axil_rvalid  = rvalid_q;
    assign wr_en_o        = write;
    assign wr_addr_o      = aw_addr_q;
    assign wr_data_o      = w_data_q;
    assign wr_strb_o      = w_strb_q;
    assign rd_addr_o      = ar_addr_q;
endmodule
`default_nettype wire
