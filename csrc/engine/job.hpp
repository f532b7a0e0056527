// What a kernel is asked to do: plain data, the same for every instruction-set level.
#pragma once

#include <stdint.h>

#include "../noise/rows.hpp"

namespace sdefast {

// Statistics are kept per block of chains, whatever tile or thread runs it, so their bits depend on nothing else.
constexpr int64_t chains_per_block = 4096;

// How the chains of a row of lanes lie in memory while they are worked on: component by component, lane beside lane, in
// rows of `max_lanes` or of `narrow_lanes` (noise/rows.hpp); or one chain after the other, its components side by side.
// Steps of a few components are fastest in wide rows; those of many in narrow ones, whose state and noise stay in the
// first-level cache; and steps that take whole rows of data, vector by vector, on chains.
enum class Layout { wide, narrow, chains };
constexpr int n_layouts = 3;

// The largest dimension of the state: of built-in steps in wide rows, and of all others.
constexpr int largest_wide_dim = 64, largest_dim = 8192;

// Numbers that a step draws at most, of a kind: in wide rows and in others.
constexpr int most_wide_draws = 4096, most_draws = 131072;

// Data that a step may draw rows of, `picks` a step: n rows of `width` numbers of the noise's type, one after the other.
// In `Layout::chains` a chain is one or more vectors of `dim` components, each of them also `width` numbers long.
struct Data {
    const void *rows;
    int64_t n, width, dim;
    int picks;      // 0 where there are no data
    bool shuffled;  // every epoch in a fresh order; else drawn with replacement
};

// Statistics of some rows of numbers: components of the state, or what the observer makes of it.
struct Gather {
    bool observed;
    int first_row, dim;
    int moments;      // 2 or 4
    bool extremes;    // minimum and maximum
    bool covariance;  // of all pairs of components
    double *out;      // (n_blocks, n_saves, statistics_size); see statistics.hpp
};

// Groups of statistics at most.
constexpr int most_gathers = 32768;

// A range of chains through a range of steps.
struct Job {
    uint64_t seed;
    int64_t first_chain, n_chains;
    int64_t first_step, n_steps;
    int dim;
    int noise_dim, uniform_dim;  // draws a step: normals or signs, and uniforms
    bool uniform_words;          // float32 uniforms as the words of which they leave out the last 9 bits
    Data data;                   // and rows of data

    // Normals to use instead of the generator's, from those of first_step on: (draws, n_chains), or null.
    const void *given;
    int64_t given_stride;

    // Step s uses coefficients[(s - first_step) * coefficient_stride ...]; the stride is 0 on a uniform grid.
    const double *coefficients;
    int64_t coefficient_stride;

    // Constants of the run that steppers and observers read (means of a mixture, knots, a design matrix), of the state's
    // type, or null.
    const void *table;

    // (dim, n_chains), read at the start and written at the end; rows are state_stride elements apart.
    void *state;
    int64_t state_stride;

    // Steps after which to record, increasing, within [first_step, first_step + n_steps]; first_step means the start.
    const int64_t *saves;
    int64_t n_saves;

    // The first saved_dim rows of the states at the saves, (n_saves, saved_dim, n_chains), or null.
    void *saved;
    int saved_dim;
    int64_t saved_time_stride, saved_dim_stride;

    // Whether the stepper can leave the states of several steps behind it; whether it needs room for a state besides.
    bool writes_path, needs_room;

    // A function of time and state, evaluated at every saved time: an Observer<T> with observer_dim results, or null. It
    // reads the state as the step has it or, where chains lie one after the other, in narrow rows if observes_rows.
    void (*observer)();
    int observer_dim;
    bool observes_rows;
    const double *observer_parameters;
    const double *save_times;

    const Gather *gathers;
    int n_gathers;

    // Counts of the values of counted_dim rows, from counted_row on, of the state or of what the observer computes, in
    // n_bins equal bins from low on, those below and above in the first and the last of n_bins + 2 columns:
    // (n_saves, counted_dim, n_bins + 2), or null. Counts are added to what is there.
    int64_t *histogram;
    int n_bins, counted_dim, counted_row;
    bool counts_observed;
    double low, bins_per_unit;

    // Set to non-zero by another thread to stop early; the results are then unusable.
    const volatile uint8_t *abort;

    // Aligned to 64 bytes, scratch_bytes(job) long.
    void *scratch;
};

// Numbers kept per block and time: finite chains, then per component mean, central moments 2 (3, 4), minimum and
// maximum; then the sums of products of pairs i < j.
constexpr int64_t statistics_per_component(int moments, bool extremes) { return moments + (extremes ? 2 : 0); }

constexpr int64_t statistics_size(int dim, int moments, bool extremes, bool covariance) {
    return 1 + dim * statistics_per_component(moments, extremes) + (covariance ? int64_t(dim) * (dim - 1) / 2 : 0);
}

}  // namespace sdefast
