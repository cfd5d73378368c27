// Number types, and words of 16 bytes.
//
// U<N> and S<N> are an unsigned and a signed number of N bits. Synthesis sees ap_uint<N> and ap_int<N>; C simulation
// computes with plain integers, which is several times faster and gives the same bits, for every value fits in its
// width. Compile with -DDNA_EXACT_TYPES to simulate with the types of synthesis.
#ifndef DNA_TYPES_H
#define DNA_TYPES_H

#include <ap_int.h>
#include <hls_stream.h>

#ifndef __SYNTHESIS__
#include <cstdio>
#include <cstdlib>
#endif

namespace dna {

#if defined(__SYNTHESIS__) || defined(DNA_EXACT_TYPES)
template <int N>
struct Width {
  typedef ap_uint<N> u;
  typedef ap_int<N> s;
};
#else
template <bool WIDE>
struct Plain {
  typedef int type;
};
template <>
struct Plain<true> {
  typedef long long type;
};
// Unsigned numbers are held in signed integers: a difference may be negative, as that of two ap_uint<N>.
template <int N>
struct Width {
  typedef typename Plain<(N > 31)>::type u;
  typedef typename Plain<(N > 32)>::type s;
};
#endif

template <int N>
using U = typename Width<N>::u;
template <int N>
using S = typename Width<N>::s;

const int QUEUE_JOBS = 8;  // in the queue of each engine

typedef ap_uint<64> Half;

#if defined(__SYNTHESIS__) || defined(DNA_EXACT_TYPES)
typedef ap_uint<64> Bits64;
#else
typedef unsigned long long Bits64;
#endif

// 16 bytes, byte 0 in the lowest bits of `low`.
struct Word {
  Bits64 low;
  Bits64 high;
};

inline unsigned char byte_of(const Word &word, int index) {
#pragma HLS INLINE
  const Bits64 half = index < 8 ? word.low : word.high;
  return (unsigned char)((half >> (8 * (index & 7))) & 0xFF);
}

// What the array computes with.
typedef S<9> Operand;   // a byte, signed or not
typedef S<8> Weight;
typedef S<22> Partial;  // ic products of 9 x 8 bits
typedef S<32> Sum;

inline Operand operand(unsigned char byte, bool is_signed) {
#pragma HLS INLINE
  return is_signed ? Operand((signed char)byte) : Operand(byte);
}

// Words pass a port of BYTES bytes in 16 / BYTES beats, lowest first.
template <int BYTES>
struct Beat;

template <>
struct Beat<16> {
  typedef ap_uint<128> type;
  static void take(Word &word, const type &beat, int) {
#pragma HLS INLINE
    word.low = beat.range(63, 0).to_uint64();
    word.high = beat.range(127, 64).to_uint64();
  }
  static type give(const Word &word, int) {
#pragma HLS INLINE
    type beat = Half(word.high);
    return (beat << 64) | type(Half(word.low));
  }
};

template <>
struct Beat<8> {
  typedef ap_uint<64> type;
  static void take(Word &word, const type &beat, int index) {
#pragma HLS INLINE
    if (index == 0) {
      word.low = beat.to_uint64();
    } else {
      word.high = beat.to_uint64();
    }
  }
  static type give(const Word &word, int index) {
#pragma HLS INLINE
    return index == 0 ? type(word.low) : type(word.high);
  }
};

// What a chunk promises to itself; checked in C simulation, nothing in hardware.
#ifdef __SYNTHESIS__
#define DNA_REQUIRE(condition)
#define DNA_SCRAMBLE(memory)
#else
#define DNA_REQUIRE(condition)                                                              \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      std::fprintf(stderr, "%s:%d: the program breaks a rule: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(3);                                                                         \
    }                                                                                       \
  } while (0)

// Memories begin with arbitrary contents, as after power-up.
#define DNA_SCRAMBLE(memory) scramble((unsigned char *)(memory), sizeof(memory))
inline void scramble(unsigned char *bytes, size_t count) {
  unsigned state = 12345;
  for (size_t n = 0; n < count; n++) {
    state = state * 1664525u + 1013904223u;
    bytes[n] = (unsigned char)(state >> 24);
  }
}
#endif

}  // namespace dna

#endif
