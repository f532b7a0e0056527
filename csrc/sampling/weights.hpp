// Weights from their logarithms.
#pragma once

#include "vectors.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Where a logarithm of a weight, relative to the largest, is cut off: `_SMALLEST` in sdefast/math.py.
// What stands in for the logarithm of nothing at all: `_NOTHING` there.
constexpr double smallest_log_weight = -60, nothing = -1e38;

template <class T> struct WeightConstants;
template <> struct WeightConstants<float> {
    static constexpr int digits = 23;
    static constexpr float log2_e = 0x1.715476p+0f, ln2 = 0x1.62e43p-1f, ln2_low = -0x1.05c61p-29f;
    static constexpr float rounder = 0x1.8p23f + 127;
    static constexpr float exp[] = {1.0f,           0x1.000000p+0f, 0x1.000000p-1f,  0x1.555554p-3f,
                                    0x1.5554aep-5f, 0x1.1111a6p-7f, 0x1.6d7480p-10f, 0x1.a019e8p-13f};
};
template <> struct WeightConstants<double> {
    static constexpr int digits = 52;
    static constexpr double log2_e = 0x1.71547652b82fep+0, ln2 = 0x1.62e42fefa39efp-1, ln2_low = 0x1.abc9e3b39803fp-56;
    static constexpr double rounder = 0x1.8p52 + 1023;
    static constexpr double exp[] = {
        1.0, 0x1.000000p+0, 0x1.000000p-1, 0x1.555555555555ap-3, 0x1.555555555553cp-5, 0x1.111111110f25ep-7,
        0x1.6c16c16c1f571p-10, 0x1.a01a01b12e967p-13, 0x1.a01a017bc387bp-16, 0x1.71ddf5a65171fp-19,
        0x1.27e5343c12af4p-22, 0x1.af62ca347a8f4p-26, 0x1.1eed87a785875p-29};
};

// exp(y) in place of `count` vectors of y <= 0, cut off below -60, with the bits of `exp` in vector_math.hpp: one factor
// 2^n does instead of two. Adding `rounder` leaves n + bias in the low bits, which are the exponent of 2^n. NaN stays NaN.
// Horner's rule is a chain in which every instruction waits for the one before: some vectors in turn fill the time.
template <class T, int count> SDEFAST_INLINE void weights(Vector<T> *y) {
    using C = WeightConstants<T>;
    using Word = typename VectorOf<T>::word;
    constexpr int degree = sizeof C::exp / sizeof *C::exp - 1;
    const Vector<T> low = splat<T>(T(smallest_log_weight));
    Vector<T> power[count], sum[count];
#pragma GCC unroll 8
    for (int v = 0; v < count; ++v) {
        y[v] = larger(low, y[v]);
        const Vector<T> shifted = fma(y[v], splat<T>(C::log2_e), splat<T>(C::rounder)), n = shifted - splat<T>(C::rounder);
        y[v] = fma(n, splat<T>(-C::ln2_low), fma(n, splat<T>(-C::ln2), y[v]));
        power[v] = (Vector<T>)((Word)shifted << C::digits);
        sum[v] = splat<T>(C::exp[degree]);
    }
#pragma GCC unroll 32
    for (int i = degree - 1; i >= 0; --i)
#pragma GCC unroll 8
        for (int v = 0; v < count; ++v) sum[v] = fma(sum[v], y[v], splat<T>(C::exp[i]));
#pragma GCC unroll 8
    for (int v = 0; v < count; ++v) y[v] = sum[v] * power[v];
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
