// Linear SDE in d dimensions: dX = (A X + b) dt + B dW.
#pragma once

#include "../engine/job.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// X += M X + c + L Z with coefficients M (d, d), c (d), L (d, m), row by row. Euler-Maruyama: M = h A, c = h b,
// L = sqrt h B; exact: M = exp(h A) - 1, c and L the mean and a root of the covariance of what comes in.
template <Layout where> struct Linear : StepTraits {
    static constexpr Layout layout = where;
    static constexpr bool is_wide = where == Layout::wide, writes_path = is_wide, needs_room = !is_wide;
    static constexpr int row = row_of<where>;

    template <class T> static bool fits(const Job &job, const double *, i64 n) {
        const i64 d = job.dim, m = job.noise_dim;
        return d >= 1 && d <= (is_wide ? largest_wide_dim : largest_dim) && job.uniform_dim == 0 && n == d * (d + 1 + m);
    }

    template <class T, class Z> static void rows(const Call<T, Z> &call) {
        T own[is_wide ? largest_wide_dim * lane_step : 1];
        T *const next = is_wide ? own : call.path;  // narrow rows have lane_step lanes
        const double *coefficients = call.coefficients;
        const Z *z = call.z;
        for (i64 s = 0; s < call.n_steps; ++s, coefficients += call.stride, z += call.noise_dim * row)
            for (int b = 0; b < call.lanes; b += lane_step) {
                add_step(coefficients, call.dim, call.noise_dim, call.x + b, z + b, next);
                copy(next, call.dim, call.x + b);
                if (is_wide && call.path) copy(next, call.dim, call.path + s * call.dim * row + b);
            }
    }

  private:
    // next[i * lane_step + lane] from lane_step lanes of x and z.
    template <class T, class Z>
    SDEFAST_INLINE static void add_step(const double *drift, int d, int m, const T *x, const Z *z, T *next) {
        const double *constant = drift + d * d, *noise = constant + d;
        for (int i = 0; i < d; ++i) {
            T sum[lane_step];
            for (int l = 0; l < lane_step; ++l) sum[l] = T(constant[i]);
            for (int j = 0; j < d; ++j) {
                const T a = T(drift[i * d + j]);
                for (int l = 0; l < lane_step; ++l) sum[l] = fma(a, x[j * row + l], sum[l]);
            }
            for (int j = 0; j < m; ++j) {
                const T a = T(noise[i * m + j]);
                for (int l = 0; l < lane_step; ++l) sum[l] = fma(a, T(z[j * row + l]), sum[l]);
            }
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l) next[i * lane_step + l] = x[i * row + l] + sum[l];
        }
    }

    template <class T> SDEFAST_INLINE static void copy(const T *next, int d, T *to) {
        for (int i = 0; i < d; ++i) __builtin_memcpy(to + i * row, next + i * lane_step, lane_step * sizeof(T));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
