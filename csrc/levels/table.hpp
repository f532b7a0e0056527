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

// Of steps that draw rows of data: the last four arguments say which and where they are.
template <class T, class Z>
using DataStepper = void (*)(const double *coefficients, int64_t stride, int64_t first_step, int64_t n_steps, int dim,
                             int noise_dim, int lanes, T *x, const Z *z, const T *u, T *path, const T *table,
                             const uint32_t *picks, int n_picks, const Z *rows, int64_t width);

// out[r * row + lane] = result r at time t of the state x, which lies as the step has it; rows of the same length.
template <class T>
using Observer = void (*)(const double *parameters, double t, int lanes, const T *x, T *out, const T *table);

// A built-in step for one type of state and noise: `fits` says whether it takes a job of these sizes and a row of n
// coefficients; one of the others is null.
template <class T, class Z> struct StepVariant {
    bool (*fits)(const Job &job, const double *coefficients, int64_t n);
    Stepper<T, Z> stepper;
    DataStepper<T, Z> data_stepper;
};

// A built-in step, which draws normals if it draws signs or normals.
struct StepEntry {
    const char *name;
    Layout layout;
    bool on_data, writes_path, needs_room;
    StepVariant<float, float> float32;
    StepVariant<double, double> float64;
    StepVariant<double, float> float64_on_float32_noise;
};

// An observer of states that lie in one way.
struct ObserverEntry {
    const char *name;
    Layout layout;
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

// A step of samples that lie row by row, see sampling/score_step.hpp: of x and score, both (n_chains, dim), with step size
// h, noise times `noise`. `kept` is aligned to 64 bytes and lasts from step to step; `opening` also readies what is in it.
struct ScoreJob {
    uint64_t seed;
    int64_t first_chain, n_chains, dim, step;
    double h, noise;
    void *x;
    const void *score;
    void *kept;
    bool opening;
};

// For one type of state and noise.
struct ScoreEntry {
    int64_t (*step[2])(const ScoreJob &);  // [score float32, float64]
    int64_t (*bytes)(int64_t n_chains);
};

// What a model's output is stored as.
enum class OutputType { float32, float64, bfloat16, float16 };

// One row of a diffusion sampler, see diffusion/field_step.hpp, on units first_unit to last_unit of n_samples samples of
// `elements` elements. Pointers to the state's type: x, h1, h2, out, kept, given; null are h1, h2, kept and given where
// there is no such, and x and output where out becomes noise alone.
struct FieldJob {
    uint64_t seed;
    const uint64_t *seeds;  // null, or one for every sample, which is then chain first_sample of its own seed
    int64_t first_sample, n_samples, elements, first_unit, last_unit;
    int64_t step;
    const int64_t *steps;  // null, or one for every sample
    const double *row;     // p, q, limit, a, b, g, c1, c2, s
    int64_t row_stride;    // from sample to sample; 0: all have the same
    bool noisy;
    OutputType output_type;
    const void *x, *output, *h1, *h2, *given;
    void *out, *kept;
};

// For one type of state.
struct FieldEntry {
    int64_t (*step)(const FieldJob &);
    int64_t (*units)(int64_t n_samples, int64_t elements);
    void (*squares)(const void *x, int64_t n_samples, int64_t elements, double *out);
};

struct Kernels {
    const char *level;
    const StepEntry *steps;
    int n_steps;
    const ObserverEntry *observers;
    int n_observers;
    Loop loops[n_layouts][n_precisions];
    void (*noise[2][2])(const NoiseJob &);  // [NoiseKind][float32, float64]
    void (*words)(const NoiseJob &, uint32_t stream);
    void (*elementary[2])(int function, const void *in, const void *power, void *out, int64_t n);  // vector math
    ScoreEntry scores[3];  // [Precision, of normals]
    FieldEntry fields[2];  // [float32, float64]
};

// The levels this extension holds, narrowest first.
const Kernels *const *all_levels(int &n);

bool supported(const char *level);

const Kernels *find_level(const char *level);

// The widest level that this machine runs.
const Kernels &widest_level();

}  // namespace sdefast
