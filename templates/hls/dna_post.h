// The post lanes: sums to bytes, one slice of one lane per cycle.
#ifndef DNA_POST_H
#define DNA_POST_H

#include "dna_isa.h"
#include "dna_types.h"

namespace dna {

const int SUM_LIMIT = 1 << 24;

// One channel: bias, saturation, multiplication, residual, rounding, shift, clip.
template <class C>
unsigned char requantise(const Layer &layer, Sum sum, Bits64 param, unsigned char residual) {
#pragma HLS INLINE
  const Sum bias = Sum((int)(unsigned int)(param & 0xFFFFFFFFu));
  const U<17> multiplier = (int)((param >> 32) & 0x1FFFF);
  const U<6> shift = (int)((param >> 49) & 0x3F);
  const S<33> biased = S<33>(sum) + bias;
  const S<25> a = biased > SUM_LIMIT - 1 ? S<25>(SUM_LIMIT - 1) : biased < -SUM_LIMIT ? S<25>(-SUM_LIMIT) : S<25>(biased);
  S<48> product = S<48>(a) * multiplier;
#ifdef DNA_POST_IN_LUT
#ifdef DNA_VIVADO_HLS
#pragma HLS RESOURCE variable = product core = Mul_LUT
#else
#pragma HLS BIND_OP variable = product op = mul impl = fabric
#endif
#endif
  if (C::RESIDUAL && layer.residual) {
    product = product + S<48>(operand(residual, layer.res_signed)) * layer.res_multiplier;
  }
  const S<48> y = (product + (S<48>(1) << (shift - 1))) >> shift;
  const S<48> clipped = y < layer.lo ? S<48>(layer.lo) : y > layer.hi ? S<48>(layer.hi) : y;
  return (unsigned char)(int(clipped) & 0xFF);
}

// Sums of a finished pixel that wait for the post lanes, and how far these are.
template <class C>
struct Drain {
  bool active;
  U<10> group, y, x;
  U<8> lane, slice, slices;
};

// One cycle of the post lanes: one slice of one lane.
template <class C>
void post_slice(const Layer &layer, const Tile &tile, const U<18> out_row[C::PX], const U<18> out_col[C::PX],
                const Drain<C> &at, const Sum held[C::PX][C::OC], U<14> param_base, U<14> out_base,
                const Bits64 params[C::POST][C::PARAM_HALF],
                const unsigned char residual[C::PARTS][C::RESIDUAL_HALF][C::POST],
                unsigned char output[C::PARTS][C::OUTPUT_HALF][C::POST]) {
#pragma HLS INLINE
  const U<18> row = out_row[at.lane] + at.y;
  const U<18> col = out_col[at.lane] + at.x;
  const int size = layer.mode == MODE_MIX ? C::OC : C::GROUP;
  const U<20> channel = at.group * size + at.slice * C::POST;
  const int part = (channel & 15) / C::POST;
  const U<28> address = out_base + row * tile.out_pitch + (channel >> 4) * tile.out_cols + col;
  const U<14> param = param_base + at.group * layer.slices + at.slice;
  const bool kept = row < tile.out_rows && col < tile.out_cols;
  if (kept) {
    DNA_REQUIRE(address < C::OUTPUT_HALF && param < C::PARAM_HALF);
    DNA_REQUIRE(!layer.residual || (C::RESIDUAL && address < C::RESIDUAL_HALF));
    unsigned char bytes[C::POST];
#pragma HLS ARRAY_PARTITION variable = bytes complete
    for (int k = 0; k < C::POST; k++) {
#pragma HLS UNROLL
      const unsigned char r = C::RESIDUAL ? residual[part][C::RESIDUAL ? int(address) : 0][k] : (unsigned char)0;
      bytes[k] = requantise<C>(layer, held[at.lane][at.slice * C::POST + k], params[k][param], r);
    }
    // Parts above are cleared, so that the last word of a tensor ends in zeros.
    for (int q = 0; q < C::PARTS; q++) {
#pragma HLS UNROLL
      if (q >= part) {
        for (int k = 0; k < C::POST; k++) {
#pragma HLS UNROLL
          output[q][address][k] = q == part ? bytes[k] : (unsigned char)0;
        }
      }
    }
  }
}

template <class C>
void next_slice(const Layer &layer, Drain<C> &at) {
#pragma HLS INLINE
  if (at.slice != at.slices - 1) {
    at.slice = at.slice + 1;
    return;
  }
  at.slice = 0;
  if (at.lane != layer.lanes - 1) {
    at.lane = at.lane + 1;
  } else {
    at.active = false;
  }
}

}  // namespace dna

#endif
