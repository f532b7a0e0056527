// Ornstein-Uhlenbeck: dX = kappa (theta - X) dt + sigma dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// X += rate (theta - X) + scale Z. Euler-Maruyama: rate = kappa h, scale = sigma sqrt h;
// exact: rate = 1 - exp(-kappa h), scale = the transition's standard deviation. The increment is summed before it is
// added: adding the drift alone would round it the same way step after step, which float32 shows at 10^5 small steps.
struct OrnsteinUhlenbeck : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 3, steps_at_once = 4;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T rate = c[0], theta = c[1], scale = c[2];
        x[0] += fma(scale, z[0], rate * (theta - x[0]));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
