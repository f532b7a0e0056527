// How long rows of lanes are; the same for every instruction-set level.
#pragma once

namespace sdefast {

// Chains are worked on in rows of lanes; a row is a whole number of `lane_step` lanes and at most `max_lanes`. Chains of
// many components go in the shortest rows, so that a row's state and noise stay in the first-level cache.
constexpr int lane_step = 32;
constexpr int max_lanes = 256;
constexpr int narrow_lanes = lane_step;

}  // namespace sdefast
