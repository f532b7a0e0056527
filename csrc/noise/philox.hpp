// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): a keyed bijection of 128-bit counters. It keys the chains'
// generators; it is not the generator itself, because xoshiro128++ is twice as fast per word.
#pragma once

#include "lanes.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace sdefast {
namespace SDEFAST_LEVEL {

// Many counters and keys at once, in vectors. Numbers of 32 bits lie in the low halves of 64; what stands above them does
// not matter. Left to themselves compilers make a product of these of three multiplications, or shuffle halves about.
constexpr int philox_lanes = vector_bytes / 8;

typedef u64 PhiloxWords __attribute__((vector_size(8 * philox_lanes)));
typedef u32 PhiloxHalves __attribute__((vector_size(4 * philox_lanes)));

SDEFAST_INLINE PhiloxWords low_product(PhiloxWords a, u32 b) {
    const PhiloxWords c = u64(b) - PhiloxWords{};
#if defined(__AVX512F__)
    return PhiloxWords(_mm512_mul_epu32(__m512i(a), __m512i(c)));
#elif defined(__AVX2__)
    return PhiloxWords(_mm256_mul_epu32(__m256i(a), __m256i(c)));
#elif defined(__SSE2__)
    return PhiloxWords(_mm_mul_epu32(__m128i(a), __m128i(c)));
#else
    return (a & 0xffffffff) * c;
#endif
}

SDEFAST_INLINE PhiloxWords load_words(const u64 *from) {
    PhiloxWords words;
    __builtin_memcpy(&words, from, sizeof words);
    return words;
}

SDEFAST_INLINE void philox4x32_10(PhiloxWords key, PhiloxWords c0, PhiloxWords c1, PhiloxWords c2, PhiloxWords c3,
                                  u32 *x0, u32 *x1, u32 *x2, u32 *x3) {
    PhiloxWords k0 = key, k1 = key >> 32;
    for (int round = 0; round < 10; ++round) {
        const PhiloxWords p0 = low_product(c0, 0xD2511F53u), p1 = low_product(c2, 0xCD9E8D57u);
        c0 = (p1 >> 32) ^ c1 ^ k0, c2 = (p0 >> 32) ^ c3 ^ k1, c1 = p1, c3 = p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    const PhiloxWords found[] = {c0, c1, c2, c3};
    u32 *const to[] = {x0, x1, x2, x3};
    for (int i = 0; i < 4; ++i) {
        const PhiloxHalves halves = __builtin_convertvector(found[i], PhiloxHalves);
        __builtin_memcpy(to[i], &halves, sizeof halves);
    }
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
