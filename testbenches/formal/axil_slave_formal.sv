// SPDX-License-Identifier: Apache-2.0 OR MIT
// The AXI4-Lite subordinate answers every access once, holds its answers until they are taken, writes what was written.
module axil_slave_formal (
    input wire        clk,
    input wire        rst,
    input wire [11:0] awaddr, araddr,
    input wire [31:0] wdata,
    input wire [3:0]  wstrb,
    input wire        awvalid, wvalid, bready, arvalid, rready,
    input wire [31:0] rd_data
);
    wire        awready, wready, bvalid, arready, rvalid, wr_en;
    wire [1:0]  bresp, rresp;
    wire [31:0] rdata, wr_data;
    wire [9:0]  wr_addr, rd_addr;
    wire [3:0]  wr_strb;
    axil_slave dut (
        .clk(clk), .rst(rst), .s_axil_awaddr(awaddr), .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_wdata(wdata),
        .s_axil_wstrb(wstrb), .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_bresp(bresp), .s_axil_bvalid(bvalid),
        .s_axil_bready(bready), .s_axil_araddr(araddr), .s_axil_arvalid(arvalid), .s_axil_arready(arready), .s_axil_rdata(rdata),
        .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(rready), .wr_en_o(wr_en), .wr_addr_o(wr_addr),
        .wr_data_o(wr_data), .wr_strb_o(wr_strb), .rd_addr_o(rd_addr), .rd_data_i(rd_data)
    );

    reg        begun = 0;
    reg [1:0]  addresses = 0, datas = 0, reads = 0;      // accepted and not yet acted upon
    reg        b_waits = 0, r_waits = 0;
    reg [31:0] r_old;
    reg [1:0]  answers = 0;                              // acted upon and not yet answered
    reg [9:0]  addr, raddr;
    reg [31:0] data;
    reg [3:0]  strb;
    wire       read = reads != 0 && !rvalid;
    reg [31:0] read_was;
    always @(posedge clk) begin
        begun     <= 1'b1;
        addresses <= addresses + {1'b0, awvalid && awready} - {1'b0, wr_en};
        datas     <= datas + {1'b0, wvalid && wready} - {1'b0, wr_en};
        answers   <= answers + {1'b0, wr_en} - {1'b0, bvalid && bready};
        reads     <= reads + {1'b0, arvalid && arready} - {1'b0, read};
        b_waits   <= bvalid && !bready;
        r_waits   <= rvalid && !rready;
        r_old     <= rdata;
        if (read) read_was <= rd_data;
        if (awvalid && awready) addr <= awaddr[11:2];
        if (arvalid && arready) raddr <= araddr[11:2];
        if (wvalid && wready) begin
            data <= wdata;
            strb <= wstrb;
        end
        if (rst) begin
            {addresses, datas, answers, reads} <= 0;
            {b_waits, r_waits} <= 0;
        end
    end
    always @* begin
        if (!begun) assume (rst);
        else if (!rst) begin
            assert (bvalid == (answers != 0));
            assert (bresp == 2'b00 && rresp == 2'b00);
            if (wr_en) assert (addresses == 1 && datas == 1 && wr_addr == addr && wr_data == data && wr_strb == strb);
            // No write waits when its answer has a place.
            if (addresses != 0 && datas != 0 && !bvalid) assert (wr_en);
            if (b_waits) assert (bvalid);
            if (r_waits) assert (rvalid && rdata == r_old);
            if (rvalid) assert (rdata == read_was);
            if (reads != 0) assert (rd_addr == raddr);
            assert (addresses <= 1 && datas <= 1 && reads <= 1 && answers <= 1);
        end
        if (rst) assert (!awready && !wready && !arready);
    end
endmodule
