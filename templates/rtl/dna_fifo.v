// First-in first-out queue in one clock, first word falls through.
//
// Latency: a word taken in cycle t is on the output from cycle t + 1 on, if the queue was empty.
// Handshake: ready/valid on both sides; neither side's outputs depend on its own inputs. A full queue does not take a
// word in the cycle in which one leaves. One word per cycle in and out at any depth of 2 or more.
// `level`, the number of words inside, is a register.
//
// Parameters: WIDTH >= 1 bits; DEPTH >= 2 words, any number.
`default_nettype none

module dna_fifo #(
    parameter WIDTH   = 8,
    parameter DEPTH   = 4,
    parameter LEVEL_W = $clog2(DEPTH + 1)  // do not override
) (
    input  wire               clk,
    input  wire               rst_n,

    input  wire               in_valid,
    output wire               in_ready,
    input  wire [WIDTH-1:0]   in_data,

    output wire               out_valid,
    input  wire               out_ready,
    output wire [WIDTH-1:0]   out_data,

    output reg  [LEVEL_W-1:0] level
);
  localparam POINTER_W = $clog2(DEPTH);

  generate
    if (DEPTH < 2) begin : bad_depth
      dna_fifo_DEPTH_must_be_at_least_2 error ();
    end
  endgenerate

  reg [WIDTH-1:0]     words [0:DEPTH-1];
  reg [POINTER_W-1:0] write_at, read_at;

  assign in_ready  = level != DEPTH[LEVEL_W-1:0];
  assign out_valid = level != {LEVEL_W{1'b0}};
  assign out_data  = words[read_at];

  wire push = in_valid && in_ready;
  wire pop  = out_valid && out_ready;

  localparam [31:0] LAST_INDEX = DEPTH - 1;
  wire [POINTER_W-1:0] last_index = LAST_INDEX[POINTER_W-1:0];

  always @(posedge clk) begin
    if (!rst_n) begin
      write_at <= {POINTER_W{1'b0}};
      read_at  <= {POINTER_W{1'b0}};
      level    <= {LEVEL_W{1'b0}};
    end else begin
      if (push) write_at <= (write_at == last_index) ? {POINTER_W{1'b0}} : write_at + 1'b1;
      if (pop) read_at <= (read_at == last_index) ? {POINTER_W{1'b0}} : read_at + 1'b1;
      if (push && !pop) level <= level + 1'b1;
      if (pop && !push) level <= level - 1'b1;
    end
  end

  // No reset: it would keep the words out of a memory.
  always @(posedge clk) begin
    if (push) words[write_at] <= in_data;
  end

endmodule

`default_nettype wire
