// The one loop: x[k + 1] = step(x[k], noise(seed, chain, k)) for a range of chains and steps, recorded on the way.
//
// A block of chains is worked off in chunks of steps and, within a chunk, one row of lanes after the other: fill a batch
// of noise rows, step through them, record. Noise and state of a row stay in the first-level cache, the states and
// generators of a block in the second. All statistics of a chunk are gathered over the block before the next begins.
#pragma once

#include "../levels/table.hpp"
#include "../models/step.hpp"
#include "../noise/stream.hpp"
#include "job.hpp"
#include "statistics.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Rows of states that are kept at once where every step is recorded.
constexpr i64 path_rows = 8;

// Chunks end on batch borders of the noise, so that nothing but state and generators crosses them.
constexpr i64 long_chunk = 1024, short_chunk = 64;

// A block's saved times should fit the second-level cache beside its chains.
inline i64 steps_per_chunk(const Job &job, i64 doubles_per_time) {
    if (job.n_saves * 8 < job.n_steps) return long_chunk;
    i64 steps = short_chunk;
    while (steps > 16 && steps * doubles_per_time > 16384) steps /= 2;
    return steps;
}

template <class T, class Z> class ChainLoop {
  public:
    ChainLoop(const Job &job, Stepper<T, Z> stepper)
        : job(job), stepper(stepper), chunk(steps_per_chunk(job, Statistics<T>::doubles_per_time(job))),
          layout(job, chunk) {}

    static i64 scratch_bytes(const Job &job) {
        return Layout(job, steps_per_chunk(job, Statistics<T>::doubles_per_time(job))).bytes;
    }

    void run() {
        for (i64 start = 0; start < job.n_chains; start += chains_per_block)
            run_block(start, min(chains_per_block, job.n_chains - start));
    }

  private:
    // Where things lie in the scratch memory: per group of lanes its generators and state; one noise buffer; sums.
    struct Layout {
        i64 groups, state, noise, path, sums, bytes;

        Layout(const Job &job, i64 chunk) {
            groups = (min(chains_per_block, job.n_chains) + max_lanes - 1) / max_lanes;
            state = groups * i64(sizeof(Streams));
            noise = state + groups * job.dim * max_lanes * i64(sizeof(T));
            path = noise + (job.noise_dim + rows_per_batch<Z>) * max_lanes * i64(sizeof(Z));
            sums = path + path_rows * job.dim * max_lanes * i64(sizeof(T));
            const i64 times = min(job.n_saves, chunk + 1);
            bytes = sums + (job.statistics ? Statistics<T>::doubles(job, times) * i64(sizeof(double)) : 0);
        }
    };

    const Job &job;
    const Stepper<T, Z> stepper;  // of the model
    const i64 chunk;
    const Layout layout;

    static i64 min(i64 a, i64 b) { return a < b ? a : b; }
    char *scratch() const { return static_cast<char *>(job.scratch); }
    Streams &streams(i64 group) const { return reinterpret_cast<Streams *>(scratch())[group]; }
    T *state(i64 group) const { return reinterpret_cast<T *>(scratch() + layout.state) + group * job.dim * max_lanes; }
    T *path() const { return reinterpret_cast<T *>(scratch() + layout.path); }
    Z *noise() const { return reinterpret_cast<Z *>(scratch() + layout.noise); }

    // A row of lanes: which chains, how many of them real, and the lanes that round them up to whole vectors.
    struct Group {
        i64 index, chain;
        int valid, lanes;
    };

    Group group(i64 block_start, i64 n_chains, i64 index) const {
        const int valid = int(min(max_lanes, n_chains - index * max_lanes));
        return {index, block_start + index * max_lanes, valid, (valid + lane_step - 1) / lane_step * lane_step};
    }

    void run_block(i64 start, i64 n_chains) {
        const i64 n_groups = (n_chains + max_lanes - 1) / max_lanes, last = job.first_step + job.n_steps;
        Statistics<T> statistics(job, reinterpret_cast<double *>(scratch() + layout.sums), min(job.n_saves, chunk + 1));
        for (i64 g = 0; g < n_groups; ++g) load(group(start, n_chains, g));

        i64 save = 0;  // the next time to record
        for (i64 k = job.first_step; save < job.n_saves || k < last;) {
            const i64 end = min(last, (k / chunk + 1) * chunk);
            i64 saves = 0;
            while (save + saves < job.n_saves && job.saves[save + saves] <= end) ++saves;
            if (job.statistics) statistics.clear(saves);
            for (i64 g = 0; g < n_groups; ++g) {
                if (*job.abort) return;
                run_group(group(start, n_chains, g), k, end, save, saves, statistics);
            }
            if (job.statistics) finish(statistics, start / chains_per_block, n_chains, save, saves);
            save += saves;
            k = end;
            if (k == last) break;
        }
        for (i64 g = 0; g < n_groups; ++g) store(group(start, n_chains, g));
    }

    // One row of lanes from step k to step `end`.
    void run_group(const Group &g, i64 k, i64 end, i64 save, i64 saves, Statistics<T> &statistics) {
        const Source<Normals, Z> source{job.seed, u64(job.first_chain + g.chain)};
        const i64 m = job.noise_dim, batch = rows_per_batch<Z>, saves_end = save + saves;
        T *x = state(g.index);
        Z *z = noise();
        const i64 draw = k * m;
        i64 filled = draw - draw % batch;             // the next draw to fill
        i64 used = draw - filled, available = -used;  // rows of the buffer: used ones, then available ones
        if (k == job.first_step) source.open(streams(g.index), g.lanes, draw);

        i64 next = save;
        for (; next < saves_end && job.saves[next] == k; ++next) record(g, x, next, next - save, statistics);
        while (k < end) {
            while (available < m) {
                if (available > 0) {  // rows left of the last batch, fewer than a step needs
                    __builtin_memmove(z, z + used * max_lanes, size_t(available * max_lanes) * sizeof(Z));
                    used = 0;
                }
                const i64 row = available > 0 ? available : 0;
                source.batch(streams(g.index), g.lanes, filled, z + row * max_lanes, max_lanes);
                filled += batch;
                if (available == 0) used = 0;
                available += batch;
            }
            const i64 n = min(available / m, end - k);
            const i64 done = advance(g, k, n, next, saves_end, save, z + used * max_lanes, statistics);
            k += done, used += done * m, available -= done * m;
            while (next < saves_end && job.saves[next] <= k) ++next;
        }
    }

    // Up to n steps from step k: to the next time to record, or, where every step is recorded, through several of them.
    i64 advance(const Group &g, i64 k, i64 n, i64 next, i64 saves_end, i64 save, const Z *z,
                Statistics<T> &statistics) {
        T *x = state(g.index);
        i64 recorded = 0;
        const i64 most = min(min(n, path_rows), saves_end - next);
        while (recorded < most && job.saves[next + recorded] == k + recorded + 1) ++recorded;
        const i64 steps = recorded ? recorded : next < saves_end ? min(n, job.saves[next] - k) : n;
        const bool several = recorded > 1;
        stepper(job.coefficients + (k - job.first_step) * job.coefficient_stride, job.coefficient_stride, job.dim,
                job.noise_dim, g.lanes, steps, x, z, several ? path() : nullptr);
        if (several) {
            for (i64 r = 0; r < recorded; ++r)
                record(g, path() + r * job.dim * max_lanes, next + r, next + r - save, statistics);
        } else if (next < saves_end && job.saves[next] == k + steps) {
            record(g, x, next, next - save, statistics);
        }
        return steps;
    }

    void record(const Group &g, T *x, i64 save, i64 time, Statistics<T> &statistics) {
        if (job.saved) {
            T *out = static_cast<T *>(job.saved) + save * job.saved_time_stride + g.chain;
            for (int i = 0; i < job.dim; ++i)
                __builtin_memcpy(out + i * job.saved_dim_stride, x + i * max_lanes, size_t(g.valid) * sizeof(T));
        }
        if (job.statistics) statistics.add(time, x, g.valid, g.index == 0);
    }

    void finish(Statistics<T> &statistics, i64 block, i64 n_chains, i64 save, i64 saves) {
        const i64 size = statistics_size(job.dim, job.moments, job.extremes, job.covariance);
        for (i64 t = 0; t < saves; ++t)
            statistics.finish(t, n_chains, job.statistics + (block * job.n_saves + save + t) * size);
    }

    void load(const Group &g) {
        for (int i = 0; i < job.dim; ++i) {
            const T *from = static_cast<const T *>(job.state) + i * job.state_stride + g.chain;
            T *x = state(g.index) + i * max_lanes;
            for (int l = 0; l < g.lanes; ++l) x[l] = from[l < g.valid ? l : 0];
        }
    }

    void store(const Group &g) {
        for (int i = 0; i < job.dim; ++i) {
            T *to = static_cast<T *>(job.state) + i * job.state_stride + g.chain;
            __builtin_memcpy(to, state(g.index) + i * max_lanes, size_t(g.valid) * sizeof(T));
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
