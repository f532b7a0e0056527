// The one loop: x[k + 1] = step(x[k], noise(seed, chain, k)) for a range of chains and steps, recorded on the way.
//
// A block of chains is worked off in chunks of steps and, within a chunk, one row of lanes after the other: fill a batch
// of noise rows, step through them, record. Noise and state of a row stay in the first-level cache, the states and
// generators of a block in the second. All statistics of a chunk are gathered over the block before the next begins.
#pragma once

#include "../levels/table.hpp"
#include "step.hpp"
#include "../noise/stream.hpp"
#include "job.hpp"
#include "picks.hpp"
#include "statistics.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Rows of states that are kept at once where every step is recorded.
constexpr i64 path_rows = 8;

// Chunks end on batch borders of the noise, so that nothing but state and generators crosses them.
constexpr i64 long_chunk = 1024, short_chunk = 64;

// A block's saved times should fit the second-level cache beside its chains. `batch` is how many steps surely use up
// whole batches.
inline i64 steps_per_chunk(const Job &job, i64 doubles_per_time, i64 batch) {
    if (job.n_saves * 8 < job.n_steps) return long_chunk;
    i64 steps = batch > short_chunk ? batch : short_chunk;
    while (steps > batch && steps * doubles_per_time > 16384) steps /= 2;
    return steps;
}

// T is the state's type; Kind and Z what the steps draw (normals, words of signs, or rows of data) and its type; `row` how
// many lanes a row has.
template <class T, class Kind, class Z, int row> class ChainLoop {
    using Noise = Feed<Kind, Z, row>;
    using Uniform = Feed<Uniforms, T, row>;

  public:
    ChainLoop(const Job &job, Function stepper)
        : job(job), stepper(stepper), chunk(chunk_of(job)), times(most_saves(job, chunk)), layout(job, times) {}

    static i64 scratch_bytes(const Job &job) { return Layout(job, most_saves(job, chunk_of(job))).bytes; }

    void run() {
        for (i64 start = 0; start < job.n_chains; start += chains_per_block)
            run_block(start, min(chains_per_block, job.n_chains - start));
    }

  private:
    // A row of lanes: which chains, how many of them real, and the lanes that round them up to whole vectors.
    struct Group {
        i64 index, chain;
        int valid, lanes;
    };

    static i64 chunk_of(const Job &job) {
        i64 doubles_per_time = 0;
        for (int g = 0; g < job.n_gathers; ++g) doubles_per_time += Statistics<T, row>::doubles_per_time(job.gathers[g]);
        static_assert(long_chunk % Noise::batch == 0 && long_chunk % Uniform::batch == 0,
                      "chunks must end on batch borders");
        const i64 steps = steps_per_chunk(job, doubles_per_time, Noise::batch > 16 ? Noise::batch : 16);
        if (!job.data.shuffled) return steps;
        const i64 epoch = job.data.n / job.noise_dim;  // an order is not kept over a chunk's end
        return (steps + epoch - 1) / epoch * epoch;
    }

    // Numbers of a row's state.
    static i64 state_size(const Job &job) {
        return row * (is_data<Kind> ? job.dim / job.data.dim * job.data.width : job.dim);
    }

    static i64 noise_bytes(const Job &job) {
        if constexpr (is_data<Kind>)
            return Noise::bytes(job.noise_dim, job.data);
        else
            return Noise::rows(job.noise_dim) * row_bytes<Z>;
    }

    Noise noise_of(u64 chain, const Group &g) const {
        if constexpr (is_data<Kind>)
            return {job.seed, chain, streams(g.index), g.lanes, job.noise_dim, at<Z>(layout.noise), job.data};
        else
            return {job.seed, chain, streams(g.index), g.lanes, job.noise_dim, at<Z>(layout.noise)};
    }

    // Where things lie in the scratch memory: per group of lanes its generators and state; the noise of one; sums.
    struct Layout {
        i64 groups, uniform_streams, state, noise, uniforms, path, observed, sums, bytes;

        Layout(const Job &job, i64 times) {
            groups = (min(chains_per_block, job.n_chains) + row - 1) / row;
            uniform_streams = groups * i64(sizeof(Streams));
            state = uniform_streams * (job.uniform_dim ? 2 : 1);
            noise = state + groups * state_size(job) * i64(sizeof(T));
            uniforms = noise + noise_bytes(job);
            path = uniforms + (job.uniform_dim ? Uniform::rows(job.uniform_dim) * row_bytes<T> : 0);
            observed = path + (job.writes_path ? path_rows : is_data<Kind> ? 1 : 0) * job.dim * row_bytes<T>;
            sums = observed + job.observer_dim * row_bytes<T>;
            bytes = sums;
            for (int g = 0; g < job.n_gathers; ++g)
                bytes += Statistics<T, row>::doubles(job.gathers[g], times) * i64(sizeof(double));
        }
    };

    const Job &job;
    const Function stepper;
    const i64 chunk, times;  // saved times of a chunk at most
    const Layout layout;
    Statistics<T, row> statistics[most_gathers];

    template <class Number> static constexpr i64 row_bytes = i64(row * sizeof(Number));

    static i64 min(i64 a, i64 b) { return a < b ? a : b; }

    // How many times are saved in a chunk at most; one on the border belongs to the chunk that ends there.
    static i64 most_saves(const Job &job, i64 chunk) {
        i64 most = 0, first = 0;
        for (i64 s = 0; s < job.n_saves; ++s) {
            const i64 begin = job.saves[first] > job.first_step ? job.saves[first] - 1 : job.first_step;
            if (job.saves[s] > (begin / chunk + 1) * chunk) first = s;
            most = s - first + 1 > most ? s - first + 1 : most;
        }
        return most;
    }

    const T *table() const { return static_cast<const T *>(job.table); }
    char *scratch() const { return static_cast<char *>(job.scratch); }
    template <class Number> Number *at(i64 bytes) const { return reinterpret_cast<Number *>(scratch() + bytes); }
    Streams &streams(i64 group) const { return at<Streams>(0)[group]; }
    Streams &uniform_streams(i64 group) const { return at<Streams>(layout.uniform_streams)[group]; }
    T *state(i64 group) const { return at<T>(layout.state) + group * state_size(job); }

    Group group(i64 block_start, i64 n_chains, i64 index) const {
        const int valid = int(min(row, n_chains - index * row));
        return {index, block_start + index * row, valid, (valid + lane_step - 1) / lane_step * lane_step};
    }

    void run_block(i64 start, i64 n_chains) {
        const i64 n_groups = (n_chains + row - 1) / row, last = job.first_step + job.n_steps;
        open_statistics();
        for (i64 g = 0; g < n_groups; ++g) load(group(start, n_chains, g));

        i64 save = 0;  // the next time to record
        for (i64 k = job.first_step; save < job.n_saves || k < last;) {
            const i64 end = min(last, (k / chunk + 1) * chunk);
            i64 saves = 0;
            while (save + saves < job.n_saves && job.saves[save + saves] <= end) ++saves;
            for (int i = 0; i < job.n_gathers; ++i) statistics[i].clear(saves);
            for (i64 g = 0; g < n_groups; ++g) {
                if (*job.abort) return;
                run_group(group(start, n_chains, g), k, end, save, saves);
            }
            finish(start / chains_per_block, n_chains, save, saves);
            save += saves;
            k = end;
            if (k == last) break;
        }
        for (i64 g = 0; g < n_groups; ++g) store(group(start, n_chains, g));
    }

    // One row of lanes from step k to step `end`.
    void run_group(const Group &g, i64 k, i64 end, i64 save, i64 saves) {
        const u64 chain = u64(job.first_chain + g.chain);
        const i64 saves_end = save + saves;
        Noise noise = noise_of(chain, g);
        Uniform uniforms(job.seed, chain, uniform_streams(g.index), g.lanes, job.uniform_dim, at<T>(layout.uniforms));
        if constexpr (!is_data<Kind>)
            if (job.given) {
                const Z *given = static_cast<const Z *>(job.given) + g.chain;
                noise.replace(given, job.given_stride, job.first_step * job.noise_dim, job.n_steps * job.noise_dim,
                              g.valid);
            }
        noise.start(k, k == job.first_step);
        uniforms.start(k, k == job.first_step);

        i64 next = save;
        for (; next < saves_end && job.saves[next] == k; ++next) record(g, state(g.index), next, next - save);
        while (k < end && !*job.abort) {  // a step of many parameters and samples takes long
            const i64 n = min(min(noise.steps(), uniforms.steps()), end - k);
            const i64 done = advance(g, k, n, next, saves_end, save, noise.next(), uniforms.next());
            k += done;
            noise.spend(done);
            uniforms.spend(done);
            while (next < saves_end && job.saves[next] <= k) ++next;
        }
    }

    // Up to n steps from step k: to the next time to record, or, where every step is recorded, through several of them.
    i64 advance(const Group &g, i64 k, i64 n, i64 next, i64 saves_end, i64 save, const Z *z, const T *u) {
        T *x = state(g.index), *path = at<T>(layout.path);
        i64 recorded = 0;
        const i64 most = min(min(n, job.writes_path ? path_rows : 1), saves_end - next);
        while (recorded < most && job.saves[next + recorded] == k + recorded + 1) ++recorded;
        const i64 steps = recorded ? recorded : next < saves_end ? min(n, job.saves[next] - k) : n;
        const bool several = recorded > 1;
        const double *coefficients = job.coefficients + (k - job.first_step) * job.coefficient_stride;
        if constexpr (is_data<Kind>)
            reinterpret_cast<DataStepper<T>>(stepper)(coefficients, job.coefficient_stride, k, steps, g.lanes, x, z,
                                                        job.data, table());
        else
            reinterpret_cast<Stepper<T, Z>>(stepper)(coefficients, job.coefficient_stride, k, steps, job.dim,
                                                     job.noise_dim, g.lanes, x, z, u, several ? path : nullptr,
                                                     table());
        if (several) {
            for (i64 r = 0; r < recorded; ++r) record(g, path + r * job.dim * row, next + r, next + r - save);
        } else if (next < saves_end && job.saves[next] == k + steps) {
            record(g, x, next, next - save);
        }
        return steps;
    }

    // The values of the job's observer, where there is one.
    T *observe(const Group &g, const T *x, i64 save) const {
        T *observed = at<T>(layout.observed);
        if (!job.observer) return observed;
        if constexpr (is_data<Kind>)
            reinterpret_cast<DataObserver<T>>(job.observer)(job.observer_parameters, job.data.width, g.lanes, x,
                                                             observed, table());
        else
            reinterpret_cast<Observer<T>>(job.observer)(job.observer_parameters, job.save_times[save], g.lanes, x,
                                                         observed, table());
        return observed;
    }

    void record(const Group &g, T *x, i64 save, i64 time) {
        T *observed = observe(g, x, save);
        if constexpr (is_data<Kind>) x = components(g);
        if (job.saved) {
            T *out = static_cast<T *>(job.saved) + save * job.saved_time_stride + g.chain;
            for (int i = 0; i < job.dim; ++i)
                __builtin_memcpy(out + i * job.saved_dim_stride, x + i * row, size_t(g.valid) * sizeof(T));
        }
        if (job.histogram) count(g, x, job.histogram + save * job.dim * (job.n_bins + 2));
        for (int i = 0; i < job.n_gathers; ++i) {
            const Gather &gather = job.gathers[i];
            T *rows = (gather.observed ? observed : x) + gather.first_row * row;
            statistics[i].add(time, rows, g.valid, g.index == 0);
        }
    }

    // Values that are no number are counted nowhere.
    void count(const Group &g, const T *x, i64 *counts) const {
        for (int i = 0; i < job.dim; ++i, x += row, counts += job.n_bins + 2) {
            for (int l = 0; l < g.valid; ++l) {
                const double bin = (double(x[l]) - job.low) * job.bins_per_unit;
                if (bin != bin) continue;
                ++counts[bin < 0 ? 0 : bin >= job.n_bins ? job.n_bins + 1 : i64(bin) + 1];
            }
        }
    }

    void open_statistics() {
        double *sums = at<double>(layout.sums);
        for (int i = 0; i < job.n_gathers; ++i) {
            statistics[i].open(job.gathers[i], sums, times);
            sums += Statistics<T, row>::doubles(job.gathers[i], times);
        }
    }

    void finish(i64 block, i64 n_chains, i64 save, i64 saves) {
        for (int i = 0; i < job.n_gathers; ++i) {
            const Gather &gather = job.gathers[i];
            const i64 size = statistics_size(gather.dim, gather.moments, gather.extremes, gather.covariance);
            for (i64 t = 0; t < saves; ++t)
                statistics[i].finish(t, n_chains, gather.out + (block * job.n_saves + save + t) * size);
        }
    }

    void load(const Group &g) {
        for (int i = 0; i < job.dim; ++i) {
            const T *from = static_cast<const T *>(job.state) + i * job.state_stride + g.chain;
            T *x = is_data<Kind> ? at<T>(layout.path) + i * row : state(g.index) + i * row;
            for (int l = 0; l < g.lanes; ++l) x[l] = from[l < g.valid ? l : 0];
        }
        if constexpr (is_data<Kind>) turn(g, at<T>(layout.path), state(g.index), true);
    }

    void store(const Group &g) {
        const T *x = is_data<Kind> ? turn(g, at<T>(layout.path), state(g.index), false) : state(g.index);
        for (int i = 0; i < job.dim; ++i) {
            T *to = static_cast<T *>(job.state) + i * job.state_stride + g.chain;
            __builtin_memcpy(to, x + i * row, size_t(g.valid) * sizeof(T));
        }
    }

    // Chains that lie one after the other as rows of components, if somebody asks for those.
    T *components(const Group &g) const {
        bool wanted = job.saved || job.histogram;
        for (int i = 0; i < job.n_gathers; ++i) wanted |= !job.gathers[i].observed;
        return wanted ? turn(g, at<T>(layout.path), state(g.index), false) : nullptr;
    }

    // Between rows of components and chains one after the other, which end in zeros.
    T *turn(const Group &g, T *rows, T *chains, bool to_chains) const {
        const i64 d = job.data.dim, width = job.data.width, parts = job.dim / d;
        for (int l = 0; l < g.lanes; ++l)
            for (i64 p = 0; p < parts; ++p, chains += width) {
                T *own = rows + p * d * row + l;
                for (i64 i = 0; i < d; ++i) (to_chains ? chains[i] : own[i * row]) = to_chains ? own[i * row] : chains[i];
                if (to_chains)
                    for (i64 i = d; i < width; ++i) chains[i] = 0;
            }
        return rows;
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
