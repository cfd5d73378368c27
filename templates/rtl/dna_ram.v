// Simple dual-port RAM: one port writes, the other reads, in one clock. The place where an ASIC flow puts its macros.
//
// Latency: `rd_data` belongs to the address given with `rd_en` one cycle before, and stays until the next `rd_en`.
// A read of the word that is written in the same cycle gives the old word; users must not rely on it, macros differ.
//
// Parameters: WIDTH in bits, a multiple of 8 with BYTE_WRITE; DEPTH >= 2 words; BYTE_WRITE 1: `wr_bytes` selects the
// bytes that are written, 0: `wr_bytes` is ignored and whole words are written.
`default_nettype none

module dna_ram #(
    parameter WIDTH      = 128,
    parameter DEPTH      = 512,
    parameter BYTE_WRITE = 0,
    parameter ADDRESS_W  = $clog2(DEPTH),     // do not override
    parameter BYTES      = (WIDTH + 7) / 8    // do not override
) (
    input  wire                 clk,

    input  wire                 wr_en,
    input  wire [BYTES-1:0]     wr_bytes,
    input  wire [ADDRESS_W-1:0] wr_address,
    input  wire [WIDTH-1:0]     wr_data,

    input  wire                 rd_en,
    input  wire [ADDRESS_W-1:0] rd_address,
    output reg  [WIDTH-1:0]     rd_data
);
  generate
    if (DEPTH < 2) begin : bad_depth
      dna_ram_DEPTH_must_be_at_least_2 error ();
    end
    if (BYTE_WRITE != 0 && WIDTH % 8 != 0) begin : bad_width
      dna_ram_WIDTH_must_be_a_multiple_of_8_with_BYTE_WRITE error ();
    end
  endgenerate

  (* ram_style = "auto" *)
  reg [WIDTH-1:0] words [0:DEPTH-1];

  always @(posedge clk) begin
    if (rd_en) rd_data <= words[rd_address];
  end

  generate
    if (BYTE_WRITE != 0) begin : byte_write
      integer i;
      always @(posedge clk) begin
        for (i = 0; i < BYTES; i = i + 1) begin
          if (wr_en && wr_bytes[i]) words[wr_address][i*8+:8] <= wr_data[i*8+:8];
        end
      end
    end else begin : word_write
      wire bytes_unused = &{1'b0, wr_bytes};
      always @(posedge clk) begin
        if (wr_en) words[wr_address] <= wr_data;
      end
    end
  endgenerate

endmodule

`default_nettype wire
