// Input-stationary loop nest of a tile: the input words of all lanes stay while the groups of output channels pass.
//
// Nest, innermost first: groups of output channels, steps over input channels, kernel columns, kernel rows, columns and
// rows of a lane's rectangle; after each cycle of the last step of a pixel, `idle` idle cycles. All addresses are running
// sums; weights lie in the nest's order. The sums of a group are at `sum_address_s0`, from 0 on in each pixel; in a slice
// of a tile, from pixel to pixel onwards.
//
// Timing: after `start` in cycle t, the cycles of the tile are t + 1 .. t + T, with
// T = groups * lane_rows * lane_cols * (kernel_h * kernel_w * steps + idle); `running` is high in them, `done` in the last.
// An idle cycle has `pausing`. Stage 0 means something only in the others, `tap_s0` only in channel modes.
// `read_input_s0`: the input word may be another one than in the cycle before.
//
// Parameters: IC, CG as in dna_compute_control.
`default_nettype none
`include "isa.vh"

module dna_nest_input #(
    parameter IC = 4,
    parameter CG = 16
) (
    input  wire         clk,
    input  wire         rst_n,
    input  wire [255:0] layer,
    // tile: `start` one cycle before its first one; the rest from then on
    input  wire         start,
    input  wire [13:0]  in_base,
    input  wire [13:0]  w_base,
    input  wire         running,
    input  wire [11:0]  steps,
    input  wire [9:0]   groups,
    input  wire [9:0]   idle,
    input  wire [13:0]  stride_pitch,
    input  wire         tile_first,
    input  wire         tile_last,
    // this cycle
    output reg          pausing,
    output wire         done,
    output wire         first_s0,
    output wire         last_s0,
    output reg  [13:0]  address_s0,
    output wire [3:0]   part_s0,
    output reg  [13:0]  weight_address_s0,
    output wire [3:0]   tap_s0,
    output reg  [9:0]   row_s0,
    output reg  [9:0]   col_s0,
    // partial sums: their address, and which buffers have to be read again
    output reg  [12:0]  sum_address_s0,
    output wire         read_input_s0,
    output wire         read_weight_s0
);
  // Last part of a word in mode MIX, in channel modes, and last tap of a weight word.
  localparam [31:0] IC_PARTS_M1 = 16 / IC - 1;
  localparam [31:0] CG_PARTS_M1 = 16 / CG - 1;
  localparam [31:0] IC_M1       = IC - 1;
  localparam [3:0]  IC_LAST     = IC_PARTS_M1[3:0];
  localparam [3:0]  CG_LAST     = CG_PARTS_M1[3:0];
  localparam [3:0]  TAP_LAST    = IC_M1[3:0];

  wire        mix       = layer[`DNA_LAYER_MODE] == `DNA_MODE_MIX;
  wire [9:0]  window_w  = layer[`DNA_LAYER_WINDOW_W];
  wire [13:0] row_pitch = layer[`DNA_LAYER_ROW_PITCH];
  wire [9:0]  lane_rows = layer[`DNA_LAYER_LANE_ROWS];
  wire [9:0]  lane_cols = layer[`DNA_LAYER_LANE_COLS];
  wire [9:0]  kernel_h  = layer[`DNA_LAYER_KERNEL_H];
  wire [9:0]  kernel_w  = layer[`DNA_LAYER_KERNEL_W];
  wire [9:0]  stride_h  = {6'd0, layer[`DNA_LAYER_STRIDE_H]};
  wire [9:0]  stride_w  = {6'd0, layer[`DNA_LAYER_STRIDE_W]};

  // The sums stay in their places until the next slice; else the places are used again for each pixel.
  wire sliced = !(tile_first && tile_last);

  reg [11:0] step;
  reg [9:0]  kx, ky, x, y, group, pause;
  reg [3:0]  ic_part, cg_part, tap;
  // Input addresses at the start of: kernel column, kernel row, pixel, pixel row; first group's weights of a step, a pixel.
  reg [13:0] at_kx, at_ky, at_x, at_y;
  reg [13:0] weight_step, weight_pixel;
  reg [12:0] sum_pixel;
  // Tile row of the pixel's first window row, tile column of its first window column.
  reg [9:0]  row_x, col_x;

  wire end_step   = step + 12'd1 == steps;
  wire end_kx     = kx + 10'd1 == kernel_w;
  wire end_ky     = ky + 10'd1 == kernel_h;
  wire end_window = end_step && end_kx && end_ky;
  wire end_x      = x + 10'd1 == lane_cols;
  wire end_y      = y + 10'd1 == lane_rows;
  wire end_group  = group + 10'd1 == groups;
  wire end_pause  = pause + 10'd1 == idle;

  wire spaced = end_window && idle != 10'd0;
  wire go_on  = running && (pausing ? end_pause : !spaced);

  assign done     = go_on && end_window && end_x && end_y && end_group;
  assign first_s0 = tile_first && step == 12'd0 && kx == 10'd0 && ky == 10'd0;
  assign last_s0  = running && !pausing && end_window && tile_last;
  assign part_s0  = mix ? ic_part : cg_part;
  assign tap_s0   = tap;
  assign read_input_s0  = !mix || group == 10'd0;
  assign read_weight_s0 = 1'b1;

  wire        ic_wrap      = ic_part == IC_LAST;
  wire        cg_wrap      = cg_part == CG_LAST;
  wire        tap_wrap     = tap == TAP_LAST;
  wire [13:0] next_group   = !mix && cg_wrap ? address_s0 + {4'd0, window_w} : address_s0;
  wire [13:0] next_step    = ic_wrap ? address_s0 + {4'd0, window_w} : address_s0;  // mode MIX: the same for all groups
  wire [13:0] next_kx      = at_kx + 14'd1;
  wire [13:0] next_ky      = at_ky + row_pitch;
  wire [13:0] next_x       = at_x + {4'd0, stride_w};
  wire [13:0] next_y       = at_y + stride_pitch;
  wire [13:0] weight_after = weight_address_s0 + 14'd1;
  wire [13:0] weight_next  = mix || tap_wrap ? weight_after : weight_step;
  wire [12:0] sum_after    = sum_address_s0 + 13'd1;
  wire [12:0] sum_next     = sliced ? sum_after : 13'd0;

  always @(posedge clk) begin
    pausing <= running && (pausing ? !end_pause : spaced);
    pause   <= pausing ? pause + 10'd1 : 10'd0;

    if (start) begin
      step    <= 12'd0;
      kx      <= 10'd0;
      ky      <= 10'd0;
      x       <= 10'd0;
      y       <= 10'd0;
      group   <= 10'd0;
      ic_part <= 4'd0;
      cg_part <= 4'd0;
      tap     <= 4'd0;
      row_x   <= 10'd0;
      col_x   <= 10'd0;
      row_s0  <= 10'd0;
      col_s0  <= 10'd0;
      at_kx   <= in_base;
      at_ky   <= in_base;
      at_x    <= in_base;
      at_y    <= in_base;
      address_s0        <= in_base;
      weight_step       <= w_base;
      weight_pixel      <= w_base;
      weight_address_s0 <= w_base;
      sum_pixel         <= 13'd0;
      sum_address_s0    <= 13'd0;
    end else if (go_on && !end_group) begin
      // The next group, with the same input.
      group             <= group + 10'd1;
      cg_part           <= cg_wrap ? 4'd0 : cg_part + 4'd1;
      address_s0        <= next_group;
      weight_address_s0 <= weight_after;
      sum_address_s0    <= sum_after;
    end else if (go_on && !end_window) begin
      // The next input of the window, for all groups.
      group             <= 10'd0;
      cg_part           <= 4'd0;
      tap               <= tap_wrap ? 4'd0 : tap + 4'd1;
      weight_step       <= weight_next;
      weight_address_s0 <= weight_next;
      sum_address_s0    <= sum_pixel;
      if (!end_step) begin
        step       <= step + 12'd1;
        ic_part    <= ic_wrap ? 4'd0 : ic_part + 4'd1;
        address_s0 <= next_step;
      end else begin
        step    <= 12'd0;
        ic_part <= 4'd0;
        if (!end_kx) begin
          kx         <= kx + 10'd1;
          col_s0     <= col_s0 + 10'd1;
          at_kx      <= next_kx;
          address_s0 <= next_kx;
        end else begin
          kx         <= 10'd0;
          ky         <= ky + 10'd1;
          col_s0     <= col_x;
          row_s0     <= row_s0 + 10'd1;
          at_ky      <= next_ky;
          at_kx      <= next_ky;
          address_s0 <= next_ky;
        end
      end
    end else if (go_on) begin
      // The next pixel.
      group             <= 10'd0;
      cg_part           <= 4'd0;
      step              <= 12'd0;
      kx                <= 10'd0;
      ky                <= 10'd0;
      ic_part           <= 4'd0;
      tap               <= 4'd0;
      weight_step       <= weight_pixel;
      weight_address_s0 <= weight_pixel;
      sum_pixel         <= sum_next;
      sum_address_s0    <= sum_next;
      if (!end_x) begin
        x          <= x + 10'd1;
        col_x      <= col_x + stride_w;
        col_s0     <= col_x + stride_w;
        row_s0     <= row_x;
        at_x       <= next_x;
        at_ky      <= next_x;
        at_kx      <= next_x;
        address_s0 <= next_x;
      end else begin
        x          <= 10'd0;
        y          <= y + 10'd1;
        col_x      <= 10'd0;
        col_s0     <= 10'd0;
        row_x      <= row_x + stride_h;
        row_s0     <= row_x + stride_h;
        at_y       <= next_y;
        at_x       <= next_y;
        at_ky      <= next_y;
        at_kx      <= next_y;
        address_s0 <= next_y;
      end
    end

    if (!rst_n) pausing <= 1'b0;
  end

  wire unused = &{1'b0, layer};
endmodule

`default_nettype wire
