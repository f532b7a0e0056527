// Overdamped Langevin in a double well: dX = -V'(X) dt + sqrt(2 T) dW, V(x) = barrier ((x / width)^2 - 1)^2.
#pragma once

#include "../noise/vector_math.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Euler-Maruyama: X += c0 X (1 - c1 X^2) + c2 Z, c = (4 barrier h / width^2, 1 / width^2, sqrt(2 T h)).
struct DoubleWell : StepTraits {
    static constexpr int dim = 1, noise_dim = 1, n_coefficients = 3, steps_at_once = 4;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z) {
        const T force = x[0] * fma(-c[1] * x[0], x[0], T(1));
        x[0] += fma(c[2], z[0], c[0] * force);
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
