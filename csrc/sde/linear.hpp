// Linear SDE in d dimensions: dX = (A X + b) dt + B dW.
#pragma once

#include "../engine/job.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// X += M X + c + L Z with coefficients M (d, d), c (d), L (d, m), row by row. Euler-Maruyama: M = h A, c = h b,
// L = sqrt h B; exact: M = exp(h A) - 1, c and L the mean and a root of the covariance of what comes in.
struct Linear : StepTraits {
    static constexpr bool writes_path = true;

    template <class T> static bool fits(const Job &job, const double *, i64 n) {
        const i64 d = job.dim, m = job.noise_dim;
        return d >= 1 && d <= largest_wide_dim && job.uniform_dim == 0 && n == d * (d + 1 + m);
    }

    template <class T, class Z> static void rows(const Call<T, Z> &call) {
        const int d = call.dim, m = call.noise_dim, lanes = call.lanes;
        const double *coefficients = call.coefficients;
        T *const x = call.x, *const path = call.path;
        const Z *z = call.z;
        for (i64 s = 0; s < call.n_steps; ++s, coefficients += call.stride, z += m * max_lanes) {
            const double *drift = coefficients, *constant = drift + d * d, *noise = constant + d;
            for (int b = 0; b < lanes; b += lane_step) {
                T next[largest_wide_dim][lane_step];
                for (int i = 0; i < d; ++i) {
                    T sum[lane_step];
                    for (int l = 0; l < lane_step; ++l) sum[l] = T(constant[i]);
                    for (int j = 0; j < d; ++j) {
                        const T a = T(drift[i * d + j]);
                        for (int l = 0; l < lane_step; ++l) sum[l] = fma(a, x[j * max_lanes + b + l], sum[l]);
                    }
                    for (int j = 0; j < m; ++j) {
                        const T a = T(noise[i * m + j]);
                        for (int l = 0; l < lane_step; ++l) sum[l] = fma(a, T(z[j * max_lanes + b + l]), sum[l]);
                    }
                    for (int l = 0; l < lane_step; ++l) next[i][l] = x[i * max_lanes + b + l] + sum[l];
                }
                for (int i = 0; i < d; ++i)
                    for (int l = 0; l < lane_step; ++l) x[i * max_lanes + b + l] = next[i][l];
                if (!path) continue;
                for (int i = 0; i < d; ++i)
                    for (int l = 0; l < lane_step; ++l) path[(s * d + i) * max_lanes + b + l] = next[i][l];
            }
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
