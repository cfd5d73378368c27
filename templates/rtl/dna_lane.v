// Pixel lane: its input buffer, the capture of its window, and the operands of its MAC cells.
//
// Captures from the broadcast the words that lie inside its window; reads one word per cycle at an address
// that is the same for all lanes; replaces positions outside the image by the pad value; selects the part of
// the word that the array uses.
//
// Operands: `x` holds IC activations for every output channel (mode MIX); `xc` holds, for output channel row o, the
// first activation: channel o's own in channel modes, x[0] in mode MIX. Each has 9 bits, sign included.
//
// Timing: a broadcast word in cycle t can be read by an address in cycle t + 2 or later. Address (stage 1) in cycle
// t: operands (stage 3) are valid in cycle t + 2.
//
// Parameters: OC (2, 4, 8, 16 or a multiple of 16), IC (1, 2, 4, 8, 16), DEPTH words (16..8192), INDEX of the lane.
`default_nettype none

module dna_lane #(
    parameter OC    = 16,
    parameter IC    = 4,
    parameter DEPTH = 512,
    parameter INDEX = 0,
    parameter CG    = OC < 16 ? OC : 16
) (
    input  wire            clk,
    input  wire            rst_n,
    // capture side geometry
    input  wire            capture_set,
    input  wire [6:0]      capture_index,
    input  wire            capture_active,
    input  wire [9:0]      capture_dy,
    input  wire [9:0]      capture_dx,
    input  wire [13:0]     capture_offset,
    input  wire [9:0]      window_h,
    input  wire [9:0]      window_w,
    // broadcast of captured words
    input  wire            cap_valid,
    input  wire [127:0]    cap_data,
    input  wire [9:0]      cap_row,
    input  wire [9:0]      cap_col,
    input  wire [13:0]     cap_address,
    // compute side geometry
    input  wire            compute_set,
    input  wire [6:0]      compute_index,
    input  wire [9:0]      compute_dy,
    input  wire [9:0]      compute_dx,
    // stage 1: at most one read per cycle; without one, the word of the last read stays
    input  wire            read_s1,
    input  wire [13:0]     address_s1,
    input  wire [3:0]      part_s1,
    input  wire [9:0]      row_s1,
    input  wire [9:0]      col_s1,
    input  wire [9:0]      row_lo,
    input  wire [9:0]      row_hi,
    input  wire [9:0]      col_lo,
    input  wire [9:0]      col_hi,
    input  wire            channel_mode,
    input  wire            in_signed,
    input  wire [7:0]      pad_value,
    // stage 3: operands
    output reg  [IC*9-1:0] x_s3,
    output reg  [CG*9-1:0] xc_s3
);
  localparam AW = $clog2(DEPTH);
  localparam IC_PARTS = 16 / IC;
  localparam CG_PARTS = 16 / CG;
  localparam [31:0] INDEX_WIDE = INDEX;
  localparam [6:0]  THIS = INDEX_WIDE[6:0];

  // ---- capture ----
  reg         on;
  reg  [9:0]  my_dy, my_dx;
  reg  [13:0] my_offset;
  always @(posedge clk) begin
    if (capture_set && capture_index == THIS) begin
      on        <= capture_active;
      my_dy     <= capture_dy;
      my_dx     <= capture_dx;
      my_offset <= capture_offset;
    end
    if (!rst_n) on <= 1'b0;
  end

  wire [10:0] row_local = {1'b0, cap_row} - {1'b0, my_dy};
  wire [10:0] col_local = {1'b0, cap_col} - {1'b0, my_dx};
  wire        in_window = !row_local[10] && row_local[9:0] < window_h && !col_local[10] && col_local[9:0] < window_w;
  wire [13:0] local_address = cap_address - my_offset;

  reg           write;
  reg  [AW-1:0] write_address;
  reg  [127:0]  write_data;
  always @(posedge clk) begin
    write         <= cap_valid && on && in_window;
    write_address <= local_address[AW-1:0];
    write_data    <= cap_data;
    if (!rst_n) write <= 1'b0;
  end

  // ---- read ----
  wire [127:0] word_s2;
  dna_ram #(
      .WIDTH(128),
      .DEPTH(DEPTH)
  ) buffer (
      .clk    (clk),
      .wr_en  (write),
      .wr_address(write_address),
      .wr_data(write_data),
      .wr_bytes(16'hffff),
      .rd_en  (read_s1),
      .rd_address(address_s1[AW-1:0]),
      .rd_data(word_s2)
  );

  reg [9:0] place_dy, place_dx;
  always @(posedge clk)
    if (compute_set && compute_index == THIS) begin
      place_dy <= compute_dy;
      place_dx <= compute_dx;
    end

  wire [10:0] row = {1'b0, row_s1} + {1'b0, place_dy};
  wire [10:0] col = {1'b0, col_s1} + {1'b0, place_dx};
  reg         pad_s2;
  reg [3:0]   part_s2;
  always @(posedge clk) begin
    pad_s2  <= row < {1'b0, row_lo} || row >= {1'b0, row_hi} || col < {1'b0, col_lo} || col >= {1'b0, col_hi};
    part_s2 <= part_s1;
  end

  // ---- operand selection ----
  // The part is taken whole first (a mux of IC or CG bytes), then padded, then extended to 9 bits.
  wire [IC*8-1:0] mix_bytes;
  wire [CG*8-1:0] channel_bytes;
  generate
    if (IC_PARTS == 1) begin : whole_mix
      assign mix_bytes = word_s2[IC*8-1:0];
    end else begin : part_mix
      assign mix_bytes = word_s2[part_s2[$clog2(IC_PARTS)-1:0]*(IC*8)+:IC*8];
    end
    if (CG_PARTS == 1) begin : whole_channel
      assign channel_bytes = word_s2[CG*8-1:0];
    end else begin : part_channel
      assign channel_bytes = word_s2[part_s2[$clog2(CG_PARTS)-1:0]*(CG*8)+:CG*8];
    end
  endgenerate

  genvar k;
  generate
    for (k = 0; k < IC; k = k + 1) begin : mix
      wire [7:0] value = pad_s2 ? pad_value : mix_bytes[k*8+:8];
      always @(posedge clk) x_s3[k*9+:9] <= {in_signed & value[7], value};
    end
    for (k = 0; k < CG; k = k + 1) begin : own
      wire [7:0] value = pad_s2 ? pad_value : channel_mode ? channel_bytes[k*8+:8] : mix_bytes[7:0];
      always @(posedge clk) xc_s3[k*9+:9] <= {in_signed & value[7], value};
    end
  endgenerate

  wire unused = &{1'b0, part_s2, local_address, address_s1};
endmodule

`default_nettype wire
