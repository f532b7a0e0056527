// Outputs of networks in the types that they have, turned into the state's by integers: the same bits on every machine.
#pragma once

#include "../noise/lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

struct BFloat16 {
    uint16_t word;
};
struct Float16 {
    uint16_t word;
};

SDEFAST_INLINE float widened(float v) { return v; }
SDEFAST_INLINE double widened(double v) { return v; }

SDEFAST_INLINE float widened(BFloat16 v) { return bits<float>(u32(v.word) << 16); }

// Five bits of exponent and ten of fraction; numbers below 2^-14 are whole multiples of 2^-24.
SDEFAST_INLINE float widened(Float16 v) {
    const u32 magnitude = v.word & 0x7fffu, sign = u32(v.word & 0x8000u) << 16;
    const u32 normal = (magnitude << 13) + (112u << 23);
    const u32 small = bits<u32>(float(i32(magnitude)) * 0x1p-24f);
    const u32 infinite = normal | 0x7f800000u;
    return bits<float>(sign | (magnitude < 0x400u ? small : magnitude < 0x7c00u ? normal : infinite));
}

// `n` outputs from number `first` on, in the type T; as many more, which come next, are asked for from memory.
template <class T, class S> [[gnu::noinline]] void turned(const void *outputs, i64 first, i64 n, T *out) {
    const S *from = static_cast<const S *>(outputs) + first;
    for (i64 i = n; i < 2 * n; i += 64 / i64(sizeof(S))) __builtin_prefetch(from + i);
#pragma GCC ivdep
    for (i64 i = 0; i < n; ++i) out[i] = T(widened(from[i]));
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
