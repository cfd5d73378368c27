// The array of oc x ic x px multipliers and the post lanes: one TILE, from buffers to buffers.
//
// One loop with an initiation interval of 1 does both. Its iterations are the RTL's cycles: one per group of output
// channels, pixel of a lane and step of the reduction, in the order of the chunk's dataflow, and `idle` more after each
// last step; meanwhile the post lanes work on the sums that were finished before, one slice of one lane per iteration.
// The loop ends when they are done.
#ifndef DNA_COMPUTE_H
#define DNA_COMPUTE_H

#include "dna_isa.h"
#include "dna_types.h"

namespace dna {

typedef S<9> Operand;   // a byte, signed or not
typedef S<8> Weight;
typedef S<22> Partial;  // ic products of 9 x 8 bits
typedef S<32> Sum;

// The innermost loop of a tile: the reduction, pixels, or groups of output channels.
enum Dataflow { OUTPUT_STATIONARY = 0, WEIGHT_STATIONARY = 1, INPUT_STATIONARY = 2 };

const int SUM_LIMIT = 1 << 24;

inline Operand operand(unsigned char byte, bool is_signed) {
#pragma HLS INLINE
  return is_signed ? Operand((signed char)byte) : Operand(byte);
}

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
