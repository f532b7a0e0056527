// Brownian motion with drift: dX = mu dt + sigma dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// X += c0 + c1 Z: Euler-Maruyama, which is exact here, c = (mu h, sigma sqrt h).
struct BrownianMotion : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 2, steps_at_once = 4;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        x[0] += fma(c[1], z[0], c[0]);
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
