// Chunk: one complete engine. Sequencer, queues, read ports, compute engine, write port, and the counters that tie them.
//
// `start` runs the Program at the base addresses `passes` times; `done` pulses when everything is computed and committed. The
// counters are the only synchronisation (docs/program.md), also with other chunks, which see `committed` and `fetched` of all
// through `committed_all` and `fetched_all`: {pass, index}, the present pass modulo 16 and the events in it. A counter changes
// in the cycle after its event. `halt`, from the others' errors, ends the Program as an error of its own does: what is
// under way is finished, no WAIT waits any more.
//
// Read and write ports have targets beside their addresses (dna_read_port.v, dna_write_port.v): memory, or links (dna_link.v).
// Selecting by m_archip and m_arpeer, m_awchip and m_awreaders is all that is needed: nothing is in flight when they change.
//
// Timing: `start` in cycle 0 of `cycle`; queues take a job in the cycle of its dispatch and show it in the next. `cycle` and the
// causes count until `done`.
//
// Parameters (legal ranges): OC 2, 4, 8, 16 or a multiple of 16 up to 128; IC 1, 2, 4, 8, 16, OC * IC a multiple of 16;
// PX 1..128; POST_LANES 2, 4, 8, 16, divides OC; buffers 16..8192 words; RESIDUAL, PACKED, POST_LUT 0, 1; MAC_LUT 0,
// with PACKED 0 also 1; PORTS 1, 2; DATA_W 64, 128; BURST 2..256 beats, a power of two, at most 4 KB; OUTSTANDING 1..32;
// ADDR_W 32..64; CHUNKS 1..16; DATAFLOW 0 output-, 1 weight-, 2 input-stationary; SUM_WORDS 0 with DATAFLOW 0, else 16..8192.
`default_nettype none
`include "isa.vh"

module dna_chunk #(
    parameter OC           = 16,
    parameter IC           = 4,
    parameter PX           = 4,
    parameter POST_LANES   = 4,
    parameter INPUT_WORDS  = 512,
    parameter WEIGHT_WORDS = 512,
    parameter PARAM_WORDS  = 256,
    parameter OUTPUT_WORDS = 512,
    parameter RESIDUAL     = 1,
    parameter PACKED       = 0,
    parameter MAC_LUT      = 0,
    parameter POST_LUT     = 0,
    parameter DATAFLOW     = 0,
    parameter SUM_WORDS    = 0,
    parameter PORTS        = 2,
    parameter DATA_W       = 128,
    parameter BURST        = 16,
    parameter OUTSTANDING  = 8,
    parameter ADDR_W       = 32,
    parameter CHUNKS       = 1
) (
    input  wire                    clk,
    input  wire                    rst_n,
    // control
    input  wire                    start,
    output wire                    done,
    output reg                     busy,
    output reg  [31:0]             cycle,
    output wire                    error_read,
    output wire                    error_write,
    output wire                    error_overrun,
    input  wire                    halt,
    input  wire [31:0]             passes,        // 0 counts as 2^32
    input  wire [1:0]              buffer_mask,   // of base_input, base_output: pass & buffer_mask; 0, 1 or 3
    input  wire [ADDR_W-1:0]       base_program,
    input  wire [4*ADDR_W-1:0]     base_input,    // 0 lowest
    input  wire [4*ADDR_W-1:0]     base_output,
    input  wire [ADDR_W-1:0]       base_work,
    // counters of this chunk, and of all, chunk 0 lowest
    output reg  [`DNA_COMMIT_BITS-1:0] committed,
    output reg  [`DNA_COMMIT_BITS-1:0] fetched,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] committed_all,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0] fetched_all,
    // observation; `close` comes with the last event of a pass
    output wire                    compute_event,
    output wire                    compute_close,
    output wire [223:0]            compute_snapshot,
    output wire                    commit_event,
    output wire                    commit_close,
    output wire [31:0]             commit_cycle,
    // AXI4 read, one set per port
    output wire [PORTS-1:0]        m_arvalid,
    input  wire [PORTS-1:0]        m_arready,
    output wire [PORTS*ADDR_W-1:0] m_araddr,
    output wire [PORTS*8-1:0]      m_arlen,
    output wire [PORTS-1:0]        m_archip,
    output wire [PORTS*4-1:0]      m_arpeer,
    input  wire [PORTS-1:0]        m_rvalid,
    output wire [PORTS-1:0]        m_rready,
    input  wire [PORTS*DATA_W-1:0] m_rdata,
    input  wire [PORTS*2-1:0]      m_rresp,
    input  wire [PORTS-1:0]        m_rlast,
    // AXI4 write, port 0
    output wire                    m_awvalid,
    input  wire                    m_awready,
    output wire [ADDR_W-1:0]       m_awaddr,
    output wire [7:0]              m_awlen,
    output wire                    m_awchip,
    output wire [15:0]             m_awreaders,
    output wire                    m_wvalid,
    input  wire                    m_wready,
    output wire [DATA_W-1:0]       m_wdata,
    output wire [DATA_W/8-1:0]     m_wstrb,
    output wire                    m_wlast,
    input  wire                    m_bvalid,
    output wire                    m_bready,
    input  wire [1:0]              m_bresp
);
  localparam QUEUE_DEPTH = 8;
  localparam WP = PORTS - 1;  // the port of weights, parameters and program

  // ---- queues: compute, write, and one per read port ----
  wire [255:0]       job;
  wire [PORTS+1:0]   queue_in_valid, queue_in_ready, queue_valid, queue_ready;
  wire [(PORTS+2)*256-1:0] queue_job;
  localparam QC = PORTS;
  localparam QW = PORTS + 1;
  genvar q;
  generate
    for (q = 0; q < PORTS + 2; q = q + 1) begin : queues
      wire [$clog2(QUEUE_DEPTH+1)-1:0] level_unused;
      dna_fifo #(
          .WIDTH(256),
          .DEPTH(QUEUE_DEPTH)
      ) queue (
          .clk      (clk),
          .rst_n    (rst_n),
          .in_valid (queue_in_valid[q]),
          .in_ready (queue_in_ready[q]),
          .in_data  (job),
          .out_valid(queue_valid[q]),
          .out_ready(queue_ready[q]),
          .out_data (queue_job[q*256+:256]),
          .level    (level_unused)
      );
    end
  endgenerate

  // ---- word streams ----
  wire [PORTS-1:0]     word_valid, word_first, word_last, word_signal, word_pass_last;
  wire [PORTS*128-1:0] word_data;
  wire [PORTS*3-1:0]   word_dest;
  wire [PORTS*14-1:0]  word_base;
  wire [PORTS*10-1:0]  word_cols, word_row0, word_col0;
  wire [PORTS*12-1:0]  word_groups;
  wire [PORTS-1:0]     read_idle, read_error, layer_valid;
  wire                 layer_done;
  wire [255:0]         layer_job;

  wire [2:0] act_dest = word_dest[2:0];
  wire [2:0] wgt_dest = word_dest[WP*3+:3];

  // ---- counters ----
  reg  [11:0] loaded_input, loaded_weight, loaded_residual;
  reg  [11:0] freed_input, freed_weight, freed_param, freed_residual;
  reg  [11:0] ready, stored;
  wire        free_input, free_weight, free_param, free_residual, tile_ready, store_read, store_committed, pass_committed;
  wire        act_fetched = word_valid[0] && word_last[0] && (act_dest == `DNA_DEST_INPUT || act_dest == `DNA_DEST_RESIDUAL);
  wire        act_loaded = word_valid[0] && word_last[0] && word_signal[0];
  wire        wgt_loaded = word_valid[WP] && word_last[WP] && word_signal[WP];
  // {pass, index} after one more event, the last one of the pass or not.
  function [`DNA_COMMIT_BITS-1:0] after(input [`DNA_COMMIT_BITS-1:0] counter, input pass_last);
    after = pass_last ? {counter[23:20] + 4'd1, 20'd0} : {counter[23:20], counter[19:0] + 20'd1};
  endfunction

  always @(posedge clk) begin
    if (act_loaded && act_dest == `DNA_DEST_INPUT) loaded_input <= loaded_input + 12'd1;
    if (act_loaded && act_dest == `DNA_DEST_RESIDUAL) loaded_residual <= loaded_residual + 12'd1;
    if (wgt_loaded && (wgt_dest == `DNA_DEST_WEIGHT || wgt_dest == `DNA_DEST_PARAM))
      loaded_weight <= loaded_weight + 12'd1;
    if (free_input) freed_input <= freed_input + 12'd1;
    if (free_weight) freed_weight <= freed_weight + 12'd1;
    if (free_param) freed_param <= freed_param + 12'd1;
    if (free_residual) freed_residual <= freed_residual + 12'd1;
    if (tile_ready) ready <= ready + 12'd1;
    if (store_read) stored <= stored + 12'd1;
    if (store_committed) committed <= after(committed, pass_committed);
    if (act_fetched) fetched <= after(fetched, word_pass_last[0]);
    if (!rst_n || start) begin
      loaded_input    <= 12'd0;
      loaded_weight   <= 12'd0;
      loaded_residual <= 12'd0;
      freed_input     <= 12'd0;
      freed_weight    <= 12'd0;
      freed_param     <= 12'd0;
      freed_residual  <= 12'd0;
      ready           <= 12'd0;
      stored          <= 12'd0;
      committed       <= {`DNA_COMMIT_BITS{1'b0}};
      fetched         <= {`DNA_COMMIT_BITS{1'b0}};
    end
  end

  // ---- sequencer ----
  wire compute_idle, write_idle, write_error;
  wire all_idle = &read_idle && compute_idle && write_idle && !queue_valid[QC] && !queue_valid[QW];
  assign error_read  = |read_error;
  assign error_write = write_error;
  wire halted = error_read || error_write || halt;
  dna_sequencer #(
      .PORTS(PORTS)
  ) sequencer (
      .clk          (clk),
      .rst_n        (rst_n),
      .start        (start),
      .halt         (halted),
      .passes       (passes),
      .buffer_mask  (buffer_mask),
      .done         (done),
      .word_valid   (word_valid[WP]),
      .word_data    (word_data[WP*128+:128]),
      .word_dest    (wgt_dest),
      .word_base    (word_base[WP*14+:14]),
      .word_first   (word_first[WP]),
      .word_last    (word_last[WP]),
      .job          (job),
      .read_valid   (queue_in_valid[PORTS-1:0]),
      .read_ready   (queue_in_ready[PORTS-1:0]),
      .write_valid  (queue_in_valid[QW]),
      .write_ready  (queue_in_ready[QW]),
      .compute_valid(queue_in_valid[QC]),
      .compute_ready(queue_in_ready[QC]),
      .idle         (all_idle),
      .committed_pass(committed[23:20])
  );

  // ---- read ports ----
  generate
    for (q = 0; q < PORTS; q = q + 1) begin : reads
      wire [255:0] geometry;
      wire [2:0]   arsize_unused;
      wire [1:0]   arburst_unused;
      dna_read_port #(
          .ADDR_W     (ADDR_W),
          .DATA_W     (DATA_W),
          .BURST      (BURST),
          .OUTSTANDING(OUTSTANDING),
          .CHUNKS     (CHUNKS)
      ) port (
          .clk           (clk),
          .rst_n         (rst_n),
          .job_valid     (queue_valid[q]),
          .job_ready     (queue_ready[q]),
          .job           (queue_job[q*256+:256]),
          .freed_input   (freed_input),
          .freed_weight  (freed_weight),
          .freed_param   (freed_param),
          .freed_residual(freed_residual),
          .committed     (committed),
          .halt          (halted),
          .committed_all (committed_all),
          .fetched_all   (fetched_all),
          .base_program  (base_program),
          .base_input    (base_input),
          .base_output   (base_output),
          .base_work     (base_work),
          .word_valid    (word_valid[q]),
          .word_data     (word_data[q*128+:128]),
          .word_first    (word_first[q]),
          .word_last     (word_last[q]),
          .word_dest     (word_dest[q*3+:3]),
          .word_signal   (word_signal[q]),
          .word_pass_last(word_pass_last[q]),
          .word_base     (word_base[q*14+:14]),
          .word_cols     (word_cols[q*10+:10]),
          .word_groups   (word_groups[q*12+:12]),
          .word_row0     (word_row0[q*10+:10]),
          .word_col0     (word_col0[q*10+:10]),
          .layer_valid   (layer_valid[q]),
          .layer_job     (geometry),
          .layer_done    (q == 0 && layer_done),
          .idle          (read_idle[q]),
          .error         (read_error[q]),
          .clear         (start),
          .m_axi_arvalid (m_arvalid[q]),
          .m_axi_arready (m_arready[q]),
          .m_axi_araddr  (m_araddr[q*ADDR_W+:ADDR_W]),
          .m_axi_arlen   (m_arlen[q*8+:8]),
          .m_axi_arsize  (arsize_unused),
          .m_axi_arburst (arburst_unused),
          .m_axi_archip  (m_archip[q]),
          .m_axi_arpeer  (m_arpeer[q*4+:4]),
          .m_axi_rvalid  (m_rvalid[q]),
          .m_axi_rready  (m_rready[q]),
          .m_axi_rdata   (m_rdata[q*DATA_W+:DATA_W]),
          .m_axi_rresp   (m_rresp[q*2+:2]),
          .m_axi_rlast   (m_rlast[q])
      );
      if (q == 0) begin : geometry_source
        assign layer_job = geometry;
      end else begin : no_geometry
        wire unused = &{1'b0, geometry};
      end
    end
  endgenerate

  // ---- compute engine ----
  wire         rd_en;
  wire [13:0]  rd_address;
  wire [127:0] rd_data;
  wire         computing, wait_job, wait_input, wait_weight, wait_residual, wait_output, layer_last;
  dna_compute #(
      .OC          (OC),
      .IC          (IC),
      .PX          (PX),
      .POST_LANES  (POST_LANES),
      .INPUT_WORDS (INPUT_WORDS),
      .WEIGHT_WORDS(WEIGHT_WORDS),
      .PARAM_WORDS (PARAM_WORDS),
      .OUTPUT_WORDS(OUTPUT_WORDS),
      .RESIDUAL    (RESIDUAL),
      .PACKED      (PACKED),
      .MAC_LUT     (MAC_LUT),
      .POST_LUT    (POST_LUT),
      .DATAFLOW    (DATAFLOW),
      .SUM_WORDS   (SUM_WORDS)
  ) compute (
      .clk            (clk),
      .rst_n          (rst_n),
      .job_valid      (queue_valid[QC]),
      .job_ready      (queue_ready[QC]),
      .job            (compute_job),
      .layer_valid    (layer_valid[0]),
      .layer_job      (layer_job),
      .layer_done     (layer_done),
      .act_valid      (word_valid[0]),
      .act_data       (word_data[127:0]),
      .act_dest       (act_dest),
      .act_first      (word_first[0]),
      .act_base       (word_base[13:0]),
      .act_cols       (word_cols[9:0]),
      .act_groups     (word_groups[11:0]),
      .act_row0       (word_row0[9:0]),
      .act_col0       (word_col0[9:0]),
      .wgt_valid      (word_valid[WP]),
      .wgt_data       (word_data[WP*128+:128]),
      .wgt_dest       (wgt_dest),
      .wgt_first      (word_first[WP]),
      .wgt_base       (word_base[WP*14+:14]),
      .loaded_input   (loaded_input),
      .loaded_weight  (loaded_weight),
      .loaded_residual(loaded_residual),
      .stored         (stored),
      .freed_input    (free_input),
      .freed_weight   (free_weight),
      .freed_param    (free_param),
      .freed_residual (free_residual),
      .tile_ready     (tile_ready),
      .rd_en          (rd_en),
      .rd_address     (rd_address),
      .rd_data        (rd_data),
      .busy           (computing),
      .wait_job       (wait_job),
      .wait_input     (wait_input),
      .wait_weight    (wait_weight),
      .wait_residual  (wait_residual),
      .wait_output    (wait_output),
      .layer_last     (layer_last),
      .idle           (compute_idle),
      .clear          (start),
      .overrun        (error_overrun)
  );

  // ---- write port ----
  wire       layer_commit;
  wire [2:0] awsize_unused;
  wire [1:0] awburst_unused;
  dna_write_port #(
      .ADDR_W     (ADDR_W),
      .DATA_W     (DATA_W),
      .BURST      (BURST),
      .OUTSTANDING(OUTSTANDING),
      .RD_LATENCY (2),
      .CHUNKS     (CHUNKS)
  ) write (
      .clk            (clk),
      .rst_n          (rst_n),
      .job_valid      (queue_valid[QW]),
      .job_ready      (queue_ready[QW]),
      .job            (queue_job[QW*256+:256]),
      .ready          (ready),
      .halt           (halted),
      .committed_all  (committed_all),
      .fetched_all    (fetched_all),
      .base_program   (base_program),
      .base_input     (base_input),
      .base_output    (base_output),
      .base_work      (base_work),
      .rd_en          (rd_en),
      .rd_addr        (rd_address),
      .rd_data        (rd_data),
      .stored         (store_read),
      .committed_pulse(store_committed),
      .layer_commit   (layer_commit),
      .pass_commit    (pass_committed),
      .idle           (write_idle),
      .error          (write_error),
      .clear          (start),
      .m_axi_awvalid  (m_awvalid),
      .m_axi_awready  (m_awready),
      .m_axi_awaddr   (m_awaddr),
      .m_axi_awlen    (m_awlen),
      .m_axi_awsize   (awsize_unused),
      .m_axi_awburst  (awburst_unused),
      .m_axi_awchip   (m_awchip),
      .m_axi_awreaders(m_awreaders),
      .m_axi_wvalid   (m_wvalid),
      .m_axi_wready   (m_wready),
      .m_axi_wdata    (m_wdata),
      .m_axi_wstrb    (m_wstrb),
      .m_axi_wlast    (m_wlast),
      .m_axi_bvalid   (m_bvalid),
      .m_axi_bready   (m_bready),
      .m_axi_bresp    (m_bresp)
  );

  // ---- observation: where the compute engine's cycles go ----
  reg [31:0] count_busy, count_input, count_weight, count_residual, count_output, count_job;
  always @(posedge clk) begin
    busy <= start || (busy && !done);
    if (start) begin
      cycle          <= 32'd1;
      count_busy     <= 32'd0;
      count_input    <= 32'd0;
      count_weight   <= 32'd0;
      count_residual <= 32'd0;
      count_output   <= 32'd0;
      count_job      <= 32'd0;
    end else if (busy && !done) begin
      cycle          <= cycle + 32'd1;
      count_busy     <= count_busy + {31'd0, computing};
      count_input    <= count_input + {31'd0, wait_input};
      count_weight   <= count_weight + {31'd0, wait_weight};
      count_residual <= count_residual + {31'd0, wait_residual};
      count_output   <= count_output + {31'd0, wait_output};
      count_job      <= count_job + {31'd0, wait_job};
    end
    if (!rst_n) begin
      busy  <= 1'b0;
      cycle <= 32'd0;
    end
  end
  // The TILE at work: popped before its own event, and not before the event of the one before it.
  reg          tile_pass_last;
  wire [255:0] compute_job = queue_job[QC*256+:256];
  always @(posedge clk)
    if (queue_valid[QC] && queue_ready[QC])
      tile_pass_last <= compute_job[`DNA_OP] == `DNA_OP_TILE && compute_job[`DNA_TILE_PASS_LAST];

  assign compute_event    = layer_last;
  assign compute_close    = layer_last && tile_pass_last;
  assign commit_close     = pass_committed;
  assign compute_snapshot = {count_job, count_output, count_residual, count_weight, count_input, count_busy, cycle};
  assign commit_event     = layer_commit;
  assign commit_cycle     = cycle;

  wire unused = &{1'b0, layer_valid, word_pass_last, word_groups, word_cols, word_row0, word_col0, word_base, word_dest};
endmodule

`default_nettype wire
