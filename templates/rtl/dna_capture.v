// Capture: gives every word of an input tile its row, column and running address, for all lanes at once.
//
// The read port streams the real part of a tile as [rows][groups][cols]. This module counts along, so that
// each lane need only compare and subtract. The running address is that of lane (0, 0), modulo 2^14.
//
// Timing: a word on the stream in cycle t is broadcast in cycle t + 1.
// Handshake: none; the stream never waits, for its space was reserved before it was asked for.
`default_nettype none

module dna_capture (
    input  wire         clk,
    input  wire         rst_n,
    // layer geometry, stable while words arrive
    input  wire [9:0]   window_w,
    input  wire [13:0]  row_pitch,
    // word stream
    input  wire         word_valid,
    input  wire [127:0] word_data,
    input  wire         word_first,
    input  wire [13:0]  word_base,
    input  wire [9:0]   word_cols,
    input  wire [11:0]  word_groups,
    input  wire [9:0]   word_row0,
    input  wire [9:0]   word_col0,
    // broadcast to the lanes
    output reg          cap_valid,
    output reg  [127:0] cap_data,
    output reg  [9:0]   cap_row,
    output reg  [9:0]   cap_col,
    output reg  [13:0]  cap_address
);
  // Where the next word belongs, unless it is the first of a job.
  reg [9:0]  next_row, next_col, next_cols_left;
  reg [11:0] next_groups_left;
  reg [13:0] next_address, next_line, next_row_address;

  wire [9:0]  row         = word_first ? word_row0 : next_row;
  wire [9:0]  col         = word_first ? word_col0 : next_col;
  wire [9:0]  cols_left   = word_first ? word_cols - 10'd1 : next_cols_left;
  wire [11:0] groups_left = word_first ? word_groups - 12'd1 : next_groups_left;
  wire [13:0] address     = word_first ? word_base : next_address;
  wire [13:0] line        = word_first ? word_base : next_line;
  wire [13:0] row_address = word_first ? word_base : next_row_address;

  wire [13:0] line_below = line + {4'd0, window_w};
  wire [13:0] row_below  = row_address + row_pitch;

  always @(posedge clk) begin
    cap_valid   <= word_valid;
    cap_data    <= word_data;
    cap_row     <= row;
    cap_col     <= col;
    cap_address <= address;
    if (word_valid) begin
      next_row         <= row;
      next_row_address <= row_address;
      if (cols_left != 10'd0) begin
        next_col         <= col + 10'd1;
        next_cols_left   <= cols_left - 10'd1;
        next_groups_left <= groups_left;
        next_address     <= address + 14'd1;
        next_line        <= line;
      end else begin
        next_col       <= word_col0;
        next_cols_left <= word_cols - 10'd1;
        if (groups_left != 12'd0) begin
          next_groups_left <= groups_left - 12'd1;
          next_address     <= line_below;
          next_line        <= line_below;
        end else begin
          next_groups_left <= word_groups - 12'd1;
          next_row         <= row + 10'd1;
          next_address     <= row_below;
          next_line        <= row_below;
          next_row_address <= row_below;
        end
      end
    end
    if (!rst_n) cap_valid <= 1'b0;
  end
endmodule

`default_nettype wire
