// Stochastic gradient descent on least squares in loops over any number of parameters.
#pragma once

#include "../engine/job.hpp"
#include "../engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// The state is delta = theta - theta*, in the eigenbasis of the inputs' covariance, and where iterates are averaged
// their average so far. A step draws B samples (x, xi) and does
//
//     r = noise xi - <x, delta>,   average += weight (delta - average),   delta += rate sum of x r
//
// Coefficients: `header`, then a scale for each parameter or none, then one rate (step size / B) for all or one each.
// A sample is d normals x, times the scales, and where there is noise the normal xi; or d uniforms, from which x is made,
// and xi; or a row of data. Rounded as what is compiled from sdefast/least_squares/steps/iteration.py, which has the same bits.
struct LeastSquares : StepTraits {
    static constexpr Layout layout = Layout::narrow;
    static constexpr int row = narrow_lanes, most_samples = 1024;

    enum Law { as_drawn = 0, uniform = 1, signs = 2 };
    struct Header {
        double noise, samples, dim, law, low, width, weight, scales, rates;
    };
    static constexpr int header = sizeof(Header) / sizeof(double);

    template <class T> static bool fits(const Job &job, const double *coefficients, i64 n) {
        if (n < header) return false;
        const Header &h = reinterpret_cast<const Header &>(*coefficients);
        const bool drawn = h.law == as_drawn, averaged = h.weight > 0;
        if (!(h.samples >= 1 && h.samples <= most_samples && h.dim >= 1 && h.dim <= largest_dim)) return false;
        const i64 d = i64(h.dim), samples = i64(h.samples);
        return job.dim == d * (averaged ? 2 : 1) && (h.scales == 0 || h.scales == h.dim) &&
               (h.rates == 1 || h.rates == h.dim) && n == header + i64(h.scales) + i64(h.rates) &&
               (drawn || h.law == uniform || h.law == signs) &&
               job.noise_dim == samples * ((drawn ? d : 0) + (h.noise != 0)) &&
               job.uniform_dim == (drawn ? 0 : samples * d);
    }

    template <class T, class Z> static void rows(const Call<T, Z> &call) {
        const double *coefficients = call.coefficients;
        const Z *z = call.z;
        const T *u = call.u;
        for (i64 s = 0; s < call.n_steps; ++s, coefficients += call.stride, z += call.noise_dim * row) {
            const Header &h = reinterpret_cast<const Header &>(*coefficients);
            const Step<T, Z> step{h, coefficients + header, int(h.dim), int(h.samples)};
            for (int b = 0; b < call.lanes; b += lane_step) step.run(call.x + b, z + b, u + b);
            u += h.law == as_drawn ? 0 : int(h.samples) * int(h.dim) * row;
        }
    }

  private:
    // Inputs of a sample: number i of lane l.
    template <class T, class Z> struct Drawn {
        const Z *z;
        SDEFAST_INLINE T at(int i, int l) const { return T(z[i * row + l]); }
    };
    template <class T, class Z> struct Scaled {
        const Z *z;
        const double *scale;
        SDEFAST_INLINE T at(int i, int l) const { return T(scale[i]) * T(z[i * row + l]); }
    };
    template <class T> struct Uniform {
        const T *u;
        T low, width;
        SDEFAST_INLINE T at(int i, int l) const { return fma(u[i * row + l], width, low); }
    };
    template <class T> struct Sign {
        const T *u;
        SDEFAST_INLINE T at(int i, int l) const { return u[i * row + l] < T(0.5) ? T(-1) : T(1); }
    };

    template <class T, class Z> struct Step {
        const Header &h;
        const double *scales;
        const int d, samples;

        // Rows of a sample in z and in u.
        int z_rows() const { return (h.law == as_drawn ? d : 0) + (h.noise != 0); }
        int u_rows() const { return h.law == as_drawn ? 0 : d; }

        void run(T *x, const Z *z, const T *u) const {
            const T low = T(h.low), width = T(h.width);
            if (h.law == uniform)
                choose(x, z, u, [=](const Z *, const T *from) { return Uniform<T>{from, low, width}; });
            else if (h.law == signs)
                choose(x, z, u, [](const Z *, const T *from) { return Sign<T>{from}; });
            else if (h.scales != 0)
                choose(x, z, u, [this](const Z *from, const T *) { return Scaled<T, Z>{from, scales}; });
            else
                choose(x, z, u, [](const Z *from, const T *) { return Drawn<T, Z>{from}; });
        }

        template <class Inputs> void choose(T *x, const Z *z, const T *u, Inputs inputs) const {
            if (samples == 1)
                one_sample(x, z, inputs(z, u));
            else
                batch(x, z, u, inputs);
        }

        template <class In> void residual(const T *x, const Z *z, const In &in, T *r) const {
            const T noise = T(h.noise);
            const int at = (h.law == as_drawn ? d : 0) * row;
            T sum[lane_step];
            for (int l = 0; l < lane_step; ++l) sum[l] = noise == 0 ? T(0) : noise * T(z[at + l]);
            for (int i = 0; i < d; ++i)
#pragma GCC ivdep
                for (int l = 0; l < lane_step; ++l) sum[l] = fma(in.at(i, l), -x[i * row + l], sum[l]);
            for (int l = 0; l < lane_step; ++l) r[l] = sum[l];
        }

        void average(T *x, int i) const {
            const T weight = T(h.weight);
            T *mean = x + d * row;
#pragma GCC ivdep
            for (int l = 0; l < lane_step; ++l)
                mean[i * row + l] = fma(weight, x[i * row + l] - mean[i * row + l], mean[i * row + l]);
        }

        template <class In> void one_sample(T *x, const Z *z, const In &in) const {
            T r[lane_step], scaled[lane_step];
            residual(x, z, in, r);
            const double *rates = scales + i64(h.scales);
            const bool averaged = h.weight > 0, each = h.rates != 1;
            for (int l = 0; l < lane_step; ++l) scaled[l] = T(rates[0]) * r[l];
            for (int i = 0; i < d; ++i) {
                if (averaged) average(x, i);
                const T rate = T(rates[each * i]);
                if (each)
#pragma GCC ivdep
                    for (int l = 0; l < lane_step; ++l) x[i * row + l] = fma(rate * in.at(i, l), r[l], x[i * row + l]);
                else
#pragma GCC ivdep
                    for (int l = 0; l < lane_step; ++l) x[i * row + l] = fma(in.at(i, l), scaled[l], x[i * row + l]);
            }
        }

        template <class Inputs> void batch(T *x, const Z *z, const T *u, const Inputs &inputs) const {
            T r[most_samples][lane_step];
            for (int k = 0; k < samples; ++k) {
                const Z *own = z + i64(k) * z_rows() * row;
                residual(x, own, inputs(own, u + i64(k) * u_rows() * row), r[k]);
            }
            const double *rates = scales + i64(h.scales);
            const bool averaged = h.weight > 0;
            const int each = h.rates != 1;
            for (int i = 0; i < d; ++i) {
                if (averaged) average(x, i);
                T total[lane_step];
                for (int l = 0; l < lane_step; ++l) total[l] = inputs(z, u).at(i, l) * r[0][l];
                for (int k = 1; k < samples; ++k) {
                    const auto in = inputs(z + i64(k) * z_rows() * row, u + i64(k) * u_rows() * row);
#pragma GCC ivdep
                    for (int l = 0; l < lane_step; ++l) total[l] = fma(in.at(i, l), r[k][l], total[l]);
                }
                const T rate = T(rates[each * i]);
#pragma GCC ivdep
                for (int l = 0; l < lane_step; ++l) x[i * row + l] = fma(rate, total[l], x[i * row + l]);
            }
        }
    };
};

// Observers: out[p] = |x_p|^2 of `parts` vectors of d components; parameters d, parts.
template <class T> void squared_norms(const double *parameters, double, int lanes, const T *x, T *out, const T *) {
    const int d = int(parameters[0]), parts = int(parameters[1]);
    constexpr int row = LeastSquares::row;
    for (int p = 0; p < parts; ++p, x += d * row, out += row)
        for (int b = 0; b < lanes; b += lane_step) {
            T sum[lane_step];
            for (int l = 0; l < lane_step; ++l) sum[l] = 0;
            for (int i = 0; i < d; ++i)
#pragma GCC ivdep
                for (int l = 0; l < lane_step; ++l) sum[l] = fma(x[i * row + b + l], x[i * row + b + l], sum[l]);
            for (int l = 0; l < lane_step; ++l) out[b + l] = sum[l];
        }
}

// The same, and then Q x_0; parameters d, parts, then Q row by row.
template <class T>
void squared_norms_and_rotated(const double *parameters, double time, int lanes, const T *x, T *out, const T *table) {
    const int d = int(parameters[0]), parts = int(parameters[1]);
    constexpr int row = LeastSquares::row;
    squared_norms(parameters, time, lanes, x, out, table);
    out += parts * row;
    for (int i = 0; i < d; ++i, out += row)
        for (int b = 0; b < lanes; b += lane_step) {
            T sum[lane_step];
            for (int l = 0; l < lane_step; ++l) sum[l] = 0;
            for (int j = 0; j < d; ++j) {
                const T q = T(parameters[2 + i * d + j]);
#pragma GCC ivdep
                for (int l = 0; l < lane_step; ++l) sum[l] = fma(q, x[j * row + b + l], sum[l]);
            }
            for (int l = 0; l < lane_step; ++l) out[b + l] = sum[l];
        }
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
