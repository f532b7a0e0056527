// The posterior of a logistic regression.
#pragma once

#include "../noise/vector_math.hpp"
#include "weights.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// log p(x) = -sum over i of log(1 + exp(-m_i)) - sum over j of P_j x_j^2 / 2, m_i = <a_i, x>, where a_i is row i of the
// data with the sign of its response: the score is the sum of a_i / (1 + exp(m_i)), minus P x.
//
// The table: P (dim), then the rows of data and rows of zeros up to a multiple of eight. Eight rows at a time and a
// vector of lanes, margins and sums stay in registers: products are most of the work. Reciprocals of four numbers take
// one division, and log(1 + exp(-m)) is max(-m, 0) + log(d), d = 1 + exp(-|m|) in (1, 2], where logarithms are taken of
// products of many d.
template <class T, int row> class Logistic {
    static constexpr int lanes = vector_lanes<T>, groups = lane_step / lanes, eight = 8;
    static constexpr int most_factors = sizeof(T) == 8 ? 512 : 64;  // their product is below 2^so many, a number
    using V = Vector<T>;

  public:
    static bool fits(int, i64, int) { return true; }

    Logistic(int dim, int n, int, const T *table) : dim(dim), n(n), precisions(table), data(table + dim) {}

    // Of lane_step lanes the score and, where it is asked for, the log density.
    template <bool with_density> void at(const T *x, T *score, T *log_density) const {
        const int padded = (n + eight - 1) / eight * eight;
        V product[groups], total[groups];  // of d, but for the rows of zeros, whose d is 2; of min(m, 0)
        for (int g = 0; g < groups; ++g) total[g] = splat<T>(0), product[g] = splat<T>(T(1) / T(1 << (padded - n)));
        begin<with_density>(x, score, log_density);
        for (int i = 0; i < padded; i += eight) {
            const T *own = data + i64(i) * dim;
            for (int g = 0; g < groups; ++g) {
                V slope[eight];
                margins(own, x + g * lanes, slope);
#pragma GCC unroll 2
                for (int r = 0; r < eight; r += 4) slopes<with_density>(slope + r, product[g], total[g]);
                add(own, slope, score + g * lanes);
            }
            if (with_density && ((i + eight) % most_factors == 0 || i + eight == padded))
                move(product, total, log_density);
        }
    }

  private:
    const int dim, n;
    const T *const precisions, *const data;

    // What the prior gives.
    template <bool with_density> SDEFAST_INLINE void begin(const T *x, T *score, T *log_density) const {
        if (with_density)
            for (int l = 0; l < lane_step; ++l) log_density[l] = 0;
        for (int j = 0; j < dim; ++j) {
            const T minus = -precisions[j], half = T(0.5) * minus;
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l) {
                const T xj = x[j * row + l];
                score[j * row + l] = minus * xj;
                if (with_density) log_density[l] = fma(half * xj, xj, log_density[l]);
            }
        }
    }

    // Logarithms of the products so far, and the sums, to the log density.
    SDEFAST_INLINE static void move(V (&product)[groups], V (&total)[groups], T *log_density) {
        T products[lane_step], sums[lane_step];
        for (int g = 0; g < groups; ++g) {
            store<T>(products + g * lanes, product[g]);
            store<T>(sums + g * lanes, total[g]);
            product[g] = splat<T>(1), total[g] = splat<T>(0);
        }
#pragma GCC ivdep
        for (int l = 0; l < lane_step; ++l) log_density[l] += sums[l] - log(products[l]);
    }

    SDEFAST_INLINE void margins(const T *own, const T *x, V (&margin)[eight]) const {
        V sum[eight];
#pragma GCC unroll 8
        for (int r = 0; r < eight; ++r) sum[r] = splat<T>(0);
        for (int j = 0; j < dim; ++j) {
            const V xj = load(x + j * row);
#pragma GCC unroll 8
            for (int r = 0; r < eight; ++r) sum[r] = fma(splat<T>(own[r * dim + j]), xj, sum[r]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < eight; ++r) margin[r] = sum[r];
    }

    // From four margins m to 1 / (1 + exp(m)).
    template <bool with_density> SDEFAST_INLINE void slopes(V *m, V &product, V &total) const {
        const V zero = splat<T>(0), one = splat<T>(1);
        V e[4], d[4], inverse[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) e[r] = minus_size<T>(m[r]);
        weights<T, 4>(e);
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) d[r] = one + e[r];
        const V first = d[0] * d[1], second = d[2] * d[3], share = one / (first * second);
        const V a = share * second, b = share * first;
        inverse[0] = a * d[1], inverse[1] = a * d[0], inverse[2] = b * d[3], inverse[3] = b * d[2];
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) {
            const V below = m[r] < zero ? m[r] : zero;
            m[r] = (m[r] < zero ? one : e[r]) * inverse[r];
            e[r] = below;
        }
        if (with_density) {
            product = product * (first * second);
            total = total + ((e[0] + e[1]) + (e[2] + e[3]));
        }
    }

    SDEFAST_INLINE void add(const T *own, const V (&slope)[eight], T *score) const {
        for (int j = 0; j < dim; ++j) {
            V sum = load(score + j * row);
#pragma GCC unroll 8
            for (int r = 0; r < eight; ++r) sum = fma(splat<T>(own[r * dim + j]), slope[r], sum);
            store<T>(score + j * row, sum);
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
