// Test bench: breaks one rule of AXI, named by +rule=N as in dna_memory.v (0: none), and prints which one the memory saw.
`default_nettype none
`timescale 1ns / 1ps

module ports_rules;
  reg         clk = 1'b0, rst_n = 1'b0;
  reg         arvalid = 1'b0, awvalid = 1'b0, wvalid = 1'b0, wlast = 1'b0;
  reg  [31:0] araddr = 32'h100, awaddr = 32'h100;
  reg  [7:0]  arlen = 8'd1, awlen = 8'd1;
  reg  [2:0]  arsize = 3'd4, awsize = 3'd4;
  reg [127:0] wdata = 128'd1;
  wire        arready, awready, wready, rvalid, rlast, bvalid;
  wire [127:0] rdata;
  wire [1:0]  rresp, bresp;
  wire [7:0]  protocol_error, protocol_port;
  integer     rule, i;
  reg  [31:0] seed;

  dna_memory #(.WORDS(1024), .MAX_BURST(16), .QUEUE(2)) u_memory (
      .clk(clk), .rst_n(rst_n), .read_latency(16'd60), .beat_interval(16'd1), .write_latency(16'd60),
      .shared_bytes(16'd0), .stall_seed(32'd0), .error_enable(1'b0), .error_first(32'd0), .error_last(32'd0),
      .load(1'b0), .dump(1'b0), .file_name({2048{1'b0}}), .file_first(32'd0), .file_last(32'd0),
      .protocol_error(protocol_error), .protocol_port(protocol_port),
      .s_axi_arvalid(arvalid), .s_axi_arready(arready), .s_axi_araddr(araddr), .s_axi_arlen(arlen),
      .s_axi_arsize(arsize), .s_axi_arburst(2'b01), .s_axi_rvalid(rvalid), .s_axi_rready(1'b1), .s_axi_rdata(rdata),
      .s_axi_rresp(rresp), .s_axi_rlast(rlast),
      .s_axi_awvalid(awvalid), .s_axi_awready(awready), .s_axi_awaddr(awaddr), .s_axi_awlen(awlen),
      .s_axi_awsize(awsize), .s_axi_awburst(2'b01), .s_axi_wvalid(wvalid), .s_axi_wready(wready), .s_axi_wdata(wdata),
      .s_axi_wstrb(16'hFFFF), .s_axi_wlast(wlast), .s_axi_bvalid(bvalid), .s_axi_bready(1'b1), .s_axi_bresp(bresp)
  );

  always #5 clk = !clk;

  // A legal exchange first: two bursts fill each queue (latency is long), so that what comes next has to wait.
  initial begin
    if (!$value$plusargs("rule=%d", rule)) rule = 0;
    repeat (2) @(negedge clk);
    rst_n   = 1'b1;
    arvalid = 1'b1;
    awvalid = 1'b1;
    if (rule == 1) araddr = 32'hFF0;
    if (rule == 2) awaddr = 32'hFF0;
    if (rule == 3) arlen = 8'd16;
    if (rule == 4) awlen = 8'd16;
    if (rule == 5) arsize = 3'd3;
    if (rule == 6) awsize = 3'd3;
    repeat (4) @(negedge clk);
    if (rule == 7) araddr = 32'h200;
    if (rule == 8) awvalid = 1'b0;
    @(negedge clk);
    // Four beats are taken for the two bursts, then two wait in the queue, and one outside.
    for (i = 0; i < 8; i = i + 1) begin
      wvalid = 1'b1;
      wlast  = (rule == 10) ? 1'b1 : i[0];
      if (wready) wdata = wdata + 128'd1;
      else begin
        wlast = 1'b0;
        if (rule == 9) wdata = wdata + 128'd1;
      end
      @(negedge clk);
    end
    $display("rule=%0d", protocol_error);
    $finish;
  end
endmodule

`default_nettype wire
