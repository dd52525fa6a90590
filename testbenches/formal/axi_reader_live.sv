// SPDX-License-Identifier: Apache-2.0 OR MIT
// A job of the read master ends: against a memory and a reader that never wait, every beat has come after 40 cycles.
module axi_reader_live (
    input wire        clk,
    input wire [28:0] job_addr,
    input wire [2:0]  job_beats,
    input wire [1:0]  job_rows,
    input wire [23:0] job_pitch
);
    reg [5:0] t = 0;
    reg [4:0] owed = 0, got = 0;
    wire      arvalid, beat_valid, job_ready;
    wire [7:0] arlen;
    wire [2:0] len = {1'b0, arlen[1:0]} + 3'd1;
    reg [2:0] beats = 0;
    reg [1:0] rows = 0;
    axi_reader #(.BURST_LOG2(1), .FIFO_LOG2(2), .BEATS_W(3)) dut (
        .clk(clk), .rst(t == 0), .flush_i(1'b0), .job_valid_i(t == 1), .job_ready_o(job_ready), .job_addr_i(job_addr),
        .job_beats_i(job_beats), .job_rows_i({10'd0, job_rows}), .job_pitch_i(job_pitch), .beat_valid_o(beat_valid),
        .beat_ready_i(1'b1), .beat_data_o(), .beat_err_o(), .axi_idle_o(), .m_axi_araddr(), .m_axi_arlen(arlen),
        .m_axi_arvalid(arvalid), .m_axi_arready(1'b1), .m_axi_rdata(64'd0), .m_axi_rresp(2'b00), .m_axi_rvalid(owed != 0), .m_axi_rready()
    );
    always @(posedge clk) begin
        if (t != 6'd63) t <= t + 1'b1;
        owed <= t == 0 ? 5'd0 : owed + (arvalid ? {2'b00, len} : 5'd0) - {4'd0, owed != 0};
        got  <= t == 0 ? 5'd0 : got + {4'd0, beat_valid};
        if (t == 1) begin
            beats <= job_beats;
            rows  <= job_rows;
        end
    end
    always @* begin
        assume (job_beats != 0 && job_beats < 5 && job_rows != 0);
        if (t == 40) assert (got == beats * rows);
    end
endmodule
