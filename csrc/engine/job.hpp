// What a kernel is asked to do: plain data, the same for every instruction-set level.
#pragma once

#include <stdint.h>

namespace sdefast {

// Statistics are kept per block of chains, whatever tile or thread runs it, so their bits depend on nothing else.
constexpr int64_t chains_per_block = 4096;

// The largest dimension of state and noise.
constexpr int largest_dim = 64;

// A range of chains through a range of steps.
struct Job {
    uint64_t seed;
    uint32_t stream;
    int64_t first_chain, n_chains;
    int64_t first_step, n_steps;
    int dim, noise_dim;

    // Step s uses coefficients[(s - first_step) * coefficient_stride ...]; the stride is 0 on a uniform grid.
    const double *coefficients;
    int64_t coefficient_stride;

    // (dim, n_chains), read at the start and written at the end; rows are state_stride elements apart.
    void *state;
    int64_t state_stride;

    // Steps after which to record, increasing, within [first_step, first_step + n_steps]; first_step means the start.
    const int64_t *saves;
    int64_t n_saves;

    // Saved states (n_saves, dim, n_chains), or null.
    void *saved;
    int64_t saved_time_stride, saved_dim_stride;

    // Statistics, (n_blocks, n_saves, statistics_size), or null; see statistics.hpp.
    double *statistics;
    int moments;      // 2 or 4
    bool extremes;    // minimum and maximum
    bool covariance;  // of all pairs of components

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
