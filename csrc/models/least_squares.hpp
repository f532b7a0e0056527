// Stochastic gradient descent on least squares with standard normal inputs.
#pragma once

#include "../engine/job.hpp"
#include "step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// theta += rate / B sum over B samples of x (<theta* - theta, x> + noise xi), with coefficients noise, B, theta* (d),
// rate / B (d). A sample is d normals and, where there is noise, one more. Rounded as what is compiled from
// sdefast/sgd/iteration.py, which has the same bits.
struct LeastSquares {
    static constexpr int dim = 0, noise_dim = 0, n_coefficients = 0;  // any

    static constexpr i64 count(i64 d, i64) { return 2 + 2 * d; }

    template <class T, class Z>
    static void rows(const double *coefficients, i64 stride, int d, int m, int lanes, i64 n_steps, T *x, const Z *z,
                     T *path) {
        for (i64 s = 0; s < n_steps; ++s, coefficients += stride, z += m * max_lanes) {
            const bool single = coefficients[1] == 1;
            for (int b = 0; b < lanes; b += lane_step) {
                if (single)
                    one_sample(coefficients, d, x + b, z + b);
                else
                    batch(coefficients, d, m, x + b, z + b);
                if (!path) continue;
                for (int i = 0; i < d; ++i)
                    for (int l = 0; l < lane_step; ++l) path[(s * d + i) * max_lanes + b + l] = x[i * max_lanes + b + l];
            }
        }
    }

  private:
    template <class T, class Z> static void residual(const double *c, int d, const T *x, const Z *z, T *r) {
        const T noise = T(c[0]);
        const double *star = c + 2;
        for (int l = 0; l < lane_step; ++l) r[l] = noise == 0 ? T(0) : noise * T(z[d * max_lanes + l]);
        for (int i = 0; i < d; ++i) {
            const T best = T(star[i]);
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l)
                r[l] = fma(T(z[i * max_lanes + l]), best - x[i * max_lanes + l], r[l]);
        }
    }

    template <class T, class Z> static void one_sample(const double *c, int d, T *x, const Z *z) {
        T r[lane_step];
        residual(c, d, x, z, r);
        for (int i = 0; i < d; ++i) {
            const T rate = T(c[2 + d + i]);
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l)
                x[i * max_lanes + l] = fma(rate * T(z[i * max_lanes + l]), r[l], x[i * max_lanes + l]);
        }
    }

    template <class T, class Z> static void batch(const double *c, int d, int m, T *x, const Z *z) {
        T total[largest_dim][lane_step], r[lane_step];
        const int samples = int(c[1]), draws = m / samples;
        for (int k = 0; k < samples; ++k, z += draws * max_lanes) {
            residual(c, d, x, z, r);
            for (int i = 0; i < d; ++i)
#pragma GCC ivdep
                for (int l = 0; l < lane_step; ++l) {
                    const T input = T(z[i * max_lanes + l]);
                    total[i][l] = k == 0 ? input * r[l] : fma(input, r[l], total[i][l]);
                }
        }
        for (int i = 0; i < d; ++i) {
            const T rate = T(c[2 + d + i]);
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l)
                x[i * max_lanes + l] = fma(rate, total[i][l], x[i * max_lanes + l]);
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
