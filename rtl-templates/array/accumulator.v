// accumulator : Horner's scheme over the steps of a pixel, then read-add-write of one 144-bit word in block RAM
//   h = (h << STEP) + (negate ? -f : f) at each step;   acc[m] = (overwrite ? 0 : shift8 ? acc[m] << 8 : acc[m]) + h at the last one
// Formats  eight segments of 18 bits; a value takes 1, 2, 4 or 8 of them (wgt_log2 0..3) and wraps in them
// Latency  t1..t4 = control 1..4 cycles after the sums stood at the foot of the columns; readable at t5
// Reset    the running sum only
// Maps to  two carry chains of 152 bits (guard bits cut the carry between values), 2 block RAMs of 72 bits
`default_nettype none
module accumulator #(
    parameter STEP   = 1,                      // bits per step: width of a brick
    parameter ADDR_W = 9
) (
    input  wire              clk,
    input  wire              rst,
    input  wire              t1_read_i,
    input  wire [ADDR_W-1:0] t1_acc_i,
    input  wire              t2_step_i,
    input  wire              t2_last_i,
    input  wire              t2_negate_i,
    input  wire [1:0]        t2_wgt_log2_i,
    input  wire [143:0]      t2_fused_i,       // segments, sign-extended over the value
    input  wire [1:0]        t3_wgt_log2_i,
    input  wire              t3_overwrite_i,
    input  wire              t3_shift8_i,
    input  wire              t4_write_i,
    input  wire [ADDR_W-1:0] t4_acc_i,
    input  wire              rd_en_i,
    input  wire [ADDR_W-1:0] rd_addr_i,
    output wire [143:0]      rd_data_o         // 2 cycles after rd_en_i
);
    // join[s]: segment s+1 continues the value of segment s.
    function [6:0] join_of(input [1:0] wgt_log2);
        join_of = {wgt_log2 >= 2'd1, wgt_log2 >= 2'd2, wgt_log2 >= 2'd1, wgt_log2 == 2'd3,
                   wgt_log2 >= 2'd1, wgt_log2 >= 2'd2, wgt_log2 >= 2'd1};
    endfunction

    // Eight segments with a guard bit below each: operands (1, 0) pass the carry on, (0, 0) stop it, (1, 1) start one.
    function [151:0] guarded(input [143:0] word, input [7:0] guard);
        guarded = {word[143:126], guard[7], word[125:108], guard[6], word[107:90], guard[5], word[89:72], guard[4],
                   word[71:54], guard[3], word[53:36], guard[2], word[35:18], guard[1], word[17:0], guard[0]};
    endfunction

    reg  [143-STEP:0] run_q;
    reg  [143:0] result_q;
    wire [6:0]   t2_join = join_of(t2_wgt_log2_i);
    wire [7:0]   t2_neg_guard = {8{t2_negate_i}};
    wire [143:0] doubled;
    genvar s;
    generate
        for (s = 0; s < 8; s = s + 1) begin : g_shift
            if (s == 0) begin : g_first
                assign doubled[17:0] = {run_q[17-STEP:0], {STEP{1'b0}}};
            end else begin : g_other
                assign doubled[18*s +: 18] = {run_q[18*s +: 18-STEP], run_q[18*s-STEP +: STEP] & {STEP{t2_join[s-1]}}};
            end
        end
    endgenerate
    wire [151:0] horner = guarded(doubled, t2_neg_guard | {t2_join, 1'b0})
                        + guarded(t2_fused_i ^ {144{t2_negate_i}}, t2_neg_guard & ~{t2_join, 1'b0});
    wire [143:0] horner_word = {horner[151:134], horner[132:115], horner[113:96], horner[94:77],
                                horner[75:58], horner[56:39], horner[37:20], horner[18:1]};

    always @(posedge clk)
        if (rst || (t2_step_i && t2_last_i)) run_q <= {(144-STEP){1'b0}};
        else if (t2_step_i)                  run_q <= horner_word[143-STEP:0];
    always @(posedge clk) result_q <= horner_word;

    // Read-add-write.
    (* ram_style = "block" *) reg [143:0] mem [0:(1<<ADDR_W)-1];
    reg  [143:0] ram_q;
    reg  [143:0] ram_q2;
    reg  [143:0] acc_q;
    wire              read_en   = rd_en_i || t1_read_i;
    wire [ADDR_W-1:0] read_addr = rd_en_i ? rd_addr_i : t1_acc_i;
    always @(posedge clk) begin
        if (t4_write_i) mem[t4_acc_i] <= acc_q;
        if (read_en) ram_q <= mem[read_addr];
    end
    always @(posedge clk) ram_q2 <= ram_q;
    assign rd_data_o = ram_q2;

    wire [143:0] old  = (t3_shift8_i ? {ram_q2[135:0], 8'd0} : ram_q2) & {144{!t3_overwrite_i}};
    wire [151:0] sum  = guarded(result_q, {join_of(t3_wgt_log2_i), 1'b0}) + guarded(old, 8'd0);
    always @(posedge clk)
        acc_q <= {sum[151:134], sum[132:115], sum[113:96], sum[94:77], sum[75:58], sum[56:39], sum[37:20], sum[18:1]};

    wire unused_guards = &{1'b0, horner[133], horner[114], horner[95], horner[76], horner[57], horner[38], horner[19], horner[0],
                           sum[133], sum[114], sum[95], sum[76], sum[57], sum[38], sum[19], sum[0]};
endmodule
`default_nettype wire
