// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): a keyed bijection of 128-bit counters. It keys the chains'
// generators; it is not the generator itself, because xoshiro128++ is twice as fast per word.
#pragma once

#include "lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

struct Philox {
    u32 x0, x1, x2, x3;
};

SDEFAST_INLINE Philox philox4x32_10(u64 key, u32 c0, u32 c1, u32 c2, u32 c3) {
    u32 k0 = u32(key), k1 = u32(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const u64 p0 = u64(0xD2511F53u) * c0, p1 = u64(0xCD9E8D57u) * c2;
        const u32 n0 = u32(p1 >> 32) ^ c1 ^ k0, n2 = u32(p0 >> 32) ^ c3 ^ k1;
        c1 = u32(p1), c3 = u32(p0), c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
