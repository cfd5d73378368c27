/* Images in memory, see dna_driver.h: nothing here touches the accelerator. */
#include <string.h>

#include "dna_driver.h"

#define WORD 16u

static uint32_t groups(const dna_tensor *tensor) { return (tensor->channels + WORD - 1u) / WORD; }

size_t dna_extent(const dna_tensor *tensor) {
  return ((size_t)(tensor->height - 1u) * tensor->row_words + groups(tensor) * tensor->width) * WORD;
}

/* One pixel's channels, a byte each, to its words. */
static void put_pixel(const dna_tensor *tensor, uint32_t row, uint32_t column, const uint8_t *pixel, uint8_t *memory) {
  for (uint32_t group = 0; group < groups(tensor); group++) {
    uint32_t first = group * WORD, count = tensor->channels - first < WORD ? tensor->channels - first : WORD;
    uint8_t *word = memory + ((size_t)row * tensor->row_words + (size_t)group * tensor->width + column) * WORD;
    memset(word, 0, WORD);
    memcpy(word, pixel + first, count);
  }
}

void dna_pack(const dna_tensor *tensor, const uint8_t *image, uint8_t *memory) {
  for (uint32_t row = 0; row < tensor->height; row++)
    for (uint32_t column = 0; column < tensor->width; column++)
      put_pixel(tensor, row, column, image + ((size_t)row * tensor->width + column) * tensor->channels, memory);
}

void dna_unpack(const dna_tensor *tensor, const uint8_t *memory, uint8_t *image) {
  for (uint32_t row = 0; row < tensor->height; row++)
    for (uint32_t column = 0; column < tensor->width; column++)
      for (uint32_t channel = 0; channel < tensor->channels; channel++) {
        size_t word = (size_t)row * tensor->row_words + (size_t)(channel / WORD) * tensor->width + column;
        image[((size_t)row * tensor->width + column) * tensor->channels + channel] = memory[word * WORD + channel % WORD];
      }
}

/* A channel of a folded image: that of a pixel of the original one, or the pad value beyond it. */
static uint8_t folded_byte(const dna_fold *fold, const uint8_t *image, uint32_t row, uint32_t column, uint32_t channel) {
  uint32_t pixel = channel / fold->channels;
  uint32_t y = row * fold->factor + pixel / fold->factor, x = column * fold->factor + pixel % fold->factor;
  if (y >= fold->height || x >= fold->width) return fold->pad_value;
  return image[((size_t)y * fold->width + x) * fold->channels + channel % fold->channels];
}

void dna_pack_folded(const dna_tensor *tensor, const dna_fold *fold, const uint8_t *image, uint8_t *memory) {
  for (uint32_t row = 0; row < tensor->height; row++)
    for (uint32_t column = 0; column < tensor->width; column++)
      for (uint32_t channel = 0; channel < groups(tensor) * WORD; channel++) {
        size_t word = (size_t)row * tensor->row_words + (size_t)(channel / WORD) * tensor->width + column;
        memory[word * WORD + channel % WORD] =
            channel < tensor->channels ? folded_byte(fold, image, row, column, channel) : 0u;
      }
}

uint32_t dna_argmax(const uint8_t *list, uint32_t count, int is_signed) {
  uint32_t best = 0;
  for (uint32_t index = 1; index < count; index++) {
    int value = is_signed ? (int8_t)list[index] : list[index];
    int largest = is_signed ? (int8_t)list[best] : list[best];
    if (value > largest) best = index;
  }
  return best;
}
