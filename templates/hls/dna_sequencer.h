// The sequencer: reads the program, hands jobs to queues, and says what runs in the next phase.
//
// A phase is what runs side by side: some LOADs of each read port, at most one TILE, at most one STORE. It is chosen by
// the counters as they stand between phases: a job runs if everything it waits for was done in earlier phases. So no
// job of a phase needs anything of another one, and because every buffer is two halves and a tile lies in one of them,
// all LOADs of a phase write the halves that its TILE does not read.
#ifndef DNA_SEQUENCER_H
#define DNA_SEQUENCER_H

#include "dna_phase.h"

namespace dna {

template <class C>
struct Sequencer {
  Queue read[C::PORTS], compute, write;
  Counters counts;
  Layer capture, layer;
  U<32> pc;
  int pages;
  U<32> pass;
  U<COUNTER_BITS> offset[5];  // thresholds of this pass are higher by: inputs, weights, params, residuals, outputs
  bool ended, began;

  void start() {
#pragma HLS INLINE off
    for (int port = 0; port < C::PORTS; port++) {
      read[port].first = 0;
      read[port].count = 0;
    }
    compute.first = compute.count = write.first = write.count = 0;
    for (int n = 0; n < 5; n++) {
      counts.loaded[n] = counts.freed[n] = 0;
      offset[n] = 0;
    }
    counts.ready = counts.stored = 0;
    counts.committed = counts.fetched = 0;
    pc = 0;
    pass = 0;
    pages = 0;
    ended = began = false;
  }

  // Adds to a threshold what earlier passes counted.
  void raise(instruction_t &word, int high, int low, int kind) {
#pragma HLS INLINE
    word.range(high, low) = (word.range(high, low).to_int() + int(offset[kind])) & COUNTER_MASK;
  }

  void patch_load(instruction_t &word) {
#pragma HLS INLINE
    const int dest = word.range(LOAD_DEST_HIGH, LOAD_DEST_LOW).to_int();
    if (dest <= DEST_RESIDUAL) {
      raise(word, LOAD_WAIT_FREE_HIGH, LOAD_WAIT_FREE_LOW, dest);
    }
    const int index = word.range(LOAD_WAIT_COMMIT_LOW + INDEX_BITS - 1, LOAD_WAIT_COMMIT_LOW).to_int();
    const int seen = index == 0 ? int(pass) - 1 : int(pass);
    word.range(LOAD_WAIT_COMMIT_HIGH, LOAD_WAIT_COMMIT_LOW + INDEX_BITS) = seen & PASS_MASK;
  }

  // The program's first page, asked for by the sequencer itself.
  bool begin_pass() {
#pragma HLS INLINE
    if (read[C::PORTS - 1].full()) {
      return false;
    }
    Job job;
    job.word = 0;
    job.pass = 0;
    job.word.range(LOAD_OP_HIGH, LOAD_OP_LOW) = OP_LOAD;
    job.word.range(LOAD_DEST_HIGH, LOAD_DEST_LOW) = DEST_PROGRAM;
    job.word.range(LOAD_RUN_HIGH, LOAD_RUN_LOW) = 2 * PAGE_INSTRUCTIONS;
    job.word.range(LOAD_N_INNER_HIGH, LOAD_N_INNER_LOW) = 1;
    job.word.range(LOAD_N_OUTER_HIGH, LOAD_N_OUTER_LOW) = 1;
    read[C::PORTS - 1].push(job);
    began = true;
    return true;
  }

  // Hands one instruction out; false if that must wait.
  bool dispatch(const instruction_t pages_memory[PAGES_INSTRUCTIONS], U<32> passes, int buffer_mask) {
#pragma HLS INLINE
    if (!began) {
      return begin_pass();
    }
    if (ended || pc >= pages * PAGE_INSTRUCTIONS) {
      return false;
    }
    Job job;
    job.word = pages_memory[pc & (PAGES_INSTRUCTIONS - 1)];
    job.pass = pass & PASS_MASK;
    const int op = job.word.range(3, 0).to_int();
    if (op == OP_LOAD) {
      const int port = C::PORTS == 1 ? 0 : job.word.range(LOAD_PORT_HIGH, LOAD_PORT_LOW).to_int();
      if (read[port].full()) {
        return false;
      }
      patch_load(job.word);
      job.word.range(LOAD_BUFFER_HIGH, LOAD_BUFFER_LOW) = pass & buffer_mask;
      read[port].push(job);
    } else if (op == OP_STORE) {
      if (write.full()) {
        return false;
      }
      raise(job.word, STORE_WAIT_READY_HIGH, STORE_WAIT_READY_LOW, 4);
      job.word.range(STORE_BUFFER_HIGH, STORE_BUFFER_LOW) = pass & buffer_mask;
      write.push(job);
    } else if (op == OP_TILE) {
      if (compute.full()) {
        return false;
      }
      raise(job.word, TILE_WAIT_IN_HIGH, TILE_WAIT_IN_LOW, 0);
      raise(job.word, TILE_WAIT_W_HIGH, TILE_WAIT_W_LOW, 1);
      raise(job.word, TILE_WAIT_RES_HIGH, TILE_WAIT_RES_LOW, 3);
      raise(job.word, TILE_WAIT_OUT_HIGH, TILE_WAIT_OUT_LOW, 4);
      compute.push(job);
    } else if (op == OP_LAYER) {
      if (compute.full() || read[0].full()) {
        return false;
      }
      compute.push(job);
      read[0].push(job);
    } else if (op == OP_WAIT) {
      const int engine = job.word.range(WAIT_ENGINE_HIGH, WAIT_ENGINE_LOW).to_int();
      if (engine == ENGINE_WRITE) {
        if (write.full()) {
          return false;
        }
        write.push(job);
      } else {
        const int port = C::PORTS == 1 ? 0 : engine;
        if (read[port].full()) {
          return false;
        }
        read[port].push(job);
      }
    } else {
      return end(job.word, passes);
    }
    pc = pc + 1;
    return true;
  }

  // END: stop after the last pass, else go on with the first page.
  bool end(const instruction_t &word, U<32> passes) {
#pragma HLS INLINE
    if (pass + 1 == passes) {
      ended = true;
      return false;
    }
    if ((int(counts.committed) >> INDEX_BITS) != int(pass & PASS_MASK)) {
      return false;
    }
    const End fields = decode_end(word);
    offset[0] = (offset[0] + fields.inputs) & COUNTER_MASK;
    offset[1] = (offset[1] + fields.weights) & COUNTER_MASK;
    offset[2] = (offset[2] + fields.params) & COUNTER_MASK;
    offset[3] = (offset[3] + fields.residuals) & COUNTER_MASK;
    offset[4] = (offset[4] + fields.outputs) & COUNTER_MASK;
    pass = pass + 1;
    pc = 0;
    pages = 0;
    began = false;
    return true;
  }

  bool idle() const {
    int jobs = compute.count + write.count;
    for (int port = 0; port < C::PORTS; port++) {
      jobs += read[port].count;
    }
    return jobs == 0;
  }

  bool wait_over(const Job &job, const Peers<C> &peers) const {
#pragma HLS INLINE
    const Wait wait = decode_wait(job.word);
    const int value = (((int(job.pass) - int(wait.ago)) & PASS_MASK) << INDEX_BITS) + int(wait.index);
    const int peer = wait.peer;
    const int counter = wait.event == EVENT_COMMITTED ? peers.committed[peer] : peers.fetched[peer];
    return committed_reached(counter, value);
  }

  // The TILE of the phase, if one can start, and the LAYERs before it. True if anything left the queue.
  bool choose_tile(Phase<C> &phase, Choice choice[BUFFERS]) {
#pragma HLS INLINE
    phase.compute = phase.new_layer = false;
    while (compute.count > 0 && compute.head().word.range(3, 0).to_int() == OP_LAYER) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 1
      layer = decode_layer(compute.head().word);
      phase.new_layer = true;
      compute.pop();
    }
    phase.layer = layer;
    if (compute.count == 0) {
      return phase.new_layer;
    }
    const Tile tile = decode_tile(compute.head().word);
    if (!reached(counts.loaded[DEST_INPUT], tile.wait_in) || !reached(counts.loaded[DEST_WEIGHT], tile.wait_w) ||
        !reached(counts.loaded[DEST_RESIDUAL], tile.wait_res) || !reached(counts.stored, tile.wait_out)) {
      return phase.new_layer;
    }
    compute.pop();
    phase.compute = true;
    phase.tile = tile;
    choose(choice[LANES], tile.in_base, C::INPUT_HALF, true, phase.in_base);
    choose(choice[WEIGHTS], tile.w_base, C::WEIGHT_HALF, !layer.ones, phase.w_base);
    choose(choice[PARAMS], tile.p_base, C::PARAM_HALF, tile.last, phase.p_base);
    choose(choice[RESIDUALS], tile.out_base, C::OUTPUT_HALF, tile.last && layer.residual, phase.out_base);
    choose(choice[OUTPUTS], tile.out_base, C::OUTPUT_HALF, tile.last, phase.out_base);
    return true;
  }

  // The array's half is that of `address`, if it uses the buffer at all.
  static void choose(Choice &choice, int address, int half, bool used, U<14> &base) {
#pragma HLS INLINE
    choice.made = used;
    choice.array = used && address >= half;
    base = address >= half ? address - half : address;
  }

  // The STORE of the phase, if one can start.
  bool choose_store(Phase<C> &phase, const Peers<C> &peers, Choice choice[BUFFERS]) {
#pragma HLS INLINE
    phase.store = false;
    bool popped = false;
    while (write.count > 0 && write.head().word.range(3, 0).to_int() == OP_WAIT && wait_over(write.head(), peers)) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 1
      write.pop();
      popped = true;
    }
    if (write.count == 0 || write.head().word.range(3, 0).to_int() != OP_STORE) {
      return popped;
    }
    const Store store = decode_store(write.head().word);
    const bool half = store.base >= C::OUTPUT_HALF;
    if (!reached(counts.ready, store.wait_ready) || !choice[OUTPUTS].port(half)) {
      return popped;
    }
    write.pop();
    phase.store = true;
    phase.run = runs_of(store);
    phase.run.readers = store.readers;
    phase.store_base = half ? int(store.base) - C::OUTPUT_HALF : int(store.base);
    phase.store_words = store.run * store.n_inner * store.n_outer;
    stored_last = store.pass_last;
    return true;
  }
  bool stored_last;

  // The LOADs of one port in the phase: from the head of its queue as many as can start.
  bool choose_loads(Queue &queue, Phase<C> &phase, FetchJobs &fetch, FillJobs &fill, const Peers<C> &peers,
                    Choice choice[BUFFERS]) {
#pragma HLS INLINE
    fetch.count = fill.count = 0;
    bool popped = false, captured = false;
    while (queue.count > 0 && fetch.count < QUEUE_JOBS) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 2
      const int op = queue.head().word.range(3, 0).to_int();
      if (op == OP_WAIT) {
        if (!wait_over(queue.head(), peers)) {
          break;
        }
      } else if (op == OP_LAYER) {
        // One geometry of the lanes per phase.
        if (captured) {
          break;
        }
        capture = decode_layer(queue.head().word);
        phase.new_capture = true;
      } else {
        const Load load = decode_load(queue.head().word);
        Fill job;
        if (!can_load(load) || !place(load, choice, job)) {
          break;
        }
        captured = captured || load.dest == DEST_INPUT;
        Runs runs = runs_of(load);
        runs.peer = load.peer;
        fetch.job[fetch.count++] = runs;
        fill.job[fill.count++] = job;
        note(load);
      }
      queue.pop();
      popped = true;
    }
    return popped;
  }

  bool can_load(const Load &load) const {
#pragma HLS INLINE
    if (load.dest == DEST_PROGRAM) {
      return true;
    }
    return reached(counts.freed[load.dest], load.wait_free) && committed_reached(counts.committed, load.wait_commit);
  }

  // The LOAD's place in its buffer; false if its half is in use in this phase.
  bool place(const Load &load, Choice choice[BUFFERS], Fill &job) {
#pragma HLS INLINE
    job.dest = load.dest;
    job.words = load.run * load.n_inner * load.n_outer;
    job.cols = load.cols;
    job.groups = load.groups;
    job.row0 = load.row0;
    job.col0 = load.col0;
    job.base = load.base;
    if (load.dest == DEST_PROGRAM) {
      return true;
    }
    int size = C::WEIGHT_HALF, buffer = WEIGHTS, address = load.base;
    if (load.dest == DEST_INPUT) {
      // The tile's first address: padding above and left of the first real word is part of it.
      size = C::INPUT_HALF;
      buffer = LANES;
      address = (int(load.base) - int(load.row0 * capture.row_pitch) - int(load.col0)) & ADDRESS_MASK;
    } else if (load.dest == DEST_PARAM) {
      size = C::PARAM_HALF;
      buffer = PARAMS;
    } else if (load.dest == DEST_RESIDUAL) {
      size = C::OUTPUT_HALF;
      buffer = RESIDUALS;
    }
    const bool half = address >= size;
    job.base = half ? (int(load.base) - size) & ADDRESS_MASK : int(load.base);
    return choice[buffer].port(half);
  }

  // What this phase's LOADs will have counted when it is over.
  Counters after;
  int pages_after;

  void note(const Load &load) {
#pragma HLS INLINE
    if (load.dest == DEST_PROGRAM) {
      pages_after++;
      return;
    }
    const int kind = load.dest == DEST_PARAM ? int(DEST_WEIGHT) : int(load.dest);
    after.loaded[kind] = (after.loaded[kind] + load.signal) & COUNTER_MASK;
    if (load.dest == DEST_INPUT || load.dest == DEST_RESIDUAL) {
      after.fetched = next_event(after.fetched, load.pass_last);
    }
  }

  // What runs next. WAITING: nothing can, for now.
  Status plan(Phase<C> &phase, FetchJobs &fetch0, FillJobs &fill0, FetchJobs &fetch1, FillJobs &fill1,
              const instruction_t pages_memory[PAGES_INSTRUCTIONS], const Peers<C> &peers, U<32> passes,
              int buffer_mask) {
#pragma HLS INLINE off
    bool worked = false;
    while (dispatch(pages_memory, passes, buffer_mask)) {
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 4
      worked = true;
    }
    if (ended && idle()) {
      return DONE;
    }
    Choice choice[BUFFERS];
#pragma HLS ARRAY_PARTITION variable = choice complete
    for (int b = 0; b < BUFFERS; b++) {
#pragma HLS UNROLL
      choice[b].made = choice[b].array = false;
    }
    after = counts;
    pages_after = pages;
    phase.new_capture = false;
    worked = choose_tile(phase, choice) || worked;
    worked = choose_store(phase, peers, choice) || worked;
    worked = choose_loads(read[0], phase, fetch0, fill0, peers, choice) || worked;
    if (C::PORTS == 2) {
      worked = choose_loads(read[C::PORTS - 1], phase, fetch1, fill1, peers, choice) || worked;
    }
    phase.capture = capture;
    for (int b = 0; b < BUFFERS; b++) {
#pragma HLS UNROLL
      phase.half[b] = choice[b].array;
    }
    return worked ? WORKED : WAITING;
  }

  // The phase is over: its events are counted.
  void finish(const Phase<C> &phase) {
#pragma HLS INLINE off
    counts.fetched = after.fetched;
    for (int n = 0; n < 5; n++) {
      counts.loaded[n] = after.loaded[n];
    }
    pages = pages_after;
    if (phase.compute) {
      count(counts.freed[DEST_INPUT], phase.tile.free_in);
      count(counts.freed[DEST_WEIGHT], phase.tile.free_w);
      if (phase.tile.last) {
        count(counts.ready, 1);
        count(counts.freed[DEST_PARAM], phase.tile.free_w);
        count(counts.freed[DEST_RESIDUAL], phase.layer.residual);
      }
    }
    if (phase.store) {
      count(counts.stored, 1);
      counts.committed = next_event(counts.committed, stored_last);
    }
  }

  static void count(U<COUNTER_BITS> &counter, int events) {
#pragma HLS INLINE
    counter = (counter + events) & COUNTER_MASK;
  }
};

}  // namespace dna

#endif
