// The loop nest of a tile, in the order of the chunk's dataflow.
#ifndef DNA_NEST_H
#define DNA_NEST_H

#include "dna_isa.h"
#include "dna_types.h"

namespace dna {

// The innermost loop of a tile: the reduction, pixels, or groups of output channels.
enum Dataflow { OUTPUT_STATIONARY = 0, WEIGHT_STATIONARY = 1, INPUT_STATIONARY = 2 };

// The loop nest of a tile: where it is in groups, pixels of a lane, and steps of the reduction.
struct Nest {
  U<10> group, y, x;
  U<10> ky, kx;
  U<12> step;
  U<20> pixel;  // y * lane_cols + x
  U<32> r;      // of the reduction
  U<10> pause;  // idle cycles after the last step
};

// Each of these goes on in one loop; true if it begins anew.
inline bool next_group(Nest &at, const Tile &tile) {
#pragma HLS INLINE
  const bool end = at.group == tile.groups - 1;
  at.group = end ? U<10>(0) : U<10>(at.group + 1);
  return end;
}

inline bool next_pixel(Nest &at, const Layer &layer) {
#pragma HLS INLINE
  const bool end_x = at.x == layer.lane_cols - 1;
  const bool end = end_x && at.y == layer.lane_rows - 1;
  at.pixel = end ? U<20>(0) : U<20>(at.pixel + 1);
  at.x = end_x ? U<10>(0) : U<10>(at.x + 1);
  if (end_x) {
    at.y = end ? U<10>(0) : U<10>(at.y + 1);
  }
  return end;
}

inline bool next_step(Nest &at, const Layer &layer, const Tile &tile, U<32> mac) {
#pragma HLS INLINE
  const bool end = at.r == mac - 1;
  const bool end_step = at.step == tile.steps - 1;
  const bool end_kx = end_step && at.kx == layer.kernel_w - 1;
  at.r = end ? U<32>(0) : U<32>(at.r + 1);
  at.step = end_step ? U<12>(0) : U<12>(at.step + 1);
  if (end_step) {
    at.kx = end_kx ? U<10>(0) : U<10>(at.kx + 1);
  }
  if (end_kx) {
    at.ky = end ? U<10>(0) : U<10>(at.ky + 1);
  }
  return end;
}

template <class C>
void next_cycle(Nest &at, const Layer &layer, const Tile &tile, U<32> mac) {
#pragma HLS INLINE
  if (at.r == mac - 1 && at.pause != tile.idle) {
    at.pause = at.pause + 1;
    return;
  }
  at.pause = 0;
  if (C::DATAFLOW == OUTPUT_STATIONARY) {
    if (next_step(at, layer, tile, mac) && next_pixel(at, layer)) {
      next_group(at, tile);
    }
  } else if (C::DATAFLOW == WEIGHT_STATIONARY) {
    if (next_pixel(at, layer) && next_step(at, layer, tile, mac)) {
      next_group(at, tile);
    }
  } else {
    if (next_group(at, tile) && next_step(at, layer, tile, mac)) {
      next_pixel(at, layer);
    }
  }
}

// Place of a sum in the sum buffer: a slice of a sum keeps all sums of its tile, a whole sum those of the loops within.
template <class C>
U<28> sum_place(const Nest &at, const Tile &tile, U<20> pixels) {
#pragma HLS INLINE
  const bool whole = tile.first && tile.last;
  if (C::DATAFLOW == WEIGHT_STATIONARY) {
    return whole ? U<28>(at.pixel) : U<28>(at.group * pixels + at.pixel);
  }
  return whole ? U<28>(at.group) : U<28>(at.pixel * tile.groups + at.group);
}

}  // namespace dna

#endif
