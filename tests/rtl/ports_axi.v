// Test bench: one read and one write port on a bus whose other side is in Python.
`default_nettype none
`timescale 1ns / 1ps
`include "isa.vh"

module ports_axi #(
    parameter DATA_W = 64
) (
    input  wire                clk,
    input  wire                rst,
    input  wire                load_valid,
    output wire                load_ready,
    input  wire [255:0]        load,
    input  wire                store_valid,
    output wire                store_ready,
    input  wire [255:0]        store,
    output wire                word_valid,
    output wire [127:0]        word_data,
    output wire                word_last,
    output wire                committed_pulse,
    output wire                read_error,
    output wire                write_error,
    output wire [7:0]          m_axi_arid,
    output wire                m_axi_arvalid,
    input  wire                m_axi_arready,
    output wire [31:0]         m_axi_araddr,
    output wire [7:0]          m_axi_arlen,
    output wire [2:0]          m_axi_arsize,
    output wire [1:0]          m_axi_arburst,
    input  wire [7:0]          m_axi_rid,
    input  wire                m_axi_rvalid,
    output wire                m_axi_rready,
    input  wire [DATA_W-1:0]   m_axi_rdata,
    input  wire [1:0]          m_axi_rresp,
    input  wire                m_axi_rlast,
    output wire [7:0]          m_axi_awid,
    output wire                m_axi_awvalid,
    input  wire                m_axi_awready,
    output wire [31:0]         m_axi_awaddr,
    output wire [7:0]          m_axi_awlen,
    output wire [2:0]          m_axi_awsize,
    output wire [1:0]          m_axi_awburst,
    output wire                m_axi_wvalid,
    input  wire                m_axi_wready,
    output wire [DATA_W-1:0]   m_axi_wdata,
    output wire [DATA_W/8-1:0] m_axi_wstrb,
    output wire                m_axi_wlast,
    input  wire [7:0]          m_axi_bid,
    input  wire                m_axi_bvalid,
    output wire                m_axi_bready,
    input  wire [1:0]          m_axi_bresp
);
  assign m_axi_arid = 8'd0;
  assign m_axi_awid = 8'd0;

  wire         rd_en;
  wire [13:0]  rd_addr;
  reg  [127:0] rd_s1, rd_s2;
  wire [31:0]  mixed = ({18'd0, rd_addr} + 32'd1) * 32'h9E3779B1;
  always @(posedge clk) begin
    rd_s1 <= {mixed, ~mixed, mixed ^ 32'h5A5A1234, 18'd0, rd_addr};
    rd_s2 <= rd_s1;
  end

  wire archip, awchip, word_pass_last, pass_commit;
  wire [3:0]   arpeer;
  wire [15:0]  awreaders;
  wire word_first, word_signal, layer_valid, r_idle, w_idle, stored, layer_commit;
  wire [2:0]   word_dest;
  wire [13:0]  word_base;
  wire [9:0]   word_cols, word_row0, word_col0;
  wire [11:0]  word_groups;
  wire [255:0] layer_job;

  dna_read_port #(
      .ADDR_W(32), .DATA_W(DATA_W), .BURST(256), .OUTSTANDING(4)
  ) u_read (
      .clk(clk), .rst_n(!rst), .job_valid(load_valid), .job_ready(load_ready), .job(load),
      .freed_input(load[`DNA_LOAD_WAIT_FREE]), .freed_weight(load[`DNA_LOAD_WAIT_FREE]),
      .freed_param(load[`DNA_LOAD_WAIT_FREE]), .freed_residual(load[`DNA_LOAD_WAIT_FREE]), .committed(load[`DNA_LOAD_WAIT_COMMIT]),
      .halt(1'b0), .committed_all(24'd0), .fetched_all(24'd0),
      .base_program(32'd0), .base_input({32'h13000, 32'h12000, 32'h11000, 32'h10000}),
      .base_output({32'h1d000, 32'h1e000, 32'h1f000, 32'h20000}), .base_work(32'h21000),
      .word_valid(word_valid), .word_data(word_data), .word_first(word_first), .word_last(word_last),
      .word_dest(word_dest), .word_signal(word_signal), .word_pass_last(word_pass_last), .word_base(word_base), .word_cols(word_cols),
      .word_groups(word_groups), .word_row0(word_row0), .word_col0(word_col0),
      .layer_valid(layer_valid), .layer_job(layer_job), .layer_done(1'b0),
      .idle(r_idle), .error(read_error), .clear(1'b0),
      .m_axi_arvalid(m_axi_arvalid), .m_axi_arready(m_axi_arready), .m_axi_araddr(m_axi_araddr),
      .m_axi_archip(archip), .m_axi_arpeer(arpeer), .m_axi_arlen(m_axi_arlen), .m_axi_arsize(m_axi_arsize), .m_axi_arburst(m_axi_arburst),
      .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp),
      .m_axi_rlast(m_axi_rlast)
  );

  dna_write_port #(
      .ADDR_W(32), .DATA_W(DATA_W), .BURST(256), .OUTSTANDING(4)
  ) u_write (
      .clk(clk), .rst_n(!rst), .job_valid(store_valid), .job_ready(store_ready), .job(store),
      .ready(store[`DNA_STORE_WAIT_READY]),
      .halt(1'b0), .committed_all(24'd0), .fetched_all(24'd0),
      .base_program(32'd0), .base_input({32'h13000, 32'h12000, 32'h11000, 32'h10000}),
      .base_output({32'h1d000, 32'h1e000, 32'h1f000, 32'h20000}), .base_work(32'h21000),
      .rd_en(rd_en), .rd_addr(rd_addr), .rd_data(rd_s2), .stored(stored), .committed_pulse(committed_pulse),
      .layer_commit(layer_commit), .pass_commit(pass_commit), .idle(w_idle), .error(write_error), .clear(1'b0),
      .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready), .m_axi_awaddr(m_axi_awaddr),
      .m_axi_awchip(awchip), .m_axi_awreaders(awreaders), .m_axi_awlen(m_axi_awlen), .m_axi_awsize(m_axi_awsize), .m_axi_awburst(m_axi_awburst),
      .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_axi_wready), .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb),
      .m_axi_wlast(m_axi_wlast), .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready), .m_axi_bresp(m_axi_bresp)
  );
endmodule

`default_nettype wire
