// Statistics per layer: what the chunk recorded when a layer was computed, and when its last write was answered.
//
// The n-th `compute_event` since `start` stores its snapshot in entry n, the n-th `commit_event` its cycle. What comes after an
// event with `compute_close`, `commit_close`, the last one of a pass, is dropped: the first pass is recorded. Events beyond the
// last entry are dropped and the counts stay at LAYERS. An entry not yet recorded since `start` reads 0.
//
// Timing: an event in cycle t is counted from t + 2 on and shown from t + 3 on; `select` in cycle t is followed in t + 1.
//
// Parameters: LAYERS 2..32768, a power of two.
`default_nettype none

module dna_layer_stats #(
    parameter LAYERS = 256
) (
    input  wire         clk,
    input  wire         rst_n,
    input  wire         start,
    input  wire         compute_event,
    input  wire         compute_close,
    input  wire [223:0] compute_snapshot,
    input  wire         commit_event,
    input  wire         commit_close,
    input  wire [31:0]  commit_cycle,
    input  wire [15:0]  select,
    output reg  [15:0]  computed,
    output reg  [15:0]  committed,
    output wire [223:0] snapshot,
    output wire [31:0]  commit
);
  localparam AW = $clog2(LAYERS);

  generate
    if (LAYERS < 2 || LAYERS > 32768 || LAYERS != (1 << AW)) begin : bad_parameter
      dna_layer_stats_LAYERS_must_be_a_power_of_two_from_2_to_32768 error ();
    end
  endgenerate

  reg          compute_open, commit_open;
  reg          compute_s1, commit_s1;
  reg  [223:0] snapshot_s1;
  reg  [31:0]  commit_cycle_s1;
  wire         store_compute = compute_s1 && computed < LAYERS;
  wire         store_commit  = commit_s1 && committed < LAYERS;

  always @(posedge clk) begin
    if (compute_close) compute_open <= 1'b0;
    if (commit_close) commit_open <= 1'b0;
    compute_s1      <= compute_event && compute_open;
    commit_s1       <= commit_event && commit_open;
    snapshot_s1     <= compute_snapshot;
    commit_cycle_s1 <= commit_cycle;
    if (store_compute) computed <= computed + 16'd1;
    if (store_commit) committed <= committed + 16'd1;
    if (start || !rst_n) begin
      compute_open <= 1'b1;
      commit_open  <= 1'b1;
      compute_s1 <= 1'b0;
      commit_s1  <= 1'b0;
      computed   <= 16'd0;
      committed  <= 16'd0;
    end
  end

  reg          known_compute, known_commit;
  wire [223:0] snapshot_entry;
  wire [31:0]  commit_entry;

  always @(posedge clk) begin
    known_compute <= select < computed;
    known_commit  <= select < committed;
  end

  assign snapshot = known_compute ? snapshot_entry : 224'd0;
  assign commit   = known_commit ? commit_entry : 32'd0;

  dna_ram #(
      .WIDTH(224),
      .DEPTH(LAYERS)
  ) snapshots (
      .clk       (clk),
      .wr_en     (store_compute),
      .wr_address(computed[AW-1:0]),
      .wr_data   (snapshot_s1),
      .wr_bytes  ({28{1'b1}}),
      .rd_en     (1'b1),
      .rd_address(select[AW-1:0]),
      .rd_data   (snapshot_entry)
  );

  dna_ram #(
      .WIDTH(32),
      .DEPTH(LAYERS)
  ) commits (
      .clk       (clk),
      .wr_en     (store_commit),
      .wr_address(committed[AW-1:0]),
      .wr_data   (commit_cycle_s1),
      .wr_bytes  (4'hf),
      .rd_en     (1'b1),
      .rd_address(select[AW-1:0]),
      .rd_data   (commit_entry)
  );
endmodule

`default_nettype wire
