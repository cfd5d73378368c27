// Multiplier without a DSP: the multiplier's digits of -2..2 (Booth), two bits each, are added up row by row. What a
// digit chooses of the multiplicand is chosen in the LUTs of its row's adder: about AW LUTs per digit.
//
// Timing: operands in cycle t, `p` = a * (b + carry) in cycle t + 1. With `carry` the bit below b, the upper bits of a longer
// multiplier are multiplied; its lower ones, ended by that bit, count as a signed number.
//
// Parameters: AW bits of the signed multiplicand, DIGITS: half the bits of the signed multiplier.
`default_nettype none

module dna_lut_multiplier #(
    parameter AW     = 25,
    parameter DIGITS = 5
) (
    input  wire                            clk,
    input  wire signed [AW-1:0]            a,
    input  wire signed [2*DIGITS-1:0]      b,
    input  wire                            carry,
    output reg  signed [AW+2*DIGITS-1:0]   p
);
  wire [2*DIGITS:0] bits = {b, carry};
  // Row d: the sum of the digits up to d, without the bits that no later digit changes: two per row.
  wire [DIGITS*(AW+2)-1:0]  sums;
  wire [AW+2*DIGITS-1:0]    product;
  genvar d;
  generate
    for (d = 0; d < DIGITS; d = d + 1) begin : row
      wire [2:0]    digit = bits[2*d+:3];
      wire          one   = digit[1] ^ digit[0];
      wire          two   = digit == 3'b011 || digit == 3'b100;
      wire [AW:0]   size  = one ? {a[AW-1], a} : two ? {a, 1'b0} : {(AW + 1) {1'b0}};
      wire [AW:0]   part  = size ^ {(AW + 1) {digit[2]}};
      wire [AW+1:0] above;
      if (d == 0) begin : bottom
        assign above = {(AW + 2) {1'b0}};
      end else begin : higher
        assign above = {{2{sums[d*(AW+2)-1]}}, sums[(d-1)*(AW+2)+2+:AW]};
      end
      assign sums[d*(AW+2)+:AW+2] = above + {part[AW], part} + {{(AW + 1) {1'b0}}, digit[2]};
      assign product[2*d+:2] = sums[d*(AW+2)+:2];
    end
  endgenerate
  assign product[AW+2*DIGITS-1:2*DIGITS] = sums[(DIGITS-1)*(AW+2)+2+:AW];
  always @(posedge clk) p <= product;
endmodule

`default_nettype wire
