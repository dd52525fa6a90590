// SPDX-License-Identifier: Apache-2.0 OR MIT
// A read master keeps the rules of AXI4 against any memory, announces exactly the words of its job and gives them in order.
// Parameters are small so that the bounded proof sees several bursts, rows and full FIFOs.
module axi_reader_formal (
    input wire        clk,
    input wire        rst,
    input wire        flush,
    input wire        job_valid,
    input wire [28:0] job_addr,
    input wire [2:0]  job_beats,
    input wire [11:0] job_rows,
    input wire [23:0] job_pitch,
    input wire        beat_ready,
    input wire        arready,
    input wire [63:0] rdata,
    input wire [1:0]  rresp,
    input wire        rvalid
);
    localparam BURST_LOG2 = 1;
    wire        job_ready, beat_valid, beat_err, idle, arvalid, rready;
    wire [63:0] beat_data;
    wire [31:0] araddr;
    wire [7:0]  arlen;
    axi_reader #(.BURST_LOG2(BURST_LOG2), .FIFO_LOG2(2), .BEATS_W(3)) dut (
        .clk(clk), .rst(rst), .flush_i(flush), .job_valid_i(job_valid), .job_ready_o(job_ready), .job_addr_i(job_addr),
        .job_beats_i(job_beats), .job_rows_i(job_rows), .job_pitch_i(job_pitch), .beat_valid_o(beat_valid),
        .beat_ready_i(beat_ready), .beat_data_o(beat_data), .beat_err_o(beat_err), .axi_idle_o(idle),
        .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
        .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rvalid(rvalid), .m_axi_rready(rready)
    );

    reg        begun   = 0;
    reg        waiting = 0;                    // an address was offered and not taken
    reg [31:0] old_addr;
    reg [7:0]  old_len;
    reg        flushed = 0;
    reg [4:0]  owed    = 0;                    // beats announced and not delivered
    reg [4:0]  inside  = 0;                    // beats delivered and not handed on
    // The job, word by word: the next address to be announced.
    reg        active  = 0;
    reg [28:0] row, at, pitch;
    reg [2:0]  left, beats;
    reg [11:0] rows;
    wire       take = arvalid && arready;
    wire [2:0] len  = {1'b0, arlen[1:0]} + 3'd1;
    // Checked where the address appears, so that nothing that is taken later escapes.
    wire       fresh = arvalid && !waiting;

    always @(posedge clk) begin
        begun    <= 1'b1;
        waiting  <= arvalid && !arready;
        old_addr <= araddr;
        old_len  <= arlen;
        flushed  <= flush;
        owed     <= owed + (take ? {2'b00, len} : 5'd0) - {4'd0, rvalid};
        inside   <= inside + {4'd0, rvalid} - {4'd0, beat_valid && beat_ready};
        if (job_valid && job_ready && !flush) begin
            active <= 1'b1;
            row    <= job_addr;
            at     <= job_addr;
            pitch  <= {5'd0, job_pitch};
            beats  <= job_beats;
            left   <= job_beats;
            rows   <= job_rows;
        end else if (fresh) begin
            if (left == len) begin
                active <= rows != 12'd1;
                rows   <= rows - 12'd1;
                row    <= row + pitch;
                at     <= row + pitch;
                left   <= beats;
            end else begin
                at     <= at + {26'd0, len};
                left   <= left - len;
            end
        end
        if (flush) active <= 1'b0;
        if (rst) begin
            waiting <= 1'b0;
            owed    <= 0;
            inside  <= 0;
            active  <= 1'b0;
        end
    end

    always @* begin
        if (!begun) assume (rst);
        else begin
            // The surroundings: a reset or a new job after a flush only when nothing is under way; a memory that answers what was asked.
            if (rst) assume (idle && owed == 0);
            if (flushed && !flush) assume (rst);
            if (flush) assume (!job_valid);
            assume (job_beats != 0 && job_rows != 0);
            if (rvalid) assume (owed != 0);

            assert (rready);
            if (waiting && !rst) assert (arvalid && araddr == old_addr && arlen == old_len);
            if (arvalid) begin
                assert (arlen < (1 << BURST_LOG2));
                // 4 KiB and the boundary of the longest burst
                assert ({1'b0, araddr[11:0]} + {2'b00, arlen, 3'b000} < 13'h1000);
                assert (araddr[2:0] == 3'd0);
            end
            if (fresh && !rst) assert (active && araddr == {at, 3'b000} && len <= left);
            assert (idle == (owed == 0 && !arvalid));
            // Every announced beat has its place.
            assert (inside + owed <= 5'd5);
            if (beat_valid) assert (inside != 0);
        end
    end
endmodule
