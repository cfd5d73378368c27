// Sequencer: reads the Program's instructions in order and hands each to the queue of its engine.
//
// The program memory holds two pages of 64 instructions. `start` makes the sequencer hand out a LOAD of page 0 (the
// bootstrap) by itself; all other page loads are instructions. LOAD goes to the queue of its port, STORE to the write
// queue, TILE to the compute queue, LAYER to the compute queue and to read port 0 in one cycle. END waits until all
// engines are idle and every STORE handed out is committed, then pulses `done`. Unknown opcodes count as END, and
// so does everything once `halt` is high: after a bus error the memory's answer is not a program.
//
// Handshake: an instruction is dispatched in a cycle with `valid` and `ready` of its queue. `ready` must not depend on `valid`.
// `idle` must be low from the cycle after a dispatch until that job has no effect left to come.
//
// Timing, exactly (the model is dna/cost/dispatch.py). All cycles count in one clock:
//   start in cycle s: the bootstrap is dispatched in the first cycle >= s + 1 in which its queue is ready.
//   last word of page k (word_valid, word_last, PROGRAM) on the stream in cycle l(k). Instruction n, of page k, is
//   dispatched in the first cycle >= max(d(n - 1) + 1, l(k) + 4) in which its queue is ready (LAYER: both queues),
//   d(n - 1) being the cycle in which the instruction before it (the bootstrap before the first) was dispatched.
//   END is over in the first cycle >= that bound with `idle`, all committed; `done` is high in the cycle after it.
//
// Parameters: PORTS 1 or 2 read ports; weights, parameters and program come through the last.
`default_nettype none
`include "isa.vh"

module dna_sequencer #(
    parameter PORTS = 2
) (
    input  wire                             clk,
    input  wire                             rst_n,
    input  wire                             start,
    input  wire                             halt,
    output reg                              done,

    // Stream of the read port that carries PROGRAM; always taken.
    input  wire                             word_valid,
    input  wire [127:0]                     word_data,
    input  wire [2:0]                       word_dest,
    input  wire [13:0]                      word_base,
    input  wire                             word_first,
    input  wire                             word_last,

    // One instruction, offered to the queue or queues it is for.
    output wire [`DNA_INSTRUCTION_BITS-1:0] job,
    output wire [PORTS-1:0]                 read_valid,
    input  wire [PORTS-1:0]                 read_ready,
    output wire                             write_valid,
    input  wire                             write_ready,
    output wire                             compute_valid,
    input  wire                             compute_ready,

    input  wire                             idle,
    input  wire [`DNA_COMMIT_BITS-1:0]      committed
);
  generate
    if (PORTS != 1 && PORTS != 2) begin : bad_parameter
      dna_sequencer_PORTS_must_be_1_or_2 error ();
    end
  endgenerate

  // ---- Program memory: two banks side by side, a word of each makes one instruction.

  reg          write_s1;
  reg  [127:0] data_s1;
  reg  [7:0]   address_s1;  // in words: instruction and half
  reg          page_s1;
  wire         word_here = word_valid && word_dest == `DNA_DEST_PROGRAM;

  wire         unused = &{1'b0, word_base[13:7]};

  always @(posedge clk) begin
    write_s1 <= word_here;
    page_s1  <= word_here && word_last;
    data_s1  <= word_data;
    if (word_here) address_s1 <= word_first ? {word_base[6:0], 1'b0} : address_s1 + 8'd1;
    if (!rst_n) begin
      write_s1 <= 1'b0;
      page_s1  <= 1'b0;
    end
  end

  reg  [7:0]   pc;  // page modulo 4, and place in the page
  reg          running;
  wire         fetch;
  wire [255:0] fetched;

  genvar h;
  generate
    for (h = 0; h < 2; h = h + 1) begin : halves
      dna_ram #(
          .WIDTH(128),
          .DEPTH(128)
      ) memory (
          .clk       (clk),
          .wr_en     (write_s1 && address_s1[0] == h),
          .wr_address(address_s1[7:1]),
          .wr_data   (data_s1),
          .wr_bytes  (16'hffff),
          .rd_en     (fetch),
          .rd_address(pc[6:0]),
          .rd_data   (fetched[h*128+:128])
      );
    end
  endgenerate

  // ---- Fetch, then the register that is offered. At most two pages are ahead, so two bits tell them apart.

  reg  [1:0]   pages_loaded;
  reg          fetched_valid;
  reg          offer_valid;
  reg  [255:0] offer;
  wire         offer_taken;
  wire         ending;
  wire         offer_next = !offer_valid || offer_taken;
  assign fetch = running && pc[7:6] != pages_loaded && (!fetched_valid || offer_next);

  wire [255:0] bootstrap;
  assign bootstrap[`DNA_LOAD_OP]           = `DNA_OP_LOAD;
  assign bootstrap[`DNA_LOAD_PORT]         = PORTS == 2;
  assign bootstrap[`DNA_LOAD_DEST]         = `DNA_DEST_PROGRAM;
  assign bootstrap[`DNA_LOAD_REGION]       = `DNA_REGION_PROGRAM;
  assign bootstrap[`DNA_LOAD_ADDRESS]      = 28'd0;
  assign bootstrap[`DNA_LOAD_RUN]          = 16'd128;
  assign bootstrap[`DNA_LOAD_N_INNER]      = 12'd1;
  assign bootstrap[`DNA_LOAD_STRIDE_INNER] = 24'd0;
  assign bootstrap[`DNA_LOAD_N_OUTER]      = 12'd1;
  assign bootstrap[`DNA_LOAD_STRIDE_OUTER] = 24'd0;
  assign bootstrap[`DNA_LOAD_BASE]         = 14'd0;
  assign bootstrap[`DNA_LOAD_COLS]         = 10'd0;
  assign bootstrap[`DNA_LOAD_GROUPS]       = 12'd0;
  assign bootstrap[`DNA_LOAD_ROW0]         = 10'd0;
  assign bootstrap[`DNA_LOAD_COL0]         = 10'd0;
  assign bootstrap[`DNA_LOAD_SIGNAL]       = 1'b1;
  assign bootstrap[`DNA_LOAD_WAIT_FREE]    = {`DNA_COUNTER_BITS{1'b0}};
  assign bootstrap[`DNA_LOAD_WAIT_COMMIT]  = {`DNA_COMMIT_BITS{1'b0}};
  assign bootstrap[255:`DNA_LOAD_BITS]     = {(256 - `DNA_LOAD_BITS) {1'b0}};

  always @(posedge clk) begin
    done <= ending;
    if (page_s1) pages_loaded <= pages_loaded + 2'd1;
    if (fetch) pc <= pc + 8'd1;
    if (fetch || offer_next) fetched_valid <= fetch;
    if (offer_next) begin
      offer_valid <= fetched_valid;
      offer       <= fetched;
    end
    if (ending) begin
      running       <= 1'b0;
      fetched_valid <= 1'b0;
      offer_valid   <= 1'b0;
    end
    if (start && !running) begin
      running      <= 1'b1;
      pc           <= 8'd0;
      pages_loaded <= 2'd0;
      offer_valid  <= 1'b1;
      offer        <= bootstrap;
    end
    if (!rst_n) begin
      done          <= 1'b0;
      running       <= 1'b0;
      fetched_valid <= 1'b0;
      offer_valid   <= 1'b0;
      pages_loaded  <= 2'd0;
      pc            <= 8'd0;
    end
  end

  // ---- Dispatch.

  wire [3:0] op          = offer[`DNA_OP];
  wire       go          = offer_valid && !halt;
  wire       is_load     = go && op == `DNA_OP_LOAD;
  wire       is_store    = go && op == `DNA_OP_STORE;
  wire       is_layer    = go && op == `DNA_OP_LAYER;
  wire       is_tile     = go && op == `DNA_OP_TILE;
  wire       is_end      = offer_valid && !(is_load || is_store || is_layer || is_tile);
  wire       second_port = PORTS == 2 && offer[`DNA_LOAD_PORT];

  assign job           = offer;
  assign read_valid[0] = (is_load && !second_port) || (is_layer && compute_ready);
  assign write_valid   = is_store;
  assign compute_valid = is_tile || (is_layer && read_ready[0]);
  generate
    if (PORTS == 2) begin : second
      assign read_valid[1] = is_load && second_port;
    end
  endgenerate

  reg [`DNA_COMMIT_BITS-1:0] stores;
  always @(posedge clk) begin
    if (start && !running) stores <= {`DNA_COMMIT_BITS{1'b0}};
    else if (is_store && write_ready) stores <= stores + 1'b1;
    if (!rst_n) stores <= {`DNA_COMMIT_BITS{1'b0}};
  end

  assign ending      = is_end && idle && committed == stores;
  assign offer_taken = |(read_valid & read_ready) || (compute_valid && compute_ready) || (write_valid && write_ready);
endmodule

`default_nettype wire
