// A Gaussian in many dimensions.
#pragma once

#include "vectors.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// log p(x) = -<x - m, P (x - m)> / 2 with score P (m - x). The table: m (dim), then P (dim, dim), or where that is diagonal
// (shape 1) its diagonal. Four rows of P and two vectors of lanes at a time, so that numbers in registers are used often.
template <class T, int row> class Gaussian {
    static constexpr int lanes = vector_lanes<T>, block = 2, four = 4;
    using V = Vector<T>;

  public:
    static constexpr int most_dim = 2048;

    static bool fits(int dim, i64 n, int shape) { return n == 1 && dim <= most_dim && (shape == 0 || shape == 1); }

    Gaussian(int dim, int, int shape, const T *table) : dim(dim), diagonal(shape == 1), mean(table), precision(table + dim) {}

    // Of lane_step lanes the score and, where it is asked for, the log density.
    template <bool with_density> void at(const T *x, T *score, T *log_density) const {
        for (int b = 0; b < lane_step; b += block * lanes) {
            V toward[most_dim * block], square[block];
            for (int j = 0; j < dim; ++j)
                for (int g = 0; g < block; ++g) toward[j * block + g] = splat<T>(mean[j]) - load(x + j * row + b + g * lanes);
            for (int g = 0; g < block; ++g) square[g] = splat<T>(0);
            int i = 0;
            if (!diagonal)
                for (; i + four <= dim; i += four) products<four>(i, toward, score + b, square);
            for (; i < dim; ++i) diagonal ? product(i, toward, score + b, square) : products<1>(i, toward, score + b, square);
            if (with_density)
                for (int g = 0; g < block; ++g) store<T>(log_density + b + g * lanes, splat<T>(T(-0.5)) * square[g]);
        }
    }

  private:
    const int dim;
    const bool diagonal;
    const T *const mean, *const precision;

    // Components i to i + count of the score, and what they add to the square.
    template <int count> SDEFAST_INLINE void products(int i, const V *toward, T *score, V (&square)[block]) const {
        const T *const rows = precision + i64(i) * dim;
        V sum[count][block];
#pragma GCC unroll 4
        for (int r = 0; r < count; ++r)
#pragma GCC unroll 2
            for (int g = 0; g < block; ++g) sum[r][g] = splat<T>(0);
        for (int j = 0; j < dim; ++j)
#pragma GCC unroll 4
            for (int r = 0; r < count; ++r) {
                const V p = splat<T>(rows[r * dim + j]);
#pragma GCC unroll 2
                for (int g = 0; g < block; ++g) sum[r][g] = fma(p, toward[j * block + g], sum[r][g]);
            }
#pragma GCC unroll 4
        for (int r = 0; r < count; ++r)
#pragma GCC unroll 2
            for (int g = 0; g < block; ++g) add(i + r, g, sum[r][g], toward, score, square);
    }

    SDEFAST_INLINE void product(int i, const V *toward, T *score, V (&square)[block]) const {
        for (int g = 0; g < block; ++g) add(i, g, splat<T>(precision[i]) * toward[i * block + g], toward, score, square);
    }

    SDEFAST_INLINE static void add(int i, int g, const V &component, const V *toward, T *score, V (&square)[block]) {
        store<T>(score + i * row + g * lanes, component);
        square[g] = fma(component, toward[i * block + g], square[g]);
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
