// Sequencer: reads the Program's instructions in order and hands each to the queue of its engine.
//
// The program memory holds two pages of 64 instructions. `start` makes the sequencer hand out a LOAD of page 0 (the
// bootstrap) by itself; all other page loads are instructions. LOAD goes to the queue of its port, STORE to the write
// queue, TILE to the compute queue, LAYER to the compute queue and to read port 0 in one cycle, WAIT to the queue of its
// engine. Unknown opcodes count as END, and so does everything once `halt` is high: after a bus error the memory's
// answer is not a program.
//
// The Program runs `passes` times (0 counts as 2^32). END of the last pass, or with `halt`, waits until all engines are
// idle, which includes that every STORE is committed, then pulses `done`. END of pass k before it waits until all STOREs of the
// passes before are committed, that is until the pass in `committed` is k or k + 1; then the Program starts over with the
// bootstrap, while the engines go on with pass k.
//
// What the sequencer puts into an instruction, in pass k (modulo 16):
//   wait_in, wait_w, wait_res, wait_out, wait_free, wait_ready   what END's fields add up to over k passes is added, mod 2^12
//   LOAD.wait_commit     {k, index}, or {k - 1, 0}, which holds at once, for index 0
//   LOAD, STORE.buffer   k & buffer_mask
//   WAIT.pass            k - ago
//
// Handshake: an instruction is dispatched in a cycle with `valid` and `ready` of its queue. `ready` must not depend on `valid`.
// `idle` must be low from the cycle after a dispatch until that job has no effect left to come. `passes` and `buffer_mask`
// must be stable from `start` to `done`.
//
// Timing, exactly (the model is dna/cost/dispatch.py). All cycles count in one clock:
//   start in cycle s: the bootstrap is dispatched in the first cycle >= s + 1 in which its queue is ready.
//   last word of page k (word_valid, word_last, PROGRAM) on the stream in cycle l(k). Instruction n, of page k, is
//   dispatched in the first cycle >= max(d(n - 1) + 1, l(k) + 4) in which its queue is ready (LAYER: both queues),
//   d(n - 1) being the cycle in which the instruction before it (the bootstrap before the first) was dispatched.
//   END of the last pass is over in the first cycle >= that bound with `idle`; `done` is high in the cycle after it.
//   END of pass k before it is over in the first cycle >= that bound with `committed` in pass k or k + 1. The bootstrap is
//   dispatched in the first cycle >= that one + 1 in which its queue is ready; pages count from 0 again.
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
    input  wire [31:0]                      passes,
    input  wire [1:0]                       buffer_mask,
    output reg                              done,

    // Stream of the read port that carries PROGRAM; always taken.
    input  wire                             word_valid,
    input  wire [127:0]                     word_data,
    input  wire [2:0]                       word_dest,
    input  wire [13:0]                      word_base,
    input  wire                             word_first,
    input  wire                             word_last,

    // One instruction, complete, offered to the queue or queues it is for.
    output reg  [`DNA_INSTRUCTION_BITS-1:0] job,
    output wire [PORTS-1:0]                 read_valid,
    input  wire [PORTS-1:0]                 read_ready,
    output wire                             write_valid,
    input  wire                             write_ready,
    output wire                             compute_valid,
    input  wire                             compute_ready,

    input  wire                             idle,
    input  wire [3:0]                       committed_pass
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
  wire         ending, next_pass;
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
  // No counter is waited for: the destination has none, and an index of 0 holds at once.
  assign bootstrap[`DNA_LOAD_WAIT_FREE]    = {`DNA_COUNTER_BITS{1'b0}};
  assign bootstrap[`DNA_LOAD_WAIT_COMMIT]  = {`DNA_COMMIT_BITS{1'b0}};
  assign bootstrap[`DNA_LOAD_PEER]         = 4'd0;
  assign bootstrap[`DNA_LOAD_PASS_LAST]    = 1'b0;
  assign bootstrap[`DNA_LOAD_BUFFER]       = 2'd0;
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
    if (ending || next_pass) begin
      running       <= 1'b0;
      fetched_valid <= 1'b0;
      offer_valid   <= 1'b0;
    end
    if ((start && !running) || next_pass) begin
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

  // ---- Passes: which one this is, how many come after it, and what its thresholds are higher by.

  reg  [3:0]                   pass;
  reg  [31:0]                  passes_left;
  reg  [`DNA_COUNTER_BITS-1:0] inputs, weights, params, residuals, outputs;

  always @(posedge clk) begin
    if (next_pass) begin
      pass        <= pass + 4'd1;
      passes_left <= passes_left - 32'd1;
      inputs      <= inputs + offer[`DNA_END_INPUTS];
      weights     <= weights + offer[`DNA_END_WEIGHTS];
      params      <= params + offer[`DNA_END_PARAMS];
      residuals   <= residuals + offer[`DNA_END_RESIDUALS];
      outputs     <= outputs + offer[`DNA_END_OUTPUTS];
    end
    if (start && !running) begin
      pass        <= 4'd0;
      passes_left <= passes - 32'd1;
      inputs      <= {`DNA_COUNTER_BITS{1'b0}};
      weights     <= {`DNA_COUNTER_BITS{1'b0}};
      params      <= {`DNA_COUNTER_BITS{1'b0}};
      residuals   <= {`DNA_COUNTER_BITS{1'b0}};
      outputs     <= {`DNA_COUNTER_BITS{1'b0}};
    end
  end

  // ---- The instruction as it is handed out.

  wire [3:0]                   op     = offer[`DNA_OP];
  wire [`DNA_COMMIT_BITS-1:0]  commit = offer[`DNA_LOAD_WAIT_COMMIT];
  wire [19:0]                  index  = commit[19:0];
  wire                         pass_unused = &{1'b0, commit[23:20]};
  wire [1:0]                   buffer = pass[1:0] & buffer_mask;
  reg  [`DNA_COUNTER_BITS-1:0] freed;
  always @* begin
    case (offer[`DNA_LOAD_DEST])
      `DNA_DEST_INPUT:    freed = inputs;
      `DNA_DEST_WEIGHT:   freed = weights;
      `DNA_DEST_PARAM:    freed = params;
      `DNA_DEST_RESIDUAL: freed = residuals;
      default:            freed = {`DNA_COUNTER_BITS{1'b0}};
    endcase
  end

  always @* begin
    job = offer;
    case (op)
      `DNA_OP_LOAD: begin
        job[`DNA_LOAD_WAIT_FREE]   = offer[`DNA_LOAD_WAIT_FREE] + freed;
        job[`DNA_LOAD_WAIT_COMMIT] = {index == 20'd0 ? pass - 4'd1 : pass, index};
        job[`DNA_LOAD_BUFFER]      = buffer;
      end
      `DNA_OP_STORE: begin
        job[`DNA_STORE_WAIT_READY] = offer[`DNA_STORE_WAIT_READY] + outputs;
        job[`DNA_STORE_BUFFER]     = buffer;
      end
      `DNA_OP_TILE: begin
        job[`DNA_TILE_WAIT_IN]  = offer[`DNA_TILE_WAIT_IN] + inputs;
        job[`DNA_TILE_WAIT_W]   = offer[`DNA_TILE_WAIT_W] + weights;
        job[`DNA_TILE_WAIT_RES] = offer[`DNA_TILE_WAIT_RES] + residuals;
        job[`DNA_TILE_WAIT_OUT] = offer[`DNA_TILE_WAIT_OUT] + outputs;
      end
      `DNA_OP_WAIT: job[`DNA_WAIT_PASS] = pass - {2'd0, offer[`DNA_WAIT_AGO]};
      default: ;
    endcase
  end

  // ---- Dispatch.

  wire       go          = offer_valid && !halt;
  wire       is_load     = go && op == `DNA_OP_LOAD;
  wire       is_store    = go && op == `DNA_OP_STORE;
  wire       is_layer    = go && op == `DNA_OP_LAYER;
  wire       is_tile     = go && op == `DNA_OP_TILE;
  wire       is_wait     = go && op == `DNA_OP_WAIT;
  wire       is_end      = offer_valid && !(is_load || is_store || is_layer || is_tile || is_wait);
  wire       wait_write  = offer[`DNA_WAIT_ENGINE] == `DNA_ENGINE_WRITE;
  wire       wait_second = PORTS == 2 && offer[`DNA_WAIT_ENGINE] == `DNA_ENGINE_READ1;
  wire       load_second = PORTS == 2 && offer[`DNA_LOAD_PORT];

  assign read_valid[0] = (is_load && !load_second) || (is_layer && compute_ready)
                         || (is_wait && !wait_write && !wait_second);
  assign write_valid   = is_store || (is_wait && wait_write);
  assign compute_valid = is_tile || (is_layer && read_ready[0]);
  generate
    if (PORTS == 2) begin : second
      assign read_valid[1] = (is_load && load_second) || (is_wait && wait_second);
    end
  endgenerate

  // All of the passes before are committed: the difference, modulo 16, is not negative.
  wire [3:0] committed_ahead = committed_pass - pass;
  wire       last_pass       = passes_left == 32'd0 || halt;
  wire       ahead_unused    = &{1'b0, committed_ahead};

  assign ending      = is_end && last_pass && idle;
  assign next_pass   = is_end && !last_pass && !committed_ahead[3];
  assign offer_taken = |(read_valid & read_ready) || (compute_valid && compute_ready) || (write_valid && write_ready);
endmodule

`default_nettype wire
