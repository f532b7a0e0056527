// A Langevin step of samples that lie row by row, (n, dim), whose score somebody else has computed, a network say:
//
//     x = x + h s + r z
//
// in place, in one pass, on the chains' own noise: component j of step k of chain i takes draw k dim + j of that chain,
// as the chain loop's steps do. The generators, and the draws of a batch that a step has not used up, are kept from one
// step to the next.
#pragma once

#include "../levels/table.hpp"
#include "../noise/stream.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// T is the state's type, Z that of the noise, S the score's.
template <class T, class Z, class S> class ScoreStep {
    static constexpr i64 batch = rows_per_batch<Z>;

    // What is kept of a row of lanes.
    struct Kept {
        alignas(64) Streams streams;
        alignas(64) Z draws[batch * max_lanes];
    };

  public:
    static i64 bytes(i64 n_chains) { return (n_chains + max_lanes - 1) / max_lanes * i64(sizeof(Kept)); }

    explicit ScoreStep(const ScoreJob &job)
        : job(job), h(T(job.h)), r(T(job.noise)), x(static_cast<T *>(job.x)), s(static_cast<const S *>(job.score)) {}

    // The first chain that is finite and whose score is not: nothing is done then. Else -1.
    i64 run() const {
        const i64 wrong = find_wrong();
        if (wrong >= 0) return wrong;
        for (i64 c = 0; c < job.n_chains; c += max_lanes) {
            const i64 left = job.n_chains - c;
            walk(c, int(left < max_lanes ? left : max_lanes));
        }
        return -1;
    }

  private:
    const ScoreJob &job;
    const T h, r;
    T *const x;
    const S *const s;

    i64 find_wrong() const {
        const i64 n = job.n_chains * job.dim;
        u32 some = 0;
        for (i64 i = 0; i < n; ++i) some |= is_wrong(i);
        if (!some) return -1;
        i64 i = 0;
        while (!is_wrong(i)) ++i;
        return i / job.dim;
    }

    SDEFAST_INLINE u32 is_wrong(i64 i) const { return u32(x[i] - x[i] == T(0)) & u32(!(s[i] - s[i] == S(0))); }

    // A row of lanes through the draws of the step, batch by batch.
    void walk(i64 chain, int valid) const {
        Kept &kept = static_cast<Kept *>(job.kept)[chain / max_lanes];
        const int lanes = (valid + lane_step - 1) / lane_step * lane_step;
        const Source<Normals, Z> source{job.seed, u64(job.first_chain + chain)};
        const i64 first = job.step * job.dim, last = first + job.dim;
        if (job.opening) {
            source.open(kept.streams, lanes, first);
            if (first % batch) source.batch(kept.streams, lanes, first - first % batch, kept.draws, max_lanes);
        }
        for (i64 draw = first; draw < last;) {
            const i64 within = draw % batch, most = batch - within, n = last - draw < most ? last - draw : most;
            if (!within) source.batch(kept.streams, lanes, draw, kept.draws, max_lanes);
            add(chain * job.dim + draw - first, valid, kept.draws + within * max_lanes, n);
            draw += n;
        }
    }

    // n components of `valid` chains, the first of them at `start`.
    [[gnu::noinline]] void add(i64 start, int valid, const Z *z, i64 n) const {
        alignas(64) Z turned[batch * max_lanes];
        for (i64 j = 0; j < n; ++j)
            for (int l = 0; l < valid; ++l) turned[l * n + j] = z[j * max_lanes + l];
        const bool whole = n == job.dim;  // then chains follow each other without a gap
        const i64 pieces = whole ? 1 : valid, length = whole ? valid * n : n;
        for (i64 p = 0; p < pieces; ++p) {
            T *to = x + start + p * job.dim;
            const S *score = s + start + p * job.dim;
            const Z *noise = turned + p * n;
#pragma GCC ivdep
            for (i64 i = 0; i < length; ++i) to[i] = fma(r, T(noise[i]), fma(h, T(score[i]), to[i]));
        }
    }
};

template <class T, class Z, class S> i64 score_step(const ScoreJob &job) { return ScoreStep<T, Z, S>(job).run(); }

template <class T, class Z> constexpr ScoreEntry score_entry = {
    {score_step<T, Z, float>, score_step<T, Z, double>}, ScoreStep<T, Z, T>::bytes};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
