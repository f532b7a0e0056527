// Constant elasticity of variance: dX = mu X dt + sigma X^beta dW.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Euler-Maruyama, absorbed at zero. c = (mu h, sigma sqrt h, beta).
struct CEV : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 3, steps_at_once = 1;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T next = x[0] + fma(c[1] * pow(x[0], c[2]), z[0], c[0] * x[0]);
        x[0] = next > 0 ? next : (next == next ? T(0) : next);  // a NaN stays one
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
