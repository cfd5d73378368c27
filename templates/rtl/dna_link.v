// Link: a bank of on-chip activation memory, from one chunk's write port to one chunk's read port.
//
// Both sides are AXI4 without what is never needed: every address and beat is taken at once, so there is no ready; bursts are
// incrementing, of whole words of 16 bytes; there are no errors. Addresses are bytes; the word address is taken modulo
// WORDS. The two sides know nothing of each other: that a word is there before it is read, and read before it is
// overwritten, is the Program's affair. A word that is read in the cycle in which it is written has no certain value.
//
// Timing, exactly (LINK_MEMORY in dna/accelerator/chunk.py). "In cycle t": sampled at rising clock edge t.
//   rvalid     first beat of a burst whose address comes in cycle t: in cycle max(t + 3, last beat of the burst before + 1);
//              then one beat per cycle.
//   write      a beat in cycle t is what a burst reads whose address comes in cycle t + 1 or later.
//   rlast      only with rvalid, for dna_top takes the OR of all links.
//   bvalid     2 cycles after the burst's last beat. A burst's address must come in an earlier cycle than its first beat.
//
// Parameters: WORDS 64 to 65536, a power of two; ADDR_W 32 to 64; OUTSTANDING 1 to 32: bursts under way on either side, from
// the address to the last beat (read) or to the response (write), at most.
`default_nettype none

module dna_link #(
    parameter WORDS       = 1024,
    parameter ADDR_W      = 32,
    parameter OUTSTANDING = 32
) (
    input  wire              clk,
    input  wire              rst_n,
    // from the writer
    input  wire              awvalid,
    input  wire [ADDR_W-1:0] awaddr,
    input  wire              wvalid,
    input  wire [127:0]      wdata,
    input  wire              wlast,
    output reg               bvalid,
    // from and to the reader
    input  wire              arvalid,
    input  wire [ADDR_W-1:0] araddr,
    input  wire [7:0]        arlen,
    output reg               rvalid,
    output reg  [127:0]      rdata,
    output reg               rlast
);
  localparam AW    = $clog2(WORDS);
  localparam QUEUE = (OUTSTANDING < 2) ? 2 : OUTSTANDING;

  generate
    if (WORDS < 64 || WORDS > 65536 || WORDS != (1 << AW)) begin : bad_words
      dna_link_WORDS_must_be_a_power_of_two_from_64_to_65536 error ();
    end
    if (OUTSTANDING < 1 || OUTSTANDING > 32) begin : bad_outstanding
      dna_link_OUTSTANDING_must_be_1_to_32 error ();
    end
  endgenerate

  wire unused = &{1'b0, awaddr, araddr};

  // ---- Writes: start addresses wait for their beats.
  wire [AW-1:0] write_start;
  wire          write_ready_unused, write_valid_unused;
  wire [$clog2(QUEUE+1)-1:0] write_level_unused;
  dna_fifo #(
      .WIDTH(AW),
      .DEPTH(QUEUE)
  ) u_writes (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (awvalid),
      .in_ready (write_ready_unused),
      .in_data  (awaddr[4+:AW]),
      .out_valid(write_valid_unused),
      .out_ready(wvalid && wlast),
      .out_data (write_start),
      .level    (write_level_unused)
  );

  reg           write_first;          // the next beat is the first of its burst
  reg           write_s1, last_s1;
  reg  [AW-1:0] write_at_s1;
  reg  [127:0]  write_data_s1;
  always @(posedge clk) begin
    write_s1 <= wvalid;
    last_s1  <= wvalid && wlast;
    bvalid   <= last_s1;
    if (wvalid) write_first <= wlast;
    if (!rst_n) begin
      write_s1    <= 1'b0;
      last_s1     <= 1'b0;
      bvalid      <= 1'b0;
      write_first <= 1'b1;
    end
  end
  always @(posedge clk) begin
    if (wvalid) begin
      write_at_s1   <= write_first ? write_start : write_at_s1 + 1'b1;
      write_data_s1 <= wdata;
    end
  end

  // ---- Reads: a word is asked for in each cycle in which there is a burst.
  wire [AW-1:0] read_start;
  wire [7:0]    read_len;
  wire          read_valid, read_ready_unused;
  wire [$clog2(QUEUE+1)-1:0] read_level_unused;
  reg  [7:0]    read_count;           // words of the burst already asked for
  wire          read_last = read_count == read_len;
  dna_fifo #(
      .WIDTH(AW + 8),
      .DEPTH(QUEUE)
  ) u_reads (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (arvalid),
      .in_ready (read_ready_unused),
      .in_data  ({araddr[4+:AW], arlen}),
      .out_valid(read_valid),
      .out_ready(read_last),
      .out_data ({read_start, read_len}),
      .level    (read_level_unused)
  );

  reg  [AW-1:0] read_next;
  wire [AW-1:0] read_at = read_count == 8'd0 ? read_start : read_next;
  wire [127:0]  word;
  reg           read_s1, last_read_s1;
  always @(posedge clk) begin
    read_s1      <= read_valid;
    last_read_s1 <= read_valid && read_last;
    rvalid       <= read_s1;
    rlast        <= last_read_s1;
    rdata        <= word;
    read_next    <= read_at + 1'b1;
    if (read_valid) read_count <= read_last ? 8'd0 : read_count + 8'd1;
    if (!rst_n) begin
      read_s1    <= 1'b0;
      rvalid     <= 1'b0;
      read_count <= 8'd0;
    end
  end

  dna_ram #(
      .WIDTH(128),
      .DEPTH(WORDS)
  ) bank (
      .clk       (clk),
      .wr_en     (write_s1),
      .wr_bytes  (16'hffff),
      .wr_address(write_at_s1),
      .wr_data   (write_data_s1),
      .rd_en     (read_valid),
      .rd_address(read_at),
      .rd_data   (word)
  );
endmodule

`default_nettype wire
