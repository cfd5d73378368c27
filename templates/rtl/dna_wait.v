// The condition of a WAIT: has a chunk's counter reached the value?
//
// A counter is {pass (4 bits), index (20 bits)}; it has reached a value when their difference modulo 2^24 is below 2^23.
// The sequencer has put the pass above the index of the job. With `halt` nothing is waited for: a chunk that met a bus error
// counts no further, and the others must come to their end all the same.
//
// Latency: none, combinational.
//
// Parameters: CHUNKS 1 to 16 counters of each kind, chunk 0's lowest; a peer beyond them is never reached.
`default_nettype none
`include "isa.vh"

module dna_wait #(
    parameter CHUNKS = 1
) (
    // verilator lint_off UNUSEDSIGNAL
    input  wire [255:0]                         job,    // the fields of other instructions are not looked at
    // verilator lint_on UNUSEDSIGNAL
    input  wire                                 halt,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0]   committed_all,
    input  wire [CHUNKS*`DNA_COMMIT_BITS-1:0]   fetched_all,
    output wire                                 reached
);
  generate
    if (CHUNKS < 1 || CHUNKS > 16) begin : bad_chunks
      dna_wait_CHUNKS_must_be_1_to_16 error ();
    end
  endgenerate

  wire [3:0] peer = job[`DNA_WAIT_PEER];
  wire       fetches = job[`DNA_WAIT_EVENT] == `DNA_EVENT_FETCHED;
  reg  [`DNA_COMMIT_BITS-1:0] counter;
  reg        known;
  integer    chunk;
  always @* begin
    counter = {`DNA_COMMIT_BITS{1'b0}};
    known   = 1'b0;
    for (chunk = 0; chunk < CHUNKS; chunk = chunk + 1) begin
      if (peer == chunk[3:0]) begin
        known   = 1'b1;
        counter = fetches ? fetched_all[chunk*`DNA_COMMIT_BITS+:`DNA_COMMIT_BITS]
                          : committed_all[chunk*`DNA_COMMIT_BITS+:`DNA_COMMIT_BITS];
      end
    end
  end

  wire [`DNA_COMMIT_BITS-1:0] ahead = counter - {job[`DNA_WAIT_PASS], job[`DNA_WAIT_INDEX]};
  wire unused = &{1'b0, ahead};
  assign reached = halt || (known && !ahead[`DNA_COMMIT_BITS-1]);
endmodule

`default_nettype wire
