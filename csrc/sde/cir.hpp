// Cox-Ingersoll-Ross: dX = kappa (theta - X) dt + sigma sqrt(X) dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Euler-Maruyama with full truncation (Lord, Koekkoek, van Dijk, Quantitative Finance 10, 2010): drift and diffusion
// see max(X, 0). c = (kappa h, theta, sigma sqrt h).
struct CIR : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 3, steps_at_once = 1;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T positive = x[0] > 0 ? x[0] : T(0);
        x[0] += fma(c[2] * sqrt(positive), z[0], c[0] * (c[1] - positive));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
