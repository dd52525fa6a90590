// SPDX-License-Identifier: Apache-2.0 OR MIT
// The write master keeps the rules of AXI4 against any memory: addresses and data stay until taken, as many beats as announced
// and the last one marked, no burst beyond 4 KiB, idle only when everything is answered.
module post_store_formal (
    input wire        clk,
    input wire        rst,
    input wire        flush,
    input wire        set,
    input wire [31:0] offset,
    input wire [23:0] words,
    input wire [23:0] pitch,
    input wire        push,
    input wire        last,
    input wire        awready,
    input wire        wready,
    input wire [1:0]  bresp,
    input wire        bvalid
);
    wire        stall, done, err, idle, awvalid, wlast, wvalid, bready;
    wire [31:0] awaddr;
    wire [7:0]  awlen, wstrb;
    wire [63:0] wdata;
    post_store dut (
        .clk(clk), .rst(rst), .flush_i(flush), .set_i(set), .offset_i(offset), .region_i(2'd0), .words_i(words), .pitch_i(pitch),
        .base0_i(32'd0), .base1_i(32'd0), .base2_i(32'd0), .base3_i(32'd0), .push_i(push), .data_i(64'd0), .end_i(last),
        .stall_o(stall), .done_o(done), .err_o(err), .idle_o(idle), .m_axi_st_awaddr(awaddr), .m_axi_st_awlen(awlen),
        .m_axi_st_awvalid(awvalid), .m_axi_st_awready(awready), .m_axi_st_wdata(wdata), .m_axi_st_wstrb(wstrb),
        .m_axi_st_wlast(wlast), .m_axi_st_wvalid(wvalid), .m_axi_st_wready(wready), .m_axi_st_bresp(bresp),
        .m_axi_st_bvalid(bvalid), .m_axi_st_bready(bready)
    );

    reg        begun = 0;
    reg        aw_waits = 0, w_waits = 0;
    reg [31:0] old_addr;
    reg [7:0]  old_len, old_strb;
    reg        old_last;
    reg [8:0]  beats = 0, after = 0;           // still to come of the burst in progress, and of the one announced behind it
    reg [5:0]  pushed = 0, announced = 0;      // words
    reg [3:0]  open = 0, whole = 0;            // bursts announced, bursts written whole; both not answered
    reg        ended = 0, was_set = 0, flushed = 0;
    wire       fresh = awvalid && !aw_waits;
    wire       w_fresh = wvalid && !w_waits;
    wire [8:0] burst = {1'b0, awlen} + 9'd1;
    always @(posedge clk) begin
        begun    <= 1'b1;
        aw_waits <= awvalid && !awready;
        w_waits  <= wvalid && !wready;
        old_addr <= awaddr;
        old_len  <= awlen;
        old_strb <= wstrb;
        old_last <= wlast;
        flushed  <= flush;
        if (beats == {8'd0, w_fresh}) begin
            beats <= after != 0 ? after : fresh ? burst : 9'd0;
            after <= after != 0 && fresh ? burst : 9'd0;
        end else begin
            beats <= beats - {8'd0, w_fresh};
            if (fresh) after <= burst;
        end
        pushed   <= pushed + {5'd0, push};
        if (fresh) announced <= announced + burst[5:0];
        open     <= open + {3'd0, fresh} - {3'd0, bvalid};
        whole    <= whole + {3'd0, wvalid && wready && wlast} - {3'd0, bvalid};
        ended    <= ended || last;
        was_set  <= was_set || set;
        if (rst) begin
            {aw_waits, w_waits, ended, was_set} <= 0;
            {pushed, announced, beats, after, open, whole} <= 0;
        end
    end
    always @* begin
        if (!begun) assume (rst);
        else begin
            if (rst) assume (open == 0);
            if (flushed && !flush) assume (rst);
            assume (offset[2:0] == 3'd0 && words < 24'd8 && pushed < 6'd40);
            // post.dram comes before the words, the last push ends the store.
            if (push) assume (was_set && !ended);
            if (last) assume (push);
            if (set) assume (!was_set);
            // A burst is answered after it was taken and its last beat was.
            if (bvalid) assume (whole != 0);

            assert (bready);
            if (aw_waits && !rst) assert (awvalid && awaddr == old_addr && awlen == old_len);
            if (w_waits && !rst) assert (wvalid && wlast == old_last && wstrb == old_strb);
            if (awvalid) begin
                assert (awaddr[2:0] == 3'd0);
                assert ({1'b0, awaddr[11:0]} + {2'b00, awlen, 3'b000} < 13'h1000);
            end
            // Addresses are at most one burst ahead of the data.
            if (fresh && !rst) assert (after == 0 && announced + burst[5:0] <= pushed);
            if (w_fresh && !rst) assert (beats != 0 && wlast == (beats == 1));
            if (!rst) assert (idle == (open == 0 && !wvalid && beats == 0 && !awvalid));
        end
    end
endmodule
