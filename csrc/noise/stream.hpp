// The noise contract: which word is which draw. Every implementation (this one, the numpy reference in the tests, CUDA)
// is held to the same known answers.
//
//   word(seed, stream, chain, w)   w = 0, 1, 2, ...
//     segment = w / 1024. The xoshiro128++ state at the start of a segment is
//     philox4x32_10(key = seed, counter = (segment, stream, chain low, chain high)), x0..x3 becoming s0..s3;
//     words follow in order. So any point of any chain is reached by at most 1024 words.
//     (All four state words zero would be a fixed point; each seed has it for one counter in 2^128.)
//   streams: 0 normals, 1 uniforms, 2 integers and random bits; a kind of draw never uses another's stream.
//   normal n, float32: pair j = n / 2 from words 2j, 2j + 1 (box_muller in normal.hpp)
//             float64: pair j from words 4j .. 4j + 3. No segment border splits a pair.
//   uniform n, float32: (floor(word / 2^9) + 1/2) 2^-23 from word n
//              float64: (floor(word / 2^12) + 1/2) 2^-52, word = 2^32 words[2n] + words[2n + 1]; both lie in (0, 1)
//   sign n: +1 or -1 as bit n % 32 of word n / 32 is 1 or 0
//   a step that needs m draws takes the next m of its chain: step k, component j is draw k m + j.
//   The normals of a field, all E elements of a sample at once, lie otherwise: see field.hpp.
#pragma once

#include "normal.hpp"
#include "philox.hpp"
#include "xoshiro.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

constexpr int words_per_segment = 1024;

template <class Z> constexpr int words_per_draw = sizeof(Z) / sizeof(u32);

// Draws come in batches of rows, small enough for a batch to stay in the first-level cache and a divisor of a segment.
template <class Z> constexpr int rows_per_batch = 64 / sizeof(Z);

// The generators of one row of lanes.
struct alignas(64) Streams {
    u32 s0[max_lanes], s1[max_lanes], s2[max_lanes], s3[max_lanes];

    SDEFAST_INLINE Xoshiro load(int lane) const { return {s0[lane], s1[lane], s2[lane], s3[lane]}; }
    SDEFAST_INLINE void store(int lane, const Xoshiro &x) {
        s0[lane] = x.s0, s1[lane] = x.s1, s2[lane] = x.s2, s3[lane] = x.s3;
    }
};

// Lane l gets the start of a segment of chain first_chain + l.
[[gnu::noinline]] inline void rekey(Streams &streams, int lanes, u64 seed, u32 stream, u32 segment, u64 first_chain) {
    const PhiloxWords none{}, key = seed - none;
    u64 first[philox_lanes];
    for (int l = 0; l < philox_lanes; ++l) first[l] = first_chain + u64(l);
    PhiloxWords chain = load_words(first);
    for (int l = 0; l < lanes; l += philox_lanes, chain += u64(philox_lanes))
        philox4x32_10(key, u64(segment) - none, u64(stream) - none, chain, chain >> 32, streams.s0 + l, streams.s1 + l,
                      streams.s2 + l, streams.s3 + l);
}

[[gnu::noinline]] inline void skip(Streams &streams, int lanes, int words) {
    for (int b = 0; b < lanes; b += lane_step) {
        for (int w = 0; w < words; ++w) {
#pragma GCC ivdep
            for (int l = b; l < b + lane_step; ++l) {
                Xoshiro x = streams.load(l);
                x.next();
                streams.store(l, x);
            }
        }
    }
}

// What one kind of draw makes of words: `draw` a pair of rows, `finish` a second pass over it.
struct Normals {
    static constexpr u32 stream = 0;

    SDEFAST_INLINE static void draw(Xoshiro &x, float &first, float &second) {
        const u32 radius = x.next(), angle = x.next();
        radius_and_angle(radius, angle, first, second);
    }
    SDEFAST_INLINE static void draw(Xoshiro &x, double &first, double &second) {
        const u32 radius_high = x.next(), radius_low = x.next(), angle_high = x.next(), angle_low = x.next();
        radius_and_angle(radius_high, radius_low, angle_high, angle_low, first, second);
    }
    template <class Z> SDEFAST_INLINE static void finish(Z &first, Z &second) { finish_normals(first, second); }
};

struct Uniforms {
    static constexpr u32 stream = 1;

    SDEFAST_INLINE static void next(Xoshiro &x, float &out) {
        out = bits<float>(x.next() >> 9 | 0x3f800000) - (1.0f - 0x1p-24f);
    }
    SDEFAST_INLINE static void next(Xoshiro &x, double &out) {
        const u64 high = x.next(), word = high << 32 | x.next();
        out = bits<double>(word >> 12 | 0x3ff0000000000000) - (1.0 - 0x1p-53);
    }
    template <class Z> SDEFAST_INLINE static void draw(Xoshiro &x, Z &first, Z &second) {
        next(x, first);
        next(x, second);
    }
    template <class Z> SDEFAST_INLINE static void finish(Z &, Z &) {}
};

// The words of float32 uniforms, whose last 9 bits those leave out. They lie where the uniforms would.
struct UniformWords {
    SDEFAST_INLINE static void draw(Xoshiro &x, float &first, float &second) {
        first = bits<float>(x.next());
        second = bits<float>(x.next());
    }
    SDEFAST_INLINE static void draw(Xoshiro &x, double &first, double &second) { Uniforms::draw(x, first, second); }
    template <class Z> SDEFAST_INLINE static void finish(Z &, Z &) {}
};

// 32 random bits a draw.
struct Words {
    static constexpr u32 stream = 2;

    SDEFAST_INLINE static void draw(Xoshiro &x, u32 &first, u32 &second) {
        first = x.next();
        second = x.next();
    }
    SDEFAST_INLINE static void finish(u32 &, u32 &) {}
};

// Lanes between the two passes over draws. Roots of doubles keep the divider busy in the second one: passes of few lanes
// let the first one of the next lanes go on meanwhile.
template <class Z> constexpr int lanes_apart = sizeof(Z) == sizeof(double) ? lane_step : max_lanes;

// The next two draws of every lane.
template <class Kind, class Z>
SDEFAST_INLINE void fill_pair(Streams &streams, int lanes, Z *__restrict first, Z *__restrict second) {
    for (int c = 0; c < lanes; c += lanes_apart<Z>) {
        const int end = lanes - c < lanes_apart<Z> ? lanes : c + lanes_apart<Z>;
        for (int b = c; b < end; b += lane_step) {
#pragma GCC ivdep
            for (int l = b; l < b + lane_step; ++l) {
                Xoshiro x = streams.load(l);
                Kind::draw(x, first[l], second[l]);
                streams.store(l, x);
            }
        }
        for (int b = c; b < end; b += lane_step) {
#pragma GCC ivdep
            for (int l = b; l < b + lane_step; ++l) Kind::finish(first[l], second[l]);
        }
    }
}

// The next rows_per_batch<Z> draws of every lane, one row a draw, rows `row` elements apart.
template <class Kind, class Z> [[gnu::noinline]] void fill(Streams &streams, int lanes, Z *out, i64 row) {
    for (int d = 0; d < rows_per_batch<Z>; d += 2) fill_pair<Kind>(streams, lanes, out + d * row, out + (d + 1) * row);
}

// Walks a row of lanes through its draws, batch by batch; `next` is the draw that the next fill starts with.
template <class Kind, class Z> struct Source {
    u64 seed, first_chain;
    bool words = false;  // of uniforms

    static constexpr int draws_per_segment = words_per_segment / words_per_draw<Z>;

    // Ready the streams for the batch that holds `draw`.
    void open(Streams &streams, int lanes, i64 draw) const {
        const i64 start = draw - draw % rows_per_batch<Z>, within = start % draws_per_segment;
        if (within == 0) return;  // the fill re-keys
        key(streams, lanes, start);
        skip(streams, lanes, int(within) * words_per_draw<Z>);
    }

    // Fill the batch that starts at draw `start`.
    void batch(Streams &streams, int lanes, i64 start, Z *out, i64 row) const {
        if (start % draws_per_segment == 0) key(streams, lanes, start);
        if constexpr (Kind::stream == Uniforms::stream)
            if (words) return fill<UniformWords>(streams, lanes, out, row);
        fill<Kind>(streams, lanes, out, row);
    }

    void key(Streams &streams, int lanes, i64 draw) const {
        rekey(streams, lanes, seed, Kind::stream, u32(draw / draws_per_segment), first_chain);
    }
};

// What `row` lanes draw step after step: batches in a buffer, of which the first `used` draws are spent and the next
// `available` are not. A row of words holds 32 signs.
template <class Kind, class Z, int row> class Feed {
  public:
    static constexpr i64 draws_per_row = Kind::stream == 2 ? 32 : 1, batch = rows_per_batch<Z> * draws_per_row;

    // The buffer holds `rows(draws)` rows.
    static i64 rows(i64 draws) { return draws + 1 + rows_per_batch<Z>; }

    Feed(u64 seed, u64 chain, Streams &streams, int lanes, i64 draws, Z *buffer, bool words = false)
        : source{seed, chain, words}, streams(streams), lanes(lanes), draws(draws), buffer(buffer) {}

    // Draws to use instead of the generator's: draw first + n of lane l is given[n * stride + l], for n < count.
    void replace(const Z *draws_given, i64 stride, i64 first, i64 count, int n_lanes) {
        given = draws_given, given_stride = stride, first_given = first, n_given = count, valid = n_lanes;
    }

    // Go on at step k; `opening` also readies the generators.
    void start(i64 k, bool opening) {
        if (draws == 0) return;
        const i64 draw = k * draws;
        filled = draw - draw % batch;
        used = draw - filled, available = -used;
        if (opening && !given) source.open(streams, lanes, filled / draws_per_row);
    }

    // How many steps there is noise for; at least one.
    i64 steps() {
        if (draws == 0) return i64(1) << 62;
        while (available < draws) more();
        return available / draws;
    }

    const Z *next() const { return buffer + used / draws_per_row * row; }

    void spend(i64 steps) { used += steps * draws, available -= steps * draws; }

  private:
    Source<Kind, Z> source;
    Streams &streams;
    const int lanes;
    const i64 draws;
    Z *const buffer;
    i64 filled = 0, used = 0, available = 0;

    const Z *given = nullptr;
    i64 given_stride = 0, first_given = 0, n_given = 0;
    int valid = 0;

    void copy(Z *out) const {
        for (i64 r = 0; r < batch; ++r) {
            const i64 draw = filled + r - first_given;  // batches begin before the first one and end after the last
            const bool there = draw >= 0 && draw < n_given;
            for (int l = 0; l < lanes; ++l)
                out[r * row + l] = there && l < valid ? given[draw * given_stride + l] : Z(0);
        }
    }

    void more() {
        i64 left = 0;  // rows of the last batch that a step goes on to need
        if (available > 0) {
            const i64 spent = used / draws_per_row;
            left = (used + available) / draws_per_row - spent;
            __builtin_memmove(buffer, buffer + spent * row, size_t(left * row) * sizeof(Z));
            used -= spent * draws_per_row;
        } else if (available == 0) {
            used = 0;
        }
        if (given)
            copy(buffer + left * row);
        else
            source.batch(streams, lanes, filled / draws_per_row, buffer + left * row, row);
        filled += batch;
        available += batch;
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
