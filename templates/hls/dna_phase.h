// Queues, counters, and what a phase consists of.
#ifndef DNA_PHASE_H
#define DNA_PHASE_H

#include "dna_buffers.h"
#include "dna_isa.h"
#include "dna_memory.h"
#include "dna_types.h"

namespace dna {

const int COUNTER_MASK = (1 << COUNTER_BITS) - 1;
const int COMMIT_MASK = (1 << COMMIT_BITS) - 1;
const int PASS_MASK = (1 << PASS_BITS) - 1;

// What step() found.
enum Status { WORKED = 0, WAITING = 1, DONE = 2 };

struct Job {
  instruction_t word;
  U<PASS_BITS> pass;
};

struct Queue {
  Job job[QUEUE_JOBS];
  int first;
  int count;

  bool full() const { return count == QUEUE_JOBS; }
  const Job &head() const { return job[first]; }
  void push(const Job &next) {
    job[(first + count) & (QUEUE_JOBS - 1)] = next;
    count++;
  }
  void pop() {
    first = (first + 1) & (QUEUE_JOBS - 1);
    count--;
  }
};

// Events of this chunk, as docs/program.md counts them.
struct Counters {
  U<COUNTER_BITS> loaded[5];
  U<COUNTER_BITS> freed[5];
  U<COUNTER_BITS> ready, stored;
  U<COMMIT_BITS> committed, fetched;  // {pass, index}
};

// `committed` and `fetched` of all chunks, as they stand before a phase.
template <class C>
struct Peers {
  U<COMMIT_BITS> committed[C::CHUNKS];
  U<COMMIT_BITS> fetched[C::CHUNKS];
};

// Which half of a buffer the array uses; the ports use the other one.
struct Choice {
  bool made;
  bool array;

  // Whether a port can have `half`; if so, it has it.
  bool port(bool half) {
    if (made && array == half) {
      return false;
    }
    made = true;
    array = !half;
    return true;
  }
};

enum Buffer { LANES = 0, WEIGHTS = 1, PARAMS = 2, RESIDUALS = 3, OUTPUTS = 4, BUFFERS = 5 };

template <class C>
struct Phase {
  Layer capture;
  bool new_capture;
  bool compute, new_layer;
  Layer layer;
  Tile tile;
  U<14> in_base, w_base, p_base, out_base;  // within the halves
  bool store;
  Runs run;
  U<14> store_base;
  U<28> store_words;
  bool half[BUFFERS];  // the one that the array uses
};

inline bool reached(int counter, int threshold) {
#pragma HLS INLINE
  return ((counter - threshold) & COUNTER_MASK) < (COUNTER_MASK + 1) / 2;
}

inline bool committed_reached(int counter, int value) {
#pragma HLS INLINE
  return ((counter - value) & COMMIT_MASK) < (COMMIT_MASK + 1) / 2;
}

inline int next_event(int counter, bool pass_last) {
#pragma HLS INLINE
  const int next = pass_last ? ((counter >> INDEX_BITS) + 1) << INDEX_BITS : counter + 1;
  return next & COMMIT_MASK;
}

}  // namespace dna

#endif
