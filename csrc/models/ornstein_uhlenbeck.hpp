// Ornstein-Uhlenbeck: dX = kappa (theta - X) dt + sigma dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// X += rate (theta - X) + scale Z. Euler-Maruyama: rate = kappa h, scale = sigma sqrt h;
// exact: rate = 1 - exp(-kappa h), scale = the transition's standard deviation. Written with the increment, not with
// 1 - rate, which float32 would round away for small steps.
struct OrnsteinUhlenbeck {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 3, steps_at_once = 4;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T rate = c[0], theta = c[1], scale = c[2];
        x[0] = fma(scale, z[0], fma(rate, theta - x[0], x[0]));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
