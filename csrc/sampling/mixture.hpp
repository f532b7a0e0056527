// A mixture of Gaussians.
#pragma once

#include "../noise/vector_math.hpp"
#include "weights.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// log p(x) = log of the sum over k of exp(c_k - <x - m_k, P_k (x - m_k)> / 2), whose score is the mean of P_k (m_k - x)
// under the terms' shares. The table has for every component c, then m (dim), then P: one number where all covariances
// are multiples of the identity (shape 2), its diagonal where all are diagonal (1), else the matrix (0). First come the
// logarithms of all terms, then their shares. Sums over components go from the first to the last.
template <class T, int row> class Mixture {
    static constexpr int lanes = vector_lanes<T>;
    using V = Vector<T>;
    enum Shape { matrix, diagonal, isotropic };

    // Four weights at a time (see weights.hpp; two where there are 16 registers): of neighbouring vectors of lanes and,
    // where lane_step lanes are fewer, of neighbouring components.
    static constexpr int at_once = vector_bytes == 64 ? 4 : 2;
    static constexpr int block = lane_step / lanes < at_once ? lane_step / lanes : at_once, terms = at_once / block;

  public:
    // Vectors that are kept of all components: the logarithms, and of matrices P_k (m_k - x).
    static constexpr int most_kept = 4096, most_near = 32;

    static bool fits(int dim, i64 n, int shape) {
        return shape >= matrix && shape <= isotropic && n * (shape == matrix ? 1 + dim : 4) + dim <= most_kept;
    }

    Mixture(int dim, int n, int shape, const T *table) : dim(dim), n(n), shape(shape), table(table) {}

    // Of lane_step lanes the score and, where it is asked for, the log density.
    template <bool with_density> void at(const T *x, T *score, T *log_density) const {
        if (shape == matrix) return with_matrices<with_density>(x, score, log_density);
        if (shape == diagonal) return of_one_shape<with_density, diagonal, 0>(x, score, log_density);
        switch (dim) {
            case 1: return of_one_shape<with_density, isotropic, 1>(x, score, log_density);
            case 2: return of_one_shape<with_density, isotropic, 2>(x, score, log_density);
            case 3: return of_one_shape<with_density, isotropic, 3>(x, score, log_density);
            default: return of_one_shape<with_density, isotropic, 0>(x, score, log_density);
        }
    }

  private:
    const int dim, n, shape;
    const T *const table;

    // Log densities from the largest logarithms, which lie there, and the sums of the weights.
    SDEFAST_INLINE static void finish(T *log_density, const T *total) {
#pragma GCC ivdep
        for (int l = 0; l < lane_step; ++l) log_density[l] += log(total[l]);
    }

    // `fixed` is the dimension, or 0 where it is known at run time only. The vectors from the means of few components
    // to x stay in the first-level cache: they are computed once.
    template <bool with_density, int shape, int fixed> void of_one_shape(const T *x, T *score, T *log_density) const {
        if (fixed && n <= most_near)
            passes<with_density, shape, fixed, true>(x, score, log_density);
        else
            passes<with_density, shape, fixed, false>(x, score, log_density);
    }

    template <bool with_density, int shape, int fixed, bool near>
    SDEFAST_INLINE void passes(const T *x, T *score, T *log_density) const {
        T sums[lane_step];
        for (int b = 0; b < lane_step; b += block * lanes) {
            V kept[near ? most_near * block : most_kept], away[near ? most_near * block * fixed : 1];
            V most[block], total[block];
            logarithms<shape, fixed, near>(x + b, kept, away, most);
            shares<shape, fixed, near>(x + b, kept, away, most, total, score + b);
            for (int g = 0; g < block; ++g) {
                if (with_density) store<T>(log_density + b + g * lanes, most[g]);
                if (with_density) store<T>(sums + b + g * lanes, total[g]);
            }
        }
        if constexpr (with_density) finish(log_density, sums);
    }

    template <int shape, int fixed> int width() const {
        const int d = fixed ? fixed : dim;
        return 1 + d + (shape == isotropic ? 1 : d);
    }

    // The logarithms of the terms, in kept[k * block + g], and the largest ones. Where they are near x - m comes to lie
    // in away[(k * dim + i) * block + g].
    template <int shape, int fixed, bool near>
    SDEFAST_INLINE void logarithms(const T *x, V *kept, V *away, V (&most)[block]) const {
        const int d = fixed ? fixed : dim;
#pragma GCC unroll 4
        for (int g = 0; g < block; ++g) most[g] = splat<T>(T(nothing));
        const T *own = table;
        for (int k = 0; k < n; ++k, own += width<shape, fixed>(), kept += block, away += near ? fixed * block : 0) {
            const V half = splat<T>(shape == isotropic ? T(-0.5) * own[1 + d] : T(-0.5)), height = splat<T>(own[0]);
            V square[block];
#pragma GCC unroll 4
            for (int g = 0; g < block; ++g) square[g] = splat<T>(0);
#pragma GCC unroll 4
            for (int i = 0; i < d; ++i) {
                const V mean = splat<T>(own[1 + i]), precision = splat<T>(shape == isotropic ? T(1) : own[1 + d + i]);
#pragma GCC unroll 4
                for (int g = 0; g < block; ++g) {
                    const V from = load(x + i * row + g * lanes) - mean;
                    if (near) away[i * block + g] = from;
                    square[g] = fma(shape == isotropic ? from : precision * from, from, square[g]);
                }
            }
#pragma GCC unroll 4
            for (int g = 0; g < block; ++g) {
                kept[g] = fma(half, square[g], height);
                most[g] = larger(kept[g], most[g]);
            }
        }
    }

    // The score from these, and the sums of the weights.
    template <int shape, int fixed, bool near>
    SDEFAST_INLINE void shares(const T *x, V *kept, const V *away, const V (&most)[block], V (&total)[block],
                               T *score) const {
        V sums[fixed ? fixed : 1][block];
#pragma GCC unroll 4
        for (int g = 0; g < block; ++g) {
            total[g] = splat<T>(0);
#pragma GCC unroll 4
            for (int i = 0; i < fixed; ++i) sums[i][g] = splat<T>(0);
        }
        int k = 0;
        for (; k + terms <= n; k += terms) add<shape, fixed, near, terms>(k, x, kept, away, most, total, sums);
        for (; k < n; ++k) add<shape, fixed, near, 1>(k, x, kept, away, most, total, sums);
#pragma GCC unroll 4
        for (int g = 0; g < block; ++g) {
            const V share = splat<T>(1) / total[g];
#pragma GCC unroll 4
            for (int i = 0; i < (fixed ? fixed : dim); ++i)
                store<T>(score + i * row + g * lanes,
                         share * (fixed ? sums[fixed ? i : 0][g] : pulled<shape>(i, load(x + i * row + g * lanes), kept + g)));
        }
    }

    // The weights of `count` terms from k on, and what they add to the sums.
    template <int shape, int fixed, bool near, int count>
    SDEFAST_INLINE void add(int k, const T *x, V *kept, const V *away, const V (&most)[block], V (&total)[block],
                            V (&sums)[fixed ? fixed : 1][block]) const {
        V weight[count * block];
#pragma GCC unroll 4
        for (int v = 0; v < count * block; ++v) weight[v] = kept[k * block + v] - most[v % block];
        weights<T, count * block>(weight);
#pragma GCC unroll 4
        for (int c = 0; c < count; ++c) {
            const T *own = table + i64(k + c) * width<shape, fixed>();
#pragma GCC unroll 4
            for (int g = 0; g < block; ++g) {
                const V w = weight[c * block + g];
                const V pull = shape == isotropic ? splat<T>(own[width<shape, fixed>() - 1]) * w : w;
                total[g] = total[g] + w;
                if (!fixed) kept[(k + c) * block + g] = pull;
#pragma GCC unroll 4
                for (int i = 0; i < fixed; ++i)
                    sums[i][g] = near ? fma(-pull, away[((k + c) * fixed + i) * block + g], sums[i][g])
                                      : fma(pull, splat<T>(own[1 + i]) - load(x + i * row + g * lanes), sums[i][g]);
            }
        }
    }

    // Component i of the sum of weight P (m - x).
    template <int shape> SDEFAST_INLINE V pulled(int i, const V &x, const V *kept) const {
        V sum = splat<T>(0);
        const T *own = table + 1 + i;
        for (int k = 0; k < n; ++k, own += width<shape, 0>()) {
            const V pull = kept[k * block];
            sum = fma(shape == isotropic ? pull : splat<T>(own[dim]) * pull, splat<T>(*own) - x, sum);
        }
        return sum;
    }

    template <bool with_density> void with_matrices(const T *x, T *score, T *log_density) const {
        T sums[lane_step];
        for (int b = 0; b < lane_step; b += lanes) {
            V kept[most_kept];
            const V most = turned(x + b, kept);
            const V total = score_of_turned(kept, most, score + b);
            if (with_density) store<T>(log_density + b, most);
            if (with_density) store<T>(sums + b, total);
        }
        if constexpr (with_density) finish(log_density, sums);
    }

    // The logarithms of the terms, in `kept`, and behind them P_k (m_k - x); returns the largest.
    SDEFAST_INLINE V turned(const T *x, V *kept) const {
        V most = splat<T>(T(nothing)), *const away = kept + n, *own_turned = away + dim;
        const T *own = table;
        for (int k = 0; k < n; ++k, own += 1 + dim + i64(dim) * dim, own_turned += dim) {
            for (int i = 0; i < dim; ++i) away[i] = splat<T>(own[1 + i]) - load(x + i * row);
            int i = 0;
            for (; i + 4 <= dim; i += 4) products<4>(own + 1 + dim + i64(i) * dim, away, own_turned + i);
            for (; i < dim; ++i) products<1>(own + 1 + dim + i64(i) * dim, away, own_turned + i);
            V square = splat<T>(0);
            for (i = 0; i < dim; ++i) square = fma(own_turned[i], away[i], square);
            kept[k] = fma(splat<T>(T(-0.5)), square, splat<T>(own[0]));
            most = larger(kept[k], most);
        }
        return most;
    }

    // Of some rows of a matrix and a vector.
    template <int count> SDEFAST_INLINE void products(const T *rows, const V *vector, V *out) const {
        V sum[count];
#pragma GCC unroll 4
        for (int r = 0; r < count; ++r) sum[r] = splat<T>(0);
        for (int j = 0; j < dim; ++j)
#pragma GCC unroll 4
            for (int r = 0; r < count; ++r) sum[r] = fma(splat<T>(rows[r * dim + j]), vector[j], sum[r]);
#pragma GCC unroll 4
        for (int r = 0; r < count; ++r) out[r] = sum[r];
    }

    // The score from these; returns the sum of the weights.
    SDEFAST_INLINE V score_of_turned(V *kept, const V &most, T *score) const {
        int k = 0;
        for (; k + at_once <= n; k += at_once) weigh<at_once>(kept + k, most);
        for (; k < n; ++k) weigh<1>(kept + k, most);
        V total = splat<T>(0);
        for (k = 0; k < n; ++k) total = total + kept[k];
        const V share = splat<T>(1) / total, *const own = kept + n + dim;
        for (int i = 0; i < dim; ++i) {
            V sum = splat<T>(0);
            for (k = 0; k < n; ++k) sum = fma(kept[k], own[i64(k) * dim + i], sum);
            store<T>(score + i * row, share * sum);
        }
        return total;
    }

    // Weights in the place of their logarithms.
    template <int count> SDEFAST_INLINE static void weigh(V *kept, const V &most) {
#pragma GCC unroll 4
        for (int v = 0; v < count; ++v) kept[v] = kept[v] - most;
        weights<T, count>(kept);
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
