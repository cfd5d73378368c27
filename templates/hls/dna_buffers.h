// Buffer side of the read and write ports: words of a stream into buffers, words of the output buffer into a stream.
//
// Every buffer is two halves, and what is here sees the half that the array does not use.
#ifndef DNA_BUFFERS_H
#define DNA_BUFFERS_H

#include "dna_isa.h"
#include "dna_types.h"

namespace dna {

// What a LOAD does with its words.
struct Fill {
  U<3> dest;
  U<28> words;
  U<14> base;  // within the half; INPUT: for lane (0, 0), modulo 2^14
  U<10> cols;
  U<12> groups;
  U<10> row0;
  U<10> col0;
};

struct FillJobs {
  int count;
  Fill job[QUEUE_JOBS];
};

const int ADDRESS_MASK = (1 << 14) - 1;

// The first row and column of each lane's window, and its address in lane (0, 0): walked once per LAYER.
template <class C>
void place_capture(const Layer &layer, U<18> lane_row[C::PX], U<18> lane_col[C::PX], U<14> lane_address[C::PX]) {
#pragma HLS INLINE off
  U<18> row = 0;
  U<18> col = 0;
  U<14> row_address = 0;
  U<8> x = 0;
WALK:
  for (int p = 0; p < C::PX; p++) {
#pragma HLS PIPELINE II = 1
    lane_row[p] = row;
    lane_col[p] = col;
    lane_address[p] = (row_address + col) & ADDRESS_MASK;
    if (x == layer.lanes_x - 1) {
      x = 0;
      col = 0;
      row = row + layer.step_y;
      row_address = (row_address + layer.lane_row_pitch) & ADDRESS_MASK;
    } else {
      x = x + 1;
      col = col + layer.step_x;
    }
  }
}

// Input tile: the stream is [rows][groups][cols]; every lane keeps the words of its own window.
template <class C>
void fill_lanes(const Fill &job, const Layer &layer, const U<18> lane_row[C::PX], const U<18> lane_col[C::PX],
                const U<14> lane_address[C::PX], hls::stream<Word> &in,
                unsigned char lanes[C::PX][C::INPUT_HALF][16]) {
#pragma HLS INLINE off
  U<10> row = job.row0;
  U<10> col = job.col0;
  U<12> group = 0;
  // Address of the word for lane (0, 0); of other lanes, it is less by a constant, modulo 2^14.
  U<14> row_address = job.base;
  U<14> group_address = job.base;
  U<14> address = job.base;
WORDS:
  for (int n = 0; n < job.words; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    const Word word = in.read();
  LANES:
    for (int p = 0; p < C::PX; p++) {
#pragma HLS UNROLL
      const S<19> y = row - lane_row[p];
      const S<19> x = col - lane_col[p];
      if (p < layer.lanes && y >= 0 && y < layer.window_h && x >= 0 && x < layer.window_w) {
        const U<14> place = (address - lane_address[p]) & ADDRESS_MASK;
        DNA_REQUIRE(place < C::INPUT_HALF);
        for (int b = 0; b < 16; b++) {
#pragma HLS UNROLL
          lanes[p][place][b] = byte_of(word, b);
        }
      }
    }
    if (col != job.col0 + job.cols - 1) {
      col = col + 1;
      address = (address + 1) & ADDRESS_MASK;
      continue;
    }
    col = job.col0;
    if (group != job.groups - 1) {
      group = group + 1;
      group_address = (group_address + layer.window_w) & ADDRESS_MASK;
    } else {
      group = 0;
      row = row + 1;
      row_address = (row_address + layer.row_pitch) & ADDRESS_MASK;
      group_address = row_address;
    }
    address = group_address;
  }
}

// Residual tile: words one after the other, each cut into the post lanes' parts.
template <class C>
void fill_residual(const Fill &job, hls::stream<Word> &in,
                   unsigned char residual[C::PARTS][C::RESIDUAL_HALF][C::POST]) {
#pragma HLS INLINE off
WORDS:
  for (int n = 0; n < job.words; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 8192
    const Word word = in.read();
    DNA_REQUIRE(job.base + n < C::RESIDUAL_HALF);
    for (int b = 0; b < 16; b++) {
#pragma HLS UNROLL
      residual[b / C::POST][job.base + n][b % C::POST] = byte_of(word, b);
    }
  }
}

// Weights: a buffer word is BANKS words of the stream.
template <class C>
void fill_weights(const Fill &job, hls::stream<Word> &in, signed char weights[C::BANKS][C::WEIGHT_HALF][16]) {
#pragma HLS INLINE off
  int bank = 0;
  int address = job.base;
WORDS:
  for (int n = 0; n < job.words; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    const Word word = in.read();
    DNA_REQUIRE(address < C::WEIGHT_HALF);
    for (int b = 0; b < 16; b++) {
#pragma HLS UNROLL
      weights[bank][address][b] = (signed char)byte_of(word, b);
    }
    if (bank == C::BANKS - 1) {
      bank = 0;
      address++;
    } else {
      bank++;
    }
  }
}

// Parameters: a buffer word is POST channels of 8 bytes.
template <class C>
void fill_params(const Fill &job, hls::stream<Word> &in, Bits64 params[C::POST][C::PARAM_HALF]) {
#pragma HLS INLINE off
  int lane = 0;
  int address = job.base;
WORDS:
  for (int n = 0; n < job.words; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 65536
    const Word word = in.read();
    DNA_REQUIRE(address < C::PARAM_HALF);
    params[lane][address] = word.low;
    params[lane + 1][address] = word.high;
    if (lane == C::POST - 2) {
      lane = 0;
      address++;
    } else {
      lane += 2;
    }
  }
}

// A page of the program: two words are an instruction.
inline void fill_page(const Fill &job, hls::stream<Word> &in, instruction_t pages[PAGES_INSTRUCTIONS]) {
#pragma HLS INLINE off
WORDS:
  for (int n = 0; n < job.words / 2; n++) {
#pragma HLS PIPELINE II = 2
#pragma HLS LOOP_TRIPCOUNT min = 64 max = 64
    const Word first = in.read();
    const Word second = in.read();
    instruction_t instruction = 0;
    instruction.range(63, 0) = Half(first.low);
    instruction.range(127, 64) = Half(first.high);
    instruction.range(191, 128) = Half(second.low);
    instruction.range(255, 192) = Half(second.high);
    pages[job.base + n] = instruction;
  }
}

// Output words from `base` on into the stream.
template <class C>
void drain_output(bool active, U<14> base, U<28> words, unsigned char output[C::PARTS][C::OUTPUT_HALF][C::POST],
                  hls::stream<Word> &out) {
#pragma HLS INLINE off
  const int count = active ? int(words) : 0;
WORDS:
  for (int n = 0; n < count; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 0 max = 8192
    DNA_REQUIRE(base + n < C::OUTPUT_HALF);
    Word word;
    word.low = 0;
    word.high = 0;
    for (int b = 0; b < 8; b++) {
#pragma HLS UNROLL
      word.low |= Bits64(output[b / C::POST][base + n][b % C::POST]) << (8 * b);
      word.high |= Bits64(output[(b + 8) / C::POST][base + n][(b + 8) % C::POST]) << (8 * b);
    }
    out.write(word);
  }
}

}  // namespace dna

#endif
