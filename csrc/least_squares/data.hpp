// Stochastic gradient descent on least squares with samples from data.
#pragma once

#include "../engine/job.hpp"
#include "streams.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Here the vectors lie along the parameters, not along the chains: a row of data is read as it stands, at random from a
// table that no first-level cache holds, and that is what the time goes to. A chain is one or two runs of data.width
// numbers: delta = theta - theta* and, where iterates are averaged, their average. A row of data is x, then
// e = y - <theta*, x>, then zeros; its width is a multiple of `vector`. Coefficients as in streams.hpp, no scales:
//
//     r = e - <x, delta>,   average += weight (delta - average),   delta += rate sum of x r
//
// <x, delta> is summed in `vector` columns, those by halving: the same bits at every level.
template <class T, class Z> class DataSteps {
    using Header = LeastSquares::Header;
    static constexpr int row = narrow_lanes, ahead = 8;

  public:
    static constexpr int vector = 64 / sizeof(T);

    static bool fits(const Job &job, const double *coefficients, i64 n) {
        if (n < LeastSquares::header) return false;
        const Header &h = reinterpret_cast<const Header &>(*coefficients);
        if (!(h.dim >= 1 && h.dim <= largest_dim && h.samples >= 1 && h.samples == job.data.picks)) return false;
        const i64 d = i64(h.dim);
        return job.dim == d * (h.weight > 0 ? 2 : 1) && h.scales == 0 && (h.rates == 1 || h.rates == h.dim) &&
               n == LeastSquares::header + i64(h.rates) && job.data.dim == d && job.data.width == width_of(d) &&
               job.noise_dim == 0 && job.uniform_dim == 0;
    }

    static void rows(const Call<T, Z> &call) {
        const double *coefficients = call.coefficients;
        const u32 *picks = call.picks;
        for (i64 s = 0; s < call.n_steps; ++s, coefficients += call.stride, picks += call.n_picks * row) {
            const Step step{reinterpret_cast<const Header &>(*coefficients), coefficients + LeastSquares::header, call.rows,
                            call.width};
            step.run(call.lanes, call.x, picks);
        }
    }

    // out[p * row + lane] = |vector p of the lane|^2; parameters d, parts.
    static void squared_norms(const double *parameters, double, int lanes, const T *x, T *out, const T *) {
        const i64 width = width_of(i64(parameters[0]));
        const int parts = int(parameters[1]);
        with_width(width, [=](auto vectors) { norms<vectors.n>(parts, width, lanes, x, out); });
    }

  private:
    // A row holds d numbers, one more, and zeros up to a whole number of vectors.
    static constexpr i64 width_of(i64 d) { return (d / vector + 1) * vector; }

    SDEFAST_INLINE static T total(const T (&columns)[vector]) {
        T sum[8];
        for (int q = 0; q < 8; ++q) sum[q] = vector == 8 ? columns[q] : columns[q] + columns[q + vector - 8];
        for (int half = 4; half > 0; half /= 2)
            for (int q = 0; q < half; ++q) sum[q] += sum[q + half];
        return sum[0];
    }

    // f(i) for i from 0 to n, a multiple of `vector`, in vectors: the compiler would unroll first and then not vectorise.
    template <class F> SDEFAST_INLINE static void vectors_of(i64 n, F f) {
        for (i64 v = 0; v < n; v += vector)
#pragma GCC ivdep
#pragma GCC unroll 1
            for (int q = 0; q < vector; ++q) f(v + q);
    }

    // f(Vectors<n>) with n = width / vector, or 0 where that is too many to be known when compiled.
    template <int count> struct Vectors {
        static constexpr int n = count;
    };
    template <class F> static void with_width(i64 width, F f) {
        switch (width / vector) {
#define SDEFAST_WIDTH(n) \
    case n: return f(Vectors<n>());
            SDEFAST_WIDTH(2) SDEFAST_WIDTH(3) SDEFAST_WIDTH(4) SDEFAST_WIDTH(5) SDEFAST_WIDTH(6) SDEFAST_WIDTH(7)
            SDEFAST_WIDTH(8) SDEFAST_WIDTH(9) SDEFAST_WIDTH(10) SDEFAST_WIDTH(11) SDEFAST_WIDTH(12)
#undef SDEFAST_WIDTH
            default: return f(Vectors<0>());
        }
    }

    template <int vectors> static void norms(int parts, i64 width, int lanes, const T *x, T *out) {
        const i64 n = vectors ? vectors * vector : width;
        for (int p = 0; p < parts; ++p)
            for (int l = 0; l < lanes; ++l) {
                const T *own = x + (l * parts + p) * n;
                out[p * row + l] = product(own, own, n);
            }
    }

    template <class A> SDEFAST_INLINE static T product(const A *a, const T *b, i64 width) {
        T sum[vector];
        for (int q = 0; q < vector; ++q) sum[q] = 0;
        for (i64 v = 0; v < width; v += vector)
#pragma GCC ivdep
            for (int q = 0; q < vector; ++q) sum[q] = fma(T(a[v + q]), b[v + q], sum[q]);
        return total(sum);
    }

    struct Step {
        const Header &h;
        const double *rates;
        const Z *data;
        const i64 width;

        const Z *row_at(u32 pick) const { return data + i64(pick) * width; }

        void fetch(u32 pick) const {
            const Z *from = row_at(pick);
            for (i64 j = 0; j < width; j += 64 / i64(sizeof(Z))) __builtin_prefetch(from + j);
        }

        void run(int lanes, T *x, const u32 *picks) const {
            if (h.samples != 1 || h.rates != 1 || h.weight > 0)
                return in_general(lanes, x, picks);
            with_width(width, [=](auto vectors) { single<vectors.n>(lanes, x, picks); });
        }

        // One sample and one rate.
        template <int vectors> void single(int lanes, T *x, const u32 *picks) const {
            const i64 n = vectors ? vectors * vector : width, last = n - vector;
            const int d = int(h.dim);
            const T rate = T(rates[0]);
            T real[vector];  // 1 where the last vector holds parameters, 0 behind them
            for (int q = 0; q < vector; ++q) real[q] = last + q < d ? T(1) : T(0);
            for (int l = 0; l < lanes; ++l) {
                fetch(picks[l + ahead]);
                const Z *from = row_at(picks[l]);
                T *to = x + l * n;
                const T r = rate * (T(from[d]) - product(from, to, n));
                vectors_of(last, [=](i64 i) { to[i] = fma(T(from[i]), r, to[i]); });
                vectors_of(vector, [=, &real](i64 q) { to[last + q] = fma(T(from[last + q]), r * real[q], to[last + q]); });
            }
        }

        void in_general(int lanes, T *x, const u32 *picks) const {
            const int parts = h.weight > 0 ? 2 : 1;
            for (int l = 0; l < lanes; ++l, x += parts * width)
                h.samples == 1 ? one_sample(x, picks + l) : batch(x, picks + l);
        }

        // xi - <x, delta> of a row.
        T residual(const Z *from, const T *x) const { return T(from[int(h.dim)]) - product(from, x, width); }

        void one_sample(T *x, const u32 *picks) const {
            const Z *from = row_at(picks[0]);
            fetch(picks[ahead]);
            const T r = residual(from, x), step = T(rates[0]) * r;
            if (h.weight > 0) average(x);
            if (h.rates == 1)
                for (int i = 0; i < int(h.dim); ++i) x[i] = fma(T(from[i]), step, x[i]);
            else
                for (int i = 0; i < int(h.dim); ++i) x[i] = fma(T(rates[i]) * T(from[i]), r, x[i]);
        }

        void batch(T *x, const u32 *picks) const {
            T sum[largest_dim + vector];
            for (int b = 0; b < int(h.samples); ++b, picks += row) {
                const Z *from = row_at(picks[0]);
                fetch(picks[ahead]);
                const T r = residual(from, x);
                if (b == 0)
                    vectors_of(width, [=, &sum](i64 i) { sum[i] = T(from[i]) * r; });
                else
                    vectors_of(width, [=, &sum](i64 i) { sum[i] = fma(T(from[i]), r, sum[i]); });
            }
            if (h.weight > 0) average(x);
            for (int i = 0; i < int(h.dim); ++i) x[i] = fma(T(rates[h.rates == 1 ? 0 : i]), sum[i], x[i]);
        }

        void average(T *x) const {
            const T weight = T(h.weight);
            T *mean = x + width;
            vectors_of(width, [=](i64 i) { mean[i] = fma(weight, x[i] - mean[i], mean[i]); });
        }
    };
};

struct LeastSquaresOnData : StepTraits {
    static constexpr Layout layout = Layout::chains;
    static constexpr bool on_data = true;

    template <class T> static bool fits(const Job &job, const double *coefficients, i64 n) {
        return DataSteps<T, T>::fits(job, coefficients, n);
    }
    template <class T, class Z> static void rows(const Call<T, Z> &call) { DataSteps<T, Z>::rows(call); }
};

template <class T>
void squared_norms_on_data(const double *parameters, double t, int lanes, const T *x, T *out, const T *table) {
    DataSteps<T, T>::squared_norms(parameters, t, lanes, x, out, table);
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
