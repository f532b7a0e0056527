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
    static constexpr float log2_e = 0x1.715476p+0f, ln2 = 0x1.62e43p-1f;
    static constexpr float rounder = 0x1.8p23f + 127;
    static constexpr float exp[] = {1.0f,           0x1.000000p+0f, 0x1.000000p-1f, 0x1.55547cp-3f,
                                    0x1.5554eap-5f, 0x1.123d82p-7f, 0x1.6d4316p-10f};
};
template <> struct WeightConstants<double> {
    static constexpr int digits = 52;
    static constexpr double log2_e = 0x1.71547652b82fep+0, ln2 = 0x1.62e42fefa39efp-1;
    static constexpr double rounder = 0x1.8p52 + 1023;
    static constexpr double exp[] = {
        1.0, 0x1.0000000000006p+0, 0x1.0000000000001p-1, 0x1.5555555550d87p-3, 0x1.5555555553d68p-5,
        0x1.11111123bf1c5p-7, 0x1.6c16c17889f3cp-10, 0x1.a01994c82e1c6p-13, 0x1.a019b914881bap-16,
        0x1.72e107e8d8eb6p-19, 0x1.28917c9f3a495p-22};
};

// exp(y) in place of `count` vectors of y <= 0, cut off below -60, good to 6e-16 and 5e-8, absolutely: shorter than
// `exp` in vector_math.hpp, as weights are small where log 2 would need a second part, and one factor 2^n does. Adding
// `rounder` leaves n + bias in the low bits, which are the exponent of 2^n. NaN stays NaN.
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
        y[v] = fma(n, splat<T>(-C::ln2), y[v]);
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
