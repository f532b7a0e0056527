// What chains carry besides for diagnostics: the rows of sdefast/sampling/diagnostics.py.
#pragma once

#include "../noise/lanes.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// The draws after burn-in are cut into batches of `length`, of which the first `counted` draws are made. What most steps
// do is add to the sums of a batch; the end of a batch moves those to the other rows.
template <class T, int row> class Diagnostics {
    enum Row { batch, squares, means, mean_squares, all_squares, half, n_rows };

  public:
    static constexpr int rows_per_component = n_rows;

    // At draw number 1, 2, ... after burn-in.
    Diagnostics(double draw, double length, double counted)
        : counts(draw >= 1 && draw <= counted), ends(counts && draw - length * __builtin_floor(draw / length) == 0),
          halves(counts && 2 * draw == counted), share(T(1 / length)) {}

    // Of lane_step lanes.
    void follow(T *rows, const T *x, const T *center, int dim) const {
        if (!counts) return;
        for (int i = 0; i < dim; ++i, rows += n_rows * row, x += row) {
            add(rows, x, center[i]);
            if (ends) end(rows);
        }
    }

  private:
    const bool counts, ends, halves;
    const T share;

    SDEFAST_INLINE static void add(T *rows, const T *x, T center) {
#pragma GCC ivdep
        for (int l = 0; l < lane_step; ++l) {
            const T away = x[l] - center;
            rows[batch * row + l] += away;
            rows[squares * row + l] = fma(away, away, rows[squares * row + l]);
        }
    }

    SDEFAST_INLINE void end(T *rows) const {
#pragma GCC ivdep
        for (int l = 0; l < lane_step; ++l) {
            const T mean = share * rows[batch * row + l], sum = rows[means * row + l] + mean;
            rows[means * row + l] = sum;
            rows[mean_squares * row + l] = fma(mean, mean, rows[mean_squares * row + l]);
            rows[all_squares * row + l] += rows[squares * row + l];
            rows[batch * row + l] = 0, rows[squares * row + l] = 0;
            if (halves) rows[half * row + l] = sum;
        }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
