// Langevin steps on densities that are loops over tables: mixtures of many components, sums over rows of data.
#pragma once

#include "../engine/job.hpp"
#include "../engine/step.hpp"
#include "../noise/vector_math.hpp"
#include "diagnostics.hpp"
#include "gaussian.hpp"
#include "logistic.hpp"
#include "mixture.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// Coefficients of a step, of all densities: sdefast/sampling/built_in.py writes them.
struct LangevinHeader {
    double dim, temperature, burn_in;
    double batch_length, counted;  // of diagnostics, 0 where there are none
    double own_step_size;          // 1 where chains have their own, in their last row
    double n, shape;               // how many components or rows of data the density has, and their shape
    double step_size;
    double centers, table;         // where in the run's table the centers of the diagnostics and the density begin
};

// What a chain's rows are: the position; where it accepts or rejects, the log density and the score there, the mean
// probability of acceptance and the number of proposals whose density was no number; diagnostics of every component; a
// step size of its own, if it has one. So are those of sdefast/sampling/chain.py, and steps do what the methods there do
// but for roundings.
template <template <class, int> class Density, bool accepts, Layout where> struct Langevin : StepTraits {
    static constexpr Layout layout = where;
    static constexpr bool needs_room = true;
    static constexpr int row = row_of<where>;
    using Header = LangevinHeader;
    static constexpr int n_header = sizeof(Header) / sizeof(double);

    template <class T> static bool fits(const Job &job, const double *coefficients, i64 n) {
        if (n != n_header) return false;
        const Header &h = reinterpret_cast<const Header &>(*coefficients);
        if (!(h.dim >= 1 && h.dim <= largest_dim && h.n >= 1 && h.n <= 1e9 && h.centers >= 0 && h.table >= 0 &&
              h.shape >= 0 && h.shape <= 2))
            return false;
        return job.dim == n_rows<T>(h) && job.noise_dim == h.dim && job.uniform_dim == accepts && job.table &&
               Density<T, row>::fits(int(h.dim), i64(h.n), int(h.shape));
    }

    template <class T, class Z> static void rows(const Call<T, Z> &call) {
        const double *coefficients = call.coefficients;
        const Z *z = call.z;
        const T *u = call.u;
        for (i64 s = 0; s < call.n_steps; ++s, coefficients += call.stride, z += call.noise_dim * row, u += accepts * row) {
            const Header &h = reinterpret_cast<const Header &>(*coefficients);
            const Step<T, Z> step(h, call.table, double(call.first_step + s + 1));
            for (int b = 0; b < call.lanes; b += lane_step) step.run(call.x + b, z + b, u + b, call.path + b);
        }
    }

  private:
    // Rows before the diagnostics.
    static i64 counted_rows(const Header &h) { return i64(h.dim) * (1 + accepts) + 3 * accepts; }

    template <class T> static i64 n_rows(const Header &h) {
        const i64 diagnosed = h.counted > 0 ? Diagnostics<T, row>::rows_per_component * i64(h.dim) : 0;
        return counted_rows(h) + diagnosed + (h.own_step_size != 0);
    }

    // A step size and the standard deviation of its noise, which are those of all lanes or of each.
    template <class T> struct Common {
        const T size, noise;
        Vector<T> size_at(int) const { return splat<T>(size); }
        Vector<T> noise_at(int) const { return splat<T>(noise); }
    };
    template <class T> struct Own {
        T size[lane_step], noise[lane_step];
        Own(const T *sizes, T twice_temperature) {
            for (int l = 0; l < lane_step; ++l) size[l] = sizes[l], noise[l] = sqrt(twice_temperature * sizes[l]);
        }
        Vector<T> size_at(int b) const { return load(size + b); }
        Vector<T> noise_at(int b) const { return load(noise + b); }
    };

    // A step of lane_step lanes.
    template <class T, class Z> class Step {
      public:
        Step(const Header &h, const T *table, double step)
            : h(h), density(int(h.dim), int(h.n), int(h.shape), table + i64(h.table)),
              diagnostics(step - h.burn_in, h.batch_length, h.counted), centers(table + i64(h.centers)), dim(int(h.dim)),
              size_row(h.own_step_size != 0 ? n_rows<T>(h) - 1 : -1), diagnosed(counted_rows(h)),
              share(step > h.burn_in ? T(1 / (step - h.burn_in)) : T(0)), temperature(T(h.temperature)),
              common{T(h.step_size), sqrt(T(2) * temperature * T(h.step_size))} {}

        void run(T *x, const Z *z, const T *u, T *room) const {
            if (size_row >= 0)
                move(Own<T>(x + size_row * row, T(2) * temperature), x, z, u, room);
            else
                move(common, x, z, u, room);
            if (h.counted > 0) diagnostics.follow(x + diagnosed * row, x, centers, dim);
        }

      private:
        using V = Vector<T>;
        static constexpr int lanes = vector_lanes<T>;

        const Header &h;
        const Density<T, row> density;
        const Diagnostics<T, row> diagnostics;
        const T *const centers;
        const int dim;
        const i64 size_row, diagnosed;
        const T share, temperature;  // share of a new draw in the mean acceptance
        const Common<T> common;

        template <class Size> void move(const Size &h, T *x, const Z *z, const T *u, T *room) const {
            if constexpr (accepts) {
                propose(h, x, z, room);
                accept(h, x, z, u, room);
            } else {
                density.template at<false>(x, room, nullptr);
                follow(h, x, room, z, x);
            }
        }

        // y = x + h s + noise.
        template <class Size> SDEFAST_INLINE void follow(const Size &h, const T *x, const T *score, const Z *z, T *y) const {
            for (int b = 0; b < lane_step; b += lanes) {
                const V size = h.size_at(b), noise = h.noise_at(b);
                for (int i = b; i < dim * row; i += row)
                    store<T>(y + i, fma(noise, load_as<T>(z + i), fma(size, load(score + i), load(x + i))));
            }
        }

        // A proposal, its log density and score lie in `room` as they lie in x.
        template <class Size> void propose(const Size &h, const T *x, const Z *z, T *room) const {
            follow(h, x, x + (dim + 1) * row, z, room);
            density.template at<true>(room, room + (dim + 1) * row, room + dim * row);
        }

        template <class Size> void accept(const Size &h, T *x, const Z *z, const T *u, const T *room) const {
            T against[lane_step], probability[lane_step];
            for (int b = 0; b < lane_step; b += lanes) store<T>(against + b, against_of(h, x, z, room, b));
            count(x + dim * row, room + dim * row, against, probability);
            for (int b = 0; b < lane_step; b += lanes) {
                const V chance = load(probability + b), draw = load(u + b);
                for (int i = b; i < (2 * dim + 1) * row; i += row)
                    store<T>(x + i, draw < chance ? load(room + i) : load(x + i));
            }
        }

        // <w, S> / 2 + h |S|^2 / 4, S the sum of both scores and w the noise.
        template <class Size>
        SDEFAST_INLINE V against_of(const Size &h, const T *x, const Z *z, const T *room, int b) const {
            const V noise = h.noise_at(b);
            V along = splat<T>(0), across = splat<T>(0);
            for (int i = b; i < dim * row; i += row) {
                const V both = load(x + (dim + 1) * row + i) + load(room + (dim + 1) * row + i);
                along = fma(noise * load_as<T>(z + i), both, along);
                across = fma(both, both, across);
            }
            return fma(splat<T>(T(0.25)) * h.size_at(b), across, splat<T>(T(0.5)) * along);
        }

        // Probabilities of acceptance from log densities, counted in the two rows behind the score.
        void count(T *old_density, const T *new_density, const T *against, T *probability) const {
            T *const mean = old_density + (dim + 1) * row, *const undefined = mean + row;
            constexpr T nowhere = -T(__builtin_huge_valf());
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l) {
                const T ratio = ((new_density[l] - old_density[l]) - against[l]) / temperature;
                const bool outside = new_density[l] == nowhere, number = ratio == ratio;
                const T chance = exp(ratio > 0 ? T(0) : ratio);
                probability[l] = outside || !number ? T(0) : chance;
                mean[l] = fma(share, probability[l] - mean[l], mean[l]);
                undefined[l] += !outside && !number ? T(1) : T(0);
            }
        }
    };
};

// Chains of few rows are fastest in wide rows.
using ULAOnMixture = Langevin<Mixture, false, Layout::wide>;
using ULAOnMixtureNarrow = Langevin<Mixture, false, Layout::narrow>;
using MALAOnMixture = Langevin<Mixture, true, Layout::wide>;
using MALAOnMixtureNarrow = Langevin<Mixture, true, Layout::narrow>;
using ULAOnGaussian = Langevin<Gaussian, false, Layout::narrow>;
using MALAOnGaussian = Langevin<Gaussian, true, Layout::narrow>;
using ULAOnLogistic = Langevin<Logistic, false, Layout::narrow>;
using MALAOnLogistic = Langevin<Logistic, true, Layout::narrow>;

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
