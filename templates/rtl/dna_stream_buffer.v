// Stream buffer: a memory whose words are BANKS stream words wide, filled from the stream in order.
//
// Stream word n of a job goes to bank n % BANKS at address base + n / BANKS. Used for weights, parameters and
// residual tiles.
//
// Timing: a stream word in cycle t can be read by an address in cycle t + 2 or later; an address in cycle t gives its word
// in cycle t + 1, which stays while `rd_en` is low. Handshake: none; space was reserved before the stream was asked for.
//
// Parameters: BANKS 1..128, DEPTH 16..8192.
`default_nettype none

module dna_stream_buffer #(
    parameter BANKS = 1,
    parameter DEPTH = 512
) (
    input  wire                 clk,
    input  wire                 rst_n,
    input  wire                 word_valid,
    input  wire [127:0]         word_data,
    input  wire                 word_first,
    input  wire [13:0]          word_base,
    input  wire                 rd_en,
    input  wire [13:0]          rd_addr,
    output wire [BANKS*128-1:0] rd_data
);
  localparam AW = $clog2(DEPTH);
  localparam [BANKS-1:0] FIRST = 1;

  reg  [BANKS-1:0] next_bank;
  reg  [13:0]      next_address;
  wire [BANKS-1:0] bank    = word_first ? FIRST : next_bank;
  wire [13:0]      address = word_first ? word_base : next_address;

  reg  [BANKS-1:0] write;
  reg  [AW-1:0]    write_address;
  reg  [127:0]     write_data;

  always @(posedge clk) begin
    write         <= word_valid ? bank : {BANKS{1'b0}};
    write_address <= address[AW-1:0];
    write_data    <= word_data;
    if (word_valid) begin
      next_bank    <= bank[BANKS-1] ? FIRST : bank << 1;
      next_address <= bank[BANKS-1] ? address + 14'd1 : address;
    end
    if (!rst_n) write <= {BANKS{1'b0}};
  end

  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : banks
      dna_ram #(
          .WIDTH(128),
          .DEPTH(DEPTH)
      ) memory (
          .clk    (clk),
          .wr_en  (write[b]),
          .wr_address(write_address),
          .wr_data(write_data),
          .wr_bytes(16'hffff),
          .rd_en  (rd_en),
          .rd_address(rd_addr[AW-1:0]),
          .rd_data(rd_data[b*128+:128])
      );
    end
  endgenerate

  wire unused = &{1'b0, rd_addr, address};
endmodule

`default_nettype wire
