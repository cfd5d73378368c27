// Test bench: eight rigs side by side, with ports of different widths, bursts and limits.
`default_nettype none

module ports_bench #(
    parameter RIGS = 8
);
  // No ports: what the test drives are registers, which the simulator lets it reach.
  reg              clk = 1'b0;
  reg              rst_n, error_enable, clear, halt;
  reg  [15:0]      read_latency, beat_interval, write_latency;
  reg  [31:0]      stall_seed, error_first, error_last, reads, writes, file_first, file_last;
  reg  [7:0]       select;
  reg  [3:0]       command;
  reg  [8*256-1:0] file_name;
  wire [RIGS-1:0]  read_error, write_error;
  wire [8*RIGS-1:0] protocol_error;
  always #1 clk = !clk;

  wire [RIGS-1:0] rig_done;
  wire done = &rig_done;

  genvar r;
  generate
    for (r = 0; r < RIGS; r = r + 1) begin : rigs
      ports_rig #(
          .ID         (r),
          .DATA_W     ((r % 2 == 0) ? 128 : 64),
          .BURST      ((r == 0) ? 16 : (r == 1) ? 2 : (r == 2) ? 256 : (r == 3) ? 16 : (r == 4) ? 2 : (r == 5) ? 256 : (r == 6) ? 8 : 4),
          .OUTSTANDING((r == 0) ? 8 : (r == 1) ? 8 : (r == 2) ? 2 : (r == 3) ? 5 : (r == 4) ? 32 : (r == 5) ? 3 : 1),
          .RD_LATENCY ((r < 6) ? 2 : (r == 6) ? 1 : 4),
          .CHUNKS     ((r == 0) ? 1 : (r == 1) ? 16 : 3)
      ) u_rig (
          .clk(clk), .rst_n(rst_n), .read_latency(read_latency), .beat_interval(beat_interval),
          .write_latency(write_latency), .stall_seed(stall_seed == 32'd0 ? 32'd0 : stall_seed + r),
          .error_enable(error_enable), .error_first(error_first), .error_last(error_last),
          .reads(reads), .writes(writes), .select(select), .command(command), .file_first(file_first),
          .file_last(file_last), .file_name(file_name), .clear(clear), .halt(halt), .done(rig_done[r]), .read_error(read_error[r]),
          .write_error(write_error[r]), .protocol_error(protocol_error[8*r+:8])
      );
    end
  endgenerate
endmodule

`default_nettype wire
