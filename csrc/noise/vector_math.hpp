// exp, log and pow on lanes: branch-free, the same bits at every level. Errors in ulp, float32 / float64: exp 0.9 / 0.9,
// log 2.3 / 4.1, pow 3.1 / 5.0 times max(1, |b log a|).
#pragma once

#include "polynomial.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

template <class T> SDEFAST_INLINE T clamp(T x, T low, T high) { return x < low ? low : (x > high ? high : x); }

// exp(x) = 2^n (1 + r p(r)), r = x - n log 2 in [-log 2 / 2, log 2 / 2]. Results under the smallest normal number
// stop there, results over the largest are infinite, exp(NaN) is NaN.
SDEFAST_INLINE float exp(float x) {
    constexpr float expm1_over_r[] = {
        0x1.000000p+0f, 0x1.000000p-1f, 0x1.555554p-3f, 0x1.5554aep-5f, 0x1.1111a6p-7f, 0x1.6d7480p-10f,
        0x1.a019e8p-13f};
    const float y = clamp(x, -0x1.5d589ep+6f, 89.0f);
    const float shifted = fma(y, 0x1.715476p+0f, 0x1.8p23f), n = shifted - 0x1.8p23f;
    const float r = fma(n, 0x1.05c61p-29f, fma(n, -0x1.62e43p-1f, y));
    const float m = fma(r, horner(r, expm1_over_r), 1.0f);
    // The low bits of `shifted` hold n; 2^n as two factors, since 2^128 alone is no float32. Unsigned, because a NaN
    // leaves anything there.
    const u32 e = bits<u32>(shifted) + 254 - 0x4b400000, half = e >> 1;
    return m * bits<float>(half << 23) * bits<float>((e - half) << 23);
}

SDEFAST_INLINE double exp(double x) {
    constexpr double expm1_over_r[] = {
        0x1.000000p+0, 0x1.000000p-1, 0x1.555555555555ap-3, 0x1.555555555553cp-5, 0x1.111111110f25ep-7,
        0x1.6c16c16c1f571p-10, 0x1.a01a01b12e967p-13, 0x1.a01a017bc387bp-16, 0x1.71ddf5a65171fp-19,
        0x1.27e5343c12af4p-22, 0x1.af62ca347a8f4p-26, 0x1.1eed87a785875p-29};
    const double y = clamp(x, -0x1.6232bdd7abcd2p+9, 710.0);
    const double shifted = fma(y, 0x1.71547652b82fep+0, 0x1.8p52), n = shifted - 0x1.8p52;
    const double r = fma(n, -0x1.abc9e3b39803fp-56, fma(n, -0x1.62e42fefa39efp-1, y));
    const double m = fma(r, horner(r, expm1_over_r), 1.0);
    const u64 e = bits<u64>(shifted) + 2046 - 0x4338000000000000, half = e >> 1;
    return m * bits<double>(half << 52) * bits<double>((e - half) << 52);
}

// log(x) for normal x > 0: x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
SDEFAST_INLINE float log(float x) {
    constexpr float log1p_over_f[] = {
        0x1.000000p+0f, -0x1.fffff8p-2f, 0x1.555792p-2f, -0x1.000570p-2f, 0x1.98b748p-3f, -0x1.5332a4p-3f,
        0x1.3238f0p-3f, -0x1.263ba6p-3f, 0x1.654492p-4f};
    constexpr u32 sqrt_half = 0x3f3504f3;
    const u32 offset = bits<u32>(x) - sqrt_half;
    const float f = bits<float>((offset & 0x007fffff) + sqrt_half) - 1.0f;
    return fma(float(i32(offset) >> 23), 0x1.62e43p-1f, f * horner(f, log1p_over_f));
}

SDEFAST_INLINE double log(double x) {
    constexpr double log1p_over_f[] = {
        0x1.000000p+0, -0x1.ffffffffffee4p-2, 0x1.55555555553d7p-2, -0x1.00000000223a7p-2, 0x1.9999999a056c7p-3,
        -0x1.5555552eef811p-3, 0x1.249248d7c7bacp-3, -0x1.0000099975a6ep-3, 0x1.c71ca18629ed1p-4,
        -0x1.99971b727cb86p-4, 0x1.74557acf393d0p-4, -0x1.5581dd7fe9074p-4, 0x1.3bbe500783386p-4,
        -0x1.23103bea2968cp-4, 0x1.08e0842844607p-4, -0x1.027fc808a6588p-4, 0x1.2298fc6fc5198p-4,
        -0x1.122bc3eaa4ab3p-4, 0x1.f6d822c593123p-6};
    constexpr u64 sqrt_half = 0x3fe6a09e667f3bcd, bias = u64(1023) << 52;
    const u64 offset = bits<u64>(x) - sqrt_half;
    const double e = bits<double>(((offset + bias) >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
    const double f = bits<double>((offset & 0x000fffffffffffff) + sqrt_half) - 1.0;
    return fma(e, 0x1.62e42fefa39efp-1, f * horner(f, log1p_over_f));
}

// a^b for a >= 0, b > 0; zero, subnormal and negative a give zero, infinity and NaN stay what they are.
template <class T> SDEFAST_INLINE T pow(T a, T b) {
    constexpr T least = sizeof(T) == 4 ? T(0x1p-126f) : T(0x1p-1022), most = sizeof(T) == 4 ? T(0x1.fffffep127f)
                                                                                            : T(0x1.fffffffffffffp1023);
    return a < least ? T(0) : a <= most ? exp(b * log(a)) : a;
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
