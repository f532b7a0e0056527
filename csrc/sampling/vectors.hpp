// Lanes as vectors of the level's own width, where sums over components or rows of data must stay in registers: there
// the compiler keeps arrays of lanes in memory. Lanes are independent, so that any width gives the same bits.
#pragma once

#include "../noise/lanes.hpp"

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace sdefast {
namespace SDEFAST_LEVEL {

template <class T> struct VectorOf;
template <> struct VectorOf<float> {
    typedef float type __attribute__((vector_size(vector_bytes)));
    typedef u32 word __attribute__((vector_size(vector_bytes)));
};
template <> struct VectorOf<double> {
    typedef double type __attribute__((vector_size(vector_bytes)));
    typedef u64 word __attribute__((vector_size(vector_bytes)));
};

// A vector of numbers; operators work lane by lane, `a < b ? c : d` too.
template <class T> using Vector = typename VectorOf<T>::type;
template <class T> constexpr int vector_lanes = vector_bytes / int(sizeof(T));

template <class T> SDEFAST_INLINE Vector<T> load(const T *from) {
    Vector<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}
// Numbers of another type are converted.
template <class T, class Z> SDEFAST_INLINE Vector<T> load_as(const Z *from) {
    Vector<T> v;
    if constexpr (sizeof(Z) == sizeof(T)) {
        __builtin_memcpy(&v, from, sizeof v);
    } else {
        typedef Z Part __attribute__((vector_size(vector_lanes<T> * sizeof(Z))));
        Part part;
        __builtin_memcpy(&part, from, sizeof part);
        v = __builtin_convertvector(part, Vector<T>);
    }
    return v;
}
template <class T> SDEFAST_INLINE void store(T *to, const Vector<T> &v) { __builtin_memcpy(to, &v, sizeof v); }

// One number in all lanes: a - 0 is a, -0 too.
template <class T> SDEFAST_INLINE Vector<T> splat(T a) { return a - Vector<T>{}; }

// What the compiler does not always find in a loop over elements.
SDEFAST_INLINE Vector<float> fma(const Vector<float> &a, const Vector<float> &b, const Vector<float> &c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    Vector<float> v;
    for (int q = 0; q < vector_lanes<float>; ++q) v[q] = fma(a[q], b[q], c[q]);
    return v;
#endif
}

SDEFAST_INLINE Vector<double> fma(const Vector<double> &a, const Vector<double> &b, const Vector<double> &c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#else
    Vector<double> v;
    for (int q = 0; q < vector_lanes<double>; ++q) v[q] = fma(a[q], b[q], c[q]);
    return v;
#endif
}

// a > b ? a : b, so b if one of them is NaN.
SDEFAST_INLINE Vector<float> larger(const Vector<float> &a, const Vector<float> &b) {
#if defined(__AVX512F__)
    return _mm512_maskz_max_ps(0xffff, a, b);  // the plain one's header is warned of
#elif defined(__FMA__)
    return _mm256_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}

SDEFAST_INLINE Vector<double> larger(const Vector<double> &a, const Vector<double> &b) {
#if defined(__AVX512F__)
    return _mm512_maskz_max_pd(0xff, a, b);
#elif defined(__FMA__)
    return _mm256_max_pd(a, b);
#else
    return a > b ? a : b;
#endif
}

// -|a|: the sign is set.
template <class T> SDEFAST_INLINE Vector<T> minus_size(const Vector<T> &a) {
    using Word = typename VectorOf<T>::word;
    return (Vector<T>)((Word)a | (Word)splat<T>(T(-0.0)));  // casts of vectors keep the bits
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
