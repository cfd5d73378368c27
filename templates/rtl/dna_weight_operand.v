// Weight operand: the weight buffer's word, brought into the form the MAC cells need.
//
// Mode MIX takes the word as it is. In channel modes a word holds IC kernel taps per output channel; the tap of this
// cycle goes to the first multiplier of its row, the other multipliers get 0. `ones` replaces the tap by 1.
//
// Timing: the buffer's word in cycle t (stage 2), operand in cycle t + 1 (stage 3).
//
// Parameters: OC, IC as in dna_lane.
`default_nettype none

module dna_weight_operand #(
    parameter OC = 16,
    parameter IC = 4
) (
    input  wire               clk,
    input  wire [OC*IC*8-1:0] word_s2,
    input  wire               channel_s2,
    input  wire               ones_s2,
    input  wire [3:0]         tap_s2,
    output reg  [OC*IC*8-1:0] w_s3
);
  genvar o;
  generate
    for (o = 0; o < OC; o = o + 1) begin : row
      wire [IC*8-1:0] taps = word_s2[o*IC*8+:IC*8];
      wire [7:0]      tap;
      if (IC == 1) begin : single
        assign tap = taps;
      end else begin : several
        assign tap = taps[tap_s2[$clog2(IC)-1:0]*8+:8];
      end
      wire [7:0] first = ones_s2 ? 8'd1 : channel_s2 ? tap : taps[7:0];
      always @(posedge clk) w_s3[o*IC*8+:8] <= first;
      if (IC > 1) begin : others
        always @(posedge clk)
          w_s3[(o*IC+1)*8+:(IC-1)*8] <= channel_s2 ? {((IC - 1) * 8) {1'b0}} : taps[IC*8-1:8];
      end
    end
  endgenerate

  wire unused = &{1'b0, tap_s2};
endmodule

`default_nettype wire
