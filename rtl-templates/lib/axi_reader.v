// SPDX-License-Identifier: Apache-2.0 OR MIT
// axi_reader : AXI4 read master that turns a job (rows of beats) into a stream of beats
//   A job is `rows` rows of `beats` consecutive 8-byte words; row r starts at addr + r * pitch (8-byte units).
//   Bursts are INCR, at most 2^BURST_LOG2 beats and end at multiples of their longest length, so that none crosses 4 KiB.
//   A burst is announced only when the FIFO has room for all of it: rready is constantly 1 and the FIFO cannot overflow.
//   flush_i: the job is dropped, nothing further is announced; what was announced still arrives. Wait for axi_idle_o, then reset.
// Formats  addresses are byte addresses / 8, of 29 bits, wrapping; beat_err_o marks a beat answered SLVERR or DECERR
// Latency  job accepted in t: first address valid in t+3 (then one burst per two cycles); beat received in t: offered in t+2
// Reset    control and arvalid; data has none
// Maps to  FIFO of 65 bits x 2^FIFO_LOG2 (distributed RAM or RAMB), about 150 LUTs beside it
`default_nettype none
module axi_reader #(
    parameter BURST_LOG2 = 4,                  // 1..=8
    parameter FIFO_LOG2  = 6,                  // at least BURST_LOG2 + 1
    parameter BEATS_W    = 18,                 // more than BURST_LOG2
    parameter TWO_D      = 1,                  // 0: every job has one row
    parameter BLOCK      = 0                   // 1: FIFO in block RAM
) (
    input  wire               clk,
    input  wire               rst,
    input  wire               flush_i,
    input  wire               job_valid_i,
    output wire               job_ready_o,
    input  wire [28:0]        job_addr_i,
    input  wire [BEATS_W-1:0] job_beats_i,     // per row, at least 1
    input  wire [11:0]        job_rows_i,      // at least 1
    input  wire [23:0]        job_pitch_i,
    output wire               beat_valid_o,
    input  wire               beat_ready_i,
    output wire [63:0]        beat_data_o,
    output wire               beat_err_o,
    output wire               axi_idle_o,      // nothing announced that has not arrived
    output wire [31:0]        m_axi_araddr,
    output wire [7:0]         m_axi_arlen,
    output wire               m_axi_arvalid,
    input  wire               m_axi_arready,
    input  wire [63:0]        m_axi_rdata,
    input  wire [1:0]         m_axi_rresp,
    input  wire               m_axi_rvalid,
    output wire               m_axi_rready
);
    localparam [BURST_LOG2:0] BURST     = 1 << BURST_LOG2;
    localparam [FIFO_LOG2:0]  FIFO_ROOM = 1 << FIFO_LOG2;
    localparam [FIFO_LOG2:0]  ROOM_ONE  = 1;

    // Job: the rest of it, seen from the next burst.
    reg                active_q;
    reg [28:0]         addr_q;
    reg [BEATS_W-1:0]  left_q;                 // beats of this row
    // Next burst.
    reg                len_valid_q;
    reg [BURST_LOG2:0] len_q;
    // Beats of FIFO room that no burst has taken; beats on their way.
    reg [FIFO_LOG2:0]  room_q;
    reg [FIFO_LOG2:0]  pending_q;
    reg                arvalid_q;
    reg [28:0]         araddr_q;
    reg [7:0]          arlen_q;

    wire [BURST_LOG2:0]   to_boundary = BURST - {1'b0, addr_q[BURST_LOG2-1:0]};
    wire                  fits        = left_q <= {{(BEATS_W-BURST_LOG2-1){1'b0}}, to_boundary};
    wire [FIFO_LOG2:0]    len_ext     = {{(FIFO_LOG2-BURST_LOG2){1'b0}}, len_q};
    wire                  issue       = len_valid_q && room_q >= len_ext && (!arvalid_q || m_axi_arready) && !flush_i;
    wire                  row_end     = left_q == {{(BEATS_W-BURST_LOG2-1){1'b0}}, len_q};
    wire                  last_row;
    wire [28:0]           next_row;
    wire [BEATS_W-1:0]    row_beats;
    wire [BURST_LOG2:0]   len_less    = len_q - 1'b1;
    wire [BURST_LOG2+8:0] len_wide    = {8'd0, len_less};
    wire                  receive     = m_axi_rvalid;
    wire                  pop         = beat_valid_o && beat_ready_i;
    // Whether a burst is issued is known late: it chooses between sums.
    wire [FIFO_LOG2:0]    room_less   = room_q - len_ext;
    wire [FIFO_LOG2:0]    room_left   = issue ? room_less : room_q;
    wire [FIFO_LOG2:0]    pending_new = pending_q + len_ext;
    wire                  unused      = &{1'b0, m_axi_rresp[0], job_rows_i, job_pitch_i};

    generate
        if (TWO_D != 0) begin : g_rows
            reg [28:0]        row_addr_q;
            reg [11:0]        rows_q;
            reg [23:0]        pitch_q;
            reg [BEATS_W-1:0] beats_q;
            assign last_row  = rows_q == 12'd1;
            assign next_row  = row_addr_q + {5'd0, pitch_q};
            assign row_beats = beats_q;
            always @(posedge clk)
                if (job_valid_i && job_ready_o) begin
                    row_addr_q <= job_addr_i;
                    rows_q     <= job_rows_i;
                    pitch_q    <= job_pitch_i;
                    beats_q    <= job_beats_i;
                end else if (issue && row_end) begin
                    row_addr_q <= next_row;
                    rows_q     <= rows_q - 12'd1;
                end
        end else begin : g_row
            assign last_row  = 1'b1;
            assign next_row  = addr_q;
            assign row_beats = left_q;
        end
    endgenerate

    assign job_ready_o = !active_q;
    assign axi_idle_o  = pending_q == 0 && !arvalid_q;

    always @(posedge clk)
        if (rst) begin
            active_q    <= 1'b0;
            len_valid_q <= 1'b0;
            arvalid_q   <= 1'b0;
            room_q      <= FIFO_ROOM;
            pending_q   <= 0;
        end else begin
            if (job_valid_i && job_ready_o)      active_q <= 1'b1;
            else if (issue && row_end && last_row) active_q <= 1'b0;
            if (issue)         len_valid_q <= 1'b0;
            else if (active_q) len_valid_q <= 1'b1;
            if (flush_i) begin
                active_q    <= 1'b0;
                len_valid_q <= 1'b0;
            end
            if (issue)              arvalid_q <= 1'b1;
            else if (m_axi_arready) arvalid_q <= 1'b0;
            room_q    <= pop ? room_left + ROOM_ONE : room_left;   // pop comes late
            pending_q <= (issue ? pending_new : pending_q) - {{FIFO_LOG2{1'b0}}, receive};
        end

    always @(posedge clk) begin
        if (!len_valid_q) len_q <= fits ? left_q[BURST_LOG2:0] : to_boundary;
        if (issue) begin
            araddr_q <= addr_q;
            arlen_q  <= len_wide[7:0];
        end
        if (job_valid_i && job_ready_o) begin
            addr_q <= job_addr_i;
            left_q <= job_beats_i;
        end else if (issue) begin
            addr_q <= row_end ? next_row : addr_q + {{(28-BURST_LOG2){1'b0}}, len_q};
            left_q <= row_end ? row_beats : left_q - {{(BEATS_W-BURST_LOG2-1){1'b0}}, len_q};
        end
    end

    assign m_axi_araddr  = {araddr_q, 3'b000};
    assign m_axi_arlen   = arlen_q;
    assign m_axi_arvalid = arvalid_q;
    assign m_axi_rready  = 1'b1;

    wire fifo_ready;                           // always 1: room was reserved
    wire fifo_empty;
    wire unused_fifo = &{1'b0, fifo_ready, fifo_empty, len_wide[BURST_LOG2+8:8]};
    sync_fifo #(.WIDTH(65), .ADDR_W(FIFO_LOG2), .BLOCK(BLOCK)) u_fifo (
        .clk(clk), .rst(rst),
        .wr_valid_i(receive), .wr_ready_o(fifo_ready), .wr_data_i({m_axi_rresp[1], m_axi_rdata}),
        .rd_valid_o(beat_valid_o), .rd_ready_i(beat_ready_i), .rd_data_o({beat_err_o, beat_data_o}),
        .empty_o(fifo_empty)
    );
endmodule
`default_nettype wire
