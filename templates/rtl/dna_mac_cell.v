// MAC cell: one output channel of one pixel lane; a dot product of length IC per cycle, and its accumulator.
//
// Weights are signed 8 bit, activations 9 bit with their sign. In mode MAX the accumulator keeps the maximum instead of
// the sum (weight 1, one activation). The accumulator never overflows: the compiler proves it.
//
// Timing: operands (stage 3) in cycle t, with the control of stage 5 two cycles later, change `sum` in cycle t + 3.
//
// Parameters: IC (1, 2, 4, 8, 16). BUFFERED 1: sums come from and go to a buffer (dna_sum_step) through `stored_s5` and
// `next_s5`; the accumulator holds the one of the last cycle. 0: these ports, and `forward_s5`, are not used.
// MAC_LUT 1 makes the multipliers of LUTs, at the same timing.
`default_nettype none

module dna_mac_cell #(
    parameter IC       = 4,
    parameter MAC_LUT  = 0,
    parameter BUFFERED = 0
) (
    input  wire                clk,
    input  wire [IC*9-1:0]     x_s3,
    input  wire [IC*8-1:0]     w_s3,
    input  wire                valid_s5,
    input  wire                first_s5,
    input  wire                max_s5,
    input  wire                forward_s5,
    input  wire signed [31:0]  stored_s5,
    output wire signed [31:0]  next_s5,
    output wire signed [31:0]  sum
);
  localparam DW = 17 + $clog2(IC);

  reg [IC*17-1:0] product_s4;
  genvar i;
  generate
    for (i = 0; i < IC; i = i + 1) begin : multiply
      wire signed [8:0]  x = x_s3[i*9+:9];
      wire signed [7:0]  w = w_s3[i*8+:8];
      if (MAC_LUT != 0) begin : lut_product
        wire signed [16:0] p;
        dna_lut_multiplier #(
            .AW    (9),
            .DIGITS(4)
        ) multiplier (
            .clk  (clk),
            .a    (x),
            .b    (w),
            .carry(1'b0),
            .p    (p)
        );
        always @* product_s4[i*17+:17] = p;
      end else begin : product
        wire signed [16:0] p = x * w;
        always @(posedge clk) product_s4[i*17+:17] <= p;
      end
    end
  endgenerate

  integer k;
  reg signed [DW-1:0] tree;
  always @* begin
    tree = {DW{1'b0}};
    for (k = 0; k < IC; k = k + 1)
      tree = tree + {{(DW - 16) {product_s4[k*17+16]}}, product_s4[k*17+:16]};
  end

  reg signed [DW-1:0] dot_s5;
  wire signed [31:0]  dot = {{(32 - DW) {dot_s5[DW-1]}}, dot_s5};
  always @(posedge clk) dot_s5 <= tree;

  generate
    if (BUFFERED != 0) begin : in_buffer
      dna_sum_step step (
          .clk       (clk),
          .dot_s5    (dot),
          .stored_s5 (stored_s5),
          .forward_s5(forward_s5),
          .valid_s5  (valid_s5),
          .first_s5  (first_s5),
          .max_s5    (max_s5),
          .next_s5   (next_s5),
          .sum       (sum)
      );
    end else begin : in_register
      // A maximum that stays is held, a new one is 0 + dot: the adder's own LUTs choose, without another multiplexer.
      reg signed [31:0] held;
      wire              keep = max_s5 && !first_s5 && dot <= held;
      always @(posedge clk) if (valid_s5 && !keep) held <= (first_s5 || max_s5 ? 32'sd0 : held) + dot;
      assign sum     = held;
      assign next_s5 = 32'sd0;
      wire unused = &{1'b0, forward_s5, stored_s5};
    end
  endgenerate
endmodule

`default_nettype wire
