// As many floats at a time as the machine's registers hold, in the vector types of GCC and Clang, and what is done with
// them; the same for every width, infinities and NaN included. PORTABLE asks for the narrowest, without instructions
// that only some machines have: what processors other than x86 get.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) && !defined(PORTABLE)
#include <immintrin.h>
#define WIDE
#endif

namespace {

#if defined(WIDE)
#define EVERY_LANE 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
constexpr int64_t LANES = 16;
#elif defined(__AVX2__) && !defined(PORTABLE)
#define EVERY_LANE 0, 1, 2, 3, 4, 5, 6, 7
constexpr int64_t LANES = 8;
#else
#define EVERY_LANE 0, 1, 2, 3
constexpr int64_t LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef int32_t Whole __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

constexpr Whole LANE = {EVERY_LANE};

struct bfloat16 {
    uint16_t bits;
};

// bfloat16 is the upper half of a float. Compilers that know no better instruction for it than they find themselves
// take several; narrowing rounds to the nearest, ties to even, and a NaN keeps its upper half, made quiet.
inline Floats widened(Halves x) {
#ifdef WIDE
    return (Floats)(_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)x) << 16);
#else
    return (Floats)(__builtin_convertvector(x, Bits) << 16);
#endif
}

inline Halves narrowed(Floats x) {
#if defined(WIDE) && defined(__AVX512BF16__)
    return (Halves)_mm512_cvtneps_pbh((__m512)x);
#else
    Bits bits = (Bits)x, rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return __builtin_convertvector((x == x ? rounded : bits | 0x400000) >> 16, Halves);
#endif
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The next numbers of a row, a register full of them, or the `left` ones it still has and zeros.
inline Floats load(const float* from, int64_t left) {
    Floats x = {};
    std::memcpy(&x, from, smaller(left, LANES) * 4);
    return x;
}

inline Floats load(const bfloat16* from, int64_t left) {
    Halves x = {};
    std::memcpy(&x, from, smaller(left, LANES) * 2);
    return widened(x);
}

inline void store(float* to, Floats x, int64_t left) { std::memcpy(to, &x, smaller(left, LANES) * 4); }

inline void store(bfloat16* to, Floats x, int64_t left) {
    Halves rounded = narrowed(x);
    std::memcpy(to, &rounded, smaller(left, LANES) * 2);
}

// Calls body(i, left) for each register full of a row's numbers; what is left is a constant but for the last few.
template <typename Body>
inline void each(int64_t width, Body body) {
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) body(i, std::integral_constant<int64_t, LANES>{});
    if (i < width) body(i, width - i);
}

// From each lane the number that lies in another.
inline Floats moved(Floats x, Whole from) {
#ifdef __clang__
    Floats y;
    for (int64_t i = 0; i < LANES; i++) y[i] = x[from[i]];
    return y;
#else
    return __builtin_shuffle(x, from);
#endif
}

inline float sum(Floats x) {
    for (int step = LANES / 2; step; step /= 2) x += moved(x, LANE ^ step);
    return x[0];
}

inline float largest(Floats x) {
    for (int step = LANES / 2; step; step /= 2) {
        Floats y = moved(x, LANE ^ step);
        x = x > y ? x : y;
    }
    return x[0];
}

// Each number and all before it.
inline Floats running(Floats x) {
    for (int step = 1; step < LANES; step *= 2) {
        Floats before = moved(x, (LANE - step) & int(LANES - 1));
        x += LANE >= step ? before : Floats{};
    }
    return x;
}

// Zeros for the numbers that are left of a row, and a value for those that are none.
inline Floats beyond(int64_t left, float value) {
    return LANE >= int(left) ? value + Floats{} : Floats{};
}

// Zeros for those that are none.
inline Floats inside(int64_t left, Floats x) { return LANE < int(left) ? x : Floats{}; }

// e^x to six digits, as 2^whole · 2^rest with a rest between 0 and 1: infinity where a float holds no more, zero below
// 2^-127 at the latest, NaN for NaN.
inline Floats power(Floats x) {
    Floats turns = x * 1.44269504f;
#if defined(WIDE) && defined(__AVX512DQ__)
    Floats rest = (Floats)_mm512_maskz_reduce_ps(0xffff, (__m512)turns, _MM_FROUND_TO_NEG_INF);  // 0 for infinity
#else
    turns = turns < -126.75f ? -126.75f + Floats{} : turns;
    turns = turns > 128.0f ? 128.0f + Floats{} : turns;
    constexpr float ROUND = 12582912.0f;  // 1.5 · 2²³: adding it leaves no room for a fraction
    Floats shifted = turns - 0.5f + ROUND;  // whose last bits are the whole
    Floats rest = turns - (shifted - ROUND);
#endif
    Floats p = 1.86713e-3f * rest + 9.017031e-3f;  // of degree 5 and 1 at 0, with the least relative error
    p = p * rest + 5.5799913e-2f;
    p = p * rest + 2.4016444e-1f;
    p = p * rest + 6.931513e-1f;
    p = p * rest + 1.0f;
#if defined(WIDE) && defined(__AVX512DQ__)
    return (Floats)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)turns);  // which takes the whole of it
#else
    // As exponents: -127, which stands for zero, to 128, which stands for infinity. A product, so that NaN stays NaN.
    return p * (Floats)(((Bits)shifted + 127) << 23);
#endif
}

inline Floats sigmoid(Floats x) { return 1.0f / (1.0f + power(-x)); }

inline Floats tanh(Floats x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

}  // namespace
