/*
 * An application without an operating system: runs one frame, prints what came out, the cycles of each layer, and the
 * memory's timing in the form of a board file.
 *
 * Addresses and caches are the platform's. On a Zynq, with the vendor's standalone library, compile with -DDNA_XILINX;
 * elsewhere give DNA_REGISTERS, DNA_MEMORY and, if the accelerator does not see the processor's caches, the two functions.
 */
#include <stdio.h>

#include "dna_driver.h"

#ifdef DNA_XILINX
#include "xil_cache.h"
static void flush(void *context, const void *first, size_t bytes) {
  (void)context;
  Xil_DCacheFlushRange((INTPTR)first, bytes);
}
static void invalidate(void *context, void *first, size_t bytes) {
  (void)context;
  Xil_DCacheInvalidateRange((INTPTR)first, bytes);
}
#else
#define flush NULL
#define invalidate NULL
#endif

#ifndef DNA_REGISTERS
#define DNA_REGISTERS 0x43C00000u /* as in vivado/settings.tcl */
#endif
#ifndef DNA_MEMORY
#define DNA_MEMORY 0x10000000u /* memory that nothing else uses */
#endif
#ifndef DNA_MEMORY_BYTES
#define DNA_MEMORY_BYTES 0x08000000u
#endif

#ifndef DNA_PROBE_REPEATS
#define DNA_PROBE_REPEATS 100u
#endif

extern const uint8_t dna_program_image[], dna_program_image_end[], dna_probe_image[];

static int failed(const char *what, int error) {
  if (error != DNA_OK) printf("%s: %s\n", what, dna_message(error));
  return error != DNA_OK;
}

/* `image`: height x width x channels; `output` has room for one. */
int dna_example(dna_device *device, const uint8_t *image, uint8_t *output);
int dna_example(dna_device *device, const uint8_t *image, uint8_t *output) {
  const dna_program *program = device->program;
  dna_memory_timing timing;
  char text[512];
  if (failed("load", dna_load(device, dna_program_image, (size_t)(dna_program_image_end - dna_program_image)))) return 1;
  if (failed("run", dna_infer(device, image, output, 1))) return 1;
  printf("%s: %lu cycles, largest output %lu\n", program->name, (unsigned long)dna_cycles(device),
         (unsigned long)dna_argmax(output, program->output.height * program->output.width * program->output.channels,
                                   (int)program->output.is_signed));
  for (uint32_t chunk = 0; chunk < program->chunks; chunk++)
    for (uint32_t layer = 0; layer < program->layers[chunk]; layer++) {
      dna_layer_counters counters;
      if (dna_layer(device, chunk, layer, &counters) == DNA_OK)
        printf("  %-24s ends in cycle %lu\n", dna_layer_name(program, chunk, layer), (unsigned long)counters.commit);
    }
  if (failed("probe", dna_probe(device, &dna_compiled_probe, dna_probe_image, DNA_PROBE_REPEATS, &timing))) return 1;
  dna_probe_text(&timing, text, sizeof text);
  printf("%s", text);
  return 0;
}

#ifndef DNA_NO_MAIN
int main(void) {
  static dna_device device;
  static uint8_t image[DNA_IMAGE_BYTES], output[DNA_OUTPUT_BYTES];
  dna_platform platform = {(void *)(uintptr_t)DNA_REGISTERS, dna_mapped_read, dna_mapped_write, flush, invalidate, NULL};
  dna_memory memory = {(uint8_t *)(uintptr_t)DNA_MEMORY, DNA_MEMORY, DNA_MEMORY_BYTES};
  if (failed("init", dna_init(&device, &platform, &dna_compiled_program, memory, 2))) return 1;
  return dna_example(&device, image, output);
}
#endif
