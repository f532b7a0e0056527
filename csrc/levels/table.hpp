// The table of kernels that each instruction-set level fills, and the choice among the tables.
#pragma once

#include "../engine/job.hpp"

namespace sdefast {

// State and noise types that kernels are compiled for.
enum Precision { float32 = 0, float64 = 1, float64_on_float32_noise = 2, float32_on_signs = 3, float64_on_signs = 4 };
constexpr int n_precisions = 5;

enum NoiseKind { normals = 0, uniforms = 1 };

// Steppers and observers may come from elsewhere: compiled by numba, they are handed in as addresses.
using Function = void (*)();

// See models/step.hpp.
template <class T, class Z>
using Stepper = void (*)(const double *coefficients, int64_t stride, int64_t first_step, int64_t n_steps, int dim,
                         int noise_dim, int lanes, T *x, const Z *z, const T *u, T *path);

// out[r * max_lanes + lane] = result r at time t of the state x[i * max_lanes + lane].
template <class T> using Observer = void (*)(const double *parameters, double t, int lanes, const T *x, T *out);

// Sizes of 0 mean any.
struct StepEntry {
    const char *name;
    int dim, noise_dim;
    int64_t (*n_coefficients)(int64_t dim, int64_t noise_dim);
    Stepper<float, float> float32;
    Stepper<double, double> float64;
    Stepper<double, float> float64_on_float32_noise;
};

// A block of one kind of noise as an array: out[d * row + c] is draw first_draw + d of chain first_chain + c.
struct NoiseJob {
    uint64_t seed;
    int64_t first_chain, n_chains, first_draw, n_draws;
    void *out;
    int64_t row;
};

struct Kernels {
    const char *level;
    const StepEntry *steps;
    int n_steps;
    void (*run[n_precisions])(const Job &, Function stepper);
    int64_t (*scratch_bytes[n_precisions])(const Job &);
    void (*noise[2][2])(const NoiseJob &);  // [NoiseKind][float32, float64]
    void (*words)(const NoiseJob &, uint32_t stream);
    void (*elementary[2])(int function, const void *in, const void *power, void *out, int64_t n);  // vector math
};

// The levels this extension holds, narrowest first.
const Kernels *const *all_levels(int &n);

bool supported(const char *level);

const Kernels *find_level(const char *level);

// The widest level that this machine runs.
const Kernels &widest_level();

}  // namespace sdefast
