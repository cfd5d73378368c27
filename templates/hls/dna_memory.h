// Memory side of the read and write ports: jobs of runs become streams of words, and the other way round.
//
// Each run is one loop over consecutive beats, from which the tool infers bursts (at most as long as the interface
// allows). A run's address is requested when the run before it is complete: a run costs the memory's latency, which the
// RTL hides behind bursts in flight.
#ifndef DNA_MEMORY_H
#define DNA_MEMORY_H

#include "dna_isa.h"
#include "dna_types.h"

namespace dna {

// Where the words of a job lie.
struct Runs {
  U<3> region;
  U<4> peer;
  U<16> readers;
  U<2> buffer;
  U<28> address;
  U<16> run;
  U<12> n_inner;
  U<24> stride_inner;
  U<12> n_outer;
  U<24> stride_outer;
};

template <class JOB>
Runs runs_of(const JOB &job) {
#pragma HLS INLINE
  Runs runs;
  runs.region = job.region;
  runs.peer = 0;
  runs.readers = 0;
  runs.buffer = job.buffer;
  runs.address = job.address;
  runs.run = job.run;
  runs.n_inner = job.n_inner;
  runs.stride_inner = job.stride_inner;
  runs.n_outer = job.n_outer;
  runs.stride_outer = job.stride_outer;
  return runs;
}

// Jobs of one port in one phase.
struct FetchJobs {
  int count;
  Runs job[QUEUE_JOBS];
};

// One run from memory, a beat per cycle.
template <int BYTES>
void read_run(const typename Beat<BYTES>::type *memory, U<32> first, U<16> words, hls::stream<Word> &out) {
#pragma HLS INLINE off
  const int beats = 16 / BYTES;
  Word word;
  word.low = 0;
  word.high = 0;
RUN:
  for (int n = 0; n < words * beats; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    Beat<BYTES>::take(word, memory[first * beats + n], n & (beats - 1));
    if ((n & (beats - 1)) == beats - 1) {
      out.write(word);
    }
  }
}

// One run to memory, a beat per cycle.
template <int BYTES>
void write_run(typename Beat<BYTES>::type *memory, U<32> first, U<16> words, hls::stream<Word> &in) {
#pragma HLS INLINE off
  const int beats = 16 / BYTES;
  Word word;
  word.low = 0;
  word.high = 0;
RUN:
  for (int n = 0; n < words * beats; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    if ((n & (beats - 1)) == 0) {
      word = in.read();
    }
    memory[first * beats + n] = Beat<BYTES>::give(word, n & (beats - 1));
  }
}

// One run from a bank between chunks; addresses wrap.
template <int WORDS>
void read_bank(const ap_uint<128> *bank, U<28> first, U<16> words, hls::stream<Word> &out) {
#pragma HLS INLINE off
RUN:
  for (int n = 0; n < words; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    Word word;
    Beat<16>::take(word, bank[(first + n) & (WORDS - 1)], 0);
    out.write(word);
  }
}

}  // namespace dna

#endif
