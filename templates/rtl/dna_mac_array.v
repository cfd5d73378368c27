// MAC array: OC x PX cells, IC multipliers each. Weights are shared by all lanes, activations by all output channels.
//
// Timing and modes: see dna_mac_cell. Output channel row o takes the first activation of channel o % CG of its lane,
// which is the shared first activation in mode MIX.
//
// Parameters: OC, IC, PX, CG as in dna_lane.
`default_nettype none

module dna_mac_array #(
    parameter OC = 16,
    parameter IC = 4,
    parameter PX = 4,
    parameter CG = OC < 16 ? OC : 16
) (
    input  wire                  clk,
    input  wire [PX*IC*9-1:0]    x_s3,
    input  wire [PX*CG*9-1:0]    xc_s3,
    input  wire [OC*IC*8-1:0]    w_s3,
    input  wire                  valid_s5,
    input  wire                  first_s5,
    input  wire                  max_s5,
    output wire [PX*OC*32-1:0]   sums
);
  genvar l, o;
  generate
    for (l = 0; l < PX; l = l + 1) begin : lane
      for (o = 0; o < OC; o = o + 1) begin : row
        localparam FROM = l * CG + o % CG;
        wire [IC*9-1:0] x;
        assign x[8:0] = xc_s3[FROM*9+:9];
        if (IC > 1) begin : shared
          assign x[IC*9-1:9] = x_s3[l*IC*9+9+:(IC-1)*9];
        end
        dna_mac_cell #(
            .IC(IC)
        ) cell_lo (
            .clk     (clk),
            .x_s3    (x),
            .w_s3    (w_s3[o*IC*8+:IC*8]),
            .valid_s5(valid_s5),
            .first_s5(first_s5),
            .max_s5  (max_s5),
            .sum     (sums[(l*OC+o)*32+:32])
        );
      end
    end
  endgenerate

  wire unused = &{1'b0, x_s3};
endmodule

`default_nettype wire
