// From the step of one chain to the step of a row of lanes.
#pragma once

#include "../noise/lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// A stepper takes rows of lanes through n_steps steps: component i of the state is x[i * max_lanes + lane], normal j of
// step s is z[(s * noise_dim + j) * max_lanes + lane], the coefficients of step s start at coefficients[s * stride].
template <class T, class Z>
using Stepper = void (*)(const double *coefficients, i64 stride, int dim, int noise_dim, int lanes, i64 n_steps, T *x,
                         const Z *z);

// The stepper of a model whose step is a few lines on one chain.
template <class Model, class T, class Z>
void step_rows(const double *coefficients, i64 stride, int, int, int lanes, i64 n_steps, T *x, const Z *z) {
    constexpr int dim = Model::dim, noise_dim = Model::noise_dim, n_coefficients = Model::n_coefficients;
    for (i64 s = 0; s < n_steps; ++s, coefficients += stride, z += noise_dim * max_lanes) {
        T c[n_coefficients];
        for (int i = 0; i < n_coefficients; ++i) c[i] = T(coefficients[i]);
        for (int b = 0; b < lanes; b += lane_step) {
#pragma GCC ivdep
            for (int l = b; l < b + lane_step; ++l) {
                T state[dim], normals[noise_dim];
                for (int i = 0; i < dim; ++i) state[i] = x[i * max_lanes + l];
                for (int j = 0; j < noise_dim; ++j) normals[j] = T(z[j * max_lanes + l]);
                Model::step(c, state, normals);
                for (int i = 0; i < dim; ++i) x[i * max_lanes + l] = state[i];
            }
        }
    }
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
