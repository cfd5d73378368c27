/* See dna_driver.h. */
#include "dna_driver.h"

#include <stdio.h>
#include <string.h>

#define WORD 16u
#define PROBE_RUNS 5u
#define SLACK_CYCLES 200000u
#define PATIENCE 64u

/* Memory, in this order: program, probe, inputs, outputs, work. */
#define PROBE_PAGES (PROBE_RUNS + 1u)

static size_t aligned(size_t bytes) { return (bytes + DNA_ALIGNMENT - 1u) / DNA_ALIGNMENT * DNA_ALIGNMENT; }

static size_t probe_place(const dna_program *program) { return aligned(program->image_bytes); }

static size_t input_place(const dna_program *program, uint32_t slot) {
  return probe_place(program) + PROBE_PAGES * DNA_ALIGNMENT + slot * aligned(program->input_bytes);
}

static size_t output_place(const dna_program *program, uint32_t slots, uint32_t slot) {
  return input_place(program, slots) + slot * aligned(program->output_bytes);
}

static size_t work_place(const dna_program *program, uint32_t slots) { return output_place(program, slots, slots); }

size_t dna_memory_bytes(const dna_program *program, uint32_t slots) {
  return work_place(program, slots) + aligned(program->work_bytes);
}

const char *dna_message(int error) {
  switch (error) {
    case DNA_OK: return "no error";
    case DNA_ERROR_IDENTITY: return "no DNA accelerator answers at this address: is the bitstream loaded?";
    case DNA_ERROR_VERSION: return "the accelerator has another version of the register map than this driver";
    case DNA_ERROR_CAPABILITIES: return "the accelerator is not the one that the program was compiled for";
    case DNA_ERROR_ARGUMENT: return "a slot, frame, pass, chunk or layer that does not exist";
    case DNA_ERROR_MEMORY: return "the memory is too small, or does not begin at a multiple of 4096";
    case DNA_ERROR_BUSY: return "the accelerator is busy";
    case DNA_ERROR_READ: return "a read of the accelerator was answered with a bus error: it was given up";
    case DNA_ERROR_WRITE: return "a write of the accelerator was answered with a bus error";
    case DNA_ERROR_OVERRUN: return "the post lanes were given work too fast: the program is damaged";
    case DNA_ERROR_TIMEOUT: return "the accelerator did not end in time";
    case DNA_ERROR_STOPPED: return "the accelerator does not run and has not ended: was it reset?";
    case DNA_ERROR_INTERRUPT: return "the accelerator has ended, but no interrupt came: is its line connected?";
    case DNA_ERROR_PROBE: return "the probe's cycles make no sense, or this accelerator cannot probe";
    default: return "unknown error";
  }
}

uint32_t dna_mapped_read(void *context, uint32_t address) {
  return *(volatile uint32_t *)((uint8_t *)context + address);
}

void dna_mapped_write(void *context, uint32_t address, uint32_t value) {
  *(volatile uint32_t *)((uint8_t *)context + address) = value;
}

static uint32_t get(dna_device *device, uint32_t address) {
  return device->platform.read(device->platform.context, address);
}

static void set(dna_device *device, uint32_t address, uint32_t value) {
  device->platform.write(device->platform.context, address, value);
}

static void flush(dna_device *device, size_t place, size_t bytes) {
  if (device->platform.flush) device->platform.flush(device->platform.context, device->memory.processor + place, bytes);
}

static void invalidate(dna_device *device, size_t place, size_t bytes) {
  if (device->platform.invalidate)
    device->platform.invalidate(device->platform.context, device->memory.processor + place, bytes);
}

static int is_set(uint32_t value, uint32_t shift) { return (int)(value >> shift & 1u); }

static int busy(dna_device *device) { return is_set(get(device, DNA_REG_STATUS), DNA_STATUS_BUSY_SHIFT); }

/* Both halves of base register `index` of a family: the first stands apart, the others follow each other. */
static void set_base(dna_device *device, uint32_t zero, uint32_t one, uint32_t next, uint32_t index, size_t place) {
  uint32_t address = index == 0u ? zero : one + (index - 1u) * next;
  uint64_t bus = device->memory.bus + place;
  set(device, address, (uint32_t)bus);
  set(device, address + 4u, (uint32_t)(bus >> 32));
}

static void set_program(dna_device *device, uint32_t chunk, size_t place) {
#ifdef DNA_REG_BASE_PROGRAM_1_LOW
  set_base(device, DNA_REG_BASE_PROGRAM_LOW, DNA_REG_BASE_PROGRAM_1_LOW, DNA_REG_BASE_PROGRAM_NEXT, chunk, place);
#else
  set_base(device, DNA_REG_BASE_PROGRAM_LOW, 0u, 0u, chunk, place);
#endif
}

static void set_programs(dna_device *device) {
  for (uint32_t chunk = 0; chunk < device->program->chunks; chunk++)
    set_program(device, chunk, device->program->image_starts[chunk]);
}

static int check(dna_device *device) {
  const dna_program *program = device->program;
  if (get(device, DNA_REG_ID) != DNA_IDENTITY) return DNA_ERROR_IDENTITY;
  if (get(device, DNA_REG_VERSION) != DNA_MAP_VERSION) return DNA_ERROR_VERSION;
  if (get(device, DNA_REG_CHUNKS) != program->chunks) return DNA_ERROR_CAPABILITIES;
  if (get(device, DNA_REG_LINKS) != program->links) return DNA_ERROR_CAPABILITIES;
  for (uint32_t chunk = 0; chunk < program->chunks; chunk++) {
    const dna_capabilities *wanted = &program->capabilities[chunk];
    set(device, DNA_REG_CHUNK_SELECT, chunk);
    if (get(device, DNA_REG_ARRAY) != wanted->array || get(device, DNA_REG_PORTS) != wanted->ports ||
        get(device, DNA_REG_BUFFERS_IN) != wanted->buffers_in ||
        get(device, DNA_REG_BUFFERS_OUT) != wanted->buffers_out)
      return DNA_ERROR_CAPABILITIES;
  }
  return DNA_OK;
}

int dna_init(dna_device *device, const dna_platform *platform, const dna_program *program, dna_memory memory,
             uint32_t slots) {
  int error;
  if (slots == 0u) return DNA_ERROR_ARGUMENT;
  if (memory.bus % DNA_ALIGNMENT != 0u || memory.bytes < dna_memory_bytes(program, slots)) return DNA_ERROR_MEMORY;
  memset(device, 0, sizeof *device);
  device->platform = *platform;
  device->program = program;
  device->memory = memory;
  device->slots = slots;
  error = check(device);
  if (error == DNA_OK && busy(device)) error = DNA_ERROR_BUSY;
  return error;
}

int dna_load(dna_device *device, const uint8_t *image, size_t bytes) {
  if (bytes != device->program->image_bytes) return DNA_ERROR_ARGUMENT;
  if (busy(device)) return DNA_ERROR_BUSY;
  memcpy(device->memory.processor, image, bytes);
  flush(device, 0, bytes);
  return DNA_OK;
}

/* Passes that take turns: 1, 2 or 4. */
static uint32_t turns(const dna_device *device, uint32_t passes) {
  if (passes > 2u && device->slots >= 4u) return 4u;
  return passes > 1u && device->slots >= 2u ? 2u : 1u;
}

static int start(dna_device *device, uint32_t first, uint32_t passes) {
  const dna_program *program = device->program;
  uint32_t count = turns(device, passes);
  if (busy(device)) return DNA_ERROR_BUSY;
  for (uint32_t pair = 0; pair < count; pair++) {
    uint32_t slot = (first + pair) % device->slots;
    set_base(device, DNA_REG_BASE_INPUT_LOW, DNA_REG_BASE_INPUT_1_LOW, DNA_REG_BASE_INPUT_NEXT, pair,
             input_place(program, slot));
    set_base(device, DNA_REG_BASE_OUTPUT_LOW, DNA_REG_BASE_OUTPUT_1_LOW, DNA_REG_BASE_OUTPUT_NEXT, pair,
             output_place(program, device->slots, slot));
  }
  set_base(device, DNA_REG_BASE_WORK_LOW, 0u, 0u, 0u, work_place(program, device->slots));
  set(device, DNA_REG_PASSES, passes);
  set(device, DNA_REG_BUFFERS, count - 1u);
  set(device, DNA_REG_IRQ_CLEAR, 1u);
  set(device, DNA_REG_IRQ_ENABLE, device->use_interrupt ? 1u : 0u);
  device->interrupted = 0u;
  device->passes = passes;
  device->timeout_cycles = SLACK_CYCLES + (uint64_t)PATIENCE * passes * program->pass_cycles;
  set(device, DNA_REG_CONTROL, 1u << DNA_CONTROL_START_SHIFT);
  return DNA_OK;
}

int dna_start(dna_device *device, uint32_t first, uint32_t passes) {
  if (first >= device->slots || passes == 0u) return DNA_ERROR_ARGUMENT;
  if (busy(device)) return DNA_ERROR_BUSY;
  set_programs(device);
  return start(device, first, passes);
}

static int outcome(uint32_t status) {
  if (is_set(status, DNA_STATUS_READ_ERROR_SHIFT)) return DNA_ERROR_READ;
  if (is_set(status, DNA_STATUS_WRITE_ERROR_SHIFT)) return DNA_ERROR_WRITE;
  if (is_set(status, DNA_STATUS_OVERRUN_SHIFT)) return DNA_ERROR_OVERRUN;
  return DNA_OK;
}

int dna_wait(dna_device *device) {
  uint64_t waited = 0;
  uint32_t before = get(device, DNA_REG_CYCLES), stopped = 0;
  for (;;) {
    if (!device->use_interrupt || device->interrupted) {
      uint32_t status = get(device, DNA_REG_STATUS);
      if (is_set(status, DNA_STATUS_DONE_SHIFT)) return outcome(status);
    }
    /* CYCLES stands still when the accelerator does: then it must be done. It wraps; differences do not mind. */
    uint32_t cycles = get(device, DNA_REG_CYCLES);
    waited += (uint32_t)(cycles - before);
    stopped = cycles == before ? stopped + 1u : 0u;
    before = cycles;
    if (stopped > 4u && !busy(device) && !is_set(get(device, DNA_REG_STATUS), DNA_STATUS_DONE_SHIFT))
      return DNA_ERROR_STOPPED;
    if (waited > device->timeout_cycles) return DNA_ERROR_TIMEOUT;
    if (stopped > 10000u) return DNA_ERROR_INTERRUPT;
    if (device->platform.idle) device->platform.idle(device->platform.context);
  }
}

int dna_run(dna_device *device, uint32_t first, uint32_t passes) {
  int error = dna_start(device, first, passes);
  return error != DNA_OK ? error : dna_wait(device);
}

void dna_interrupt(dna_device *device) {
  set(device, DNA_REG_IRQ_CLEAR, 1u);
  device->interrupted = 1u;
}

/* ---- Frames. */

static size_t values(const dna_tensor *tensor) {
  return (size_t)tensor->height * tensor->width * tensor->channels;
}

int dna_put(dna_device *device, uint32_t slot, uint32_t frame, const uint8_t *image) {
  const dna_program *program = device->program;
  size_t place;
  if (slot >= device->slots || frame >= program->frames) return DNA_ERROR_ARGUMENT;
  place = input_place(program, slot) + (size_t)program->input.frame_words[frame] * WORD;
  if (program->fold.factor > 1u)
    dna_pack_folded(&program->input, &program->fold, image, device->memory.processor + place);
  else
    dna_pack(&program->input, image, device->memory.processor + place);
  flush(device, place, dna_extent(&program->input));
  return DNA_OK;
}

int dna_get(dna_device *device, uint32_t slot, uint32_t frame, uint8_t *output) {
  const dna_program *program = device->program;
  size_t place;
  if (slot >= device->slots || frame >= program->frames) return DNA_ERROR_ARGUMENT;
  place = output_place(program, device->slots, slot) + (size_t)program->output.frame_words[frame] * WORD;
  invalidate(device, place, dna_extent(&program->output));
  dna_unpack(&program->output, device->memory.processor + place, output);
  return DNA_OK;
}

/* Images `from` on into the slots from `first` on; passes that they make. */
static uint32_t fill(dna_device *device, uint32_t first, uint32_t passes, const uint8_t *images, uint32_t from,
                     uint32_t count) {
  const dna_program *program = device->program;
  size_t bytes = program->fold.factor > 1u
                     ? (size_t)program->fold.height * program->fold.width * program->fold.channels
                     : values(&program->input);
  uint32_t pass = 0;
  for (; pass < passes && from < count; pass++)
    for (uint32_t frame = 0; frame < program->frames && from < count; frame++, from++)
      dna_put(device, first + pass, frame, images + from * bytes);
  return pass;
}

static void collect(dna_device *device, uint32_t first, uint32_t passes, uint8_t *outputs, uint32_t *at, uint32_t count) {
  size_t bytes = values(&device->program->output);
  for (uint32_t pass = 0; pass < passes; pass++)
    for (uint32_t frame = 0; frame < device->program->frames && *at < count; frame++, (*at)++)
      dna_get(device, first + pass, frame, outputs + *at * bytes);
}

int dna_infer(dna_device *device, const uint8_t *images, uint8_t *outputs, uint32_t count) {
  /* Two sets of slots: one is filled and emptied while the accelerator works on the other. */
  uint32_t sets = device->slots >= 2u ? 2u : 1u;
  uint32_t each = device->slots / sets >= 4u ? 4u : device->slots / sets >= 2u ? 2u : 1u;
  uint32_t frames = each * device->program->frames;
  uint32_t set_now = 0, filled = 0, emptied = 0;
  uint32_t passes = fill(device, 0, each, images, 0, count);
  filled = count < frames ? count : frames;
  while (passes > 0u) {
    uint32_t first = set_now * each, next = 0, other = (set_now + 1u) % sets;
    int error = dna_start(device, first, passes);
    if (error != DNA_OK) return error;
    if (sets == 2u) next = fill(device, other * each, each, images, filled, count);
    error = dna_wait(device);
    if (error != DNA_OK) return error;
    collect(device, first, passes, outputs, &emptied, count);
    if (sets == 1u) next = fill(device, 0, each, images, filled, count);
    filled = count - filled < frames ? count : filled + frames;
    passes = next;
    set_now = other;
  }
  return DNA_OK;
}

/* ---- Counters. */

uint32_t dna_passes_done(dna_device *device) { return get(device, DNA_REG_PASSES_DONE); }

uint32_t dna_cycles(dna_device *device) { return get(device, DNA_REG_CYCLES); }

int dna_pass_cycle(dna_device *device, uint32_t pass, uint32_t *cycle) {
  uint32_t done = dna_passes_done(device);
  if (pass >= done || done - pass > DNA_KEPT_PASS_CYCLES) return DNA_ERROR_ARGUMENT;
  *cycle = get(device, DNA_REG_PASS_CYCLES_0 + pass % DNA_KEPT_PASS_CYCLES * DNA_REG_PASS_CYCLES_NEXT);
  return DNA_OK;
}

int dna_layer(dna_device *device, uint32_t chunk, uint32_t layer, dna_layer_counters *counters) {
  uint32_t count;
  if (chunk >= device->program->chunks) return DNA_ERROR_ARGUMENT;
  set(device, DNA_REG_CHUNK_SELECT, chunk);
  count = get(device, DNA_REG_LAYER_COUNT) >> DNA_LAYER_COUNT_COMMITTED_SHIFT & DNA_LAYER_COUNT_COMMITTED_MASK;
  if (layer >= count) return DNA_ERROR_ARGUMENT;
  set(device, DNA_REG_LAYER_SELECT, layer);
  counters->cycle = get(device, DNA_REG_LAYER_CYCLE);
  counters->busy = get(device, DNA_REG_LAYER_BUSY);
  counters->wait_input = get(device, DNA_REG_LAYER_WAIT_INPUT);
  counters->wait_weight = get(device, DNA_REG_LAYER_WAIT_WEIGHT);
  counters->wait_residual = get(device, DNA_REG_LAYER_WAIT_RESIDUAL);
  counters->wait_output = get(device, DNA_REG_LAYER_WAIT_OUTPUT);
  counters->wait_job = get(device, DNA_REG_LAYER_WAIT_JOB);
  counters->commit = get(device, DNA_REG_LAYER_COMMIT);
  return DNA_OK;
}

const char *dna_layer_name(const dna_program *program, uint32_t chunk, uint32_t layer) {
  uint32_t first = 0;
  if (chunk >= program->chunks || layer >= program->layers[chunk]) return NULL;
  for (uint32_t earlier = 0; earlier < chunk; earlier++) first += program->layers[earlier];
  return program->layer_names[first + layer];
}

/* ---- The memory probe. */

static int probe_run(dna_device *device, const dna_probe_program *probe, uint32_t page, uint32_t *cycles) {
  size_t place = probe_place(device->program);
  int error;
  for (uint32_t chunk = 0; chunk < device->program->chunks; chunk++)
    set_program(device, chunk, place + (size_t)(chunk == 0u ? page : PROBE_RUNS) * probe->page_bytes);
  error = start(device, 0, 1);
  if (error == DNA_OK) error = dna_wait(device);
  *cycles = dna_cycles(device);
  return error;
}

/* Thousandths of a difference of sums of `runs`. */
static int64_t milli(uint64_t more, uint64_t less, uint64_t runs) {
  int64_t difference = (int64_t)more - (int64_t)less;
  return difference < 0 ? -1 : (int64_t)(((uint64_t)difference * 1000u + runs / 2u) / runs);
}

static uint32_t rounded(int64_t value) { return value < 1500 ? 1u : (uint32_t)((value + 500) / 1000); }

int dna_probe(dna_device *device, const dna_probe_program *probe, const uint8_t *image, uint32_t repeats,
              dna_memory_timing *timing) {
  uint64_t sum[PROBE_RUNS] = {0};
  uint64_t runs = (uint64_t)probe->jobs * repeats, beats = probe->burst_beats - probe->first_beats;
  int64_t interval, read, write;
  if (repeats == 0u) return DNA_ERROR_ARGUMENT;
  if (beats == 0u) return DNA_ERROR_PROBE;
  if (busy(device)) return DNA_ERROR_BUSY;
  memcpy(device->memory.processor + probe_place(device->program), image, probe->image_bytes);
  flush(device, probe_place(device->program), probe->image_bytes);
  for (uint32_t repeat = 0; repeat < repeats; repeat++)
    for (uint32_t page = 0; page < PROBE_RUNS; page++) {
      uint32_t cycles;
      int error = probe_run(device, probe, page, &cycles);
      if (error != DNA_OK) return error;
      sum[page] += cycles;
    }
  interval = milli(sum[2], sum[1], runs * beats);
  read = milli(sum[1], sum[0], runs) - 1000 * (int64_t)probe->read_cycles - interval * (probe->first_beats - 1u);
  write = milli(sum[4], sum[3], runs) - 1000 * (int64_t)probe->write_cycles - interval * (probe->first_beats - 1u);
  if (interval < 0 || read < 0 || write < 0) return DNA_ERROR_PROBE;
  timing->beat_interval_milli = (uint64_t)interval;
  timing->read_latency_milli = (uint64_t)read;
  timing->write_latency_milli = (uint64_t)write;
  timing->beat_interval = rounded(interval);
  timing->read_latency = rounded(read);
  timing->write_latency = rounded(write);
  return DNA_OK;
}

int dna_probe_text(const dna_memory_timing *timing, char *text, size_t size) {
  return snprintf(text, size,
                  "memory:\n"
                  "  read_latency: %lu        # measured: %lu.%03lu cycles from address to first beat\n"
                  "  beat_interval: %lu        # measured: %lu.%03lu cycles from beat to beat\n"
                  "  write_latency: %lu        # measured: %lu.%03lu cycles from last beat to response\n",
                  (unsigned long)timing->read_latency, (unsigned long)(timing->read_latency_milli / 1000u),
                  (unsigned long)(timing->read_latency_milli % 1000u), (unsigned long)timing->beat_interval,
                  (unsigned long)(timing->beat_interval_milli / 1000u),
                  (unsigned long)(timing->beat_interval_milli % 1000u), (unsigned long)timing->write_latency,
                  (unsigned long)(timing->write_latency_milli / 1000u),
                  (unsigned long)(timing->write_latency_milli % 1000u));
}
