// Heston: dS = mu S dt + sqrt(V) S dW1, dV = kappa (theta - V) dt + xi sqrt(V) dW2, dW1 dW2 = rho dt.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Euler-Maruyama with full truncation (Lord, Koekkoek, van Dijk, Quantitative Finance 10, 2010).
// c = (mu h, sqrt h, kappa h, theta, xi sqrt h, rho, sqrt(1 - rho^2)).
struct Heston : StepTraits {
    static constexpr int dim = 2, noise_dim = 2, n_coefficients = 7, steps_at_once = 1;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T positive = x[1] > 0 ? x[1] : T(0), volatility = sqrt(positive);
        x[0] = fma(x[0], fma(c[1] * volatility, z[0], c[0]), x[0]);
        x[1] += fma(c[4] * volatility, fma(c[6], z[1], c[5] * z[0]), c[2] * (c[3] - positive));
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
