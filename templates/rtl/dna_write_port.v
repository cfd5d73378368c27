// DMA write port: executes STORE jobs, from the output buffer to an AXI4 master or to on-chip links.
//
// A STORE leaves the queue when `ready` has reached what it waits for. Its runs are cut into aligned bursts; at most
// OUTSTANDING of them are under way (put into the address register, response not yet come). Words are read from the buffer
// packed, from `base` on, into a small queue that is never overrun: a read is issued only if its word has a place there.
// One beat per cycle within and across bursts, runs and jobs. WVALID does not wait for AWREADY, nor anything for a response
// but the limit on bursts under way. Strobes are always all ones.
// A WAIT job leaves the queue as soon as its counter has the value, whatever is still under way (dna_wait.v).
//
// A burst's target is `m_axi_awchip`: 0 memory, 1 the links to all chunks of the mask `m_axi_awreaders`, there the address
// is 16 times the job's word address. Only one target has bursts under way at a time, so these registers also
// tell where the beats on the bus belong.
//
// Timing, exactly (the model is dna/cost/ports.py), for a memory that takes every address and beat at once; L is RD_LATENCY,
// S is 1 with 128 and 2 with 64 bits. "In cycle t": sampled at rising clock edge t.
//   popped           job_valid and job_ready: first cycle >= the job is visible, its wait holds, the last burst of the job
//                    before entered the address register, a WAIT before was popped in an earlier cycle.
//   enters(n)        burst n enters the address register in the first cycle >= popped + 1, enters(n - 1) + 1,
//                    response(n - OUTSTANDING) + 1, address register empty or being emptied; if burst n - 1 had another
//                    target, also response(n - 1) + 1. awvalid follows in the next.
//   issue(m)         word m is asked for in the first cycle >= enters(its burst) + 1, issue(m - 1) + S; rd_en in the next.
//   rd_data          is sampled L cycles after rd_en.
//   W                the word's beats are on the bus in cycle issue + L + 3 and, with 64 bits, the next one.
//   stored           in the cycle after the job's last word was sampled: issue + L + 2.
//   committed_pulse  in the cycle after the job's last response; layer_commit with it if the job has `layer_last`, pass_commit
//                    if it has `pass_last`.
//   WAIT popped      in the first cycle in which it is visible and its condition holds.
//
// Handshake: `job` is stable while `job_valid`; only STORE and WAIT may come. `idle`: no job waits, none is under way and the last
// commit has been counted. `error` stays set after a BRESP of SLVERR or DECERR until `clear`; the job commits all the same.
//
// Parameters: ADDR_W 32 to 64; DATA_W 64 or 128; BURST 2 to 256 beats, a power of two, at most 4096 bytes;
// OUTSTANDING 1 to 32 bursts; RD_LATENCY 1 to 8 cycles from rd_en to rd_data; CHUNKS 1 to 16, whose counters a WAIT may
// look at. Links need DATA_W 128.
`default_nettype none
`include "isa.vh"

module dna_write_port #(
    parameter ADDR_W      = 32,
    parameter DATA_W      = 128,
    parameter BURST       = 16,
    parameter OUTSTANDING = 8,
    parameter RD_LATENCY  = 2,
    parameter CHUNKS      = 1
) (
    input  wire                clk,
    input  wire                rst_n,

    input  wire                job_valid,
    output wire                job_ready,
    // verilator lint_off UNUSEDSIGNAL
    input  wire [255:0]        job,             // the bits above the fields are not looked at
    // verilator lint_on UNUSEDSIGNAL

    input  wire [11:0]         ready,           // counter of finished output tiles

    // Counters of all chunks, chunk 0's lowest; `halt` ends all waiting for them.
    input  wire                halt,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] committed_all,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] fetched_all,

    // Byte addresses, multiples of 4096; four of INPUT and OUTPUT, selected by the job's `buffer`, 0 lowest.
    input  wire [ADDR_W-1:0]   base_program,
    input  wire [4*ADDR_W-1:0] base_input,
    input  wire [4*ADDR_W-1:0] base_output,
    input  wire [ADDR_W-1:0]   base_work,

    output reg                 rd_en,
    output reg  [13:0]         rd_addr,
    input  wire [127:0]        rd_data,

    output reg                 stored,
    output reg                 committed_pulse,
    output reg                 layer_commit,
    output reg                 pass_commit,

    output wire                idle,
    output reg                 error,
    input  wire                clear,

    output reg                 m_axi_awvalid,
    input  wire                m_axi_awready,
    output reg  [ADDR_W-1:0]   m_axi_awaddr,
    output reg  [7:0]          m_axi_awlen,
    output wire [2:0]          m_axi_awsize,
    output wire [1:0]          m_axi_awburst,
    output reg                 m_axi_awchip,
    output reg  [15:0]         m_axi_awreaders,
    output reg                 m_axi_wvalid,
    input  wire                m_axi_wready,
    output reg  [DATA_W-1:0]   m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output reg                 m_axi_wlast,
    input  wire                m_axi_bvalid,
    output wire                m_axi_bready,
    input  wire [1:0]          m_axi_bresp
);
  localparam QUEUE     = (OUTSTANDING < 2) ? 2 : OUTSTANDING;
  localparam FLIGHT_W  = $clog2(OUTSTANDING + 1);
  localparam SKID      = RD_LATENCY + 4;        // words asked for and not yet on the bus: enough for one per cycle
  localparam SKID_W    = $clog2(SKID + 1);

  generate
    if (OUTSTANDING < 1 || OUTSTANDING > 32) begin : bad_outstanding
      dna_write_port_OUTSTANDING_must_be_1_to_32 error ();
    end
    if (RD_LATENCY < 1 || RD_LATENCY > 8) begin : bad_rd_latency
      dna_write_port_RD_LATENCY_must_be_1_to_8 error ();
    end
  endgenerate

  // ---- The job at the head of the queue: may it start?
  // Modular comparison: the counter may be ahead by less than half its range.
  wire is_wait     = job[`DNA_OP] == `DNA_OP_WAIT;
  wire store_valid = job_valid && !is_wait && ready - job[`DNA_STORE_WAIT_READY] < 12'd2048;
  wire store_ready;
  wire store_taken = store_valid && store_ready;
  wire reached;
  assign job_ready = (store_valid && store_ready) || (job_valid && is_wait && reached);

  dna_wait #(
      .CHUNKS(CHUNKS)
  ) u_wait (
      .job          (job),
      .halt         (halt),
      .committed_all(committed_all),
      .fetched_all  (fetched_all),
      .reached      (reached)
  );

  wire [1:0]       buffer = job[`DNA_STORE_BUFFER];
  wire             chip   = job[`DNA_STORE_REGION] == `DNA_REGION_CHIP;
  reg [ADDR_W-1:0] region;
  always @* begin
    case (job[`DNA_STORE_REGION])
      `DNA_REGION_PROGRAM: region = base_program;
      `DNA_REGION_INPUT:   region = base_input[buffer*ADDR_W+:ADDR_W];
      `DNA_REGION_OUTPUT:  region = base_output[buffer*ADDR_W+:ADDR_W];
      `DNA_REGION_CHIP:    region = {ADDR_W{1'b0}};
      default:             region = base_work;
    endcase
  end

  // ---- Bursts, and the address register.
  wire              burst_valid;
  wire [ADDR_W-1:0] burst_address;
  wire [7:0]        burst_words_m1, burst_beats_m1;
  wire              burst_first, burst_last;

  // The address register keeps the target of the burst before; the job at work has its own.
  reg                job_chip;
  reg  [15:0]        job_readers;
  wire same_target = job_chip == m_axi_awchip && (!job_chip || job_readers == m_axi_awreaders);

  reg [FLIGHT_W-1:0] in_flight;
  wire burst_ready = in_flight != OUTSTANDING[FLIGHT_W-1:0] && (!m_axi_awvalid || m_axi_awready)
                     && (same_target || in_flight == {FLIGHT_W{1'b0}});
  wire burst_taken = burst_valid && burst_ready;

  dna_burst_splitter #(
      .ADDR_W(ADDR_W),
      .DATA_W(DATA_W),
      .BURST (BURST)
  ) u_splitter (
      .clk             (clk),
      .rst_n           (rst_n),
      .job_valid       (store_valid),
      .job_ready       (store_ready),
      .job_region      (region),
      .job_address     (job[`DNA_STORE_ADDRESS]),
      .job_run         (job[`DNA_STORE_RUN]),
      .job_n_inner     (job[`DNA_STORE_N_INNER]),
      .job_stride_inner(job[`DNA_STORE_STRIDE_INNER]),
      .job_n_outer     (job[`DNA_STORE_N_OUTER]),
      .job_stride_outer(job[`DNA_STORE_STRIDE_OUTER]),
      .burst_valid     (burst_valid),
      .burst_ready     (burst_ready),
      .burst_address   (burst_address),
      .burst_words_m1  (burst_words_m1),
      .burst_beats_m1  (burst_beats_m1),
      .burst_first     (burst_first),
      .burst_last      (burst_last)
  );

  assign m_axi_awsize  = (DATA_W == 64) ? 3'd3 : 3'd4;
  assign m_axi_awburst = 2'b01;

  always @(posedge clk) begin
    if (!rst_n) m_axi_awvalid <= 1'b0;
    else if (burst_taken) m_axi_awvalid <= 1'b1;
    else if (m_axi_awready) m_axi_awvalid <= 1'b0;
  end

  always @(posedge clk) begin
    if (burst_taken) begin
      m_axi_awaddr <= burst_address;
      m_axi_awlen  <= burst_beats_m1;
      m_axi_awchip    <= job_chip;
      m_axi_awreaders <= job_readers;
    end
    if (!rst_n) m_axi_awchip <= 1'b0;
  end

  reg [13:0] job_base;
  reg        job_layer_last, job_pass_last;
  always @(posedge clk) begin
    if (store_taken) begin
      job_base       <= job[`DNA_STORE_BASE];
      job_layer_last <= job[`DNA_STORE_LAYER_LAST];
      job_pass_last  <= job[`DNA_STORE_PASS_LAST];
      job_chip       <= chip;
      job_readers    <= job[`DNA_STORE_READERS];
    end
  end

  // ---- Reading the buffer: a queue of bursts whose words are still to be asked for.
  wire        fetch_valid, fetch_first, fetch_last;
  wire [7:0]  fetch_words_m1;
  wire [13:0] fetch_base;
  wire        fetch_done;                       // the burst's last word is asked for
  wire        fetch_ready_unused;
  wire [$clog2(QUEUE+1)-1:0] fetch_level_unused;

  dna_fifo #(
      .WIDTH(1 + 1 + 8 + 14),
      .DEPTH(QUEUE)
  ) u_fetch (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (burst_taken),
      .in_ready (fetch_ready_unused),
      .in_data  ({burst_first, burst_last, burst_words_m1, job_base}),
      .out_valid(fetch_valid),
      .out_ready(fetch_done),
      .out_data ({fetch_first, fetch_last, fetch_words_m1, fetch_base}),
      .level    (fetch_level_unused)
  );

  reg  [7:0]        fetch_count;                // words of the burst already asked for
  reg  [SKID_W-1:0] skid_reserved;
  wire              pace_ok;                    // with 64 bits a word lasts two cycles on the bus
  wire              word_popped;
  wire issue = fetch_valid && pace_ok && skid_reserved != SKID[SKID_W-1:0];
  wire burst_issued = fetch_count == fetch_words_m1;
  assign fetch_done = issue && burst_issued;

  generate
    if (DATA_W == 64) begin : pace_64
      reg resting;
      always @(posedge clk) begin
        if (!rst_n) resting <= 1'b0;
        else resting <= issue;
      end
      assign pace_ok = !resting;
    end else begin : pace_128
      assign pace_ok = 1'b1;
    end
  endgenerate

  always @(posedge clk) begin
    if (!rst_n) begin
      fetch_count   <= 8'd0;
      skid_reserved <= {SKID_W{1'b0}};
      rd_en         <= 1'b0;
    end else begin
      rd_en <= issue;
      if (issue) fetch_count <= burst_issued ? 8'd0 : fetch_count + 8'd1;
      if (issue && !word_popped) skid_reserved <= skid_reserved + 1'b1;
      if (word_popped && !issue) skid_reserved <= skid_reserved - 1'b1;
    end
  end

  always @(posedge clk) begin
    if (issue) rd_addr <= (fetch_first && fetch_count == 8'd0) ? fetch_base : rd_addr + 14'd1;
  end

  // What the word is, alongside the buffer's latency: index 0 goes with rd_en, index RD_LATENCY with rd_data.
  reg [RD_LATENCY:0] tag_valid, tag_burst_end, tag_job_end;
  always @(posedge clk) begin
    if (!rst_n) tag_valid <= {(RD_LATENCY + 1) {1'b0}};
    else tag_valid <= {tag_valid[RD_LATENCY-1:0], issue};
  end
  always @(posedge clk) begin
    tag_burst_end <= {tag_burst_end[RD_LATENCY-1:0], burst_issued};
    tag_job_end   <= {tag_job_end[RD_LATENCY-1:0], burst_issued && fetch_last};
  end

  always @(posedge clk) begin
    if (!rst_n) stored <= 1'b0;
    else stored <= tag_valid[RD_LATENCY] && tag_job_end[RD_LATENCY];
  end

  // ---- Words wait here for the bus.
  wire         skid_valid, skid_burst_end;
  wire [127:0] skid_data;
  wire         skid_ready_unused;
  wire [SKID_W-1:0] skid_level_unused;

  dna_fifo #(
      .WIDTH(1 + 128),
      .DEPTH(SKID)
  ) u_skid (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (tag_valid[RD_LATENCY]),
      .in_ready (skid_ready_unused),
      .in_data  ({tag_burst_end[RD_LATENCY], rd_data}),
      .out_valid(skid_valid),
      .out_ready(word_popped),
      .out_data ({skid_burst_end, skid_data}),
      .level    (skid_level_unused)
  );

  // ---- The data register.
  wire beat_taken = skid_valid && (!m_axi_wvalid || m_axi_wready);
  assign m_axi_wstrb = {(DATA_W / 8) {1'b1}};

  always @(posedge clk) begin
    if (!rst_n) m_axi_wvalid <= 1'b0;
    else if (beat_taken) m_axi_wvalid <= 1'b1;
    else if (m_axi_wready) m_axi_wvalid <= 1'b0;
  end

  generate
    if (DATA_W == 64) begin : narrow_64
      reg upper;                                // the upper half of the word is next
      always @(posedge clk) begin
        if (!rst_n) upper <= 1'b0;
        else if (beat_taken) upper <= !upper;
      end
      always @(posedge clk) begin
        if (beat_taken) begin
          m_axi_wdata <= upper ? skid_data[127:64] : skid_data[63:0];
          m_axi_wlast <= upper && skid_burst_end;
        end
      end
      assign word_popped = beat_taken && upper;
    end else begin : narrow_128
      always @(posedge clk) begin
        if (beat_taken) begin
          m_axi_wdata <= skid_data;
          m_axi_wlast <= skid_burst_end;
        end
      end
      assign word_popped = beat_taken;
    end
  endgenerate

  // ---- Responses: three bits per burst under way.
  wire ends_job, ends_layer, ends_pass;
  wire response = m_axi_bvalid;
  wire response_ready_unused, response_valid_unused;
  wire [$clog2(QUEUE+1)-1:0] response_level_unused;
  assign m_axi_bready = 1'b1;

  dna_fifo #(
      .WIDTH(3),
      .DEPTH(QUEUE)
  ) u_response (
      .clk      (clk),
      .rst_n    (rst_n),
      .in_valid (burst_taken),
      .in_ready (response_ready_unused),
      .in_data  ({burst_last && job_pass_last, burst_last && job_layer_last, burst_last}),
      .out_valid(response_valid_unused),
      .out_ready(response),
      .out_data ({ends_pass, ends_layer, ends_job}),
      .level    (response_level_unused)
  );

  always @(posedge clk) begin
    if (!rst_n) in_flight <= {FLIGHT_W{1'b0}};
    else if (burst_taken && !response) in_flight <= in_flight + 1'b1;
    else if (response && !burst_taken) in_flight <= in_flight - 1'b1;
  end

  always @(posedge clk) begin
    if (!rst_n) begin
      committed_pulse <= 1'b0;
      layer_commit    <= 1'b0;
      pass_commit     <= 1'b0;
    end else begin
      committed_pulse <= response && ends_job;
      layer_commit    <= response && ends_layer;
      pass_commit     <= response && ends_pass;
    end
  end

  // ---- Idle, error. The pulse itself counts as work: the counter moves in the cycle after it.
  assign idle = !job_valid && !burst_valid && in_flight == {FLIGHT_W{1'b0}} && !committed_pulse;

  wire response_bad = m_axi_bresp == 2'b10 || m_axi_bresp == 2'b11;
  always @(posedge clk) begin
    if (!rst_n) error <= 1'b0;
    else if (response && response_bad) error <= 1'b1;
    else if (clear) error <= 1'b0;
  end

endmodule

`default_nettype wire
