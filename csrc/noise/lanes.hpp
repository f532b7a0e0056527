// What every kernel file speaks: fixed-width words, lanes, fused multiply-add, bit casts.
//
// This folder is compiled once per instruction-set level into the namespace SDEFAST_LEVEL. Everything here is forced
// inline and nothing comes from the C++ library, so that no function compiled for AVX-512 can be picked by the linker
// for a machine without it.
#pragma once

#ifndef SDEFAST_LEVEL
#error "compile through levels/level.cpp, which names the level"
#endif

#include <stddef.h>
#include <stdint.h>

#include "rows.hpp"

#define SDEFAST_INLINE [[gnu::always_inline]] inline
#define SDEFAST_LAMBDA __attribute__((always_inline))

namespace sdefast {
namespace SDEFAST_LEVEL {

using u32 = uint32_t;
using u64 = uint64_t;
using i32 = int32_t;
using i64 = int64_t;

// The level's own vectors.
#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__FMA__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

SDEFAST_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
SDEFAST_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
SDEFAST_INLINE float sqrt(float a) { return __builtin_sqrtf(a); }
SDEFAST_INLINE double sqrt(double a) { return __builtin_sqrt(a); }

template <class To, class From> SDEFAST_INLINE To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
