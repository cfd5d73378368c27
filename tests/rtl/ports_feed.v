// Test helper: offers a list of jobs to a port, each from a given cycle on, and says when each one's waits may hold.
`default_nettype none

module ports_feed #(
    parameter JOBS = 128
) (
    input  wire         clk,
    input  wire         rst_n,
    input  wire [31:0]  cycle,
    input  wire [31:0]  count,
    input  wire         load,          // from file_name: job, {waits free, waits commit, walk, available}
    input  wire [8*256-1:0] file_name,
    output wire         job_valid,
    input  wire         job_ready,
    output wire [255:0] job,
    output wire         met_free,
    output wire         met_commit,
    output wire [31:0]  walk,
    output reg  [31:0]  index
);
  reg [383:0] list [0:JOBS-1];         // {waits free, waits commit, walk, available (32 bits each), job}
  // verilator lint_off WIDTHTRUNC
  wire [383:0] head = list[index];
  // verilator lint_on WIDTHTRUNC
  assign job        = head[255:0];
  assign job_valid  = index < count && cycle >= head[287:256];
  assign walk       = head[319:288];
  assign met_commit = cycle >= head[351:320];
  assign met_free   = cycle >= head[383:352];

  always @(posedge clk) begin
    if (load) $readmemh(file_name, list);
    if (!rst_n) index <= 32'd0;
    else if (job_valid && job_ready) index <= index + 32'd1;
  end
endmodule

`default_nettype wire
