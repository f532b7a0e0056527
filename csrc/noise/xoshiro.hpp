// xoshiro128++ 1.0 (Blackman and Vigna, ACM Transactions on Mathematical Software 47, 2021).
#pragma once

#include "lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

struct Xoshiro {
    u32 s0, s1, s2, s3;

    SDEFAST_INLINE static u32 rotl(u32 x, int k) { return (x << k) | (x >> (32 - k)); }

    SDEFAST_INLINE u32 next() {
        const u32 word = rotl(s0 + s3, 7) + s0, t = s1 << 9;
        s2 ^= s0, s3 ^= s1, s1 ^= s2, s0 ^= s3, s2 ^= t, s3 = rotl(s3, 11);
        return word;
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
