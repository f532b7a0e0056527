// Black-Scholes (geometric Brownian motion): dX = mu X dt + sigma X dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Euler-Maruyama: X += X (mu h + sigma sqrt h Z), c = (mu h, sigma sqrt h).
struct BlackScholesEuler : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 2, steps_at_once = 4;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        x[0] = fma(x[0], fma(c[1], z[0], c[0]), x[0]);
    }
};

// Exact: X *= exp((mu - sigma^2 / 2) h + sigma sqrt h Z), c = ((mu - sigma^2 / 2) h, sigma sqrt h).
struct BlackScholesExact : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 2, steps_at_once = 1;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        x[0] *= exp(fma(c[1], z[0], c[0]));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
