// MAC pair: one output channel of two neighbouring pixel lanes; as two of dna_mac_cell, with one DSP per pair of products.
//
// An operand holds the activations of both lanes, high * 2^16 + low, so one product with the weight holds both products.
// The products of a cycle are summed before they are split. The sum of the low lane has 16 + K bits, of which the lower 16
// can be read. The others stand in the field of the high lane, added to the high lane's sum: that sum is computed apart,
// modulo 2^K, from the low bits of its operands, and what remains are the bits looked for.
//
// Exact for weights of 8 bits and activations of -128..255: both products have 16 bits, signed.
//
// Timing: as dna_mac_cell: operands (stage 3) in cycle t, with the control of stage 5 two cycles later, change the sums
// in cycle t + 3.
//
// Parameters: IC (1, 2, 4, 8, 16); BUFFERED as in dna_mac_cell. An operand of `x_s3` has 32 bits: 0..24 the sum, 25..28 the low bits of `high`.
`default_nettype none

module dna_mac_pair #(
    parameter IC       = 4,
    parameter BUFFERED = 0
) (
    input  wire                clk,
    input  wire [IC*32-1:0]    x_s3,
    input  wire [IC*8-1:0]     w_s3,
    input  wire                valid_s5,
    input  wire                first_s5,
    input  wire                max_s5,
    input  wire                forward_s5,
    input  wire signed [31:0]  stored_low_s5,
    input  wire signed [31:0]  stored_high_s5,
    output wire signed [31:0]  next_low_s5,
    output wire signed [31:0]  next_high_s5,
    output wire signed [31:0]  sum_low,
    output wire signed [31:0]  sum_high
);
  localparam K  = $clog2(IC);
  localparam KW = K > 0 ? K : 1;
  localparam DW = 16 + K;   // one lane's sum of products
  localparam TW = 16 + DW;  // both, the high one above 16 bits of the low one

  reg [IC*32-1:0] product_s4;
  genvar i;
  generate
    for (i = 0; i < IC; i = i + 1) begin : multiply
      wire signed [24:0] x = x_s3[i*32+:25];
      wire signed [7:0]  w = w_s3[i*8+:8];
      wire signed [31:0] p = x * w;
      always @(posedge clk) product_s4[i*32+:32] <= p;
    end
  endgenerate

  integer k;
  reg signed [TW-1:0] tree;
  reg [KW-1:0]        high_bits;
  always @* begin
    tree      = {TW{1'b0}};
    high_bits = {KW{1'b0}};
    for (k = 0; k < IC; k = k + 1) begin
      tree      = tree + {{(TW - 31) {product_s4[k*32+31]}}, product_s4[k*32+:31]};
      high_bits = high_bits + x_s3[k*32+25+:KW] * w_s3[k*8+:KW];
    end
  end

  reg [TW-1:0] both_s5;
  reg [KW-1:0] high_bits_s4, high_bits_s5;
  always @(posedge clk) begin
    both_s5      <= tree;
    high_bits_s4 <= high_bits;
    high_bits_s5 <= high_bits_s4;
  end

  wire signed [DW-1:0] low;
  wire signed [DW-1:0] borrow = low >>> 16;
  wire [DW-1:0]        high = both_s5[TW-1:16] - borrow;
  generate
    if (IC == 1) begin : one_product
      assign low = both_s5[15:0];
      wire unused = &{1'b0, high_bits_s5};
    end else begin : several_products
      assign low = {both_s5[DW-1:16] - high_bits_s5, both_s5[15:0]};
    end
  endgenerate

  // The accumulators: see dna_mac_cell.
  wire signed [31:0] dot_low   = {{(33 - DW) {low[DW-1]}}, low[DW-2:0]};
  wire signed [31:0] dot_high  = {{(33 - DW) {high[DW-1]}}, high[DW-2:0]};
  generate
    if (BUFFERED != 0) begin : in_buffer
      dna_sum_step step_low (
          .clk       (clk),
          .dot_s5    (dot_low),
          .stored_s5 (stored_low_s5),
          .forward_s5(forward_s5),
          .valid_s5  (valid_s5),
          .first_s5  (first_s5),
          .max_s5    (max_s5),
          .next_s5   (next_low_s5),
          .sum       (sum_low)
      );
      dna_sum_step step_high (
          .clk       (clk),
          .dot_s5    (dot_high),
          .stored_s5 (stored_high_s5),
          .forward_s5(forward_s5),
          .valid_s5  (valid_s5),
          .first_s5  (first_s5),
          .max_s5    (max_s5),
          .next_s5   (next_high_s5),
          .sum       (sum_high)
      );
    end else begin : in_register
      reg signed [31:0] held_low, held_high;
      wire              keep_low  = max_s5 && !first_s5 && dot_low <= held_low;
      wire              keep_high = max_s5 && !first_s5 && dot_high <= held_high;
      always @(posedge clk) begin
        if (valid_s5 && !keep_low) held_low <= (first_s5 || max_s5 ? 32'sd0 : held_low) + dot_low;
        if (valid_s5 && !keep_high) held_high <= (first_s5 || max_s5 ? 32'sd0 : held_high) + dot_high;
      end
      assign sum_low      = held_low;
      assign sum_high     = held_high;
      assign next_low_s5  = 32'sd0;
      assign next_high_s5 = 32'sd0;
      wire unused = &{1'b0, forward_s5, stored_low_s5, stored_high_s5};
    end
  endgenerate

  wire unused = &{1'b0, x_s3};
endmodule

`default_nettype wire
