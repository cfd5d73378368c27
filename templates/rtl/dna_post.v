// Post: takes the finished sums of all lanes and brings them, POST_LANES channels per cycle, into the output buffer.
//
// One pixel of every lane is drained at a time: lane by lane, slice by slice. The control's idle cycles guarantee that
// the sums of the next pixel come no earlier than in the last cycle of this one; `overrun` says, from the next cycle on,
// that they did.
//
// Timing: `capture` in cycle c (the sums are in the cells' accumulators); drain cycles c + 1 .. c + lanes * slices; the
// slice of drain cycle v is written to the output buffer in cycle v + 7. In that cycle of a tile's last slice,
// `tile_ready` is high, and `freed_param` with it if the tile frees its weights: parameters are read later than they.
//
// Parameters: OC, PX, POST_LANES (2, 4, 8, 16; divides OC), RESIDUAL and POST_LUT 0 or 1; DATAFLOW as in dna_chunk: with 2,
// input-stationary, all groups of a pixel come before the next pixel.
`default_nettype none
`include "isa.vh"

module dna_post #(
    parameter OC         = 16,
    parameter PX         = 4,
    parameter POST_LANES = 4,
    parameter RESIDUAL   = 1,
    parameter POST_LUT   = 0,
    parameter DATAFLOW   = 0
) (
    input  wire                     clk,
    input  wire                     rst_n,
    input  wire [255:0]             layer,
    // tile handed over by the control, in order
    input  wire                     context_valid,
    input  wire [255:0]             context_job,
    // sums
    input  wire                     capture,
    input  wire [PX*OC*32-1:0]      sums,
    // parameter and residual buffers: address in cycle t, data in t + 1
    output reg  [13:0]              param_address_d1,
    input  wire [POST_LANES*64-1:0] param_d2,
    output wire [13:0]              residual_address_d1,
    input  wire [127:0]             residual_word_d2,
    // output buffer
    output reg                      out_write_d7,
    output reg  [13:0]              out_address_d7,
    output wire [127:0]             out_data_d7,
    output wire [15:0]              out_enable_d7,
    // synchronisation
    output reg                      tile_ready,
    output reg                      freed_param,
    output wire                     empty,
    input  wire                     clear,
    output reg                      overrun
);
  localparam GROUPS_FIRST = DATAFLOW == 2;
  localparam PARTS   = 16 / POST_LANES;
  localparam SLICES  = OC / POST_LANES;
  localparam SW      = SLICES > 1 ? $clog2(SLICES) : 1;
  localparam LW      = PX > 1 ? $clog2(PX) : 1;
  localparam [31:0] PARTS_M1 = PARTS - 1;
  localparam [3:0]  PART_LAST = PARTS_M1[3:0];

  // ---- layer constants ----
  wire [9:0]        lane_rows      = layer[`DNA_LAYER_LANE_ROWS];
  wire [9:0]        lane_cols      = layer[`DNA_LAYER_LANE_COLS];
  wire [7:0]        lanes          = layer[`DNA_LAYER_LANES];
  wire [7:0]        lanes_x        = layer[`DNA_LAYER_LANES_X];
  wire [7:0]        slices_full    = layer[`DNA_LAYER_SLICES];
  wire              has_residual   = layer[`DNA_LAYER_RESIDUAL];
  wire              res_signed     = layer[`DNA_LAYER_RES_SIGNED];
  wire [16:0]       res_multiplier = layer[`DNA_LAYER_RES_MULTIPLIER];
  wire signed [8:0] lo             = layer[`DNA_LAYER_LO];
  wire signed [8:0] hi             = layer[`DNA_LAYER_HI];

  // ---- tile contexts: at most two output tiles are in flight ----
  localparam CW = 14 + 14 + 10 + 10 + 10 + 14 + 14 + 8 + 1;
  wire [CW-1:0] tile_context;
  wire          context_ready, context_there, tile_drained;
  wire [2:0]    context_level;
  dna_fifo #(
      .WIDTH(CW),
      .DEPTH(4)
  ) contexts (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (context_valid),
      .in_ready (context_ready),
      .in_data  ({
        context_job[`DNA_TILE_P_BASE],
        context_job[`DNA_TILE_OUT_BASE],
        context_job[`DNA_TILE_GROUPS],
        context_job[`DNA_TILE_OUT_ROWS],
        context_job[`DNA_TILE_OUT_COLS],
        context_job[`DNA_TILE_OUT_PITCH],
        context_job[`DNA_TILE_LANE_PITCH],
        context_job[`DNA_TILE_SLICES_LAST],
        context_job[`DNA_TILE_FREE_W]
      }),
      .out_valid(context_there),
      .out_ready(tile_drained),
      .out_data (tile_context),
      .level    (context_level)
  );
  wire [13:0] p_base, out_base, out_pitch, lane_pitch;
  wire [9:0]  groups, out_rows, out_cols;
  wire [7:0]  slices_last;
  wire        frees_param;
  assign {p_base, out_base, groups, out_rows, out_cols, out_pitch, lane_pitch, slices_last, frees_param} = tile_context;

  // ---- the sums, held while they are drained ----
  reg [PX*OC*32-1:0] held;
  always @(posedge clk) if (capture) held <= sums;

  // ---- drain nest: slices, lanes, then pixels and groups (input-stationary: groups and pixels) ----
  reg        draining;
  reg [7:0]  slice, lane, lane_x;
  reg [9:0]  x, y, group;
  reg [9:0]  row, col;            // tile pixel of this lane
  reg [9:0]  lane_row;            // tile row of the lanes of this lane row
  reg [13:0] lane_at, lane_row_at, pixel_at, row_at;  // output words, relative to out_base
  reg [13:0] word, group_word;    // words from the first channel group on
  reg [3:0]  part, group_part;    // place in the word, in units of POST_LANES bytes
  reg [13:0] param, group_param;

  wire [7:0]  slices      = group + 10'd1 == groups ? slices_last : slices_full;
  wire        end_slice   = slice + 8'd1 == slices;
  wire        end_lane    = lane + 8'd1 == lanes;
  wire        end_lane_x  = lane_x + 8'd1 == lanes_x;
  wire        pixel_done  = draining && end_slice && end_lane;
  wire        end_x       = x + 10'd1 == lane_cols;
  wire        end_y       = y + 10'd1 == lane_rows;
  wire        end_group   = group + 10'd1 == groups;
  assign      tile_drained = pixel_done && end_x && end_y && end_group;

  wire        wrap        = part == PART_LAST;
  wire [13:0] next_word   = wrap ? word + {4'd0, out_cols} : word;
  wire [3:0]  next_part   = wrap ? 4'd0 : part + 4'd1;
  wire [13:0] next_param  = param + 14'd1;
  wire [13:0] next_lane   = lane_at + {4'd0, lane_cols};
  wire [13:0] next_lane_row = lane_row_at + lane_pitch;
  wire [13:0] next_pixel  = pixel_at + 14'd1;
  wire [13:0] next_row    = row_at + out_pitch;

  always @(posedge clk) begin
    if (capture) draining <= 1'b1;
    else if (pixel_done) draining <= 1'b0;
    if (capture && draining && !pixel_done) overrun <= 1'b1;
    else if (clear) overrun <= 1'b0;

    if (draining) begin
      if (!end_slice) begin
        slice <= slice + 8'd1;
        word  <= next_word;
        part  <= next_part;
        param <= next_param;
      end else begin
        slice <= 8'd0;
        word  <= group_word;
        part  <= group_part;
        param <= group_param;
        if (!end_lane) begin
          lane <= lane + 8'd1;
          if (!end_lane_x) begin
            lane_x  <= lane_x + 8'd1;
            lane_at <= next_lane;
            col     <= col + lane_cols;
          end else begin
            lane_x      <= 8'd0;
            lane_row_at <= next_lane_row;
            lane_at     <= next_lane_row;
            lane_row    <= lane_row + lane_rows;
            row         <= lane_row + lane_rows;
            col         <= x;
          end
        end else begin
          lane   <= 8'd0;
          lane_x <= 8'd0;
          if (GROUPS_FIRST && !end_group) begin
            // The next group of the same pixel.
            group       <= group + 10'd1;
            group_word  <= next_word;
            group_part  <= next_part;
            group_param <= next_param;
            word        <= next_word;
            part        <= next_part;
            param       <= next_param;
            row         <= y;
            lane_row    <= y;
            col         <= x;
            lane_at     <= pixel_at;
            lane_row_at <= pixel_at;
          end else begin
            if (!end_x) begin
              x           <= x + 10'd1;
              col         <= x + 10'd1;
              row         <= y;
              lane_row    <= y;
              pixel_at    <= next_pixel;
              lane_at     <= next_pixel;
              lane_row_at <= next_pixel;
            end else begin
              x   <= 10'd0;
              col <= 10'd0;
              if (!end_y) begin
                y           <= y + 10'd1;
                row         <= y + 10'd1;
                lane_row    <= y + 10'd1;
                row_at      <= next_row;
                pixel_at    <= next_row;
                lane_at     <= next_row;
                lane_row_at <= next_row;
              end else begin
                y           <= 10'd0;
                row         <= 10'd0;
                lane_row    <= 10'd0;
                row_at      <= 14'd0;
                pixel_at    <= 14'd0;
                lane_at     <= 14'd0;
                lane_row_at <= 14'd0;
                group       <= end_group ? 10'd0 : group + 10'd1;
                group_word  <= end_group ? 14'd0 : next_word;
                group_part  <= end_group ? 4'd0 : next_part;
                group_param <= end_group ? 14'd0 : next_param;
                word        <= end_group ? 14'd0 : next_word;
                part        <= end_group ? 4'd0 : next_part;
                param       <= end_group ? 14'd0 : next_param;
              end
            end
            if (GROUPS_FIRST) begin
              group       <= 10'd0;
              group_word  <= 14'd0;
              group_part  <= 4'd0;
              group_param <= 14'd0;
              word        <= 14'd0;
              part        <= 4'd0;
              param       <= 14'd0;
            end
          end
        end
      end
    end

    if (!rst_n) begin
      draining    <= 1'b0;
      overrun     <= 1'b0;
      slice       <= 8'd0;
      lane        <= 8'd0;
      lane_x      <= 8'd0;
      x           <= 10'd0;
      y           <= 10'd0;
      group       <= 10'd0;
      row         <= 10'd0;
      col         <= 10'd0;
      lane_row    <= 10'd0;
      lane_at     <= 14'd0;
      lane_row_at <= 14'd0;
      pixel_at    <= 14'd0;
      row_at      <= 14'd0;
      word        <= 14'd0;
      group_word  <= 14'd0;
      part        <= 4'd0;
      group_part  <= 4'd0;
      param       <= 14'd0;
      group_param <= 14'd0;
    end
  end

  // ---- stages 1 and 2: one lane's sums, then one slice of them ----
  wire [LW-1:0]            lane_select = lane[LW-1:0];
  reg  [OC*32-1:0]         lane_sums_d1;
  reg  [SW-1:0]            slice_d1;
  reg  [POST_LANES*32-1:0] sums_d2;
  reg  [13:0]              address_d1;
  reg  [3:0]               part_d1, part_d2;
  always @(posedge clk) begin
    lane_sums_d1     <= held[lane_select*(OC*32)+:OC*32];
    slice_d1         <= slice[SW-1:0];
    sums_d2          <= lane_sums_d1[slice_d1*(POST_LANES*32)+:POST_LANES*32];
    address_d1       <= out_base + lane_at + word;
    param_address_d1 <= p_base + param;
    part_d1          <= part;
    part_d2          <= part_d1;
  end
  assign residual_address_d1 = address_d1;

  // ---- post lanes, stages 2 to 7 ----
  wire [POST_LANES*8-1:0] residual_slice;
  generate
    if (PARTS == 1) begin : whole
      assign residual_slice = residual_word_d2;
      wire unused = &{1'b0, part_d2};
    end else begin : sliced
      assign residual_slice = residual_word_d2[part_d2[$clog2(PARTS)-1:0]*(POST_LANES*8)+:POST_LANES*8];
      wire unused = &{1'b0, part_d2};
    end
  endgenerate

  wire [POST_LANES*8-1:0] y_d7;
  genvar p;
  generate
    for (p = 0; p < POST_LANES; p = p + 1) begin : lanes_of_post
      wire [7:0] residual_byte = has_residual ? residual_slice[p*8+:8] : 8'd0;
      dna_post_lane #(
          .RESIDUAL(RESIDUAL),
          .POST_LUT(POST_LUT)
      ) lane_p (
          .clk           (clk),
          .sum_d2        (sums_d2[p*32+:32]),
          .param_d2      (param_d2[p*64+:55]),
          .residual_d2   ({res_signed & residual_byte[7], residual_byte}),
          .res_multiplier(res_multiplier),
          .lo            (lo),
          .hi            (hi),
          .y_d7          (y_d7[p*8+:8])
      );
      wire unused = &{1'b0, param_d2[p*64+55+:9]};
    end
  endgenerate

  // ---- the write travels beside them ----
  localparam TW = 1 + 1 + 1 + 14 + 4;
  wire          keep = row < out_rows && col < out_cols;
  reg           write_d1, last_d1, free_d1;
  reg [TW*5-1:0] travel;
  wire          write_d6, last_d6, free_d6;
  wire [13:0]   address_d6;
  wire [3:0]    part_d6;
  reg  [3:0]    part_d7;
  assign {write_d6, last_d6, free_d6, address_d6, part_d6} = travel[TW*4+:TW];
  always @(posedge clk) begin
    write_d1       <= draining && keep;
    last_d1        <= tile_drained;
    free_d1        <= tile_drained && frees_param;
    travel         <= {travel[TW*4-1:0], write_d1, last_d1, free_d1, address_d1, part_d1};
    out_write_d7   <= write_d6;
    tile_ready     <= last_d6;
    freed_param    <= free_d6;
    out_address_d7 <= address_d6;
    part_d7       <= part_d6;
    if (!rst_n) begin
      write_d1     <= 1'b0;
      last_d1      <= 1'b0;
      free_d1      <= 1'b0;
      travel       <= {(TW * 5) {1'b0}};
      out_write_d7 <= 1'b0;
      tile_ready   <= 1'b0;
      freed_param  <= 1'b0;
    end
  end

  // A slice clears what lies above it in the word: the next slice, if there is one, comes later.
  genvar b;
  generate
    for (b = 0; b < PARTS; b = b + 1) begin : place
      localparam [31:0] PLACE = b;
      localparam [3:0]  HERE = PLACE[3:0];
      assign out_data_d7[b*POST_LANES*8+:POST_LANES*8] = part_d7 == HERE ? y_d7 : {(POST_LANES * 8) {1'b0}};
      assign out_enable_d7[b*POST_LANES+:POST_LANES]   = {POST_LANES{HERE >= part_d7}};
    end
  endgenerate

  // ---- tiles between hand-over and readiness ----
  reg [2:0] in_flight;
  always @(posedge clk) begin
    in_flight <= in_flight + {2'd0, context_valid} - {2'd0, tile_ready};
    if (!rst_n) in_flight <= 3'd0;
  end
  assign empty = in_flight == 3'd0;

  wire unused = &{1'b0, layer, context_job, context_ready, context_there, context_level, lane, slice};
endmodule

`default_nettype wire
