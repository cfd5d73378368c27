// Test rig: one read and one write port, their lists of jobs, a memory, with 128 bits also links that are read (peers 0, 1) and
// others that are written (readers 0, 1), and records of what happened when.
`default_nettype none
`include "isa.vh"

module ports_rig #(
    parameter ID          = 0,
    parameter DATA_W      = 128,
    parameter BURST       = 16,
    parameter OUTSTANDING = 8,
    parameter RD_LATENCY  = 2,
    parameter CHUNKS      = 3,
    parameter BANK        = 1024,
    parameter JOBS        = 128,
    parameter STREAM      = 32768
) (
    input  wire         clk,
    input  wire         rst_n,
    input  wire [15:0]  read_latency,
    input  wire [15:0]  beat_interval,
    input  wire [15:0]  write_latency,
    input  wire [31:0]  stall_seed,
    input  wire         error_enable,
    input  wire [31:0]  error_first,
    input  wire [31:0]  error_last,
    input  wire [31:0]  reads,
    input  wire [31:0]  writes,
    input  wire [7:0]   select,
    // 1, 2: load read, write jobs; 3, 4: load, dump memory; 5 to 7: dump records; 8 to 11: load banks; 12, 13: dump them
    input  wire [3:0]   command,
    input  wire [31:0]  file_first,
    input  wire [31:0]  file_last,
    input  wire [8*256-1:0] file_name,
    input  wire         clear,
    input  wire         halt,
    output wire         done,
    output wire         read_error,
    output wire         write_error,
    output wire [7:0]   protocol_error
);
  wire [3:0] here = (select == ID[7:0]) ? command : 4'd0;
  reg [31:0] cycle;

  // ---- Jobs.
  wire         r_valid, r_ready, w_valid, w_ready, free_met, commit_met, ready_met;
  wire [255:0] r_job, w_job;
  wire [31:0]  r_index, w_index, walk;

  ports_feed #(.JOBS(JOBS)) u_reads (
      .clk(clk), .rst_n(rst_n), .cycle(cycle), .count(reads), .load(here == 4'd1), .file_name(file_name),
      .job_valid(r_valid), .job_ready(r_ready), .job(r_job), .met_free(free_met), .met_commit(commit_met),
      .walk(walk), .index(r_index)
  );

  wire        commit_met_unused;
  wire [31:0] walk_unused;
  ports_feed #(.JOBS(JOBS)) u_writes (
      .clk(clk), .rst_n(rst_n), .cycle(cycle), .count(writes), .load(here == 4'd2), .file_name(file_name),
      .job_valid(w_valid), .job_ready(w_ready), .job(w_job), .met_free(ready_met), .met_commit(commit_met_unused),
      .walk(walk_unused), .index(w_index)
  );

  // Counters just short of the threshold, or anywhere beyond it in the half range; those of other buffers always short.
  wire [11:0] wait_free = r_job[`DNA_LOAD_WAIT_FREE];
  wire [2:0]  dest      = r_job[`DNA_LOAD_DEST];
  wire [11:0] spread    = {1'b0, r_index[3:0], 7'h55} ^ {1'b0, {11{r_index[4]}}};
  wire [11:0] short_of  = wait_free - 12'd1 - spread;
  wire [11:0] enough    = wait_free + spread;
  wire [11:0] freed_input    = (free_met && dest == `DNA_DEST_INPUT) ? enough : short_of;
  wire [11:0] freed_residual = (free_met && dest == `DNA_DEST_RESIDUAL) ? enough : short_of;
  wire [11:0] freed_weight   = (free_met && dest == `DNA_DEST_WEIGHT) ? enough : short_of;
  wire [11:0] freed_param    = (free_met && dest == `DNA_DEST_PARAM) ? enough : short_of;
  wire [23:0] spread_long    = {1'b0, spread[10:0], 12'h5a5} ^ {1'b0, {23{r_index[2]}}};
  wire [23:0] wait_commit    = r_job[`DNA_LOAD_WAIT_COMMIT];
  wire [23:0] committed      = commit_met ? wait_commit + spread_long : wait_commit - 24'd1 - spread_long;
  wire [11:0] ready          = w_job[`DNA_STORE_WAIT_READY]
                             + (ready_met ? {1'b0, w_index[0], 10'h3a5} : 12'd0 - 12'd1 - {5'd0, w_index[6:0]});

  // A WAIT's counter likewise; the other chunks' and the other kind's are always short.
  wire [CHUNKS*24-1:0] r_committed_all, r_fetched_all, w_committed_all, w_fetched_all;
  ports_counters #(.CHUNKS(CHUNKS)) u_read_counters (
      .job(r_job), .met(free_met), .spread(spread_long), .committed_all(r_committed_all), .fetched_all(r_fetched_all)
  );
  ports_counters #(.CHUNKS(CHUNKS)) u_write_counters (
      .job(w_job), .met(ready_met), .spread({w_index[0], 7'h3a, w_index[15:0]} >> 1),
      .committed_all(w_committed_all), .fetched_all(w_fetched_all)
  );

  // ---- Output buffer: RD_LATENCY registers behind a function of the address.
  wire         rd_en;
  wire [13:0]  rd_addr;
  wire [31:0]  mixed = ({18'd0, rd_addr} + 32'd1) * 32'h9E3779B1;
  reg  [127:0] rd_pipe [0:RD_LATENCY-1];
  integer i;
  always @(posedge clk) begin
    rd_pipe[0] <= rd_en ? {mixed, ~mixed, mixed ^ 32'h5A5A1234, 18'd0, rd_addr} : {128{1'b1}};
    for (i = 1; i < RD_LATENCY; i = i + 1) rd_pipe[i] <= rd_pipe[i-1];
  end

  // ---- Ports.
  wire         word_valid, word_first, word_last, word_signal, word_pass_last, layer_valid, r_idle, w_idle;
  wire [127:0] word_data;
  wire [2:0]   word_dest;
  wire [13:0]  word_base;
  wire [9:0]   word_cols, word_row0, word_col0;
  wire [11:0]  word_groups;
  wire [255:0] layer_job;
  wire         stored, committed_pulse, layer_commit, pass_commit;
  reg  [31:0]  walked;
  wire         layer_done = layer_valid && walked == walk;

  wire arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast, bvalid, bready;
  wire [31:0] araddr, awaddr;
  wire [7:0]  arlen, awlen;
  wire [2:0]  arsize, awsize;
  wire [1:0]  arburst, awburst, rresp, bresp;
  wire [DATA_W-1:0]   rdata, wdata;
  wire [DATA_W/8-1:0] wstrb;

  localparam [127:0] BASE_INPUT  = {32'h13000, 32'h12000, 32'h11000, 32'h10000};
  localparam [127:0] BASE_OUTPUT = {32'h1d000, 32'h1e000, 32'h1f000, 32'h20000};
  localparam [31:0]  BASE_WORK   = 32'h21000;

  // What the ports see is the memory's or a link's, by their targets.
  wire               archip, awchip, mem_arready, mem_awready, mem_wready, mem_rvalid, mem_rlast, mem_bvalid;
  wire               chip_rvalid, chip_rlast, chip_bvalid;
  wire [3:0]         arpeer;
  wire [15:0]        awreaders;
  wire [DATA_W-1:0]  mem_rdata, chip_rdata;
  wire [1:0]         mem_rresp, mem_bresp;
  assign arready = archip || mem_arready;
  assign rvalid  = archip ? chip_rvalid : mem_rvalid;
  assign rlast   = archip ? chip_rlast : mem_rlast;
  assign rdata   = archip ? chip_rdata : mem_rdata;
  assign rresp   = archip ? 2'b00 : mem_rresp;
  assign awready = awchip || mem_awready;
  assign wready  = awchip || mem_wready;
  assign bvalid  = awchip ? chip_bvalid : mem_bvalid;
  assign bresp   = awchip ? 2'b00 : mem_bresp;

  dna_read_port #(
      .ADDR_W(32), .DATA_W(DATA_W), .BURST(BURST), .OUTSTANDING(OUTSTANDING), .CHUNKS(CHUNKS)
  ) u_read (
      .clk(clk), .rst_n(rst_n), .job_valid(r_valid), .job_ready(r_ready), .job(r_job),
      .freed_input(freed_input), .freed_weight(freed_weight), .freed_param(freed_param),
      .freed_residual(freed_residual), .committed(committed),
      .halt(halt), .committed_all(r_committed_all), .fetched_all(r_fetched_all),
      .base_program(32'd0), .base_input(BASE_INPUT), .base_output(BASE_OUTPUT), .base_work(BASE_WORK),
      .word_valid(word_valid), .word_data(word_data), .word_first(word_first), .word_last(word_last),
      .word_dest(word_dest), .word_signal(word_signal), .word_pass_last(word_pass_last), .word_base(word_base), .word_cols(word_cols),
      .word_groups(word_groups), .word_row0(word_row0), .word_col0(word_col0),
      .layer_valid(layer_valid), .layer_job(layer_job), .layer_done(layer_done),
      .idle(r_idle), .error(read_error), .clear(clear),
      .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_araddr(araddr), .m_axi_arlen(arlen),
      .m_axi_archip(archip), .m_axi_arpeer(arpeer),
      .m_axi_arsize(arsize), .m_axi_arburst(arburst), .m_axi_rvalid(rvalid), .m_axi_rready(rready),
      .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast)
  );

  dna_write_port #(
      .ADDR_W(32), .DATA_W(DATA_W), .BURST(BURST), .OUTSTANDING(OUTSTANDING), .RD_LATENCY(RD_LATENCY), .CHUNKS(CHUNKS)
  ) u_write (
      .clk(clk), .rst_n(rst_n), .job_valid(w_valid), .job_ready(w_ready), .job(w_job), .ready(ready),
      .halt(halt), .committed_all(w_committed_all), .fetched_all(w_fetched_all),
      .base_program(32'd0), .base_input(BASE_INPUT), .base_output(BASE_OUTPUT), .base_work(BASE_WORK),
      .rd_en(rd_en), .rd_addr(rd_addr), .rd_data(rd_pipe[RD_LATENCY-1]),
      .stored(stored), .committed_pulse(committed_pulse), .layer_commit(layer_commit), .pass_commit(pass_commit),
      .idle(w_idle), .error(write_error), .clear(clear),
      .m_axi_awvalid(awvalid), .m_axi_awready(awready), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen),
      .m_axi_awchip(awchip), .m_axi_awreaders(awreaders),
      .m_axi_awsize(awsize), .m_axi_awburst(awburst), .m_axi_wvalid(wvalid), .m_axi_wready(wready),
      .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_bvalid(bvalid), .m_axi_bready(bready),
      .m_axi_bresp(bresp)
  );

  // ---- Memory: reads use its port 1, writes its port 0.
  wire       ar0_unused, aw1_unused, w1_unused, r0_unused, rlast0_unused, b1_unused;
  wire [DATA_W-1:0] rdata0_unused;
  wire [1:0] rresp0_unused, bresp1_unused;
  wire [7:0] protocol_port_unused;
  dna_memory #(
      .PORTS(2), .ADDR_W(32), .DATA_W(DATA_W), .WORDS(32768), .MAX_BURST(BURST)
  ) u_memory (
      .clk(clk), .rst_n(rst_n), .read_latency(read_latency), .beat_interval(beat_interval),
      .write_latency(write_latency), .shared_bytes(16'd0), .stall_seed(stall_seed),
      .error_enable(error_enable), .error_first(error_first), .error_last(error_last),
      .load(here == 4'd3), .dump(here == 4'd4), .file_name(file_name), .file_first(file_first), .file_last(file_last),
      .protocol_error(protocol_error), .protocol_port(protocol_port_unused),
      .s_axi_arvalid({arvalid && !archip, 1'b0}), .s_axi_arready({mem_arready, ar0_unused}), .s_axi_araddr({araddr, 32'd0}),
      .s_axi_arlen({arlen, 8'd0}), .s_axi_arsize({arsize, 3'd0}), .s_axi_arburst({arburst, 2'd0}),
      .s_axi_rvalid({mem_rvalid, r0_unused}), .s_axi_rready({rready, 1'b1}), .s_axi_rdata({mem_rdata, rdata0_unused}),
      .s_axi_rresp({mem_rresp, rresp0_unused}), .s_axi_rlast({mem_rlast, rlast0_unused}),
      .s_axi_awvalid({1'b0, awvalid && !awchip}), .s_axi_awready({aw1_unused, mem_awready}), .s_axi_awaddr({32'd0, awaddr}),
      .s_axi_awlen({8'd0, awlen}), .s_axi_awsize({3'd0, awsize}), .s_axi_awburst({2'd0, awburst}),
      .s_axi_wvalid({1'b0, wvalid && !awchip}), .s_axi_wready({w1_unused, mem_wready}), .s_axi_wdata({{DATA_W{1'b0}}, wdata}),
      .s_axi_wstrb({{(DATA_W / 8) {1'b0}}, wstrb}), .s_axi_wlast({1'b0, wlast}),
      .s_axi_bvalid({b1_unused, mem_bvalid}), .s_axi_bready({1'b1, bready}), .s_axi_bresp({bresp1_unused, mem_bresp})
  );

  // ---- Links.
  generate
    if (DATA_W == 128) begin : chip
      wire [1:0]   l_rvalid, l_rlast, l_bvalid, b_unused, rv_unused, rl_unused;
      wire [255:0] l_rdata, rd_unused;
      assign chip_rvalid = |l_rvalid;
      assign chip_rlast  = l_rlast[arpeer[0]];
      assign chip_rdata  = l_rdata[128*arpeer[0]+:128];
      assign chip_bvalid = |l_bvalid;
      genvar l;
      for (l = 0; l < 2; l = l + 1) begin : banks
        dna_link #(.WORDS(BANK), .ADDR_W(32), .OUTSTANDING(OUTSTANDING)) source (
            .clk(clk), .rst_n(rst_n), .awvalid(1'b0), .awaddr(32'd0), .wvalid(1'b0), .wdata(128'd0), .wlast(1'b0),
            .bvalid(b_unused[l]), .arvalid(arvalid && archip && arpeer == l), .araddr(araddr), .arlen(arlen),
            .rvalid(l_rvalid[l]), .rdata(l_rdata[128*l+:128]), .rlast(l_rlast[l])
        );
        dna_link #(.WORDS(BANK), .ADDR_W(32), .OUTSTANDING(OUTSTANDING)) target (
            .clk(clk), .rst_n(rst_n), .awvalid(awvalid && awchip && awreaders[l]), .awaddr(awaddr),
            .wvalid(wvalid && awchip && awreaders[l]), .wdata(wdata), .wlast(wlast), .bvalid(l_bvalid[l]),
            .arvalid(1'b0), .araddr(32'd0), .arlen(8'd0),
            .rvalid(rv_unused[l]), .rdata(rd_unused[128*l+:128]), .rlast(rl_unused[l])
        );
        always @(posedge clk) begin
          if (here == 8 + l) $readmemh(file_name, source.bank.words);
          if (here == 10 + l) $readmemh(file_name, target.bank.words);
          if (here == 12 + l) $writememh(file_name, target.bank.words);
        end
      end
    end else begin : no_chip
      assign chip_rvalid = 1'b0;
      assign chip_rlast  = 1'b0;
      assign chip_rdata  = {DATA_W{1'b0}};
      assign chip_bvalid = 1'b0;
    end
  endgenerate

  // ---- Records: what happened in the cycle, that is, at the edge that ends it.
  // Jobs are popped in order and end in order, but a WAIT does not end: the n-th end is that of the n-th other job.
  reg [63:0]  r_times [0:JOBS-1];      // {end (LOAD: last word, LAYER: started); popped}
  reg [127:0] w_times [0:JOBS-1];      // {pass_commit, layer_commit; committed; stored (end); popped}
  reg [223:0] stream  [0:STREAM-1];
  reg [31:0]  words_seen, last_job, store_pops, stored_jobs, committed_jobs;
  reg         layer_same;

  assign done = r_index == reads && w_index == writes && r_idle && w_idle && !word_valid && stored_jobs == store_pops;

  always @(posedge clk) begin
    if (here == 4'd5) $writememh(file_name, r_times, file_first, file_last);
    if (here == 4'd6) $writememh(file_name, w_times, file_first, file_last);
    if (here == 4'd7) $writememh(file_name, stream, file_first, file_last);
    if (!rst_n) begin
      cycle          <= 32'd0;
      walked         <= 32'd0;
      words_seen     <= 32'd0;
      last_job       <= 32'd0;
      store_pops     <= 32'd0;
      stored_jobs    <= 32'd0;
      committed_jobs <= 32'd0;
      layer_same     <= 1'b1;
    end else begin
      cycle  <= cycle + 32'd1;
      walked <= layer_valid && !layer_done ? walked + 32'd1 : 32'd0;
      if (layer_valid && layer_job != r_job) layer_same <= 1'b0;
      if (r_valid && r_ready) r_times[r_index[6:0]][31:0] <= cycle;
      if (layer_valid && walked == 32'd0) r_times[last_job[6:0]][63:32] <= layer_same ? cycle : 32'd0;
      if (word_valid) begin
        stream[words_seen[14:0]] <= {28'd0, word_first, word_last, word_signal, word_pass_last, word_dest, word_base, word_cols, word_groups,
                                     word_row0, word_col0, 5'd0, word_data};
        words_seen <= words_seen + 32'd1;
        if (word_last) begin
          r_times[last_job[6:0]][63:32] <= cycle;
          last_job <= last_job + 32'd1;
        end
      end
      if (layer_done) last_job <= last_job + 32'd1;
      if (w_valid && w_ready) w_times[w_index[6:0]][31:0] <= cycle;
      if (w_valid && w_ready && w_job[`DNA_OP] == `DNA_OP_STORE) store_pops <= store_pops + 32'd1;
      if (stored) begin
        w_times[stored_jobs[6:0]][63:32] <= cycle;
        stored_jobs <= stored_jobs + 32'd1;
      end
      if (committed_pulse) begin
        w_times[committed_jobs[6:0]][127:64] <= {30'd0, pass_commit, layer_commit, cycle};
        committed_jobs <= committed_jobs + 32'd1;
      end
    end
  end
endmodule

// The counters that a WAIT looks at: its own just short of the value or anywhere beyond it in the half range.
module ports_counters #(
    parameter CHUNKS = 3
) (
    input  wire [255:0]          job,
    input  wire                  met,
    input  wire [23:0]           spread,
    output reg  [CHUNKS*24-1:0]  committed_all,
    output reg  [CHUNKS*24-1:0]  fetched_all
);
  wire [23:0] value    = {job[`DNA_WAIT_PASS], job[`DNA_WAIT_INDEX]};
  wire [23:0] short_of = value - 24'd1 - spread;
  integer c;
  always @* begin
    for (c = 0; c < CHUNKS; c = c + 1) begin
      committed_all[c*24+:24] = short_of;
      fetched_all[c*24+:24]   = short_of;
      if (met && job[`DNA_WAIT_PEER] == c && job[`DNA_WAIT_EVENT] == `DNA_EVENT_COMMITTED)
        committed_all[c*24+:24] = value + spread;
      if (met && job[`DNA_WAIT_PEER] == c && job[`DNA_WAIT_EVENT] == `DNA_EVENT_FETCHED)
        fetched_all[c*24+:24] = value + spread;
    end
  end
endmodule

`default_nettype wire
