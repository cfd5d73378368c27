// The array of oc x ic x px multipliers and the post lanes: one TILE, from buffers to buffers.
//
// One loop with an initiation interval of 1 does both. Its iterations are the RTL's cycles: one per group of output
// channels, pixel of a lane and step of the reduction, in the order of the chunk's dataflow, and `idle` more after each
// last step; meanwhile the post lanes work on the sums that were finished before, one slice of one lane per iteration.
// The loop ends when they are done.
#ifndef DNA_COMPUTE_H
#define DNA_COMPUTE_H

#include "dna_isa.h"
#include "dna_nest.h"
#include "dna_post.h"
#include "dna_types.h"

namespace dna {

// Where the lanes' pixels lie: in the tile's window and among its outputs.
template <class C>
void place_lanes(const Layer &layer, U<18> window_row[C::PX], U<18> window_col[C::PX], U<18> out_row[C::PX],
                 U<18> out_col[C::PX]) {
#pragma HLS INLINE off
  U<18> row = 0, col = 0, out_y = 0, out_x = 0;
  U<8> x = 0;
WALK:
  for (int p = 0; p < C::PX; p++) {
#pragma HLS PIPELINE II = 1
    window_row[p] = row;
    window_col[p] = col;
    out_row[p] = out_y;
    out_col[p] = out_x;
    if (x == layer.lanes_x - 1) {
      x = 0;
      col = 0;
      out_x = 0;
      row = row + layer.step_y;
      out_y = out_y + layer.lane_rows;
    } else {
      x = x + 1;
      col = col + layer.step_x;
      out_x = out_x + layer.lane_cols;
    }
  }
}

// Weights of a cycle, [ic][oc]. Where channels do not mix, each row of the array has one weight, at ic 0.
template <class C>
void read_weights(const Layer &layer, const Tile &tile, const Nest &at, U<14> base,
                  U<32> group_words, const signed char weights[C::BANKS][C::WEIGHT_HALF][16], Weight w[C::IC][C::OC]) {
#pragma HLS INLINE
  const bool mix = layer.mode == MODE_MIX;
  // A word per step, or, where channels do not mix, per ic taps; groups innermost where inputs stay.
  const U<32> word = mix ? at.r : U<32>(at.r / C::IC);
  const U<32> place = C::DATAFLOW == INPUT_STATIONARY ? U<32>(word * tile.groups + at.group)
                                                      : U<32>(at.group * group_words + word);
  const U<14> address = layer.ones ? U<14>(0) : U<14>(base + place);
  const int tap = at.r & (C::IC - 1);
  DNA_REQUIRE(address < C::WEIGHT_HALF);
  for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
    const int own = o * C::IC + tap;
    const signed char channel = layer.ones ? 1 : weights[own / 16][address][own % 16];
    for (int i = 0; i < C::IC; i++) {
#pragma HLS UNROLL
      const int byte = o * C::IC + i;
      w[i][o] = i == 0 && !mix ? channel : weights[byte / 16][address][byte % 16];
    }
  }
}

// Operands of one lane: what all rows of the array share, and what each row has at ic 0.
template <class C>
void read_lane(const Layer &layer, bool inside, int part, const unsigned char word[16], Operand shared[C::IC],
               Operand own[C::OC]) {
#pragma HLS INLINE
  const bool mix = layer.mode == MODE_MIX;
  for (int i = 0; i < C::IC; i++) {
#pragma HLS UNROLL
    const unsigned char byte = inside ? word[part * C::IC % 16 + i] : (unsigned char)layer.pad_value;
    shared[i] = mix ? operand(byte, layer.in_signed) : Operand(0);
  }
  for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
    const unsigned char byte = inside ? word[(part * C::GROUP + o) % 16] : (unsigned char)layer.pad_value;
    own[o] = mix ? shared[0] : operand(byte, layer.in_signed);
  }
}

// One multiplier.
template <class C>
Partial product(Operand x, Weight w) {
#pragma HLS INLINE
  const S<17> p = x * w;
#ifdef DNA_MAC_IN_LUT
#ifdef DNA_VIVADO_HLS
#pragma HLS RESOURCE variable = p core = Mul_LUT
#else
#pragma HLS BIND_OP variable = p op = mul impl = fabric
#endif
#endif
  return p;
}

// Products of one lane: for each row of the array, the sum over ic.
template <class C>
void multiply(const Operand shared[C::IC], const Operand own[C::OC], const Weight w[C::IC][C::OC], Partial sum[C::OC]) {
#pragma HLS INLINE
  for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
    sum[o] = product<C>(own[o], w[0][o]);
  }
  for (int i = 1; i < C::IC; i++) {
#pragma HLS UNROLL
    for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
      sum[o] = sum[o] + product<C>(shared[i], w[i][o]);
    }
  }
}

// Two neighbouring lanes on the multipliers of one: an operand of 25 bits holds both activations, a product of 32 bits both
// products, for each has 16 bits. A 25 x 8 multiplication is one DSP.
template <class C>
void multiply_pair(const Operand low_shared[C::IC], const Operand low_own[C::OC], const Operand high_shared[C::IC],
                   const Operand high_own[C::OC], const Weight w[C::IC][C::OC], Partial low_sum[C::OC],
                   Partial high_sum[C::OC]) {
#pragma HLS INLINE
  for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
    Partial low_total = 0, high_total = 0;
    for (int i = 0; i < C::IC; i++) {
#pragma HLS UNROLL
      const Operand low = i == 0 ? low_own[o] : low_shared[i];
      const Operand high = i == 0 ? high_own[o] : high_shared[i];
      const S<25> both = S<25>(high) * 65536 + low;
      const S<32> product = both * w[i][o];
      const S<16> low_product = (short)(int(product) & 0xFFFF);
      low_total = low_total + low_product;
      high_total = high_total + ((product - low_product) >> 16);
    }
    low_sum[o] = low_total;
    high_sum[o] = high_total;
  }
}

// One TILE. Bases are within the halves that are passed; sums live on from tile to tile of the slices of a sum.
template <class C>
void compute_tile(bool active, bool new_layer, const Layer &layer, const Tile &tile, U<14> in_base, U<14> w_base,
                  U<14> p_base, U<14> out_base, const unsigned char lanes[C::PX][C::INPUT_HALF][16],
                  const signed char weights[C::BANKS][C::WEIGHT_HALF][16],
                  const Bits64 params[C::POST][C::PARAM_HALF],
                  const unsigned char residual[C::PARTS][C::RESIDUAL_HALF][C::POST],
                  unsigned char output[C::PARTS][C::OUTPUT_HALF][C::POST]) {
#pragma HLS INLINE off
  static Sum acc[C::PX][C::OC];
  static Sum held[C::PX][C::OC];
  static Sum sums[C::PX][C::SUM_WORDS][C::OC];
  static U<18> window_row[C::PX], window_col[C::PX], out_row[C::PX], out_col[C::PX];
#pragma HLS ARRAY_PARTITION variable = acc complete dim = 0
#pragma HLS ARRAY_PARTITION variable = held complete dim = 0
#pragma HLS ARRAY_PARTITION variable = sums complete dim = 1
#pragma HLS ARRAY_RESHAPE variable = sums complete dim = 3
#pragma HLS ARRAY_PARTITION variable = window_row complete
#pragma HLS ARRAY_PARTITION variable = window_col complete
#pragma HLS ARRAY_PARTITION variable = out_row complete
#pragma HLS ARRAY_PARTITION variable = out_col complete
  if (new_layer) {
    place_lanes<C>(layer, window_row, window_col, out_row, out_col);
  }
  if (!active) {
    return;
  }
  const bool mix = layer.mode == MODE_MIX;
  const bool maximum = layer.mode == MODE_MAX;
  const U<32> taps = layer.kernel_h * layer.kernel_w;
  const U<32> mac = taps * tile.steps;
  const U<32> group_words = mix ? mac : U<32>((taps + C::IC - 1) / C::IC);
  const U<20> pixels = layer.lane_rows * layer.lane_cols;
  const U<32> busy = pixels * tile.groups * (mac + tile.idle) - tile.idle;
  const U<32> drain = tile.last ? U<32>(layer.lanes * tile.slices_last) : U<32>(0);
  const U<32> total = busy + drain;

  Nest at = {0, 0, 0, 0, 0, 0, 0, 0, 0};
  Drain<C> post = {false, 0, 0, 0, 0, 0, 0};
  // The sums of the two iterations before, which may not be in the sum buffer yet: those in `acc`, those in `older`.
  Sum older[C::PX][C::OC];
#pragma HLS ARRAY_PARTITION variable = older complete dim = 0
  S<30> acc_place = -1, older_place = -1;
CYCLES:
  for (U<32> n = 0; n < total; n++) {
#pragma HLS PIPELINE II = 1
#pragma HLS LOOP_TRIPCOUNT min = 1 max = 1000000
#pragma HLS DEPENDENCE variable = sums inter RAW distance = 3 true
    if (post.active) {
      post_slice<C>(layer, tile, out_row, out_col, post, held, p_base, out_base, params, residual, output);
      next_slice<C>(layer, post);
    }
    if (n < busy && at.pause == 0) {
      Weight w[C::IC][C::OC];
#pragma HLS ARRAY_PARTITION variable = w complete dim = 0
      read_weights<C>(layer, tile, at, w_base, group_words, weights, w);
      const int word = mix ? int(at.step) / (16 / C::IC) : int(at.group) / (16 / C::GROUP);
      const int part = mix ? int(at.step) & (16 / C::IC - 1) : int(at.group) & (16 / C::GROUP - 1);
      const U<14> row = at.y * layer.stride_h + at.ky;
      const U<14> col = at.x * layer.stride_w + at.kx;
      const U<28> address = in_base + row * layer.row_pitch + word * layer.window_w + col;
      DNA_REQUIRE(address < C::INPUT_HALF);
      Operand shared[C::PX][C::IC];
      Operand own[C::PX][C::OC];
      Partial sum[C::PX][C::OC];
#pragma HLS ARRAY_PARTITION variable = shared complete dim = 0
#pragma HLS ARRAY_PARTITION variable = own complete dim = 0
#pragma HLS ARRAY_PARTITION variable = sum complete dim = 0
    LANES:
      for (int p = 0; p < C::PX; p++) {
#pragma HLS UNROLL
        const U<19> tile_row = window_row[p] + row;
        const U<19> tile_col = window_col[p] + col;
        const bool inside =
            tile_row >= tile.row_lo && tile_row < tile.row_hi && tile_col >= tile.col_lo && tile_col < tile.col_hi;
        read_lane<C>(layer, inside, part, lanes[p][address], shared[p], own[p]);
      }
    PRODUCTS:
      for (int p = 0; p < C::PX; p += C::PACKED ? 2 : 1) {
#pragma HLS UNROLL
        if (C::PACKED && p + 1 < C::PX) {
          const int q = p + 1 < C::PX ? p + 1 : p;
          multiply_pair<C>(shared[p], own[p], shared[q], own[q], w, sum[p], sum[q]);
        } else {
          multiply<C>(shared[p], own[p], w, sum[p]);
        }
      }
      const bool start = at.r == 0 && tile.first;
      const U<28> place = C::DATAFLOW == OUTPUT_STATIONARY ? U<28>(0) : sum_place<C>(at, tile, pixels);
      DNA_REQUIRE(place < C::SUM_WORDS);
      const bool in_acc = C::DATAFLOW == OUTPUT_STATIONARY || acc_place == place;
      const bool in_older = older_place == place;
    SUMS:
      for (int p = 0; p < C::PX; p++) {
#pragma HLS UNROLL
        for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
          const Sum before = in_acc ? acc[p][o] : in_older ? older[p][o] : sums[p][place][o];
          Sum after;
          if (maximum) {
            after = start || sum[p][o] > before ? Sum(sum[p][o]) : before;
          } else {
            after = start ? Sum(sum[p][o]) : Sum(before + sum[p][o]);
          }
          if (C::DATAFLOW != OUTPUT_STATIONARY) {
            older[p][o] = acc[p][o];
            sums[p][place][o] = after;
          }
          acc[p][o] = after;
        }
      }
      older_place = acc_place;
      acc_place = place;
      if (at.r == mac - 1 && tile.last) {
        DNA_REQUIRE(!post.active);
        for (int p = 0; p < C::PX; p++) {
#pragma HLS UNROLL
          for (int o = 0; o < C::OC; o++) {
#pragma HLS UNROLL
            held[p][o] = acc[p][o];
          }
        }
        post.active = true;
        post.group = at.group;
        post.y = at.y;
        post.x = at.x;
        post.lane = 0;
        post.slice = 0;
        post.slices = at.group == tile.groups - 1 ? tile.slices_last : layer.slices;
      }
    }
    next_cycle<C>(at, layer, tile, mac);
  }
}

}  // namespace dna

#endif
