// Statistics of the chains at saved times, gathered while they run and never stored path by path.
//
// For every block of chains and every time, sums of powers of (x - reference) are kept in 16 float64 columns; the
// reference is the first finite chain of the block's first row at that time, so the sums lose nothing to a large mean.
// First and second powers of a row of float32 lanes are first added in float32, 16 terms a column, which costs a quarter
// of converting each.
// The order of all additions is fixed by the lane numbers alone: any instruction set, tile or thread gives the same bits.
#pragma once

#include "../noise/lanes.hpp"
#include "job.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

constexpr int columns = 16;

using Column = double[columns];

// Before a loop over columns: GCC would unroll 16 iterations first and then not vectorise what is left.
#define SDEFAST_COLUMNS _Pragma("GCC unroll 1")

// What a row of `row` lanes adds to a time's sums: per component the power sums (and the extremes), then the products.
template <class T, int row> class Statistics {
    // Partial sums of a row in the state's own type; as many as keep the additions independent of one another.
    static constexpr int partials = row < 64 ? row : 64;

  public:
    // Times that are gathered before they are finished; the caller's scratch holds that many.
    static i64 doubles_per_time(const Gather &wanted) { return columns * rows(wanted) + wanted.dim + 1; }

    void open(const Gather &gather, double *scratch, i64 times) {
        wanted = gather, n_rows = rows(gather);
        sums = reinterpret_cast<Column *>(scratch), partial = sums + times * n_rows;
        reference = scratch + (times + 1) * columns * n_rows, absent = reference + times * wanted.dim;
        work = absent + times;
    }

    static i64 doubles(const Gather &wanted, i64 times) {
        return times * doubles_per_time(wanted) + columns * rows(wanted) + wanted.dim;
    }

    void clear(i64 times) {
        for (i64 r = 0; r < times * n_rows; ++r)
            for (int c = 0; c < columns; ++c) sums[r][c] = 0;
        for (i64 t = 0; t < times; ++t) absent[t] = 0;
    }

    // Add a row: x[i * row + lane], of which the first `valid` lanes count; the others are overwritten, so that
    // every row is a full one.
    void add(i64 time, T *x, int valid, bool first_of_block) {
        if (first_of_block) set_reference(time, x, valid);
        const double *center = reference + time * wanted.dim;
        for (int i = 0; i < wanted.dim; ++i)
            for (int l = valid; l < row; ++l) x[i * row + l] = T(center[i]);  // adds exactly nothing
        if (n_rows == 2 && add_two_powers(x, T(center[0]), sums + 2 * time)) return;
        if (!gather(center, x)) absent[time] += gather_finite(center, x, valid);
        commit(time, first_of_block);
    }

    // The block's numbers of one time, in the order of statistics_size().
    void finish(i64 time, i64 n_chains, double *out) {
        const Column *sum = sums + time * n_rows;
        const double *center = reference + time * wanted.dim;
        const double n = double(n_chains) - absent[time], divisor = n > 0 ? n : 1;
        double *pairs = out + 1 + wanted.dim * statistics_per_component(wanted.moments, wanted.extremes);
        *out++ = n;
        double *shift = work;
        for (int i = 0; i < wanted.dim; ++i) {
            double s[4];
            for (int k = 0; k < wanted.moments; ++k) s[k] = total(*sum++);
            const double d = shift[i] = s[0] / divisor;
            *out++ = shift_of(center[i]) + d;
            *out++ = s[1] - s[0] * d;
            if (wanted.moments == 4) {
                *out++ = s[2] - 3 * d * s[1] + 2 * n * d * d * d;
                *out++ = s[3] - 4 * d * s[2] + 6 * d * d * s[1] - 3 * n * d * d * d * d;
            }
            if (wanted.extremes) {
                *out++ = least(*sum++);
                *out++ = -least(*sum++);
            }
        }
        if (!wanted.covariance) return;
        for (int i = 0; i < wanted.dim; ++i)
            for (int j = i + 1; j < wanted.dim; ++j) *pairs++ = total(*sum++) - n * shift[i] * shift[j];
    }

  private:
    Gather wanted;
    i64 n_rows;
    Column *sums, *partial;
    double *reference, *absent, *work;  // work: a number a component

    static i64 rows(const Gather &wanted) {
        return statistics_size(wanted.dim, wanted.moments, wanted.extremes, wanted.covariance) - 1;
    }

    static bool finite(double x) { return x - x == 0; }

    // Not a number if the row has no finite chain: then all rows of the block take the slow path, unshifted.
    void set_reference(i64 time, const T *x, int valid) {
        int lane = 0;
        while (lane < valid && !chain_is_finite(x, lane)) ++lane;
        for (int i = 0; i < wanted.dim; ++i)
            reference[time * wanted.dim + i] = lane < valid ? double(x[i * row + lane]) : double(__builtin_nan(""));
    }

    static double shift_of(double center) { return finite(center) ? center : 0; }

    // Fast path into `partial`; false if a sum is not finite (a chain that is not, or an overflow) or may have lost
    // squares to underflow.
    bool gather(const double *center, const T *x) {
        Column *out = partial;
        bool good = true;
        for (int i = 0; i < wanted.dim; ++i) {
            const T *own = x + i * row;
            good &= wanted.moments == 2 ? two_powers(own, T(center[i]), out) : four_powers(own, center[i], out);
            // Products are added in T whatever the number of moments.
            if (wanted.moments == 4 && wanted.covariance) good &= !squares_are_lost(own, T(center[i]), out);
            out += wanted.moments;
            if (wanted.extremes) extremes(own, out), out += 2;
        }
        if (wanted.covariance)
            for (int i = 0; i < wanted.dim; ++i)
                for (int j = i + 1; j < wanted.dim; ++j)
                    good &= product(x + i * row, T(center[i]), x + j * row, T(center[j]), *out++);
        return good;
    }

    static bool two_powers(const T *x, T center, Column *out) {
        T first[partials], second[partials];
        for (int l = 0; l < partials; ++l) {
            T sum = 0, squares = 0;
#pragma GCC unroll 4
            for (int b = 0; b < row; b += partials) {
                const T d = x[b + l] - center;
                sum += d;
                squares = fma(d, d, squares);
            }
            first[l] = sum, second[l] = squares;
        }
        fold(first, out[0]);
        fold(second, out[1]);
        return all_finite(out[1]) && !squares_are_lost(x, center, out);
    }

    // Whether float32 may not hold the squares of a row whose powers were added to `out`: the first column that holds
    // anything tells, as the first one of few chains holds the reference alone.
    static bool squares_are_lost(const T *x, T center, const Column *out) {
        if (sizeof(T) == 8) return false;
        int c = 0;
        while (c < columns && out[0][c] == 0 && out[1][c] == 0) ++c;
        return c < columns ? out[1][c] < 1e-25 : differ(x, center);
    }

    // Whether any number of a row is another one than `center`: squares may be lost, and sums cancel.
    static bool differ(const T *x, T center) {
        int n = 0;
        for (int l = 0; l < row; ++l) n += x[l] != center;
        return n > 0;
    }

    // The same straight into the sums of a time: the usual case, mean and variance of one component.
    static bool add_two_powers(const T *x, T center, Column *sum) {
        Column out[2];
        if (!two_powers(x, center, out)) return false;
        SDEFAST_COLUMNS
        for (int c = 0; c < columns; ++c) sum[0][c] += out[0][c], sum[1][c] += out[1][c];
        return true;
    }

    // Partial sums to columns.
    static void fold(const T (&sums)[partials], Column &out) {
        static_assert(partials == 2 * columns || partials == 4 * columns, "one or two halvings");
        constexpr int half = partials / 2;
        T halves[half];
        for (int l = 0; l < half; ++l) halves[l] = sums[l] + sums[l + half];
        if constexpr (half == columns) {
            SDEFAST_COLUMNS
            for (int c = 0; c < columns; ++c) out[c] = double(halves[c]);
        } else {
            SDEFAST_COLUMNS
            for (int c = 0; c < columns; ++c) out[c] = double(halves[c] + halves[c + columns]);
        }
    }

    // In float64 throughout: a fourth power soon leaves the range of float32.
    static bool four_powers(const T *x, double center, Column *out) {
        SDEFAST_COLUMNS
        for (int c = 0; c < columns; ++c) {
            double s1 = 0, s2 = 0, s3 = 0, s4 = 0;
#pragma GCC unroll 16
            for (int b = 0; b < row; b += columns) {
                const double d = double(x[b + c]) - center, square = d * d;
                s1 += d;
                s2 += square;
                s3 = fma(square, d, s3);
                s4 = fma(square, square, s4);
            }
            out[0][c] = s1, out[1][c] = s2, out[2][c] = s3, out[3][c] = s4;
        }
        return all_finite(out[3]);
    }

    static bool all_finite(const Column &column) {
        u64 nan = 0;
        SDEFAST_COLUMNS
        for (int c = 0; c < columns; ++c) nan |= bits<u64>(column[c] - column[c]);  // zero, or a NaN
        return nan == 0;
    }

    // Minima of x and of -x.
    static void extremes(const T *x, Column *out) {
        SDEFAST_COLUMNS
        for (int c = 0; c < columns; ++c) {
            T low = x[c], high = x[c];
#pragma GCC unroll 16
            for (int b = columns; b < row; b += columns) {
                low = x[b + c] < low ? x[b + c] : low;
                high = x[b + c] > high ? x[b + c] : high;
            }
            out[0][c] = double(low), out[1][c] = -double(high);
        }
    }

    static bool product(const T *x, T x_center, const T *y, T y_center, Column &out) {
        T sums[partials];
        for (int l = 0; l < partials; ++l) {
            T sum = 0;
#pragma GCC unroll 4
            for (int b = 0; b < row; b += partials) sum = fma(x[b + l] - x_center, y[b + l] - y_center, sum);
            sums[l] = sum;
        }
        fold(sums, out);
        return all_finite(out);
    }

    // Slow path into `partial`, in float64, over the chains whose components are all finite; returns how many are not.
    i64 gather_finite(const double *center, const T *x, int valid) {
        for (i64 r = 0; r < n_rows; ++r)
            for (int c = 0; c < columns; ++c) partial[r][c] = 0;
        if (wanted.extremes) forget_extremes(partial);
        i64 missing = 0;
        for (int l = 0; l < valid; ++l) {
            if (!chain_is_finite(x, l)) {
                ++missing;
                continue;
            }
            gather_chain(center, x, l);
        }
        return missing;
    }

    bool chain_is_finite(const T *x, int lane) const {
        bool good = true;
        for (int i = 0; i < wanted.dim; ++i) good &= finite(double(x[i * row + lane]));
        return good;
    }

    void gather_chain(const double *center, const T *x, int lane) {
        const int c = lane % columns;
        Column *out = partial;
        double *d = work;
        for (int i = 0; i < wanted.dim; ++i) {
            const double value = double(x[i * row + lane]);
            d[i] = value - shift_of(center[i]);
            double power = 1;
            for (int k = 0; k < wanted.moments; ++k) (*out++)[c] += power *= d[i];
            if (!wanted.extremes) continue;
            out[0][c] = value < out[0][c] ? value : out[0][c];
            out[1][c] = -value < out[1][c] ? -value : out[1][c];
            out += 2;
        }
        if (!wanted.covariance) return;
        for (int i = 0; i < wanted.dim; ++i)
            for (int j = i + 1; j < wanted.dim; ++j) (*out++)[c] += d[i] * d[j];
    }

    void forget_extremes(Column *rows) const {
        for (int i = 0; i < wanted.dim; ++i)
            for (int k = 0; k < 2; ++k)
                for (int c = 0; c < columns; ++c)
                    rows[i * (wanted.moments + 2) + wanted.moments + k][c] = __builtin_inf();
    }

    void commit(i64 time, bool first_of_block) {
        Column *sum = sums + time * n_rows;
        if (first_of_block && wanted.extremes) forget_extremes(sum);
        if (!wanted.extremes) {
            for (i64 r = 0; r < n_rows; ++r)
                for (int c = 0; c < columns; ++c) sum[r][c] += partial[r][c];
            return;
        }
        const i64 per_component = wanted.moments + 2;
        for (i64 r = 0; r < n_rows; ++r) {
            const bool is_power = r >= wanted.dim * per_component || r % per_component < wanted.moments;
            for (int c = 0; c < columns; ++c)
                sum[r][c] = is_power                     ? sum[r][c] + partial[r][c]
                            : partial[r][c] < sum[r][c] ? partial[r][c]
                                                        : sum[r][c];
        }
    }

    static double total(const Column &column) {
        double s[columns];
        for (int c = 0; c < columns; ++c) s[c] = column[c];
        for (int half = columns / 2; half > 0; half /= 2)
            for (int c = 0; c < half; ++c) s[c] += s[c + half];
        return s[0];
    }

    static double least(const Column &column) {
        double low = column[0];
        for (int c = 1; c < columns; ++c) low = column[c] < low ? column[c] : low;
        return low;
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
