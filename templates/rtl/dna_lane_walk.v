// Lane walk: after a LAYER instruction, computes each pixel lane's place in the tile, one lane per cycle.
//
// Lane l stands at lane row l / lanes_x and lane column l % lanes_x. Its window starts `dy` rows and `dx` columns
// below and right of the tile's window; `offset` is what lane l subtracts from the shared running address to
// get the address in its own buffer (modulo 2^14). Sums of constants only: no multiplier.
//
// The geometry is read from the cycle after `start` on and must hold until `done`.
//
// Timing: `start` in cycle t; lane l is announced (set, index l) in cycle t + 1 + l; `done` in cycle t + PX + 1.
//
// Parameters: PX 1..128.
`default_nettype none

module dna_lane_walk #(
    parameter PX = 4
) (
    input  wire        clk,
    input  wire        rst_n,
    input  wire        start,
    input  wire [7:0]  lanes,
    input  wire [7:0]  lanes_x,
    input  wire [9:0]  step_y,
    input  wire [9:0]  step_x,
    input  wire [13:0] lane_row_pitch,
    output reg         set,
    output reg  [6:0]  index,
    output reg         active,
    output reg  [9:0]  dy,
    output reg  [9:0]  dx,
    output reg  [13:0] offset,
    output reg         done
);
  localparam [31:0] LAST_LANE = PX - 1;
  localparam [6:0] LAST = LAST_LANE[6:0];

  reg  [7:0]  lane_x;
  reg  [13:0] row_offset;
  wire        row_full = lane_x + 8'd1 == lanes_x;
  wire [7:0]  next_index = {1'b0, index} + 8'd1;

  always @(posedge clk) begin
    done <= 1'b0;
    if (start) begin
      set        <= 1'b1;
      index      <= 7'd0;
      active     <= 1'b1;
      dy         <= 10'd0;
      dx         <= 10'd0;
      offset     <= 14'd0;
      row_offset <= 14'd0;
      lane_x     <= 8'd0;
    end else if (set) begin
      set    <= index != LAST;
      done   <= index == LAST;
      index  <= next_index[6:0];
      active <= next_index < lanes;
      if (row_full) begin
        lane_x     <= 8'd0;
        dx         <= 10'd0;
        dy         <= dy + step_y;
        row_offset <= row_offset + lane_row_pitch;
        offset     <= row_offset + lane_row_pitch;
      end else begin
        lane_x <= lane_x + 8'd1;
        dx     <= dx + step_x;
        offset <= offset + {4'd0, step_x};
      end
    end
    if (!rst_n) begin
      set  <= 1'b0;
      done <= 1'b0;
    end
  end
endmodule

`default_nettype wire
