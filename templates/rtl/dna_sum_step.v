// Sum step: one partial sum out of its buffer, joined with a dot product; where sums are not kept in the array.
//
// A sum that was written in the cycle before is not in the buffer yet, but still in the register: `forward_s5`. In mode
// MAX the larger of both is the result.
//
// Timing: stage 5 in cycle t; `next_s5`, to be written, in the same cycle; `sum`, for the post lanes, in t + 1.
`default_nettype none

module dna_sum_step (
    input  wire               clk,
    input  wire signed [31:0] dot_s5,
    input  wire signed [31:0] stored_s5,
    input  wire               forward_s5,
    input  wire               valid_s5,
    input  wire               first_s5,
    input  wire               max_s5,
    output wire signed [31:0] next_s5,
    output reg  signed [31:0] sum
);
  wire signed [31:0] earlier = forward_s5 ? sum : stored_s5;
  wire signed [31:0] total   = (first_s5 ? 32'sd0 : earlier) + dot_s5;
  wire signed [31:0] larger  = dot_s5 <= earlier ? earlier : dot_s5;
  assign next_s5 = max_s5 && !first_s5 ? larger : total;
  always @(posedge clk) if (valid_s5) sum <= next_s5;
endmodule

`default_nettype wire
