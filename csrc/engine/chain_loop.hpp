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
#include "store.hpp"

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

// What a step draws as Z: normals, or signs in words.
template <class Z> struct KindOf {
    using type = Normals;
};
template <> struct KindOf<u32> {
    using type = Words;
};

// T is the state's type, Z that of normals or signs. A step may also draw uniforms and rows of data; what it does not
// draw takes neither memory nor time.
template <class T, class Z, Layout chain_layout> class ChainLoop {
    static constexpr int row = row_of<chain_layout>;
    static constexpr bool lies_in_chains = chain_layout == Layout::chains;

    using Noise = Feed<typename KindOf<Z>::type, Z, row>;
    using Uniform = Feed<Uniforms, T, row>;
    using Pick = Picks<row>;

  public:
    ChainLoop(const Job &job, Function stepper)
        : job(job), stepper(stepper), chunk(chunk_of(job)), times(most_saves(job, chunk)),
          streaming(job.n_saves * job.saved_dim * job.n_chains * i64(sizeof(T)) >= least_streamed), memory(job, times),
          statistics(at<Statistics<T, row>>(memory.gathered)) {}

    static i64 scratch_bytes(const Job &job) { return Memory(job, most_saves(job, chunk_of(job))).bytes; }

    void run() {
        for (i64 start = 0; start < job.n_chains; start += chains_per_block)
            run_block(start, min(chains_per_block, job.n_chains - start));
        if (streaming) finish_streaming();
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
        i64 batch = Noise::batch > 16 ? Noise::batch : 16;
        if (job.data.picks && batch < Pick::batch) batch = Pick::batch;
        const i64 steps = steps_per_chunk(job, doubles_per_time, batch);
        if (!job.data.shuffled) return steps;
        const i64 epoch = job.data.n / job.data.picks;  // an order is not kept over a chunk's end
        return (steps + epoch - 1) / epoch * epoch;
    }

    // Numbers of a row's state.
    static i64 state_size(const Job &job) {
        return row * (lies_in_chains ? job.dim / job.data.dim * job.data.width : job.dim);
    }

    // Where things lie in the scratch memory: per group of lanes its generators and state; the draws of one; sums.
    struct Memory {
        i64 groups, uniform_streams, pick_streams, state, noise, uniforms, picks, path, observed, gathered, sums, bytes;

        Memory(const Job &job, i64 times) {
            groups = (min(chains_per_block, job.n_chains) + row - 1) / row;
            const i64 generators = groups * i64(sizeof(Streams));
            uniform_streams = job.noise_dim ? generators : 0;
            pick_streams = uniform_streams + (job.uniform_dim ? generators : 0);
            state = pick_streams + (job.data.picks ? generators : 0);
            noise = state + groups * state_size(job) * i64(sizeof(T));
            uniforms = noise + (job.noise_dim ? Noise::rows(job.noise_dim) * row_bytes<Z> : 0);
            picks = uniforms + (job.uniform_dim ? Uniform::rows(job.uniform_dim) * row_bytes<T> : 0);
            path = picks + Pick::bytes(job.data);
            observed = path + (job.writes_path ? path_rows : lies_in_chains || job.needs_room ? 1 : 0) * job.dim * row_bytes<T>;
            gathered = observed + job.observer_dim * row_bytes<T>;
            sums = gathered + (job.n_gathers * i64(sizeof(Statistics<T, row>)) + 63) / 64 * 64;
            bytes = sums;
            for (int g = 0; g < job.n_gathers; ++g)
                bytes += Statistics<T, row>::doubles(job.gathers[g], times) * i64(sizeof(double));
        }
    };

    const Job &job;
    const Function stepper;
    const i64 chunk, times;  // saved times of a chunk at most
    const bool streaming;    // of saved states, of which there are many
    const Memory memory;
    Statistics<T, row> *const statistics;

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
    // Of what is not drawn there are none, and nothing asks them for anything.
    Streams &streams(i64 at_bytes, i64 group) const { return at<Streams>(at_bytes)[group]; }
    T *state(i64 group) const { return at<T>(memory.state) + group * state_size(job); }

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
        Noise noise(job.seed, chain, streams(0, g.index), g.lanes, job.noise_dim, at<Z>(memory.noise));
        Uniform uniforms(job.seed, chain, streams(memory.uniform_streams, g.index), g.lanes, job.uniform_dim,
                         at<T>(memory.uniforms), job.uniform_words);
        Pick picks(job.seed, chain, streams(memory.pick_streams, g.index), g.lanes, at<u32>(memory.picks), job.data);
        if (job.given) {
            const Z *given = static_cast<const Z *>(job.given) + g.chain;
            noise.replace(given, job.given_stride, job.first_step * job.noise_dim, job.n_steps * job.noise_dim, g.valid);
        }
        const bool opening = k == job.first_step || job.data.shuffled;  // then chunks end anywhere in a batch
        noise.start(k, opening);
        uniforms.start(k, opening);
        picks.start(k);

        i64 next = save;
        for (; next < saves_end && job.saves[next] == k; ++next) record(g, state(g.index), next, next - save);
        while (k < end && !*job.abort) {  // a step of many parameters and samples takes long
            const i64 n = min(min(noise.steps(), uniforms.steps()), min(picks.steps(), end - k));
            const i64 done = advance(g, k, n, next, saves_end, save, {noise.next(), uniforms.next(), picks.next()});
            k += done;
            noise.spend(done);
            uniforms.spend(done);
            picks.spend(done);
            while (next < saves_end && job.saves[next] <= k) ++next;
        }
    }

    // What the next steps draw.
    struct Draws {
        const Z *z;
        const T *u;
        const u32 *picks;
    };

    // Up to n steps from step k: to the next time to record, or, where every step is recorded, through several of them.
    i64 advance(const Group &g, i64 k, i64 n, i64 next, i64 saves_end, i64 save, Draws draws) {
        T *x = state(g.index), *path = at<T>(memory.path);
        i64 recorded = 0;
        const i64 most = min(min(n, job.writes_path ? path_rows : 1), saves_end - next);
        while (recorded < most && job.saves[next + recorded] == k + recorded + 1) ++recorded;
        const i64 steps = recorded ? recorded : next < saves_end ? min(n, job.saves[next] - k) : n;
        const bool several = recorded > 1;
        step(g, k, steps, x, draws, several || job.needs_room ? path : nullptr);
        if (several) {
            for (i64 r = 0; r < recorded; ++r) record(g, path + r * job.dim * row, next + r, next + r - save);
        } else if (next < saves_end && job.saves[next] == k + steps) {
            record(g, x, next, next - save);
        }
        return steps;
    }

    void step(const Group &g, i64 k, i64 steps, T *x, Draws draws, T *path) const {
        const i64 stride = job.coefficient_stride;
        const double *c = job.coefficients + (k - job.first_step) * stride;
        if (job.data.picks)
            reinterpret_cast<DataStepper<T, Z>>(stepper)(c, stride, k, steps, job.dim, job.noise_dim, g.lanes, x, draws.z,
                                                         draws.u, path, table(), draws.picks, job.data.picks,
                                                         static_cast<const Z *>(job.data.rows), job.data.width);
        else
            reinterpret_cast<Stepper<T, Z>>(stepper)(c, stride, k, steps, job.dim, job.noise_dim, g.lanes, x, draws.z,
                                                     draws.u, path, table());
    }

    // The values of the job's observer, where there is one.
    T *observe(const Group &g, const T *x, i64 save) const {
        T *observed = at<T>(memory.observed);
        if (job.observer)
            reinterpret_cast<Observer<T>>(job.observer)(job.observer_parameters, job.save_times[save], g.lanes, x,
                                                         observed, table());
        return observed;
    }

    void record(const Group &g, T *x, i64 save, i64 time) {
        T *const own = x;
        if constexpr (lies_in_chains) x = components(g);
        T *observed = observe(g, job.observes_rows ? x : own, save);
        if (job.saved) {
            T *out = static_cast<T *>(job.saved) + save * job.saved_time_stride + g.chain;
            for (int i = 0; i < job.saved_dim; ++i)
                store_row(out + i * job.saved_dim_stride, x + i * row, g.valid * i64(sizeof(T)), streaming);
        }
        if (job.histogram)
            count(g, (job.counts_observed ? observed : x) + job.counted_row * row,
                  job.histogram + save * job.counted_dim * (job.n_bins + 2));
        for (int i = 0; i < job.n_gathers; ++i) {
            const Gather &gather = job.gathers[i];
            T *rows = (gather.observed ? observed : x) + gather.first_row * row;
            statistics[i].add(time, rows, g.valid, g.index == 0);
        }
    }

    // Values that are no number are counted nowhere.
    void count(const Group &g, const T *x, i64 *counts) const {
        for (int i = 0; i < job.counted_dim; ++i, x += row, counts += job.n_bins + 2) {
            for (int l = 0; l < g.valid; ++l) {
                const double bin = (double(x[l]) - job.low) * job.bins_per_unit;
                if (bin != bin) continue;
                ++counts[bin < 0 ? 0 : bin >= job.n_bins ? job.n_bins + 1 : i64(bin) + 1];
            }
        }
    }

    void open_statistics() {
        double *sums = at<double>(memory.sums);
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
            T *x = lies_in_chains ? at<T>(memory.path) + i * row : state(g.index) + i * row;
            for (int l = 0; l < g.lanes; ++l) x[l] = from[l < g.valid ? l : 0];
        }
        if constexpr (lies_in_chains) turn(g, at<T>(memory.path), state(g.index), true);
    }

    void store(const Group &g) {
        const T *x = lies_in_chains ? turn(g, at<T>(memory.path), state(g.index), false) : state(g.index);
        for (int i = 0; i < job.dim; ++i) {
            T *to = static_cast<T *>(job.state) + i * job.state_stride + g.chain;
            __builtin_memcpy(to, x + i * row, size_t(g.valid) * sizeof(T));
        }
    }

    // Chains that lie one after the other as rows of components, if somebody asks for those.
    T *components(const Group &g) const {
        bool wanted = job.saved || (job.histogram && !job.counts_observed) || job.observes_rows;
        for (int i = 0; i < job.n_gathers; ++i) wanted |= !job.gathers[i].observed;
        return wanted ? turn(g, at<T>(memory.path), state(g.index), false) : nullptr;
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
