// Simulated DRAM behind PORTS AXI4 ports: one array of 16-byte words, and per port one read and one write server,
// independent of each other and of the other ports, each strictly in order. For simulation only.
//
// Timing with stall_seed 0. "In cycle t": sampled at rising clock edge t; I is beat_interval.
//   AR, AW, W        taken in every cycle (up to QUEUE bursts under way).
//   first R beat     of a burst whose address is taken in cycle t: in cycle max(t + read_latency, end of the burst before).
//   R beat k         I cycles after beat k - 1; the burst ends I cycles after its last beat. A beat that finds
//                    rready low stays, and later ones count from the cycle in which it was first presented, or follow
//                    in the cycle after it is taken, whichever is later.
//   W beat           is written in the first cycle >= the one it is taken in, the address's, I after the beat before it
//                    (so I = 1: at once).
//   B                write_latency cycles after the cycle in which the burst's last beat is written.
// All three delays are 1 to 65535 and may change at any time; a burst keeps what held when it was taken.
//
// With shared_bytes not 0 all ports and both directions share that many bytes per cycle: a beat is served only when its bytes have
// been saved up (what is not used is lost, but for less than a beat), and the server after the one that was served last is
// asked first; where one has to save, those after it wait as well. There are no stalls then. The delays hold as lower bounds; a W beat is written in the cycle in which it is served.
//
// With another stall_seed every channel (AR, R, AW, W, B) stalls at random on top of that: reproducible, from xorshift
// generators, with a rate per channel between 0 and 7/8 that is drawn anew every 32 cycles.
//
// Files: in a cycle with `load` or `dump`, words file_first to file_last are read from or written to the file named
// by `file_name` (text, right-aligned, zero bytes in front), one hexadecimal word of 16 bytes per line.
//
// Errors: with error_enable, beats at byte addresses error_first to error_last get SLVERR and are not written. Beyond the
// array: DECERR. `protocol_error` keeps the first broken rule until reset (0: none), `protocol_port` whose it was:
//   1 AR, 2 AW crosses 4 KB      3 AR, 4 AW longer than MAX_BURST        5 AR, 6 AW size, type or alignment
//   7 AR, 8 AW, 9 W changed or withdrawn while it waited                10 WLAST in the wrong place
//
// Parameters: PORTS 1 to 32; ADDR_W 32 to 64; DATA_W 64 or 128; NARROW, one bit per port: with DATA_W 128, a port of 64 bits,
// the lower half of its place; WORDS up to 2^28; MAX_BURST 1 to 256; SETTINGS 1 or PORTS: whether the three delays and
// MAX_BURST are one for all ports, or one of 16 bits for each; QUEUE a power of two; NAME_BYTES longest file name.
`default_nettype none

module dna_memory #(
    parameter PORTS      = 1,
    parameter ADDR_W     = 32,
    parameter DATA_W     = 128,
    parameter WORDS      = 65536,
    parameter SETTINGS   = 1,
    parameter [SETTINGS*16-1:0] MAX_BURST = {SETTINGS{16'd256}},
    parameter [PORTS-1:0] NARROW = (DATA_W == 64) ? {PORTS{1'b1}} : {PORTS{1'b0}},
    parameter QUEUE      = 64,
    parameter NAME_BYTES = 256
) (
    input  wire                      clk,
    input  wire                      rst_n,

    input  wire [SETTINGS*16-1:0]    read_latency,
    input  wire [SETTINGS*16-1:0]    beat_interval,
    input  wire [SETTINGS*16-1:0]    write_latency,
    input  wire [15:0]               shared_bytes,
    input  wire [31:0]               stall_seed,

    input  wire                      error_enable,
    input  wire [ADDR_W-1:0]         error_first,
    input  wire [ADDR_W-1:0]         error_last,

    input  wire                      load,
    input  wire                      dump,
    input  wire [8*NAME_BYTES-1:0]   file_name,
    input  wire [31:0]               file_first,
    input  wire [31:0]               file_last,

    output reg  [7:0]                protocol_error,
    output reg  [7:0]                protocol_port,

    input  wire [PORTS-1:0]          s_axi_arvalid,
    output reg  [PORTS-1:0]          s_axi_arready,
    input  wire [PORTS*ADDR_W-1:0]   s_axi_araddr,
    input  wire [PORTS*8-1:0]        s_axi_arlen,
    input  wire [PORTS*3-1:0]        s_axi_arsize,
    input  wire [PORTS*2-1:0]        s_axi_arburst,
    output reg  [PORTS-1:0]          s_axi_rvalid,
    input  wire [PORTS-1:0]          s_axi_rready,
    output reg  [PORTS*DATA_W-1:0]   s_axi_rdata,
    output reg  [PORTS*2-1:0]        s_axi_rresp,
    output reg  [PORTS-1:0]          s_axi_rlast,

    input  wire [PORTS-1:0]          s_axi_awvalid,
    output reg  [PORTS-1:0]          s_axi_awready,
    input  wire [PORTS*ADDR_W-1:0]   s_axi_awaddr,
    input  wire [PORTS*8-1:0]        s_axi_awlen,
    input  wire [PORTS*3-1:0]        s_axi_awsize,
    input  wire [PORTS*2-1:0]        s_axi_awburst,
    input  wire [PORTS-1:0]          s_axi_wvalid,
    output reg  [PORTS-1:0]          s_axi_wready,
    input  wire [PORTS*DATA_W-1:0]   s_axi_wdata,
    input  wire [PORTS*DATA_W/8-1:0] s_axi_wstrb,
    input  wire [PORTS-1:0]          s_axi_wlast,
    output reg  [PORTS-1:0]          s_axi_bvalid,
    input  wire [PORTS-1:0]          s_axi_bready,
    output reg  [PORTS*2-1:0]        s_axi_bresp
);
  localparam BYTES = DATA_W / 8;
  localparam ALL   = PORTS * QUEUE;

  reg [127:0] words [0:WORDS-1];

  integer i;
  initial for (i = 0; i < WORDS; i = i + 1) words[i] = 128'd0;

  // State of the servers is assigned with "=" in the one clocked block that uses it, so that what is taken in a cycle can
  // be answered in the next; outputs with "<=".
  // verilator lint_off BLKSEQ
  // verilator lint_off WIDTHEXPAND
  // verilator lint_off WIDTHTRUNC
  // verilator lint_off UNUSEDSIGNAL
  wire             shared = shared_bytes != 16'd0;
  reg [47:0]       now;

  // Read queue: index port * QUEUE + place. A burst's address moves along with its beats.
  reg [ADDR_W-1:0] r_address [0:ALL-1];
  reg [8:0]        r_left    [0:ALL-1];         // beats still to come
  reg [47:0]       r_due     [0:ALL-1];
  integer          r_head    [0:PORTS-1], r_count [0:PORTS-1];
  reg [47:0]       r_free    [0:PORTS-1];       // the next beat may be presented

  reg [ADDR_W-1:0] a_address [0:ALL-1];         // write addresses
  reg [8:0]        a_left    [0:ALL-1];
  reg              a_bad     [0:ALL-1];
  reg              a_beyond  [0:ALL-1];
  integer          a_head    [0:PORTS-1], a_count [0:PORTS-1];
  reg [DATA_W-1:0] w_data    [0:ALL-1];         // write data
  reg [BYTES-1:0]  w_strobe  [0:ALL-1];
  reg              w_last    [0:ALL-1];
  integer          w_head    [0:PORTS-1], w_count [0:PORTS-1];
  reg [47:0]       w_free    [0:PORTS-1];
  reg [47:0]       b_due     [0:ALL-1];         // responses
  reg [1:0]        b_code    [0:ALL-1];
  integer          b_head    [0:PORTS-1], b_count [0:PORTS-1];

  // What waited at the edge before, for the protocol's rules.
  reg [PORTS-1:0]        ar_waits, aw_waits, w_waits;
  reg [PORTS*ADDR_W-1:0] araddr_before, awaddr_before;
  reg [PORTS*8-1:0]      arlen_before, awlen_before;
  reg [PORTS*DATA_W-1:0] wdata_before;
  reg [PORTS*BYTES-1:0]  wstrb_before;
  reg [PORTS-1:0]        wlast_before;

  // Random stalls.
  reg [31:0] seed_before;
  reg [31:0] random [0:PORTS-1];
  reg [14:0] rate   [0:PORTS-1];                // five channels, 3 bits each, in eighths
  reg [4:0]  stall;                             // AR, R, AW, W, B

  // Bytes that may be moved in this cycle, and who is asked first: server 2p reads for port p, 2p + 1 writes.
  integer    saved, turn, after, slot;

  integer p, k, at;
  reg [ADDR_W-1:0] address;
  reg [127:0]      word;
  reg [6:0]        shift;
  reg              bad, beyond, paid, short;

  function in_error(input [ADDR_W-1:0] byte_address);
    in_error = error_enable && byte_address >= error_first && byte_address <= error_last;
  endfunction

  function is_beyond(input [ADDR_W-1:0] byte_address);
    is_beyond = (byte_address >> 4) >= WORDS;
  endfunction

  task broken(input integer port, input [7:0] rule);
    if (protocol_error == 8'd0) begin
      protocol_error = rule;
      protocol_port  = port;
    end
  endtask

  function integer bytes_of(input integer port);
    bytes_of = NARROW[port] ? 8 : 16;
  endfunction

  // Where a port finds its settings.
  function integer set(input integer port);
    set = (SETTINGS == 1) ? 0 : 16 * port;
  endfunction

  // Whether a beat of this server (2 * port + direction) may be moved now; if so, it is paid for.
  task pay(input integer server);
    begin
      paid = !shared;
      if (!paid) begin
        paid  = !short && saved >= bytes_of(server / 2);
        short = !paid;
        if (paid) begin
          saved = saved - bytes_of(server / 2);
          after = server + 1;
        end
      end
    end
  endtask

  task check_address(input integer port, input [7:0] rule, input [ADDR_W-1:0] first, input [7:0] length,
                     input [2:0] size, input [1:0] burst);
    begin
      if (first[11:0] + (length + 1) * bytes_of(port) > 4096) broken(port, rule);
      if (length + 1 > MAX_BURST[set(port)+:16]) broken(port, rule + 8'd2);
      if (size != (NARROW[port] ? 3'd3 : 3'd4) || burst != 2'b01 || first % bytes_of(port) != 0)
        broken(port, rule + 8'd4);
    end
  endtask

  task draw_stalls(input integer port);
    begin
      stall = 5'd0;
      if (stall_seed != 32'd0) begin
        if (now[4:0] == 5'd0) rate[port] = random[port][31:17];
        for (k = 0; k < 5; k = k + 1) stall[k] = random[port][3*k+:3] < rate[port][3*k+:3];
        random[port] = random[port] ^ (random[port] << 13);
        random[port] = random[port] ^ (random[port] >> 17);
        random[port] = random[port] ^ (random[port] << 5);
      end
    end
  endtask

  task serve_read(input integer port);
    begin
      if (s_axi_arvalid[port] && s_axi_arready[port]) begin
        at            = port * QUEUE + ((r_head[port] + r_count[port]) & (QUEUE - 1));
        r_address[at] = s_axi_araddr[port*ADDR_W+:ADDR_W];
        r_left[at]    = s_axi_arlen[port*8+:8] + 9'd1;
        r_due[at]     = now + read_latency[set(port)+:16];
        r_count[port] = r_count[port] + 1;
      end
      s_axi_arready[port] <= !stall[0] && r_count[port] < QUEUE;

      if (!s_axi_rvalid[port] || s_axi_rready[port]) begin
        at   = port * QUEUE + r_head[port];
        paid = 1'b0;
        if (r_count[port] != 0 && r_due[at] <= now + 1 && r_free[port] <= now + 1 && !stall[1]) pay(2 * port);
        if (paid) begin
          address = r_address[at];
          beyond  = is_beyond(address);
          word    = beyond ? 128'd0 : words[address>>4];
          shift   = (NARROW[port] && address[3]) ? 7'd64 : 7'd0;
          s_axi_rvalid[port]                 <= 1'b1;
          s_axi_rdata[port*DATA_W+:DATA_W]   <= word >> shift;
          s_axi_rresp[port*2+:2]             <= beyond ? 2'b11 : in_error(address) ? 2'b10 : 2'b00;
          s_axi_rlast[port]                  <= r_left[at] == 9'd1;
          r_free[port]  = now + 1 + beat_interval[set(port)+:16];
          r_address[at] = address + bytes_of(port);
          r_left[at]    = r_left[at] - 9'd1;
          if (r_left[at] == 9'd0) begin
            r_head[port]  = (r_head[port] + 1) & (QUEUE - 1);
            r_count[port] = r_count[port] - 1;
          end
        end else begin
          s_axi_rvalid[port] <= 1'b0;
          s_axi_rlast[port]  <= 1'b0;
        end
      end
    end
  endtask

  task write_beat(input integer port);
    begin
      at      = port * QUEUE + a_head[port];
      address = a_address[at];
      beyond  = is_beyond(address);
      bad     = in_error(address);
      k       = port * QUEUE + w_head[port];
      shift   = (NARROW[port] && address[3]) ? 7'd64 : 7'd0;
      if (!beyond && !bad) begin
        word = words[address>>4];
        for (i = 0; i < BYTES; i = i + 1) begin
          if (w_strobe[k][i] && i < bytes_of(port)) word[shift+i*8+:8] = w_data[k][i*8+:8];
        end
        words[address>>4] = word;
      end
      if (w_last[k] != (a_left[at] == 9'd1)) broken(port, 8'd10);
      w_head[port]  = (w_head[port] + 1) & (QUEUE - 1);
      w_count[port] = w_count[port] - 1;
      w_free[port]  = (w_free[port] > now ? w_free[port] : now) + beat_interval[set(port)+:16];
      a_address[at] = address + bytes_of(port);
      a_left[at]    = a_left[at] - 9'd1;
      a_bad[at]     = a_bad[at] || bad;
      a_beyond[at]  = a_beyond[at] || beyond;
      if (a_left[at] == 9'd0) begin
        k         = port * QUEUE + ((b_head[port] + b_count[port]) & (QUEUE - 1));
        // The beat is written at w_free - beat_interval: the server may be behind the bus.
        b_due[k]  = w_free[port] - beat_interval[set(port)+:16] + write_latency[set(port)+:16];
        b_code[k] = a_beyond[at] ? 2'b11 : a_bad[at] ? 2'b10 : 2'b00;
        b_count[port] = b_count[port] + 1;
        a_head[port]  = (a_head[port] + 1) & (QUEUE - 1);
        a_count[port] = a_count[port] - 1;
      end
    end
  endtask

  task serve_write(input integer port);
    begin
      if (s_axi_awvalid[port] && s_axi_awready[port]) begin
        at            = port * QUEUE + ((a_head[port] + a_count[port]) & (QUEUE - 1));
        a_address[at] = s_axi_awaddr[port*ADDR_W+:ADDR_W];
        a_left[at]    = s_axi_awlen[port*8+:8] + 9'd1;
        a_bad[at]     = 1'b0;
        a_beyond[at]  = 1'b0;
        a_count[port] = a_count[port] + 1;
      end
      if (s_axi_wvalid[port] && s_axi_wready[port]) begin
        at            = port * QUEUE + ((w_head[port] + w_count[port]) & (QUEUE - 1));
        w_data[at]    = s_axi_wdata[port*DATA_W+:DATA_W];
        w_strobe[at]  = s_axi_wstrb[port*BYTES+:BYTES];
        w_last[at]    = s_axi_wlast[port];
        w_count[port] = w_count[port] + 1;
      end
      paid = 1'b0;
      if (a_count[port] != 0 && w_count[port] != 0 && (!shared || w_free[port] <= now)) pay(2 * port + 1);
      if (paid) write_beat(port);
      s_axi_awready[port] <= !stall[2] && a_count[port] + b_count[port] < QUEUE;
      s_axi_wready[port]  <= !stall[3] && w_count[port] < QUEUE;

      if (!s_axi_bvalid[port] || s_axi_bready[port]) begin
        at = port * QUEUE + b_head[port];
        if (b_count[port] != 0 && b_due[at] <= now + 1 && !stall[4]) begin
          s_axi_bvalid[port]     <= 1'b1;
          s_axi_bresp[port*2+:2] <= b_code[at];
          b_head[port]  = (b_head[port] + 1) & (QUEUE - 1);
          b_count[port] = b_count[port] - 1;
        end else s_axi_bvalid[port] <= 1'b0;
      end
    end
  endtask

  task check_rules(input integer port);
    begin
      if (s_axi_arvalid[port])
        check_address(port, 8'd1, s_axi_araddr[port*ADDR_W+:ADDR_W], s_axi_arlen[port*8+:8], s_axi_arsize[port*3+:3],
                      s_axi_arburst[port*2+:2]);
      if (s_axi_awvalid[port])
        check_address(port, 8'd2, s_axi_awaddr[port*ADDR_W+:ADDR_W], s_axi_awlen[port*8+:8], s_axi_awsize[port*3+:3],
                      s_axi_awburst[port*2+:2]);
      if (ar_waits[port] && (!s_axi_arvalid[port] || s_axi_arlen[port*8+:8] != arlen_before[port*8+:8]
          || s_axi_araddr[port*ADDR_W+:ADDR_W] != araddr_before[port*ADDR_W+:ADDR_W])) broken(port, 8'd7);
      if (aw_waits[port] && (!s_axi_awvalid[port] || s_axi_awlen[port*8+:8] != awlen_before[port*8+:8]
          || s_axi_awaddr[port*ADDR_W+:ADDR_W] != awaddr_before[port*ADDR_W+:ADDR_W])) broken(port, 8'd8);
      if (w_waits[port] && (!s_axi_wvalid[port] || s_axi_wlast[port] != wlast_before[port]
          || s_axi_wstrb[port*BYTES+:BYTES] != wstrb_before[port*BYTES+:BYTES]
          || s_axi_wdata[port*DATA_W+:DATA_W] != wdata_before[port*DATA_W+:DATA_W])) broken(port, 8'd9);
    end
  endtask

  task reset_port(input integer port);
    begin
      r_head[port]  = 0;
      r_count[port] = 0;
      r_free[port]  = 48'd0;
      a_head[port]  = 0;
      a_count[port] = 0;
      w_head[port]  = 0;
      w_count[port] = 0;
      w_free[port]  = 48'd0;
      b_head[port]  = 0;
      b_count[port] = 0;
    end
  endtask

  always @(posedge clk) begin
    if (load) $readmemh(file_name, words, file_first, file_last);
    if (dump) $writememh(file_name, words, file_first, file_last);

    if (!rst_n || stall_seed != seed_before) begin
      for (p = 0; p < PORTS; p = p + 1) begin
        random[p] = (stall_seed ^ (32'h9E3779B9 * (p + 1))) | 32'd1;
        rate[p]   = random[p][31:17];
      end
      seed_before = stall_seed;
    end

    if (!rst_n) begin
      now = 48'd0;
      for (p = 0; p < PORTS; p = p + 1) reset_port(p);
      saved = 0;
      turn  = 0;
      protocol_error = 8'd0;
      protocol_port  = 8'd0;
      s_axi_arready <= {PORTS{1'b1}};
      s_axi_rvalid  <= {PORTS{1'b0}};
      s_axi_rlast   <= {PORTS{1'b0}};
      s_axi_awready <= {PORTS{1'b1}};
      s_axi_wready  <= {PORTS{1'b1}};
      s_axi_bvalid  <= {PORTS{1'b0}};
      ar_waits = {PORTS{1'b0}};
      aw_waits = {PORTS{1'b0}};
      w_waits  = {PORTS{1'b0}};
    end else begin
      now = now + 48'd1;
      if (!shared) begin
        for (p = 0; p < PORTS; p = p + 1) begin
          draw_stalls(p);
          check_rules(p);
          serve_read(p);
          serve_write(p);
        end
      end else begin
        // What is left of the cycle before is less than a beat: a server that had been waiting would have taken it.
        saved = (saved < 16 ? saved : 15) + shared_bytes;
        stall = 5'd0;
        after = turn;
        short = 1'b0;
        for (p = 0; p < PORTS; p = p + 1) check_rules(p);
        for (p = 0; p < 2 * PORTS; p = p + 1) begin
          slot = (turn + p < 2 * PORTS) ? turn + p : turn + p - 2 * PORTS;
          if (slot % 2 == 0) serve_read(slot / 2);
          else serve_write(slot / 2);
        end
        turn = (after < 2 * PORTS) ? after : after - 2 * PORTS;
      end
      ar_waits = s_axi_arvalid & ~s_axi_arready;
      aw_waits = s_axi_awvalid & ~s_axi_awready;
      w_waits  = s_axi_wvalid & ~s_axi_wready;
      araddr_before = s_axi_araddr;
      arlen_before  = s_axi_arlen;
      awaddr_before = s_axi_awaddr;
      awlen_before  = s_axi_awlen;
      wdata_before  = s_axi_wdata;
      wstrb_before  = s_axi_wstrb;
      wlast_before  = s_axi_wlast;
    end
  end
  // verilator lint_on BLKSEQ
  // verilator lint_on WIDTHEXPAND
  // verilator lint_on WIDTHTRUNC
  // verilator lint_on UNUSEDSIGNAL

endmodule

`default_nettype wire
