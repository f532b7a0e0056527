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

// See engine/step.hpp.
template <class T, class Z>
using Stepper = void (*)(const double *coefficients, int64_t stride, int64_t first_step, int64_t n_steps, int dim,
                         int noise_dim, int lanes, T *x, const Z *z, const T *u, T *path, const T *table);

// out[r * max_lanes + lane] = result r at time t of the state x[i * max_lanes + lane].
template <class T>
using Observer = void (*)(const double *parameters, double t, int lanes, const T *x, T *out, const T *table);

// A built-in step; `fits` says whether it takes a job of these sizes and a row of n coefficients. Those of narrow rows run
// in the loop for such rows.
struct StepEntry {
    const char *name;
    bool narrow;
    bool (*fits)(const Job &job, const double *coefficients, int64_t n);
    Stepper<float, float> float32;
    Stepper<double, double> float64;
    Stepper<double, float> float64_on_float32_noise;
};

// The same where steps draw rows of data: chains lie one after the other (`Data` in engine/job.hpp), n_steps times
// noise_dim rows of picks say which row of the data each takes. The last pick may be followed by any valid ones.
template <class T>
using DataStepper = void (*)(const double *coefficients, int64_t stride, int64_t first_step, int64_t n_steps, int lanes,
                             T *x, const uint32_t *picks, const Data &data, const T *table);

template <class T>
using DataObserver = void (*)(const double *parameters, int64_t width, int lanes, const T *x, T *out, const T *table);

// A step on data, with its observer of squared norms.
template <class T> struct DataStep {
    bool (*fits)(const Job &job, const double *coefficients, int64_t n);
    DataStepper<T> stepper;
    DataObserver<T> squared_norms;
};

struct DataSteps {
    DataStep<float> float32;
    DataStep<double> float64, float64_on_float32_data;
};

// An observer of narrow rows.
struct ObserverEntry {
    const char *name;
    Observer<float> float32;
    Observer<double> float64;
};

// The loops for one type of state and noise.
struct Loop {
    void (*run)(const Job &, Function stepper);
    int64_t (*scratch_bytes)(const Job &);
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
    const ObserverEntry *observers;
    int n_observers;
    Loop wide[n_precisions];
    Loop narrow[3], on_data[3];
    DataSteps least_squares_on_data;
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
