// Which rows of data a chain takes, step after step: drawn with replacement, or in shuffled epochs.
//
// Pick number m of a chain (step k, sample b: m = k B + b) is made of its words 2m and 2m + 1 of stream 2, the first one
// the higher: word = 2^32 first + second. With replacement it is row floor(word n / 2^64). Shuffled, an epoch holds
// P = B floor(n / B) picks, and pick p = m mod P does step p of a Fisher-Yates shuffle that begins with the identity:
// j = p + floor(word (n - p) / 2^64), entries p and j change places, the row is what is then entry p.
#pragma once

#include "../noise/stream.hpp"
#include "job.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// A row of the buffer holds a pick of each lane, a step takes data.picks rows.
template <int row> class Picks {
  public:
    static constexpr i64 batch = 32;  // picks that are made at a time, of whole batches of words

    // Steppers look a little ahead for what to fetch: one row more than is ever used.
    static i64 bytes(const Data &data) {
        if (data.picks == 0) return 0;
        return (data.picks + batch + 1 + 2 * batch + (data.shuffled ? data.n : 0)) * i64(row * sizeof(u32));
    }

    Picks(u64 seed, u64 chain, Streams &streams, int lanes, u32 *memory, const Data &data)
        : source{seed, chain}, streams(streams), lanes(lanes), data(data), draws(data.picks),
          epoch(draws ? data.n / draws * draws : 0), picks(memory), words(picks + (draws + batch + 1) * row),
          order(words + 2 * batch * row) {
        if (draws) __builtin_memset(picks, 0, size_t((draws + batch + 1) * row) * sizeof(u32));
    }

    // Go on at step k. Generators and order are found anew, in a shuffled epoch from its start.
    void start(i64 k) {
        if (draws == 0) return;
        constexpr i64 aligned = rows_per_batch<u32> / 2;
        const i64 first = k * draws, begin = data.shuffled ? first - first % epoch : first;
        made = begin - begin % aligned;
        source.open(streams, lanes, 2 * made);
        i64 skipped;
        do {
            skipped = first - made;
            make(picks, begin);
        } while (made <= first);
        used = skipped;
        available = batch - skipped;
    }

    i64 steps() {
        if (draws == 0) return i64(1) << 62;
        while (available < draws) more();
        return available / draws;
    }

    const u32 *next() const { return picks + used * row; }

    void spend(i64 steps) { used += steps * draws, available -= steps * draws; }

  private:
    const Source<Words, u32> source;
    Streams &streams;
    const int lanes;
    const Data &data;
    const i64 draws, epoch;
    u32 *const picks, *const words, *const order;
    i64 made = 0, used = 0, available = 0;  // picks made since the chain's start; in the buffer

    void more() {
        if (used) __builtin_memmove(picks, picks + used * row, size_t(available * row) * sizeof(u32));
        used = 0;
        make(picks + available * row, 0);
        available += batch;
    }

    // The next batch; picks before `begin` belong to an epoch that is not wanted.
    void make(u32 *out, i64 begin) {
        for (i64 w = 0; w < 2 * batch; w += rows_per_batch<u32>)
            source.batch(streams, lanes, 2 * made + w, words + w * row, row);
        for (i64 t = 0; t < batch; ++t, ++made, out += row) {
            if (!data.shuffled)
                bounded(words + 2 * t * row, u64(data.n), out);
            else if (made >= begin)
                shuffle(made % epoch, words + 2 * t * row, out);
        }
    }

    // floor(word n / 2^64), n < 2^32.
    static void bounded(const u32 *high, u64 n, u32 *out) {
        const u32 *low = high + row;
#pragma GCC ivdep
        for (int l = 0; l < row; ++l) out[l] = u32((u64(high[l]) * n + (u64(low[l]) * n >> 32)) >> 32);
    }

    void shuffle(i64 p, const u32 *high, u32 *out) {
        if (p == 0)
            for (int l = 0; l < lanes; ++l)
                for (i64 i = 0; i < data.n; ++i) order[l * data.n + i] = u32(i);
        u32 offset[row];
        bounded(high, u64(data.n - p), offset);
        for (int l = 0; l < lanes; ++l) {
            u32 *mine = order + l * data.n + p, *other = mine + offset[l];
            out[l] = *other;
            *other = *mine;
            *mine = out[l];
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
