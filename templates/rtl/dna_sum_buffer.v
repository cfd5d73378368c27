// Sum buffer: the partial sums of one pixel lane, a word of OC sums for each pixel or group of output channels.
//
// Timing: an address in cycle t gives its word in cycle t + 1, which stays until the next read; a word written in cycle t
// can be read from cycle t + 1 on.
//
// Parameters: OC as in dna_chunk; SUM_WORDS 16..8192.
`default_nettype none

module dna_sum_buffer #(
    parameter OC        = 16,
    parameter SUM_WORDS = 64
) (
    input  wire             clk,
    input  wire             rd_en,
    input  wire [12:0]      rd_address,
    output wire [OC*32-1:0] rd_data,
    input  wire             wr_en,
    input  wire [12:0]      wr_address,
    input  wire [OC*32-1:0] wr_data
);
  localparam AW    = $clog2(SUM_WORDS);
  localparam WIDTH = OC < 4 ? OC * 32 : 128;
  localparam BANKS = OC * 32 / WIDTH;

  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : banks
      dna_ram #(
          .WIDTH(WIDTH),
          .DEPTH(SUM_WORDS)
      ) memory (
          .clk       (clk),
          .wr_en     (wr_en),
          .wr_address(wr_address[AW-1:0]),
          .wr_data   (wr_data[b*WIDTH+:WIDTH]),
          .wr_bytes  ({(WIDTH / 8) {1'b1}}),
          .rd_en     (rd_en),
          .rd_address(rd_address[AW-1:0]),
          .rd_data   (rd_data[b*WIDTH+:WIDTH])
      );
    end
  endgenerate

  wire unused = &{1'b0, rd_address, wr_address};
endmodule

`default_nettype wire
