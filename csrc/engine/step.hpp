// From the step of one chain to the step of a row of lanes.
#pragma once

#include "../noise/lanes.hpp"
#include "job.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

template <Layout layout> constexpr int row_of = layout == Layout::wide ? max_lanes : narrow_lanes;

// What a stepper is asked to do: take a row of lanes through n_steps steps, from step `first_step` of the chains on. With
// `row` lanes in a row, component i of the state is x[i * row + lane], normal j of step s is
// z[(s * noise_dim + j) * row + lane], a word of 32 signs at a time where the step draws signs; uniform j of uniform_dim is
// u[(s * uniform_dim + j) * row + lane]; the coefficients of step s start at coefficients[s * stride]; `table` holds
// constants of the run. Pick j of step s is picks[(s * n_picks + j) * row + lane], a row of the data at
// rows[pick * width]; the last picks may be followed by any valid ones. If `path` is not null, the state after step s is
// also written to path[(s * dim + i) * row + lane]; a step that needs room for a state has it there instead.
template <class T, class Z> struct Call {
    const double *coefficients;
    i64 stride, first_step, n_steps;
    int dim, noise_dim, lanes;
    T *x;
    const Z *z;
    const T *u;
    T *path;
    const T *table;
    const u32 *picks;
    int n_picks;
    const Z *rows;
    i64 width;
};

// What a step is, where it says nothing else. One that is a few lines on one chain has fixed sizes and a function
// step(c, x, z), or step(c, x, z, u) if it draws uniforms; x holds its components and then the rows that it carries
// besides. One with `dim` 0 takes any dimension, says itself whether a job fits, and has a function rows(call).
struct StepTraits {
    static constexpr int dim = 0, carried = 0, noise_dim = 0, uniform_dim = 0, n_coefficients = 0;
    static constexpr int steps_at_once = 1;
    static constexpr Layout layout = Layout::wide;
    static constexpr bool on_data = false;      // draws rows of data
    static constexpr bool writes_path = false, needs_room = false;  // of steps with loops of their own: what path is to them
};

// `count` steps of a model whose step is a few lines on one chain; the state of a lane stays in registers.
template <class Model, int count, bool keep, class T, class Z>
SDEFAST_INLINE void step_lanes(const double *coefficients, i64 stride, int lanes, T *x, const Z *z, const T *u, T *path) {
    constexpr int dim = Model::dim + Model::carried, noise_dim = Model::noise_dim, uniform_dim = Model::uniform_dim;
    constexpr int n_coefficients = Model::n_coefficients, row = row_of<Model::layout>;
    T c[count][n_coefficients];
    for (int s = 0; s < count; ++s)
        for (int i = 0; i < n_coefficients; ++i) c[s][i] = T(coefficients[s * stride + i]);
    for (int b = 0; b < lanes; b += lane_step) {
#pragma GCC ivdep
        for (int l = b; l < b + lane_step; ++l) {
            T state[dim];
            for (int i = 0; i < dim; ++i) state[i] = x[i * row + l];
#pragma GCC unroll 8
            for (int s = 0; s < count; ++s) {
                T normals[noise_dim];
                for (int j = 0; j < noise_dim; ++j) normals[j] = T(z[(s * noise_dim + j) * row + l]);
                if constexpr (uniform_dim > 0) {
                    T uniforms[uniform_dim];
                    for (int j = 0; j < uniform_dim; ++j) uniforms[j] = u[(s * uniform_dim + j) * row + l];
                    Model::step(c[s], state, normals, uniforms);
                } else {
                    Model::step(c[s], state, normals);
                }
                if (keep)
                    for (int i = 0; i < dim; ++i) path[(s * dim + i) * row + l] = state[i];
            }
            for (int i = 0; i < dim; ++i) x[i * row + l] = state[i];
        }
    }
}

// The stepper of such a model: some steps at a time while there are enough, then one at a time. Several at a time save
// loads and stores where a step is a few instructions; longer ones would only run out of registers.
template <class Model, bool keep, class T, class Z>
SDEFAST_INLINE void step_rows(const double *coefficients, i64 stride, int lanes, i64 n_steps, T *x, const Z *z, const T *u,
                              T *path) {
    constexpr int several = Model::steps_at_once, row = row_of<Model::layout>;
    constexpr int path_row = (Model::dim + Model::carried) * row;
    for (; n_steps >= several; n_steps -= several, coefficients += several * stride, z += several * Model::noise_dim * row) {
        step_lanes<Model, several, keep>(coefficients, stride, lanes, x, z, u, path);
        if (Model::uniform_dim) u += several * Model::uniform_dim * row;
        if (keep) path += several * path_row;
    }
    for (; n_steps > 0; --n_steps, coefficients += stride, z += Model::noise_dim * row) {
        step_lanes<Model, 1, keep>(coefficients, stride, lanes, x, z, u, path);
        if (Model::uniform_dim) u += Model::uniform_dim * row;
        if (keep) path += path_row;
    }
}

// Of the types Stepper<T, Z> and DataStepper<T, Z> in levels/table.hpp.
template <class Model, class T, class Z>
void stepper(const double *coefficients, i64 stride, i64 first_step, i64 n_steps, int dim, int noise_dim, int lanes, T *x,
             const Z *z, const T *u, T *path, const T *table) {
    if constexpr (Model::dim == 0)
        Model::rows(Call<T, Z>{coefficients, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table,
                               nullptr, 0, nullptr, 0});
    else if (path)
        step_rows<Model, true>(coefficients, stride, lanes, n_steps, x, z, u, path);
    else
        step_rows<Model, false>(coefficients, stride, lanes, n_steps, x, z, u, path);
}

template <class Model, class T, class Z>
void data_stepper(const double *coefficients, i64 stride, i64 first_step, i64 n_steps, int dim, int noise_dim, int lanes,
                  T *x, const Z *z, const T *u, T *path, const T *table, const u32 *picks, int n_picks, const Z *rows,
                  i64 width) {
    Model::rows(Call<T, Z>{coefficients, stride, first_step, n_steps, dim, noise_dim, lanes, x, z, u, path, table, picks,
                           n_picks, rows, width});
}

// Whether a model takes a job of these sizes and a row of n coefficients.
template <class Model, class T> bool fits(const Job &job, const double *coefficients, i64 n) {
    if constexpr (Model::dim == 0)
        return Model::template fits<T>(job, coefficients, n);
    else
        return job.dim == Model::dim + Model::carried && job.noise_dim == Model::noise_dim &&
               job.uniform_dim == Model::uniform_dim && n == Model::n_coefficients;
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
