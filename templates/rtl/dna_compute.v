// Compute engine: control, pixel lanes, weight and parameter buffers, MAC array, post lanes and output buffer.
//
// Jobs come in order (LAYER and TILE); operands come on two word streams, one for activations, one for weights. The
// write port reads finished tiles out of the output buffer, two cycles after its address.
//
// Timing: dna_compute_control says when a job is popped and how long it computes. With e the cycle of a tile's last MAC:
// its sums are captured in e + 6, drained in e + 7 .. e + 6 + D (D = lanes * slices_last for the last pixel), and
// `tile_ready` is high in e + 13 + D. A LAYER finds the engine `drained` from e + 6 on (tile without `last`) or
// e + 14 + D on. In a LOAD's cycle of word_last its data may be counted as loaded: counters change in the next cycle.
//
// Parameters: legal ranges as in dna_chunk.
`default_nettype none
`include "isa.vh"

module dna_compute #(
    parameter OC           = 16,
    parameter IC           = 4,
    parameter PX           = 4,
    parameter POST_LANES   = 4,
    parameter INPUT_WORDS  = 512,
    parameter WEIGHT_WORDS = 512,
    parameter PARAM_WORDS  = 256,
    parameter OUTPUT_WORDS = 512,
    parameter RESIDUAL     = 1,
    parameter PACKED       = 0,
    parameter MAC_LUT      = 0,
    parameter POST_LUT     = 0,
    parameter DATAFLOW     = 0,
    parameter SUM_WORDS    = 0
) (
    input  wire         clk,
    input  wire         rst_n,
    // job queue
    input  wire         job_valid,
    output wire         job_ready,
    input  wire [255:0] job,
    // geometry of the capture side: a LAYER in read port 0
    input  wire         layer_valid,
    input  wire [255:0] layer_job,
    output wire         layer_done,
    // activations: INPUT and RESIDUAL words
    input  wire         act_valid,
    input  wire [127:0] act_data,
    input  wire [2:0]   act_dest,
    input  wire         act_first,
    input  wire [13:0]  act_base,
    input  wire [9:0]   act_cols,
    input  wire [11:0]  act_groups,
    input  wire [9:0]   act_row0,
    input  wire [9:0]   act_col0,
    // weights: WEIGHT and PARAM words
    input  wire         wgt_valid,
    input  wire [127:0] wgt_data,
    input  wire [2:0]   wgt_dest,
    input  wire         wgt_first,
    input  wire [13:0]  wgt_base,
    // synchronisation
    input  wire [11:0]  loaded_input,
    input  wire [11:0]  loaded_weight,
    input  wire [11:0]  loaded_residual,
    input  wire [11:0]  stored,
    output wire         freed_input,
    output wire         freed_weight,
    output wire         freed_param,
    output wire         freed_residual,
    output wire         tile_ready,
    // output buffer
    input  wire         rd_en,
    input  wire [13:0]  rd_address,
    output reg  [127:0] rd_data,
    // observation
    output wire         busy,
    output wire         wait_job,
    output wire         wait_input,
    output wire         wait_weight,
    output wire         wait_residual,
    output wire         wait_output,
    output wire         layer_last,
    output wire         idle,
    input  wire         clear,
    output wire         overrun
);
  localparam CG = OC < 16 ? OC : 16;
  localparam WB = OC * IC / 16;
  localparam PB = POST_LANES / 2;
  localparam OW = $clog2(OUTPUT_WORDS);

  // ---- capture side ----
  wire        cap_set, cap_active;
  wire [6:0]  cap_index;
  wire [9:0]  cap_dy, cap_dx;
  wire [13:0] cap_offset;
  reg         cap_walking;
  wire        cap_start = layer_valid && !cap_walking;
  reg  [9:0]  cap_window_h, cap_window_w;
  reg  [13:0] cap_row_pitch;
  always @(posedge clk) begin
    cap_walking <= cap_start || (cap_walking && !layer_done);
    if (cap_start) begin
      cap_window_h  <= layer_job[`DNA_LAYER_WINDOW_H];
      cap_window_w  <= layer_job[`DNA_LAYER_WINDOW_W];
      cap_row_pitch <= layer_job[`DNA_LAYER_ROW_PITCH];
    end
    if (!rst_n) cap_walking <= 1'b0;
  end

  dna_lane_walk #(
      .PX(PX)
  ) capture_walk (
      .clk           (clk),
      .rst_n         (rst_n),
      .start         (cap_start),
      .lanes         (layer_job[`DNA_LAYER_LANES]),
      .lanes_x       (layer_job[`DNA_LAYER_LANES_X]),
      .step_y        (layer_job[`DNA_LAYER_STEP_Y]),
      .step_x        (layer_job[`DNA_LAYER_STEP_X]),
      .lane_row_pitch(layer_job[`DNA_LAYER_LANE_ROW_PITCH]),
      .set           (cap_set),
      .index         (cap_index),
      .active        (cap_active),
      .dy            (cap_dy),
      .dx            (cap_dx),
      .offset        (cap_offset),
      .done          (layer_done)
  );

  wire         cap_valid;
  wire [127:0] cap_data;
  wire [9:0]   cap_row, cap_col;
  wire [13:0]  cap_address;
  dna_capture capture (
      .clk        (clk),
      .rst_n      (rst_n),
      .window_w   (cap_window_w),
      .row_pitch  (cap_row_pitch),
      .word_valid (act_valid && act_dest == `DNA_DEST_INPUT),
      .word_data  (act_data),
      .word_first (act_first),
      .word_base  (act_base),
      .word_cols  (act_cols),
      .word_groups(act_groups),
      .word_row0  (act_row0),
      .word_col0  (act_col0),
      .cap_valid  (cap_valid),
      .cap_data   (cap_data),
      .cap_row    (cap_row),
      .cap_col    (cap_col),
      .cap_address(cap_address)
  );

  // ---- control ----
  wire [255:0] layer;
  wire         walk_start, walk_done, walk_set;
  wire [6:0]   walk_index;
  wire [9:0]   walk_dy, walk_dx;
  wire         context_valid, tile_end, drained, post_empty;
  wire         valid_s0, first_s0, last_s0;
  wire [13:0]  address_s0, weight_address_s0;
  wire [3:0]   part_s0, tap_s0;
  wire [9:0]   row_s0, col_s0, row_lo_s0, row_hi_s0, col_lo_s0, col_hi_s0;
  wire [12:0]  sum_address_s0;
  wire         read_input_s0, read_weight_s0;

  dna_compute_control #(
      .IC      (IC),
      .CG      (CG),
      .DATAFLOW(DATAFLOW)
  ) control (
      .clk              (clk),
      .rst_n            (rst_n),
      .job_valid        (job_valid),
      .job_ready        (job_ready),
      .job              (job),
      .loaded_input     (loaded_input),
      .loaded_weight    (loaded_weight),
      .loaded_residual  (loaded_residual),
      .stored           (stored),
      .drained          (drained),
      .freed_input      (freed_input),
      .freed_weight     (freed_weight),
      .tile_end         (tile_end),
      .busy             (busy),
      .wait_job         (wait_job),
      .wait_input       (wait_input),
      .wait_weight      (wait_weight),
      .wait_residual    (wait_residual),
      .wait_output      (wait_output),
      .layer_last       (layer_last),
      .layer            (layer),
      .walk_start       (walk_start),
      .walk_done        (walk_done),
      .context_valid    (context_valid),
      .valid_s0         (valid_s0),
      .first_s0         (first_s0),
      .last_s0          (last_s0),
      .address_s0       (address_s0),
      .part_s0          (part_s0),
      .weight_address_s0(weight_address_s0),
      .tap_s0           (tap_s0),
      .row_s0           (row_s0),
      .col_s0           (col_s0),
      .row_lo_s0        (row_lo_s0),
      .row_hi_s0        (row_hi_s0),
      .col_lo_s0        (col_lo_s0),
      .col_hi_s0        (col_hi_s0),
      .sum_address_s0   (sum_address_s0),
      .read_input_s0    (read_input_s0),
      .read_weight_s0   (read_weight_s0)
  );

  wire        walk_active;
  wire [13:0] walk_offset;
  dna_lane_walk #(
      .PX(PX)
  ) compute_walk (
      .clk           (clk),
      .rst_n         (rst_n),
      .start         (walk_start),
      .lanes         (layer[`DNA_LAYER_LANES]),
      .lanes_x       (layer[`DNA_LAYER_LANES_X]),
      .step_y        (layer[`DNA_LAYER_STEP_Y]),
      .step_x        (layer[`DNA_LAYER_STEP_X]),
      .lane_row_pitch(layer[`DNA_LAYER_LANE_ROW_PITCH]),
      .set           (walk_set),
      .index         (walk_index),
      .active        (walk_active),
      .dy            (walk_dy),
      .dx            (walk_dx),
      .offset        (walk_offset),
      .done          (walk_done)
  );

  // ---- stages 1 to 5: control beside the data ----
  reg  [13:0] address_s1, weight_address_s1;
  reg  [3:0]  part_s1, tap_s1, tap_s2;
  reg  [9:0]  row_s1, col_s1, row_lo_s1, row_hi_s1, col_lo_s1, col_hi_s1;
  reg  [5:1]  valid, first, last;
  always @(posedge clk) begin
    address_s1        <= address_s0;
    weight_address_s1 <= weight_address_s0;
    part_s1           <= part_s0;
    tap_s1            <= tap_s0;
    tap_s2            <= tap_s1;
    row_s1            <= row_s0;
    col_s1            <= col_s0;
    row_lo_s1         <= row_lo_s0;
    row_hi_s1         <= row_hi_s0;
    col_lo_s1         <= col_lo_s0;
    col_hi_s1         <= col_hi_s0;
    first             <= {first[4:1], first_s0};
    valid             <= {valid[4:1], valid_s0};
    last              <= {last[4:1], last_s0};
    if (!rst_n) begin
      valid <= 5'd0;
      last  <= 5'd0;
    end
  end

  // What is only there if partial sums are in buffers.
  wire        read_input_s1, read_weight_s1, sum_read_s4, sum_keep_s5;
  wire [12:0] sum_address_s4;
  generate
    if (DATAFLOW != 0) begin : buffered
      reg        read_input, read_weight;
      reg [51:0] sum_address;
      always @(posedge clk) begin
        read_input  <= valid_s0 && read_input_s0;
        read_weight <= valid_s0 && read_weight_s0;
        sum_address <= {sum_address[38:0], sum_address_s0};
      end
      assign read_input_s1  = read_input;
      assign read_weight_s1 = read_weight;
      assign sum_address_s4 = sum_address[51:39];
      assign sum_read_s4    = valid[4] && !first[4];
      assign sum_keep_s5    = !last[5];
    end else begin : in_array
      assign read_input_s1  = 1'b1;
      assign read_weight_s1 = 1'b1;
      assign sum_address_s4 = 13'd0;
      assign sum_read_s4    = 1'b0;
      assign sum_keep_s5    = 1'b0;
      wire unused_sums = &{1'b0, sum_address_s0, read_input_s0, read_weight_s0};
    end
  endgenerate

  reg capture_s6;
  always @(posedge clk) begin
    capture_s6 <= last[5];
    if (!rst_n) capture_s6 <= 1'b0;
  end

  wire       channel_mode = layer[`DNA_LAYER_MODE] != `DNA_MODE_MIX;
  wire       max_mode     = layer[`DNA_LAYER_MODE] == `DNA_MODE_MAX;
  wire       ones         = layer[`DNA_LAYER_ONES];
  wire       in_signed    = layer[`DNA_LAYER_IN_SIGNED];
  wire [7:0] pad_value    = layer[`DNA_LAYER_PAD_VALUE];

  // ---- lanes ----
  wire [PX*IC*9-1:0] x_s3;
  wire [PX*CG*9-1:0] xc_s3;
  genvar l;
  generate
    for (l = 0; l < PX; l = l + 1) begin : lanes
      dna_lane #(
          .OC   (OC),
          .IC   (IC),
          .DEPTH(INPUT_WORDS),
          .INDEX(l)
      ) lane (
          .clk           (clk),
          .rst_n         (rst_n),
          .capture_set   (cap_set),
          .capture_index (cap_index),
          .capture_active(cap_active),
          .capture_dy    (cap_dy),
          .capture_dx    (cap_dx),
          .capture_offset(cap_offset),
          .window_h      (cap_window_h),
          .window_w      (cap_window_w),
          .cap_valid     (cap_valid),
          .cap_data      (cap_data),
          .cap_row       (cap_row),
          .cap_col       (cap_col),
          .cap_address   (cap_address),
          .compute_set   (walk_set),
          .compute_index (walk_index),
          .compute_dy    (walk_dy),
          .compute_dx    (walk_dx),
          .read_s1       (read_input_s1),
          .address_s1    (address_s1),
          .part_s1       (part_s1),
          .row_s1        (row_s1),
          .col_s1        (col_s1),
          .row_lo        (row_lo_s1),
          .row_hi        (row_hi_s1),
          .col_lo        (col_lo_s1),
          .col_hi        (col_hi_s1),
          .channel_mode  (channel_mode),
          .in_signed     (in_signed),
          .pad_value     (pad_value),
          .x_s3          (x_s3[l*IC*9+:IC*9]),
          .xc_s3         (xc_s3[l*CG*9+:CG*9])
      );
    end
  endgenerate

  // ---- weights ----
  wire [OC*IC*8-1:0] weight_word_s2, w_s3;
  dna_stream_buffer #(
      .BANKS(WB),
      .DEPTH(WEIGHT_WORDS)
  ) weights (
      .clk       (clk),
      .rst_n     (rst_n),
      .word_valid(wgt_valid && wgt_dest == `DNA_DEST_WEIGHT),
      .word_data (wgt_data),
      .word_first(wgt_first),
      .word_base (wgt_base),
      .rd_en     (read_weight_s1),
      .rd_addr   (weight_address_s1),
      .rd_data   (weight_word_s2)
  );
  dna_weight_operand #(
      .OC(OC),
      .IC(IC)
  ) weight_operand (
      .clk       (clk),
      .word_s2   (weight_word_s2),
      .channel_s2(channel_mode),
      .ones_s2   (ones),
      .tap_s2    (tap_s2),
      .w_s3      (w_s3)
  );

  // ---- array ----
  wire [PX*OC*32-1:0] sums;
  dna_mac_array #(
      .OC       (OC),
      .IC       (IC),
      .PX       (PX),
      .PACKED   (PACKED),
      .MAC_LUT  (MAC_LUT),
      .SUM_WORDS(DATAFLOW == 0 ? 0 : SUM_WORDS)
  ) array (
      .clk           (clk),
      .x_s3          (x_s3),
      .xc_s3         (xc_s3),
      .w_s3          (w_s3),
      .valid_s5      (valid[5]),
      .first_s5      (first[5]),
      .max_s5        (max_mode),
      .keep_s5       (sum_keep_s5),
      .read_s4       (sum_read_s4),
      .sum_address_s4(sum_address_s4),
      .sums          (sums)
  );

  // ---- post lanes ----
  wire [13:0]              param_address, residual_address;
  wire [POST_LANES*64-1:0] param_word;
  wire [127:0]             residual_word;
  wire                     out_write;
  wire [13:0]              out_address;
  wire [127:0]             out_data;
  wire [15:0]              out_enable;

  dna_stream_buffer #(
      .BANKS(PB),
      .DEPTH(PARAM_WORDS)
  ) params (
      .clk       (clk),
      .rst_n     (rst_n),
      .word_valid(wgt_valid && wgt_dest == `DNA_DEST_PARAM),
      .word_data (wgt_data),
      .word_first(wgt_first),
      .word_base (wgt_base),
      .rd_en     (1'b1),
      .rd_addr   (param_address),
      .rd_data   (param_word)
  );

  generate
    if (RESIDUAL != 0) begin : with_residual
      dna_stream_buffer #(
          .BANKS(1),
          .DEPTH(OUTPUT_WORDS)
      ) residuals (
          .clk       (clk),
          .rst_n     (rst_n),
          .word_valid(act_valid && act_dest == `DNA_DEST_RESIDUAL),
          .word_data (act_data),
          .word_first(act_first),
          .word_base (act_base),
          .rd_en     (1'b1),
          .rd_addr   (residual_address),
          .rd_data   (residual_word)
      );
    end else begin : without_residual
      assign residual_word = 128'd0;
      wire unused = &{1'b0, residual_address};
    end
  endgenerate

  dna_post #(
      .OC        (OC),
      .PX        (PX),
      .POST_LANES(POST_LANES),
      .RESIDUAL  (RESIDUAL),
      .POST_LUT  (POST_LUT),
      .DATAFLOW  (DATAFLOW)
  ) post (
      .clk                (clk),
      .rst_n              (rst_n),
      .layer              (layer),
      .context_valid      (context_valid),
      .context_job        (job),
      .capture            (capture_s6),
      .sums               (sums),
      .param_address_d1   (param_address),
      .param_d2           (param_word),
      .residual_address_d1(residual_address),
      .residual_word_d2   (residual_word),
      .out_write_d7       (out_write),
      .out_address_d7     (out_address),
      .out_data_d7        (out_data),
      .out_enable_d7      (out_enable),
      .tile_ready         (tile_ready),
      .freed_param        (freed_param),
      .empty              (post_empty),
      .clear              (clear),
      .overrun            (overrun)
  );
  assign freed_residual = tile_ready && layer[`DNA_LAYER_RESIDUAL];

  // ---- output buffer, with an output register ----
  wire [127:0] out_word;
  dna_ram #(
      .WIDTH     (128),
      .DEPTH     (OUTPUT_WORDS),
      .BYTE_WRITE(1)
  ) outputs (
      .clk    (clk),
      .wr_en  (out_write),
      .wr_address(out_address[OW-1:0]),
      .wr_data(out_data),
      .wr_bytes(out_enable),
      .rd_en  (rd_en),
      .rd_address(rd_address[OW-1:0]),
      .rd_data(out_word)
  );
  always @(posedge clk) rd_data <= out_word;

  assign drained = post_empty && valid == 5'd0;
  assign idle    = !job_valid && !busy && !wait_output && drained;

  wire unused = &{1'b0, layer_job, tile_end, walk_active, walk_offset, out_address, rd_address};
endmodule

`default_nettype wire
