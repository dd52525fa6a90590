// SPDX-License-Identifier: Apache-2.0 OR MIT
// activation_row : one row's copy of the activation memory with its address generation
//   word = memory[addr + tap.addr] where 0 <= y + tap.dy < h and 0 <= x + tap.dx < w, else the pad planes;
//   0 when no step arrives or the row is switched off (no tap loaded).
// Formats  addr   plane-word address; bits 1:0 = sub-bank, the rest = bank word; the sum wraps at the memory size
//          y, x   12-bit two's complement; tap {dx[9:0], dy[9:0], addr[15:0]}, all signed; sums exact in 13 bits
//          hw     {w[11:0], h[11:0]} unsigned, taken with start_i
//          act    lane l at bits l*BRICK_BITS..; BRICK_BITS = 2: {plane 2s, plane 2s+1}, address bit 0 is ignored
// Latency  v_i -> act_o 4 cycles, v_i -> v_o (next row) 1; swap_i one cycle before v_i, swap_act_o 5 after swap_i; II 1
// Order    a tap written by tap_wr_i becomes active with swap_i; the steps from the next cycle on use it
// Reset    swap chain, tap enables; nothing else
// Maps to  4 block RAMs of LANES bits, written together, read one (BRICK_BITS) at a time
`default_nettype none
module activation_row #(
    parameter LANES = 16,
    parameter BRICK_BITS = 1,
    parameter BANK_AW = 12
) (
    input  wire                        clk,
    input  wire                        rst,
    // write port, common to all rows
    input  wire [3:0]                  wr_en_i,
    input  wire [BANK_AW-1:0]          wr_addr_i,
    input  wire [4*LANES-1:0]          wr_data_i,
    // shadow tap
    input  wire                        tap_wr_i,
    input  wire [35:0]                 tap_i,
    // step stream
    input  wire                        swap_i,
    input  wire                        start_i,
    input  wire [23:0]                 hw_i,
    input  wire                        v_i,
    input  wire [BANK_AW+1:0]          addr_i,
    input  wire [11:0]                 y_i,
    input  wire [11:0]                 x_i,
    input  wire [BRICK_BITS-1:0]       pad_i,
    // the same, one cycle later, for the next row
    output wire                        swap_o,
    output wire                        start_o,
    output wire [23:0]                 hw_o,
    output wire                        v_o,
    output wire [BANK_AW+1:0]          addr_o,
    output wire [11:0]                 y_o,
    output wire [11:0]                 x_o,
    output wire [BRICK_BITS-1:0]       pad_o,
    // to the array
    output wire                        swap_act_o,
    output wire [LANES*BRICK_BITS-1:0] act_o
);
    localparam PLANE_AW = BANK_AW + 2;

    // ---- chain to the next row -------------------------------------------------------------------------------
    reg                  start_q, v_q;
    reg [23:0]           hw_q;
    reg [PLANE_AW-1:0]   addr_q;
    reg [11:0]           y_q, x_q;
    reg [BRICK_BITS-1:0] pad_q;
    reg [4:0]            swap_q;
    always @(posedge clk) begin
        start_q <= start_i;
        v_q     <= v_i;
        addr_q  <= addr_i;
        y_q     <= y_i;
        x_q     <= x_i;
        pad_q   <= pad_i;
        if (start_i) hw_q <= hw_i;
    end
    always @(posedge clk)
        if (rst) swap_q <= 5'd0;
        else     swap_q <= {swap_q[3:0], swap_i};
    assign swap_o     = swap_q[0];
    assign swap_act_o = swap_q[4];
    assign start_o    = start_q;
    assign hw_o       = hw_q;
    assign v_o        = v_q;
    assign addr_o     = addr_q;
    assign y_o        = y_q;
    assign x_o        = x_q;
    assign pad_o      = pad_q;

    // ---- taps ------------------------------------------------------------------------------------------------
    reg [35:0] shadow_q, tap_q;
    reg        shadow_on_q, tap_on_q;
    always @(posedge clk) begin
        if (tap_wr_i) shadow_q <= tap_i;
        if (swap_i)   tap_q    <= shadow_q;
    end
    always @(posedge clk)
        if (rst) begin
            shadow_on_q <= 1'b0;
            tap_on_q    <= 1'b0;
        end else begin
            if (swap_i)        tap_on_q    <= shadow_on_q;
            if (tap_wr_i)      shadow_on_q <= 1'b1;
            else if (swap_i)   shadow_on_q <= 1'b0;
        end
    wire [15:0] tap_addr = tap_q[15:0];
    wire [9:0]  tap_dy   = tap_q[25:16];
    wire [9:0]  tap_dx   = tap_q[35:26];
    wire        unused_tap = &{1'b0, tap_addr};    // an address has at most 16 bits

    // ---- 1: sums ---------------------------------------------------------------------------------------------
    reg [PLANE_AW-1:0]   sum_q;
    reg [12:0]           ty_q, tx_q;
    reg                  on_q;
    reg [BRICK_BITS-1:0] pad_q2;
    always @(posedge clk) begin
        sum_q  <= addr_i + tap_addr[PLANE_AW-1:0];
        ty_q   <= {y_i[11], y_i} + {{3{tap_dy[9]}}, tap_dy};
        tx_q   <= {x_i[11], x_i} + {{3{tap_dx[9]}}, tap_dx};
        on_q   <= v_i && tap_on_q;
        pad_q2 <= pad_i;
    end

    // ---- 2: memory and bounds (a negative coordinate is a large unsigned one) ---------------------------------
    wire [LANES-1:0]     word [0:3];
    reg                  in_y_q, in_x_q, on_q2;
    reg [BRICK_BITS-1:0] pad_q3;
    reg [1:0]            sel_q;
    always @(posedge clk) begin
        in_y_q <= ty_q < {1'b0, hw_q[11:0]};
        in_x_q <= tx_q < {1'b0, hw_q[23:12]};
        on_q2  <= on_q;
        pad_q3 <= pad_q2;
        sel_q  <= sum_q[1:0];
    end
    genvar k;
    generate
        for (k = 0; k < 4; k = k + 1) begin : g_bank
            (* ram_style = "block" *) reg [LANES-1:0] mem [0:(1<<BANK_AW)-1];
            reg [LANES-1:0] rd_q, out_q;
            wire            rd_en;
            if (BRICK_BITS == 1) assign rd_en = on_q && sum_q[1:0] == k[1:0];
            else                 assign rd_en = on_q && sum_q[1] == (k >= 2);
            always @(posedge clk) begin
                if (wr_en_i[k]) mem[wr_addr_i] <= wr_data_i[k*LANES +: LANES];
                if (rd_en)      rd_q <= mem[sum_q[PLANE_AW-1:2]];
            end
            always @(posedge clk) out_q <= rd_q;     // the block RAM's own output register
            assign word[k] = out_q;
        end
    endgenerate

    // ---- 3: beside the RAM output register -------------------------------------------------------------------
    reg                  in_q, on_q3;
    reg [1:0]            sel_q2;
    reg [BRICK_BITS-1:0] pad_q4;
    always @(posedge clk) begin
        in_q   <= in_y_q && in_x_q;
        on_q3  <= on_q2;
        sel_q2 <= sel_q;
        pad_q4 <= pad_q3;
    end

    // ---- 4: select -------------------------------------------------------------------------------------------
    reg  [LANES*BRICK_BITS-1:0] act_q;
    wire [LANES*BRICK_BITS-1:0] data, pad;
    genvar l;
    generate
        if (BRICK_BITS == 1) begin : g_one
            assign data = sel_q2[1] ? (sel_q2[0] ? word[3] : word[2]) : (sel_q2[0] ? word[1] : word[0]);
            assign pad  = {LANES{pad_q4}};
        end else begin : g_two
            wire [LANES-1:0] high = sel_q2[1] ? word[2] : word[0];
            wire [LANES-1:0] low  = sel_q2[1] ? word[3] : word[1];
            wire             unused_sel = sel_q2[0];
            for (l = 0; l < LANES; l = l + 1) begin : g_lane
                assign data[2*l +: 2] = {high[l], low[l]};
            end
            assign pad = {LANES{pad_q4}};
        end
    endgenerate
    always @(posedge clk)
        if (!on_q3) act_q <= {LANES*BRICK_BITS{1'b0}};
        else        act_q <= in_q ? data : pad;
    assign act_o = act_q;
endmodule
`default_nettype wire
