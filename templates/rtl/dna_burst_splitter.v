// Cuts the runs of a DMA job into bursts that never cross a multiple of BURST * DATA_W / 8 bytes (so never 4 KB).
//
// Run (j, i), j < n_outer, i < n_inner, covers `run` words of 16 bytes from word
// address + j * stride_outer + i * stride_inner (modulo 2^28) of the region that begins at byte `job_region`.
//
// Latency: a job taken in cycle t offers its first burst in cycle t + 1. One burst per cycle if taken at once: no bubble
// between bursts, runs or jobs (the next job is taken in the cycle in which the last burst leaves).
// Handshake: ready/valid; `job_ready` depends on `burst_ready`, `burst_valid` on nothing but registers. All counts
// of a job are at least 1.
//
// Parameters: ADDR_W 32 to 64; DATA_W 64 or 128; BURST 2 to 256 beats, a power of two, at most 4096 bytes.
`default_nettype none

module dna_burst_splitter #(
    parameter ADDR_W = 32,
    parameter DATA_W = 128,
    parameter BURST  = 16
) (
    input  wire              clk,
    input  wire              rst_n,

    input  wire              job_valid,
    output wire              job_ready,
    input  wire [ADDR_W-1:0] job_region,        // byte address, a multiple of 4096
    input  wire [27:0]       job_address,
    input  wire [15:0]       job_run,
    input  wire [11:0]       job_n_inner,
    input  wire [23:0]       job_stride_inner,
    input  wire [11:0]       job_n_outer,
    input  wire [23:0]       job_stride_outer,

    output reg               burst_valid,
    input  wire              burst_ready,
    output wire [ADDR_W-1:0] burst_address,     // byte address
    output wire [7:0]        burst_words_m1,    // words of 16 bytes, minus one
    output wire [7:0]        burst_beats_m1,    // AxLEN
    output reg               burst_first,       // first burst of its job
    output wire              burst_last         // last burst of its job
);
  localparam WORDS   = BURST * DATA_W / 128;    // words in a full burst
  localparam ALIGN_W = $clog2(WORDS);

  generate
    if (ADDR_W < 32 || ADDR_W > 64) begin : bad_addr_w
      dna_burst_splitter_ADDR_W_must_be_32_to_64 error ();
    end
    if (DATA_W != 64 && DATA_W != 128) begin : bad_data_w
      dna_burst_splitter_DATA_W_must_be_64_or_128 error ();
    end
    if (BURST < 2 || BURST > 256 || (BURST & (BURST - 1)) != 0 || WORDS > 256) begin : bad_burst
      dna_burst_splitter_BURST_must_be_a_power_of_2_from_2_to_256_and_at_most_4096_bytes error ();
    end
  endgenerate

  // ---- The job at work.
  reg [ADDR_W-13:0] page;                       // of the region
  reg [15:0]        run;
  reg [11:0]        n_inner;
  reg [23:0]        stride_inner, stride_outer;
  reg [11:0]        inner_left, outer_left;     // runs and repetitions after the present one
  reg [27:0]        run_start, row_start;       // first word of the present run; of its repetition's first run
  reg [27:0]        at;                         // first word of the burst on offer
  reg [15:0]        left_m1;                    // words of the run from there on, minus one

  // ---- The burst on offer: up to the next multiple of WORDS, or the end of the run.
  localparam [31:0] WORDS_M1 = WORDS - 1;
  wire [7:0] room_m1 = WORDS_M1[7:0] & ~at[7:0];
  wire       run_ends   = left_m1 <= {8'd0, room_m1};
  wire       inner_ends = inner_left == 12'd0;
  wire       outer_ends = outer_left == 12'd0;

  assign burst_words_m1 = run_ends ? left_m1[7:0] : room_m1;
  assign burst_last     = run_ends && inner_ends && outer_ends;

  wire [ADDR_W-13:0] page_offset = {{(ADDR_W - 32) {1'b0}}, at[27:8]};
  assign burst_address = {page + page_offset, at[7:0], 4'd0};

  generate
    if (DATA_W == 64) begin : beats_64
      assign burst_beats_m1 = {burst_words_m1[6:0], 1'b1};
    end else begin : beats_128
      assign burst_beats_m1 = burst_words_m1;
    end
  endgenerate

  // ---- What comes after it. Both sums stand ready; the end of the run only selects.
  wire [27:0] next_inner = run_start + {4'd0, stride_inner};
  wire [27:0] next_outer = row_start + {4'd0, stride_outer};
  wire [27:0] next_run   = inner_ends ? next_outer : next_inner;
  wire [27:0] next_line  = ((at >> ALIGN_W) + 28'd1) << ALIGN_W;

  wire burst_taken = burst_valid && burst_ready;
  wire job_taken   = job_valid && job_ready;
  assign job_ready = !burst_valid || (burst_ready && burst_last);

  always @(posedge clk) begin
    if (!rst_n) burst_valid <= 1'b0;
    else if (job_taken) burst_valid <= 1'b1;
    else if (burst_taken && burst_last) burst_valid <= 1'b0;
  end

  always @(posedge clk) begin
    if (job_taken) begin
      page         <= job_region[ADDR_W-1:12];
      run          <= job_run;
      n_inner      <= job_n_inner;
      stride_inner <= job_stride_inner;
      stride_outer <= job_stride_outer;
      inner_left   <= job_n_inner - 12'd1;
      outer_left   <= job_n_outer - 12'd1;
      run_start    <= job_address;
      row_start    <= job_address;
      at           <= job_address;
      left_m1      <= job_run - 16'd1;
      burst_first  <= 1'b1;
    end else if (burst_taken) begin
      burst_first <= 1'b0;
      if (run_ends) begin
        at         <= next_run;
        run_start  <= next_run;
        left_m1    <= run - 16'd1;
        inner_left <= inner_ends ? n_inner - 12'd1 : inner_left - 12'd1;
        if (inner_ends) begin
          row_start  <= next_outer;
          outer_left <= outer_left - 12'd1;
        end
      end else begin
        at      <= next_line;
        left_m1 <= left_m1 - {8'd0, room_m1} - 16'd1;
      end
    end
  end

  wire region_unused = &{1'b0, job_region[11:0]};

endmodule

`default_nettype wire
