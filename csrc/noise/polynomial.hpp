// Polynomials by Horner's rule, one fused multiply-add a coefficient.
#pragma once

#include "lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// c[0] + c[1] x + ... + c[n - 1] x^(n - 1)
template <class T, int n> SDEFAST_INLINE T horner(T x, const T (&c)[n]) {
    T sum = c[n - 1];
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; --i) sum = fma(sum, x, c[i]);
    return sum;
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
