// DMA read port: executes LOAD jobs on an AXI4 master or an on-chip link and streams words of 16 bytes to the buffers.
//
// A LOAD leaves the queue when the freed counter of its destination and `committed` have reached what it waits for. Its runs
// are cut into aligned bursts; at most OUTSTANDING of them are under way (put into the address register, last beat not yet
// come). Space was reserved by the waits, so `m_axi_rready` is always 1 and the stream never waits. Data of several jobs
// may be under way at once; the stream keeps the order of the jobs.
// A LAYER job waits until all earlier LOADs have left the stream register, then holds `layer_valid` until `layer_done`.
// A WAIT job leaves the queue as soon as its counter has the value, whatever is still under way (dna_wait.v).
//
// A burst's target is `m_axi_archip`: 0 memory, 1 the link from chunk `m_axi_arpeer`, there the address is 16 times the job's
// word address. Only one target has bursts under way at a time, so whoever joins the targets to the one bus selects by
// these registers alone.
//
// Timing, exactly (the model is dna/cost/ports.py). "In cycle t": sampled at rising clock edge t.
//   popped           job_valid and job_ready, of a LOAD: first cycle >= the job is visible, its waits hold, the last
//                    burst of the LOAD before entered the address register, a LAYER or WAIT before was popped in an
//                    earlier cycle.
//   enters(n)        burst n enters the address register in the first cycle >= popped + 1, enters(n - 1) + 1,
//                    last_beat(n - OUTSTANDING) + 1, address register empty or being emptied; if burst n - 1 had
//                    another target, also last_beat(n - 1) + 1.
//   arvalid          from cycle enters(n) + 1 on.
//   word_valid       in the cycle after the beat that completes the word.
//   layer_valid      from the cycle after the first one with the LAYER job visible and the port quiet; after a LOAD the port
//                    is quiet from the cycle after the one with its last word on the stream.
//   LAYER popped     in the cycle with layer_done.
//   WAIT popped      in the first cycle in which it is visible and its condition holds.
//
// Handshake: `job` is stable while `job_valid`; only LOAD, LAYER and WAIT may come. `idle`: no job waits and none is under way.
// `error` stays set after a beat with RRESP of SLVERR or DECERR until `clear`; the data of such a beat is used all the same.
//
// Parameters: ADDR_W 32 to 64; DATA_W 64 or 128; BURST 2 to 256 beats, a power of two, at most 4096 bytes;
// OUTSTANDING 1 to 32 bursts; CHUNKS 1 to 16, whose counters a WAIT may look at. Links need DATA_W 128.
`default_nettype none
`include "isa.vh"

module dna_read_port #(
    parameter ADDR_W      = 32,
    parameter DATA_W      = 128,
    parameter BURST       = 16,
    parameter OUTSTANDING = 8,
    parameter CHUNKS      = 1
) (
    input  wire                clk,
    input  wire                rst_n,

    input  wire                job_valid,
    output wire                job_ready,
    input  wire [255:0]        job,

    input  wire [11:0]         freed_input,
    input  wire [11:0]         freed_weight,
    input  wire [11:0]         freed_param,
    input  wire [11:0]         freed_residual,
    input  wire [`DNA_COMMIT_BITS-1:0] committed,

    // Counters of all chunks, chunk 0's lowest; `halt` ends all waiting for them.
    input  wire                halt,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] committed_all,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] fetched_all,

    // Byte addresses, multiples of 4096; four of INPUT and OUTPUT, selected by the job's `buffer`, 0 lowest.
    input  wire [ADDR_W-1:0]   base_program,
    input  wire [4*ADDR_W-1:0] base_input,
    input  wire [4*ADDR_W-1:0] base_output,
    input  wire [ADDR_W-1:0]   base_work,

    output reg                 word_valid,
    output reg  [127:0]        word_data,
    output reg                 word_first,   // first word of its job
    output reg                 word_last,    // last word of its job
    output reg  [2:0]          word_dest,
    output reg                 word_signal,
    output reg                 word_pass_last,
    output reg  [13:0]         word_base,
    output reg  [9:0]          word_cols,
    output reg  [11:0]         word_groups,
    output reg  [9:0]          word_row0,
    output reg  [9:0]          word_col0,

    output reg                 layer_valid,
    output wire [255:0]        layer_job,
    input  wire                layer_done,

    output wire                idle,
    output reg                 error,
    input  wire                clear,

    output reg                 m_axi_arvalid,
    input  wire                m_axi_arready,
    output reg  [ADDR_W-1:0]   m_axi_araddr,
    output reg  [7:0]          m_axi_arlen,
    output wire [2:0]          m_axi_arsize,
    output wire [1:0]          m_axi_arburst,
    output reg                 m_axi_archip,
    output reg  [3:0]          m_axi_arpeer,
    input  wire                m_axi_rvalid,
    output wire                m_axi_rready,
    input  wire [DATA_W-1:0]   m_axi_rdata,
    input  wire [1:0]          m_axi_rresp,
    input  wire                m_axi_rlast
);
  localparam QUEUE     = (OUTSTANDING < 2) ? 2 : OUTSTANDING;
  localparam INFO_W    = 3 + 1 + 1 + 14 + 10 + 12 + 10 + 10;
  localparam FLIGHT_W  = $clog2(OUTSTANDING + 1);

  generate
    if (OUTSTANDING < 1 || OUTSTANDING > 32) begin : bad_outstanding
      dna_read_port_OUTSTANDING_must_be_1_to_32 error ();
    end
  endgenerate

  // ---- The job at the head of the queue: may it start?
  wire       is_load  = job[`DNA_OP] == `DNA_OP_LOAD;
  wire       is_layer = job[`DNA_OP] == `DNA_OP_LAYER;
  wire [2:0] dest     = job[`DNA_LOAD_DEST];

  reg [11:0] freed;
  always @* begin
    case (dest)
      `DNA_DEST_INPUT:    freed = freed_input;
      `DNA_DEST_PARAM:    freed = freed_param;
      `DNA_DEST_RESIDUAL: freed = freed_residual;
      default:            freed = freed_weight;
    endcase
  end

  // Modular comparison: the counter may be ahead by less than half its range.
  wire free_ok   = dest == `DNA_DEST_PROGRAM || freed - job[`DNA_LOAD_WAIT_FREE] < 12'd2048;
  wire [`DNA_COMMIT_BITS-1:0] committed_ahead = committed - job[`DNA_LOAD_WAIT_COMMIT];
  wire commit_ok = !committed_ahead[`DNA_COMMIT_BITS-1];
  wire ahead_unused = &{1'b0, committed_ahead};

  wire       is_wait = job[`DNA_OP] == `DNA_OP_WAIT;
  wire       reached;
  dna_wait #(
      .CHUNKS(CHUNKS)
  ) u_wait (
      .job          (job),
      .halt         (halt),
      .committed_all(committed_all),
      .fetched_all  (fetched_all),
      .reached      (reached)
  );

  wire [1:0]       buffer = job[`DNA_LOAD_BUFFER];
  wire             chip   = job[`DNA_LOAD_REGION] == `DNA_REGION_CHIP;
  reg [ADDR_W-1:0] region;
  always @* begin
    case (job[`DNA_LOAD_REGION])
      `DNA_REGION_PROGRAM: region = base_program;
      `DNA_REGION_INPUT:   region = base_input[buffer*ADDR_W+:ADDR_W];
      `DNA_REGION_OUTPUT:  region = base_output[buffer*ADDR_W+:ADDR_W];
      `DNA_REGION_CHIP:    region = {ADDR_W{1'b0}};
      default:             region = base_work;
    endcase
  end

  wire load_valid = job_valid && is_load && free_ok && commit_ok;
  wire load_ready;
  wire load_taken = load_valid && load_ready;
  wire layer_taken = layer_valid && layer_done;
  assign job_ready = (load_valid && load_ready) || layer_taken || (job_valid && is_wait && reached);
  assign layer_job = job;

  // ---- Bursts, and the address register.
  wire              burst_valid;
  wire [ADDR_W-1:0] burst_address;
  wire [7:0]        burst_words_m1_unused;
  wire [7:0]        burst_beats_m1;
  wire              burst_first_unused;
  wire              burst_last;

  // The address register keeps the target of the burst before; the job at work has its own.
  reg                job_chip;
  reg  [3:0]         job_peer;
  wire same_target = job_chip == m_axi_archip && (!job_chip || job_peer == m_axi_arpeer);

  reg [FLIGHT_W-1:0] in_flight;
  wire burst_ready = in_flight != OUTSTANDING[FLIGHT_W-1:0] && (!m_axi_arvalid || m_axi_arready)
                     && (same_target || in_flight == {FLIGHT_W{1'b0}});
  wire burst_taken = burst_valid && burst_ready;

  dna_burst_splitter #(
      .ADDR_W(ADDR_W),
      .DATA_W(DATA_W),
      .BURST (BURST)
  ) u_splitter (
      .clk             (clk),
      .rst_n           (rst_n),
      .job_valid       (load_valid),
      .job_ready       (load_ready),
      .job_region      (region),
      .job_address     (job[`DNA_LOAD_ADDRESS]),
      .job_run         (job[`DNA_LOAD_RUN]),
      .job_n_inner     (job[`DNA_LOAD_N_INNER]),
      .job_stride_inner(job[`DNA_LOAD_STRIDE_INNER]),
      .job_n_outer     (job[`DNA_LOAD_N_OUTER]),
      .job_stride_outer(job[`DNA_LOAD_STRIDE_OUTER]),
      .burst_valid     (burst_valid),
      .burst_ready     (burst_ready),
      .burst_address   (burst_address),
      .burst_words_m1  (burst_words_m1_unused),
      .burst_beats_m1  (burst_beats_m1),
      .burst_first     (burst_first_unused),
      .burst_last      (burst_last)
  );

  assign m_axi_arsize  = (DATA_W == 64) ? 3'd3 : 3'd4;
  assign m_axi_arburst = 2'b01;

  always @(posedge clk) begin
    if (!rst_n) m_axi_arvalid <= 1'b0;
    else if (burst_taken) m_axi_arvalid <= 1'b1;
    else if (m_axi_arready) m_axi_arvalid <= 1'b0;
  end

  always @(posedge clk) begin
    if (load_taken) begin
      job_chip <= chip;
      job_peer <= job[`DNA_LOAD_PEER];
    end
    if (burst_taken) begin
      m_axi_araddr <= burst_address;
      m_axi_arlen  <= burst_beats_m1;
      m_axi_archip <= job_chip;
      m_axi_arpeer <= job_peer;
    end
    if (!rst_n) m_axi_archip <= 1'b0;
  end

  // ---- What is under way: one bit per burst (last of its job), one record per job.
  wire burst_end = m_axi_rvalid && m_axi_rlast;
  wire ends_job;
  wire job_end = burst_end && ends_job;
  assign m_axi_rready = 1'b1;

  wire flag_ready_unused, flag_valid_unused;
  wire [$clog2(QUEUE+1)-1:0] flag_level_unused;
  dna_fifo #(
      .WIDTH(1),
      .DEPTH(QUEUE)
  ) u_flags (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (burst_taken),
      .in_ready (flag_ready_unused),
      .in_data  (burst_last),
      .out_valid(flag_valid_unused),
      .out_ready(burst_end),
      .out_data (ends_job),
      .level    (flag_level_unused)
  );

  // Each job under way has a burst in flight, except the one in the splitter: OUTSTANDING + 1 records suffice.
  wire [INFO_W-1:0] info;
  wire info_ready_unused, info_valid_unused;
  wire [$clog2(OUTSTANDING+2)-1:0] info_level_unused;
  dna_fifo #(
      .WIDTH(INFO_W),
      .DEPTH(OUTSTANDING + 1)
  ) u_info (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (load_taken),
      .in_ready (info_ready_unused),
      .in_data  ({dest, job[`DNA_LOAD_SIGNAL], job[`DNA_LOAD_PASS_LAST], job[`DNA_LOAD_BASE], job[`DNA_LOAD_COLS],
                  job[`DNA_LOAD_GROUPS], job[`DNA_LOAD_ROW0], job[`DNA_LOAD_COL0]}),
      .out_valid(info_valid_unused),
      .out_ready(job_end),
      .out_data (info),
      .level    (info_level_unused)
  );

  always @(posedge clk) begin
    if (!rst_n) in_flight <= {FLIGHT_W{1'b0}};
    else if (burst_taken && !burst_end) in_flight <= in_flight + 1'b1;
    else if (burst_end && !burst_taken) in_flight <= in_flight - 1'b1;
  end

  // ---- Beats to words.
  wire         word_complete;
  wire [127:0] word;

  generate
    if (DATA_W == 64) begin : assemble_64
      reg        upper;       // the next beat is the upper half of its word
      reg [63:0] lower_half;
      always @(posedge clk) begin
        if (!rst_n) upper <= 1'b0;
        else if (m_axi_rvalid) upper <= !upper;
      end
      always @(posedge clk) begin
        if (m_axi_rvalid && !upper) lower_half <= m_axi_rdata;
      end
      assign word_complete = m_axi_rvalid && upper;
      assign word          = {m_axi_rdata, lower_half};
    end else begin : assemble_128
      assign word_complete = m_axi_rvalid;
      assign word          = m_axi_rdata;
    end
  endgenerate

  reg at_first;               // the next word is the first of its job
  always @(posedge clk) begin
    if (!rst_n) begin
      word_valid <= 1'b0;
      at_first   <= 1'b1;
    end else begin
      word_valid <= word_complete;
      if (word_complete) at_first <= job_end;
    end
  end

  always @(posedge clk) begin
    if (word_complete) begin
      word_data  <= word;
      word_first <= at_first;
      word_last  <= job_end;
      {word_dest, word_signal, word_pass_last, word_base, word_cols, word_groups, word_row0, word_col0} <= info;
    end
  end

  // ---- LAYER, idle, error.
  wire quiet = !burst_valid && in_flight == {FLIGHT_W{1'b0}} && !word_valid;
  assign idle = !job_valid && quiet;

  always @(posedge clk) begin
    if (!rst_n) layer_valid <= 1'b0;
    else layer_valid <= job_valid && is_layer && quiet && !layer_taken;
  end

  wire response_bad = m_axi_rresp == 2'b10 || m_axi_rresp == 2'b11;
  always @(posedge clk) begin
    if (!rst_n) error <= 1'b0;
    else if (m_axi_rvalid && response_bad) error <= 1'b1;
    else if (clear) error <= 1'b0;
  end

endmodule

`default_nettype wire
