/*
 * Driver of a DNA accelerator, for processors without an operating system and for everything else that speaks C99.
 *
 *   dna_device device;
 *   dna_init(&device, &platform, &dna_compiled_program, memory, slots);    the right accelerator is there
 *   dna_load(&device, image, bytes);                                       program.bin
 *   dna_put(&device, slot, frame, image);                                  an H x W x C image into input slot
 *   dna_run(&device, slot, passes);                                        start, and wait
 *   dna_get(&device, slot, frame, output);                                 its output, H x W x C
 *
 * or dna_infer() for any number of images, filling one set of slots while the accelerator works on another. Every
 * function that can fail returns DNA_OK (0) or a negative dna_error; dna_message() has its text.
 *
 * A pass is one run of the Program: `frames` frames (dna_program). Passes take turns with the slots: pass k of a start
 * works on slot (first + k mod n) mod slots, n being 1, 2 or 4. So a start of up to 4 passes can have a slot for each.
 */
#ifndef DNA_DRIVER_H
#define DNA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "dna_registers.h"

#define DNA_ALIGNMENT 4096u

typedef enum {
  DNA_OK = 0,
  DNA_ERROR_IDENTITY = -1,
  DNA_ERROR_VERSION = -2,
  DNA_ERROR_CAPABILITIES = -3,
  DNA_ERROR_ARGUMENT = -4,
  DNA_ERROR_MEMORY = -5,
  DNA_ERROR_BUSY = -6,
  DNA_ERROR_READ = -7,
  DNA_ERROR_WRITE = -8,
  DNA_ERROR_OVERRUN = -9,
  DNA_ERROR_TIMEOUT = -10,
  DNA_ERROR_STOPPED = -11,
  DNA_ERROR_PROBE = -12,
  DNA_ERROR_INTERRUPT = -13
} dna_error;

/* How the processor reaches the accelerator and the memory they share. */
typedef struct {
  void *context; /* handed to every function */
  uint32_t (*read)(void *context, uint32_t address);
  void (*write)(void *context, uint32_t address, uint32_t value);
  void (*flush)(void *context, const void *first, size_t bytes); /* the processor's writes reach memory; may be NULL */
  void (*invalidate)(void *context, void *first, size_t bytes);  /* the next reads come from memory; may be NULL */
  void (*idle)(void *context);                                   /* between two looks while waiting; may be NULL */
} dna_platform;

/* Memory for program and data: `bus` is what the accelerator calls the byte at `processor`; a multiple of 4096. */
typedef struct {
  uint8_t *processor;
  uint64_t bus;
  size_t bytes;
} dna_memory;

typedef struct {
  uint32_t height, width, channels;
  uint32_t row_words;          /* words of 16 bytes from row to row */
  uint32_t is_signed;          /* bytes are two's complement */
  const uint32_t *frame_words; /* first word of each frame of a pass, in its slot */
} dna_tensor;

/* What the registers of a chunk must show. */
typedef struct {
  uint32_t array, ports, buffers_in, buffers_out;
} dna_capabilities;

/* An input of the original network that was folded: squares of factor x factor pixels became channels. */
typedef struct {
  uint32_t factor; /* 1: not folded */
  uint32_t height, width, channels;
  uint8_t pad_value;
} dna_fold;

typedef struct {
  const char *name;
  uint32_t chunks, links;
  const dna_capabilities *capabilities; /* per chunk */
  const uint32_t *image_starts;         /* per chunk: byte of program.bin */
  uint32_t image_bytes;
  uint32_t frames;                               /* per pass */
  uint32_t input_bytes, output_bytes, work_bytes; /* one slot, one slot, common */
  dna_tensor input, output;
  dna_fold fold;
  uint32_t pass_cycles;             /* of one pass alone, by the exact model */
  const uint32_t *layers;           /* per chunk: layers it executes */
  const char *const *layer_names;   /* chunk by chunk, in the order of its counters */
} dna_program;

/* dna_probe.bin: pages for five runs, and an idle one; and the constants that their cycles are solved with. */
typedef struct {
  uint32_t image_bytes, page_bytes;
  uint32_t jobs, first_beats, burst_beats, read_cycles, write_cycles;
} dna_probe_program;

/* Of this Project (dna_program.c). */
extern const dna_program dna_compiled_program;
extern const dna_probe_program dna_compiled_probe;

typedef struct {
  dna_platform platform;
  const dna_program *program;
  dna_memory memory;
  uint32_t slots;
  uint32_t passes;            /* of the last start */
  uint64_t timeout_cycles;    /* of the accelerator; set by dna_start, may be changed before dna_wait */
  int use_interrupt;          /* 1: dna_wait waits for dna_interrupt; 0: it looks at STATUS */
  volatile uint32_t interrupted;
} dna_device;

/* A layer's counters, from the start of the Program on; the registers of the same names. */
typedef struct {
  uint32_t cycle, busy, wait_input, wait_weight, wait_residual, wait_output, wait_job, commit;
} dna_layer_counters;

/* The `memory:` of a board file, in cycles of the accelerator, and the same in thousandths before rounding. */
typedef struct {
  uint32_t read_latency, beat_interval, write_latency;
  uint64_t read_latency_milli, beat_interval_milli, write_latency_milli;
} dna_memory_timing;

/* Text of an error code. */
const char *dna_message(int error);

/* read and write of a platform for registers in the address space; `context` is their address. */
uint32_t dna_mapped_read(void *context, uint32_t address);
void dna_mapped_write(void *context, uint32_t address, uint32_t value);

/* Bytes of memory that a device with so many slots needs. */
size_t dna_memory_bytes(const dna_program *program, uint32_t slots);

/* Takes the accelerator over: identity, version and capabilities must be those that the program was compiled for. */
int dna_init(dna_device *device, const dna_platform *platform, const dna_program *program, dna_memory memory,
             uint32_t slots);

/* Copies program.bin into memory. Not while busy. */
int dna_load(dna_device *device, const uint8_t *image, size_t bytes);

/* Packs an image of the network, height x width x channels bytes, into a frame of an input slot. With a folded network
 * the image is the original one (dna_fold). */
int dna_put(dna_device *device, uint32_t slot, uint32_t frame, const uint8_t *image);

/* Unpacks a frame of an output slot, height x width x channels bytes (int8_t if the output is signed). */
int dna_get(dna_device *device, uint32_t slot, uint32_t frame, uint8_t *output);

/* Starts so many passes, beginning with slot `first`; returns at once. */
int dna_start(dna_device *device, uint32_t first, uint32_t passes);

/* Waits for the end; DNA_ERROR_READ, _WRITE, _OVERRUN, _TIMEOUT or another if it was not a good one. */
int dna_wait(dna_device *device);

/* dna_start and dna_wait. */
int dna_run(dna_device *device, uint32_t first, uint32_t passes);

/* `count` images, one after the other in `images`, to as many outputs. Needs dna_load. */
int dna_infer(dna_device *device, const uint8_t *images, uint8_t *outputs, uint32_t count);

/* To be called by the interrupt's handler. */
void dna_interrupt(dna_device *device);

/* Passes whose outputs are in memory, also while busy. */
uint32_t dna_passes_done(dna_device *device);

/* Cycles of the last start, and the cycle in which a pass of it was done (only the last 8 are kept). */
uint32_t dna_cycles(dna_device *device);
int dna_pass_cycle(dna_device *device, uint32_t pass, uint32_t *cycle);

/* A layer's counters in the first pass of the last start. `layer` counts the layers of that chunk. */
int dna_layer(dna_device *device, uint32_t chunk, uint32_t layer, dna_layer_counters *counters);

/* Name of that layer; NULL if there is none. */
const char *dna_layer_name(const dna_program *program, uint32_t chunk, uint32_t layer);

/* Index of the largest of `count` values, the first of equal ones. */
uint32_t dna_argmax(const uint8_t *values, uint32_t count, int is_signed);

/* [height][width][channels] to and from the memory's [height][channels / 16][width][16]. */
void dna_pack(const dna_tensor *tensor, const uint8_t *image, uint8_t *memory);
void dna_unpack(const dna_tensor *tensor, const uint8_t *memory, uint8_t *image);

/* Bytes of a frame in memory, from its first to its last. */
size_t dna_extent(const dna_tensor *tensor);

/* The same from the image before it was folded. */
void dna_pack_folded(const dna_tensor *tensor, const dna_fold *fold, const uint8_t *image, uint8_t *memory);

/* Measures the memory behind the first port, in the mean of `repeats` runs. `image` is dna_probe.bin. Overwrites slot 0 of
 * the outputs; the program has not to be loaded again. */
int dna_probe(dna_device *device, const dna_probe_program *probe, const uint8_t *image, uint32_t repeats,
              dna_memory_timing *timing);

/* The timing as the lines of a board file; the number of characters, as snprintf. */
int dna_probe_text(const dna_memory_timing *timing, char *text, size_t size);

#endif
