// The noise of fields: samples of E elements that lie one after the other in memory, images or points under a network.
// Sample i is chain i, in stream 0; all elements of a step are drawn at once, by
//
//   J = 256 draws of a segment, W = 16 segments side by side (W = 1 where E < 32), S = W ceil(E / (W J)) segments a step:
//   element e = (g J + j) W + l of step k takes draw j of segment k S + W g + l.
//
// So neighbours in memory are neighbours in lanes, a single sample fills the lanes as a batch does, every step begins on a
// segment border, and no element is more than J draws from one. Small samples fill the lanes side by side.
#pragma once

#include "stream.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

constexpr int field_draws = 256, field_width = 16, least_wide_field = 32;

// Elements of a group: those with the same g.
constexpr i64 field_group = field_draws * field_width;

// S, of samples of that many elements.
SDEFAST_INLINE i64 segments_per_step(i64 elements) {
    return elements < least_wide_field ? 1 : field_width * ((elements + field_group - 1) / field_group);
}

// The streams of lane_step segments, each of any seed and chain.
struct FieldStreams {
    alignas(64) u64 seed[lane_step], chain[lane_step], segment[lane_step];
    Streams streams;

    [[gnu::noinline]] void key() {
        for (int l = 0; l < lane_step; l += philox_lanes) {
            const PhiloxWords chains = load_words(chain + l), stream = u64(Normals::stream) - PhiloxWords{};
            philox4x32_10(load_words(seed + l), load_words(segment + l), stream, chains, chains >> 32, streams.s0 + l,
                          streams.s1 + l, streams.s2 + l, streams.s3 + l);
        }
    }

    // The next draws of every lane, an even number of rows of lane_step.
    template <class Z> [[gnu::noinline]] void fill(Z *out, i64 draws) {
        for (i64 d = 0; d < draws; d += 2)
            fill_pair<Normals>(streams, lane_step, out + d * lane_step, out + (d + 1) * lane_step);
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
