// Compute control: executes LAYER and TILE; walks the loop nest of a tile, one MAC cycle per clock.
//
// Output-stationary, the nest stands here; weights and inputs stay in those of dna_nest_weight and dna_nest_input.
//
// Timing. A TILE is popped in cycle t, the first in which it stands at the queue's head, the engine waits, and its
// counters have reached their thresholds. Its MAC cycles are t + 1 .. t + T, with
// T = groups * lane_rows * lane_cols * (kernel_h * kernel_w * steps + idle). In cycle t + T, `freed_input` and
// `freed_weight` are high if the tile frees them. In t + T + 1, the earliest in which the next job is popped, `tile_end`
// is high, and `layer_last` if the tile ends its layer.
// A LAYER is taken in the first cycle t in which it stands at the head, the engine waits and `drained` is high; the
// lanes are walked (dna_lane_walk), and it is popped in cycle t + PX + 1.
//
// Of the causes, `wait_job` also counts the cycle in which a TILE is popped, and all cycles of a LAYER. Stage 0 means
// something only with `valid_s0`, `tap_s0` only in channel modes.
//
// `read_input_s0`, `read_weight_s0`: the buffer has to be read in this cycle, for its word is another one than before.
//
// Parameters: IC, CG (channels of a group where channels do not mix), DATAFLOW (0 output-, 1 weight-, 2 input-stationary).
`default_nettype none
`include "isa.vh"

module dna_compute_control #(
    parameter IC       = 4,
    parameter CG       = 16,
    parameter DATAFLOW = 0
) (
    input  wire         clk,
    input  wire         rst_n,
    // job queue
    input  wire         job_valid,
    output wire         job_ready,
    input  wire [255:0] job,
    // synchronisation
    input  wire [11:0]  loaded_input,
    input  wire [11:0]  loaded_weight,
    input  wire [11:0]  loaded_residual,
    input  wire [11:0]  stored,
    input  wire         drained,
    output wire         freed_input,
    output wire         freed_weight,
    output reg          tile_end,
    // why nothing is computed in this cycle (one-hot; none while computing)
    output wire         busy,
    output wire         wait_job,
    output wire         wait_input,
    output wire         wait_weight,
    output wire         wait_residual,
    output wire         wait_output,
    output wire         layer_last,
    // layer registers
    output reg  [255:0] layer,
    output wire         walk_start,
    input  wire         walk_done,
    // tile handed to the post lanes
    output wire         context_valid,
    // MAC cycle, stage 0
    output wire         valid_s0,
    output wire         first_s0,
    output wire         last_s0,
    output wire [13:0]  address_s0,
    output wire [3:0]   part_s0,
    output wire [13:0]  weight_address_s0,
    output wire [3:0]   tap_s0,
    output wire [9:0]   row_s0,
    output wire [9:0]   col_s0,
    output reg  [9:0]   row_lo_s0,
    output reg  [9:0]   row_hi_s0,
    output reg  [9:0]   col_lo_s0,
    output reg  [9:0]   col_hi_s0,
    output wire [12:0]  sum_address_s0,
    output wire         read_input_s0,
    output wire         read_weight_s0
);
  // ---- queue head ----
  wire is_layer = job[3:0] == `DNA_OP_LAYER;
  wire is_tile  = job[3:0] == `DNA_OP_TILE;

  wire [11:0] margin_input    = loaded_input - job[`DNA_TILE_WAIT_IN];
  wire [11:0] margin_weight   = loaded_weight - job[`DNA_TILE_WAIT_W];
  wire [11:0] margin_residual = loaded_residual - job[`DNA_TILE_WAIT_RES];
  wire [11:0] margin_output   = stored - job[`DNA_TILE_WAIT_OUT];

  reg  running, walking;
  wire pausing;
  wire free       = !running && !walking;
  wire tile_head  = free && job_valid && is_tile;
  wire tile_start = tile_head && !margin_input[11] && !margin_weight[11] && !margin_residual[11] && !margin_output[11];

  assign walk_start    = free && job_valid && is_layer && drained;
  assign job_ready     = tile_start || (walking && walk_done);
  assign context_valid = tile_start && job[`DNA_TILE_LAST];

  assign wait_input    = tile_head && margin_input[11];
  assign wait_weight   = tile_head && !margin_input[11] && margin_weight[11];
  assign wait_residual = tile_head && !margin_input[11] && !margin_weight[11] && margin_residual[11];
  assign wait_output   = (tile_head && !margin_input[11] && !margin_weight[11] && !margin_residual[11] && margin_output[11])
                         || (running && pausing);
  assign wait_job      = !running && (!tile_head || tile_start);
  assign busy          = running && !pausing;

  // ---- layer ----
  always @(posedge clk) begin
    if (walk_start) layer <= job;
    walking <= walk_start || (walking && !walk_done);
    if (!rst_n) walking <= 1'b0;
  end

  wire [13:0] row_pitch = layer[`DNA_LAYER_ROW_PITCH];
  wire [3:0]  stride_h  = layer[`DNA_LAYER_STRIDE_H];
  // stride_h * row_pitch as a sum of shifts: a multiplier for so little would take a DSP.
  wire [13:0] stride_by_pitch = (stride_h[0] ? row_pitch : 14'd0) + (stride_h[1] ? row_pitch << 1 : 14'd0)
                              + (stride_h[2] ? row_pitch << 2 : 14'd0) + (stride_h[3] ? row_pitch << 3 : 14'd0);

  // ---- tile registers ----
  reg [11:0] steps;
  reg [9:0]  groups, idle;
  reg [13:0] stride_pitch;
  reg        tile_first, tile_last, frees_input, frees_weight, ends_layer;
  always @(posedge clk)
    if (tile_start) begin
      steps        <= job[`DNA_TILE_STEPS];
      groups       <= job[`DNA_TILE_GROUPS];
      idle         <= job[`DNA_TILE_IDLE];
      tile_first   <= job[`DNA_TILE_FIRST];
      tile_last    <= job[`DNA_TILE_LAST];
      frees_input  <= job[`DNA_TILE_FREE_IN];
      frees_weight <= job[`DNA_TILE_FREE_W];
      ends_layer   <= job[`DNA_TILE_LAYER_LAST];
      row_lo_s0    <= job[`DNA_TILE_ROW_LO];
      row_hi_s0    <= job[`DNA_TILE_ROW_HI];
      col_lo_s0    <= job[`DNA_TILE_COL_LO];
      col_hi_s0    <= job[`DNA_TILE_COL_HI];
      stride_pitch <= stride_by_pitch;
    end

  // ---- loop nest ----
  wire tile_done;
  generate
    if (DATAFLOW == 0) begin : output_stationary
      // Innermost first: steps over input channels, kernel columns, kernel rows, [idle cycles], columns and rows of a
      // lane's rectangle, groups of output channels. All addresses are running sums.
      // Last part of a word in mode MIX, in channel modes, and last tap of a weight word.
      localparam [31:0] IC_PARTS_M1 = 16 / IC - 1;
      localparam [31:0] CG_PARTS_M1 = 16 / CG - 1;
      localparam [31:0] IC_M1       = IC - 1;
      localparam [3:0]  IC_LAST     = IC_PARTS_M1[3:0];
      localparam [3:0]  CG_LAST     = CG_PARTS_M1[3:0];
      localparam [3:0]  TAP_LAST    = IC_M1[3:0];

      wire        mix       = layer[`DNA_LAYER_MODE] == `DNA_MODE_MIX;
      wire [9:0]  window_w  = layer[`DNA_LAYER_WINDOW_W];
      wire [9:0]  lane_rows = layer[`DNA_LAYER_LANE_ROWS];
      wire [9:0]  lane_cols = layer[`DNA_LAYER_LANE_COLS];
      wire [9:0]  kernel_h  = layer[`DNA_LAYER_KERNEL_H];
      wire [9:0]  kernel_w  = layer[`DNA_LAYER_KERNEL_W];
      wire [9:0]  stride_w  = {6'd0, layer[`DNA_LAYER_STRIDE_W]};

      reg        paused;
      reg [13:0] address, weight_address;
      reg [9:0]  row, col;
      reg [11:0] step;
      reg [9:0]  kx, ky, x, y, group, pause;
      reg [3:0]  ic_part, cg_part, tap;
      // Input addresses at the start of: kernel column, kernel row, pixel, pixel row, group.
      reg [13:0] at_kx, at_ky, at_x, at_y, at_group;
      reg [13:0] weight_group;
      // Tile row of the pixel's first window row, tile column of its first window column.
      reg [9:0]  row_x, col_x;

      wire end_step   = step + 12'd1 == steps;
      wire end_kx     = kx + 10'd1 == kernel_w;
      wire end_ky     = ky + 10'd1 == kernel_h;
      wire end_window = end_step && end_kx && end_ky;
      wire end_x      = x + 10'd1 == lane_cols;
      wire end_y      = y + 10'd1 == lane_rows;
      wire end_group  = group + 10'd1 == groups;
      wire end_pixels = end_x && end_y && end_group;
      wire end_pause  = pause + 10'd1 == idle;

      wire window_done = running && !paused && end_window;
      wire pixel_done  = paused ? end_pause : window_done && idle == 10'd0;

      assign tile_done = running && pixel_done && end_pixels;
      assign first_s0 = tile_first && step == 12'd0 && kx == 10'd0 && ky == 10'd0;
      assign last_s0  = window_done && tile_last;
      assign part_s0  = mix ? ic_part : cg_part;
      assign tap_s0   = tap;

      wire        ic_wrap      = ic_part == IC_LAST;
      wire        cg_wrap      = cg_part == CG_LAST;
      wire        tap_wrap     = tap == TAP_LAST;
      wire [13:0] next_kx      = at_kx + 14'd1;
      wire [13:0] next_ky      = at_ky + row_pitch;
      wire [13:0] next_x       = at_x + {4'd0, stride_w};
      wire [13:0] next_y       = at_y + stride_pitch;
      wire [13:0] next_group   = !mix && cg_wrap ? at_group + {4'd0, window_w} : at_group;
      wire [13:0] weight_after = weight_address + 14'd1;

      always @(posedge clk) begin
        if (tile_start) begin
          step    <= 12'd0;
          kx      <= 10'd0;
          ky      <= 10'd0;
          x       <= 10'd0;
          y       <= 10'd0;
          group   <= 10'd0;
          pause   <= 10'd0;
          paused <= 1'b0;
          ic_part <= 4'd0;
          cg_part <= 4'd0;
          tap     <= 4'd0;
          row_x   <= 10'd0;
          col_x   <= 10'd0;
          row  <= 10'd0;
          col  <= 10'd0;
          at_kx    <= job[`DNA_TILE_IN_BASE];
          at_ky    <= job[`DNA_TILE_IN_BASE];
          at_x     <= job[`DNA_TILE_IN_BASE];
          at_y     <= job[`DNA_TILE_IN_BASE];
          at_group <= job[`DNA_TILE_IN_BASE];
          address        <= job[`DNA_TILE_IN_BASE];
          weight_group      <= job[`DNA_TILE_W_BASE];
          weight_address <= job[`DNA_TILE_W_BASE];
        end else if (running && !paused && !end_window) begin
          // Inside a window.
          tap <= tap_wrap ? 4'd0 : tap + 4'd1;
          if (mix || tap_wrap) weight_address <= weight_after;
          if (!end_step) begin
            step    <= step + 12'd1;
            ic_part <= ic_wrap ? 4'd0 : ic_part + 4'd1;
            if (ic_wrap) address <= address + {4'd0, window_w};
          end else begin
            step    <= 12'd0;
            ic_part <= 4'd0;
            if (!end_kx) begin
              kx         <= kx + 10'd1;
              col     <= col + 10'd1;
              at_kx      <= next_kx;
              address <= next_kx;
            end else begin
              kx         <= 10'd0;
              ky         <= ky + 10'd1;
              col     <= col_x;
              row     <= row + 10'd1;
              at_ky      <= next_ky;
              at_kx      <= next_ky;
              address <= next_ky;
            end
          end
        end else if (running) begin
          // The window is complete: pause for the post lanes, then go on to the next pixel.
          pause   <= paused ? pause + 10'd1 : 10'd0;
          paused <= !pixel_done;
          if (pixel_done) begin
            step    <= 12'd0;
            kx      <= 10'd0;
            ky      <= 10'd0;
            ic_part <= 4'd0;
            tap     <= 4'd0;
            if (!end_x) begin
              x      <= x + 10'd1;
              col_x  <= col_x + stride_w;
              col <= col_x + stride_w;
              row <= row_x;
              at_x   <= next_x;
              at_ky  <= next_x;
              at_kx  <= next_x;
              address        <= next_x;
              weight_address <= weight_group;
            end else begin
              x      <= 10'd0;
              col_x  <= 10'd0;
              col <= 10'd0;
              if (!end_y) begin
                y      <= y + 10'd1;
                row_x  <= row_x + {6'd0, stride_h};
                row <= row_x + {6'd0, stride_h};
                at_y   <= next_y;
                at_x   <= next_y;
                at_ky  <= next_y;
                at_kx  <= next_y;
                address        <= next_y;
                weight_address <= weight_group;
              end else begin
                y        <= 10'd0;
                row_x    <= 10'd0;
                row   <= 10'd0;
                group    <= group + 10'd1;
                cg_part  <= cg_wrap ? 4'd0 : cg_part + 4'd1;
                at_group <= next_group;
                at_y     <= next_group;
                at_x     <= next_group;
                at_ky    <= next_group;
                at_kx    <= next_group;
                address        <= next_group;
                weight_group      <= weight_after;
                weight_address <= weight_after;
              end
            end
          end
        end

        if (!rst_n) paused <= 1'b0;
      end

      assign pausing           = paused;
      assign address_s0        = address;
      assign weight_address_s0 = weight_address;
      assign row_s0            = row;
      assign col_s0            = col;
      assign sum_address_s0 = 13'd0;
      assign read_input_s0  = 1'b1;
      assign read_weight_s0 = 1'b1;
    end else if (DATAFLOW == 1) begin : weight_stationary
      dna_nest_weight #(
          .IC(IC),
          .CG(CG)
      ) nest (
          .clk              (clk),
          .rst_n            (rst_n),
          .layer            (layer),
          .start            (tile_start),
          .in_base          (job[`DNA_TILE_IN_BASE]),
          .w_base           (job[`DNA_TILE_W_BASE]),
          .running          (running),
          .steps            (steps),
          .groups           (groups),
          .idle             (idle),
          .stride_pitch     (stride_pitch),
          .tile_first       (tile_first),
          .tile_last        (tile_last),
          .pausing          (pausing),
          .done             (tile_done),
          .first_s0         (first_s0),
          .last_s0          (last_s0),
          .address_s0       (address_s0),
          .part_s0          (part_s0),
          .weight_address_s0(weight_address_s0),
          .tap_s0           (tap_s0),
          .row_s0           (row_s0),
          .col_s0           (col_s0),
          .sum_address_s0   (sum_address_s0),
          .read_input_s0    (read_input_s0),
          .read_weight_s0   (read_weight_s0)
      );
    end else begin : input_stationary
      dna_nest_input #(
          .IC(IC),
          .CG(CG)
      ) nest (
          .clk              (clk),
          .rst_n            (rst_n),
          .layer            (layer),
          .start            (tile_start),
          .in_base          (job[`DNA_TILE_IN_BASE]),
          .w_base           (job[`DNA_TILE_W_BASE]),
          .running          (running),
          .steps            (steps),
          .groups           (groups),
          .idle             (idle),
          .stride_pitch     (stride_pitch),
          .tile_first       (tile_first),
          .tile_last        (tile_last),
          .pausing          (pausing),
          .done             (tile_done),
          .first_s0         (first_s0),
          .last_s0          (last_s0),
          .address_s0       (address_s0),
          .part_s0          (part_s0),
          .weight_address_s0(weight_address_s0),
          .tap_s0           (tap_s0),
          .row_s0           (row_s0),
          .col_s0           (col_s0),
          .sum_address_s0   (sum_address_s0),
          .read_input_s0    (read_input_s0),
          .read_weight_s0   (read_weight_s0)
      );
    end
  endgenerate

  assign valid_s0     = running && !pausing;
  assign freed_input  = tile_done && frees_input;
  assign freed_weight = tile_done && frees_weight;
  assign layer_last   = tile_end && ends_layer;

  always @(posedge clk) begin
    tile_end <= tile_done;
    running  <= tile_start || (running && !tile_done);
    if (!rst_n) begin
      running  <= 1'b0;
      tile_end <= 1'b0;
    end
  end

  wire unused = &{1'b0, job, layer, margin_input, margin_weight, margin_residual, margin_output};
endmodule

`default_nettype wire
