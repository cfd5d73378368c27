// MAC array: OC x PX cells, IC multipliers each. Weights are shared by all lanes, activations by all output channels.
//
// Timing and modes: see dna_mac_cell. Output channel row o takes the first activation of channel o % CG of its lane,
// which is the shared first activation in mode MIX.
//
// Parameters: OC, IC, PX, CG as in dna_lane. PACKED 1: lanes 2n and 2n + 1 are one dna_mac_pair per row, with half the
// multipliers and the same timing; an odd last lane is left as it is. SUM_WORDS > 0: partial sums are in a dna_sum_buffer
// per lane, at `sum_address_s4` (one cycle before its stage 5); then `keep_s5` says that a sum is needed again. 0: sums are
// in the cells, and these ports are not used. MAC_LUT 1, only with PACKED 0: the multipliers are made of LUTs.
`default_nettype none

module dna_mac_array #(
    parameter OC        = 16,
    parameter IC        = 4,
    parameter PX        = 4,
    parameter PACKED    = 0,
    parameter MAC_LUT   = 0,
    parameter SUM_WORDS = 0,
    parameter CG        = OC < 16 ? OC : 16
) (
    input  wire                  clk,
    input  wire [PX*IC*9-1:0]    x_s3,
    input  wire [PX*CG*9-1:0]    xc_s3,
    input  wire [OC*IC*8-1:0]    w_s3,
    input  wire                  valid_s5,
    input  wire                  first_s5,
    input  wire                  max_s5,
    input  wire                  keep_s5,
    input  wire                  read_s4,
    input  wire [12:0]           sum_address_s4,
    output wire [PX*OC*32-1:0]   sums
);
  localparam PAIRS    = PACKED != 0 ? PX / 2 : 0;
  localparam BUFFERED = SUM_WORDS != 0 ? 1 : 0;

  // ---- partial sums ----
  wire [PX*OC*32-1:0] stored_s5, next_s5;
  wire                forward_s5;
  genvar s;
  generate
    if (BUFFERED != 0) begin : with_sums
      reg [12:0] sum_address_s5;
      reg        forward;
      always @(posedge clk) begin
        sum_address_s5 <= sum_address_s4;
        forward        <= valid_s5 && sum_address_s4 == sum_address_s5;
      end
      assign forward_s5 = forward;
      for (s = 0; s < PX; s = s + 1) begin : lane
        dna_sum_buffer #(
            .OC       (OC),
            .SUM_WORDS(SUM_WORDS)
        ) sum_buffer (
            .clk       (clk),
            .rd_en     (read_s4),
            .rd_address(sum_address_s4),
            .rd_data   (stored_s5[s*OC*32+:OC*32]),
            .wr_en     (valid_s5 && keep_s5),
            .wr_address(sum_address_s5),
            .wr_data   (next_s5[s*OC*32+:OC*32])
        );
      end
    end else begin : without_sums
      for (s = 0; s < PX; s = s + 1) begin : lane
        assign stored_s5[s*OC*32+:OC*32] = {OC{32'd0}};
      end
      assign forward_s5 = 1'b0;
      wire unused = &{1'b0, keep_s5, read_s4, sum_address_s4, next_s5};
    end
  endgenerate

  genvar l, o, i;
  generate
    for (l = 0; l < PAIRS; l = l + 1) begin : pair
      // Operands of dna_mac_pair, made once for all rows: `shared` as x_s3, `own` as xc_s3.
      wire [IC*32-1:0] shared;
      wire [CG*32-1:0] own;
      for (i = 0; i < IC; i = i + 1) begin : mix
        wire [8:0] low  = x_s3[(2*l*IC+i)*9+:9];
        wire [8:0] high = x_s3[((2*l+1)*IC+i)*9+:9];
        assign shared[i*32+:32] = {3'd0, high[3:0], high - {8'd0, low[8]}, {7{low[8]}}, low};
      end
      for (i = 0; i < CG; i = i + 1) begin : channel
        wire [8:0] low  = xc_s3[(2*l*CG+i)*9+:9];
        wire [8:0] high = xc_s3[((2*l+1)*CG+i)*9+:9];
        assign own[i*32+:32] = {3'd0, high[3:0], high - {8'd0, low[8]}, {7{low[8]}}, low};
      end
      for (o = 0; o < OC; o = o + 1) begin : row
        wire [IC*32-1:0] x;
        assign x[31:0] = own[o%CG*32+:32];
        if (IC > 1) begin : several
          assign x[IC*32-1:32] = shared[IC*32-1:32];
        end
        dna_mac_pair #(
            .IC      (IC),
            .BUFFERED(BUFFERED)
        ) cells (
            .clk           (clk),
            .x_s3          (x),
            .w_s3          (w_s3[o*IC*8+:IC*8]),
            .valid_s5      (valid_s5),
            .first_s5      (first_s5),
            .max_s5        (max_s5),
            .forward_s5    (forward_s5),
            .stored_low_s5 (stored_s5[(2*l*OC+o)*32+:32]),
            .stored_high_s5(stored_s5[((2*l+1)*OC+o)*32+:32]),
            .next_low_s5   (next_s5[(2*l*OC+o)*32+:32]),
            .next_high_s5  (next_s5[((2*l+1)*OC+o)*32+:32]),
            .sum_low       (sums[(2*l*OC+o)*32+:32]),
            .sum_high      (sums[((2*l+1)*OC+o)*32+:32])
        );
      end
      wire unused = &{1'b0, shared};
    end
    for (l = 2 * PAIRS; l < PX; l = l + 1) begin : lane
      for (o = 0; o < OC; o = o + 1) begin : row
        localparam FROM = l * CG + o % CG;
        wire [IC*9-1:0] x;
        assign x[8:0] = xc_s3[FROM*9+:9];
        if (IC > 1) begin : shared
          assign x[IC*9-1:9] = x_s3[l*IC*9+9+:(IC-1)*9];
        end
        dna_mac_cell #(
            .IC      (IC),
            .MAC_LUT (MAC_LUT),
            .BUFFERED(BUFFERED)
        ) cell_lo (
            .clk       (clk),
            .x_s3      (x),
            .w_s3      (w_s3[o*IC*8+:IC*8]),
            .valid_s5  (valid_s5),
            .first_s5  (first_s5),
            .max_s5    (max_s5),
            .forward_s5(forward_s5),
            .stored_s5 (stored_s5[(l*OC+o)*32+:32]),
            .next_s5   (next_s5[(l*OC+o)*32+:32]),
            .sum       (sums[(l*OC+o)*32+:32])
        );
      end
    end
  endgenerate

  wire unused = &{1'b0, x_s3};
endmodule

`default_nettype wire
