// From the step of one chain to the step of a row of lanes.
#pragma once

#include "../noise/lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// A stepper takes rows of lanes through n_steps steps: component i of the state is x[i * max_lanes + lane], normal j of
// step s is z[(s * noise_dim + j) * max_lanes + lane], the coefficients of step s start at coefficients[s * stride].
// If `path` is not null, the state after step s is also written to path[(s * dim + i) * max_lanes + lane]. `table`
// holds constants of the run. Built-in models have no use for it, nor for the number of the first step. Its type is
// Stepper<T, Z> in levels/table.hpp.

// `count` steps of a model whose step is a few lines on one chain; the state of a lane stays in registers.
template <class Model, int count, bool keep, class T, class Z>
SDEFAST_INLINE void step_lanes(const double *coefficients, i64 stride, int lanes, T *x, const Z *z, T *path) {
    constexpr int dim = Model::dim, noise_dim = Model::noise_dim, n_coefficients = Model::n_coefficients;
    T c[count][n_coefficients];
    for (int s = 0; s < count; ++s)
        for (int i = 0; i < n_coefficients; ++i) c[s][i] = T(coefficients[s * stride + i]);
    for (int b = 0; b < lanes; b += lane_step) {
#pragma GCC ivdep
        for (int l = b; l < b + lane_step; ++l) {
            T state[dim];
            for (int i = 0; i < dim; ++i) state[i] = x[i * max_lanes + l];
#pragma GCC unroll 8
            for (int s = 0; s < count; ++s) {
                T normals[noise_dim];
                for (int j = 0; j < noise_dim; ++j) normals[j] = T(z[(s * noise_dim + j) * max_lanes + l]);
                Model::step(c[s], state, normals);
                if (keep)
                    for (int i = 0; i < dim; ++i) path[(s * dim + i) * max_lanes + l] = state[i];
            }
            for (int i = 0; i < dim; ++i) x[i * max_lanes + l] = state[i];
        }
    }
}

// The stepper of such a model: some steps at a time while there are enough, then one at a time. Several at a time save
// loads and stores where a step is a few instructions; longer ones would only run out of registers.
template <class Model, bool keep, class T, class Z>
SDEFAST_INLINE void step_rows(const double *coefficients, i64 stride, int lanes, i64 n_steps, T *x, const Z *z,
                              T *path) {
    constexpr int several = Model::steps_at_once, row = Model::noise_dim * max_lanes, path_row = Model::dim * max_lanes;
    for (; n_steps >= several; n_steps -= several, coefficients += several * stride, z += several * row) {
        step_lanes<Model, several, keep>(coefficients, stride, lanes, x, z, path);
        if (keep) path += several * path_row;
    }
    for (; n_steps > 0; --n_steps, coefficients += stride, z += row) {
        step_lanes<Model, 1, keep>(coefficients, stride, lanes, x, z, path);
        if (keep) path += path_row;
    }
}

// Whether a model of many components runs in narrow rows, whose length it knows and which it leaves no path of.
template <class Model> constexpr bool is_narrow = false;

template <class Model, class T, class Z>
void stepper(const double *coefficients, i64 stride, i64, i64 n_steps, int dim, int noise_dim, int lanes, T *x,
             const Z *z, const T *u, T *path, const T *) {
    if constexpr (is_narrow<Model>)
        Model::rows(coefficients, stride, dim, noise_dim, lanes, n_steps, x, z, u);
    else if constexpr (Model::dim == 0)  // any dimension: the model brings its own loop over rows
        Model::rows(coefficients, stride, dim, noise_dim, lanes, n_steps, x, z, path);
    else if (path)
        step_rows<Model, true>(coefficients, stride, lanes, n_steps, x, z, path);
    else
        step_rows<Model, false>(coefficients, stride, lanes, n_steps, x, z, path);
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
