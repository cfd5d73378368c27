// Post lane: bias, saturation, requantisation, residual and clip of one output channel per cycle.
//
//     a = saturate(sum + bias, 25 bit signed)
//     y = clip((a * m + r * mr + (1 << (s - 1))) >> s, lo, hi)
//
// Parameter word: bias bits 0..31, multiplier m bits 32..48, shift s bits 49..54.
//
// Timing: sum, parameters and residual in cycle t (stage 2), y in cycle t + 5 (stage 7). One result per cycle.
//
// Parameters: RESIDUAL 0 leaves the second multiplier out; POST_LUT 1 makes the multipliers of LUTs.
`default_nettype none

module dna_post_lane #(
    parameter RESIDUAL = 1,
    parameter POST_LUT = 0
) (
    input  wire               clk,
    input  wire signed [31:0] sum_d2,
    input  wire [54:0]        param_d2,
    input  wire signed [8:0]  residual_d2,
    // constant over a layer
    input  wire [16:0]        res_multiplier,
    input  wire signed [8:0]  lo,
    input  wire signed [8:0]  hi,
    output reg  [7:0]         y_d7
);
  localparam signed [32:0] A_MAX = 33'sd16777215;
  localparam signed [32:0] A_MIN = -33'sd16777216;

  // Stage 3: bias and saturation.
  wire signed [32:0] biased = {sum_d2[31], sum_d2} + {param_d2[31], param_d2[31:0]};
  reg signed [24:0]  a_d3;
  reg signed [17:0]  m_d3;
  reg [5:0]          s_d3;
  reg signed [8:0]   r_d3;
  always @(posedge clk) begin
    a_d3 <= biased > A_MAX ? 25'sh0ffffff : biased < A_MIN ? 25'sh1000000 : biased[24:0];
    m_d3 <= {1'b0, param_d2[48:32]};
    s_d3 <= param_d2[54:49];
    r_d3 <= residual_d2;
  end

  // Stage 4: products and the rounding constant. Made of LUTs, a * m comes in two parts.
  wire signed [42:0] am_d4;
  wire signed [42:0] am_high_d4;
  wire signed [27:0] rm_d4;
  wire signed [17:0] mr = {1'b0, res_multiplier};
  reg [39:0]         half_d4;
  reg [5:0]          s_d4;
  wire [5:0]         half_bit = s_d3 - 6'd1;
  always @(posedge clk) begin
    half_d4 <= 40'd1 << half_bit;
    s_d4    <= s_d3;
  end
  generate
    if (POST_LUT != 0) begin : lut_product
      wire signed [34:0] low;
      wire signed [32:0] high;
      dna_lut_multiplier #(
          .AW    (25),
          .DIGITS(5)
      ) lower_bits (
          .clk  (clk),
          .a    (a_d3),
          .b    (m_d3[9:0]),
          .carry(1'b0),
          .p    (low)
      );
      dna_lut_multiplier #(
          .AW    (25),
          .DIGITS(4)
      ) upper_bits (
          .clk  (clk),
          .a    (a_d3),
          .b    (m_d3[17:10]),
          .carry(m_d3[9]),
          .p    (high)
      );
      assign am_d4      = {{8{low[34]}}, low};
      assign am_high_d4 = {high, 10'd0};
    end else begin : product
      reg signed [42:0] p;
      always @(posedge clk) p <= a_d3 * m_d3;
      assign am_d4      = p;
      assign am_high_d4 = 43'sd0;
    end
    if (RESIDUAL == 0) begin : without_residual
      assign rm_d4 = 28'sd0;
      wire unused = &{1'b0, r_d3, mr};
    end else if (POST_LUT != 0) begin : lut_residual
      dna_lut_multiplier #(
          .AW    (18),
          .DIGITS(5)
      ) residual_product (
          .clk  (clk),
          .a    (mr),
          .b    ({r_d3[8], r_d3}),
          .carry(1'b0),
          .p    (rm_d4)
      );
    end else begin : with_residual
      reg signed [26:0] p;
      always @(posedge clk) p <= r_d3 * mr;
      assign rm_d4 = {p[26], p};
    end
  endgenerate

  // Stage 5: their sum; stage 6: shift; stage 7: clip. In this order the sum is made by the DSPs' own adders: the rounding
  // constant enters the residual's (or the only one), whose output enters the other.
  wire signed [47:0] rest = {{20{rm_d4[27]}}, rm_d4} + {8'd0, half_d4};
  reg signed [47:0]  total_d5;
  reg [5:0]          s_d5;
  reg signed [47:0]  shifted_d6;
  wire signed [47:0] lo_wide = {{39{lo[8]}}, lo};
  wire signed [47:0] hi_wide = {{39{hi[8]}}, hi};
  always @(posedge clk) begin
    total_d5   <= {{5{am_d4[42]}}, am_d4} + {{5{am_high_d4[42]}}, am_high_d4} + rest;
    s_d5       <= s_d4;
    shifted_d6 <= total_d5 >>> s_d5;
    y_d7       <= shifted_d6 < lo_wide ? lo[7:0] : shifted_d6 > hi_wide ? hi[7:0] : shifted_d6[7:0];
  end
endmodule

`default_nettype wire
