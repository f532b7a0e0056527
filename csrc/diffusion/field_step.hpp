// The update of every diffusion sampler, in one pass over samples that lie row by row, x' may be x:
//
//     D  = p x + q e, within +-limit             what the model's output e says of the data
//     x' = a x + b D + g e + c1 H1 + c2 H2 + s z
//
// A sampler is a table of such rows of coefficients; H1 and H2 are kept from earlier rows, D is kept on request (in the
// place of H1 or H2, too), z is the noise of the field (noise/field.hpp) or given.
#pragma once

#include "../levels/table.hpp"
#include "../noise/field.hpp"
#include "outputs.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// The coefficients in the state's type.
template <class T> struct FieldRow {
    T p, q, limit, a, b, g, c1, c2, s;

    explicit FieldRow(const double *c)
        : p(T(c[0])), q(T(c[1])), limit(T(c[2])), a(T(c[3])), b(T(c[4])), g(T(c[5])), c1(T(c[6])), c2(T(c[7])),
          s(T(c[8])) {}
};

// What a row reads and writes, but for the model's output.
template <class T> struct FieldData {
    const T *x, *h1, *h2;
    T *out, *kept;
};

// Elements from `first` on, of which `output` is; rows of field_width normals lie `z_row` apart. Whether an output was
// not finite.
template <class T, bool keeps, bool remembers, bool noisy>
[[gnu::noinline]] u32 update(const FieldRow<T> &row, const FieldData<T> &data, i64 first, i64 n, const T *output,
                             const T *z, i64 z_row) {
    const T *x = data.x + first, *h1 = remembers ? data.h1 + first : nullptr, *h2 = remembers ? data.h2 + first : nullptr;
    T *out = data.out + first, *kept = keeps ? data.kept + first : nullptr;
    const FieldRow<T> r = row;
    T wrong[field_width] = {};  // 0 times the outputs: not a number where one is none, or infinite
    const auto one = [&](i64 i, int l, T noise) SDEFAST_LAMBDA {
        const T e = output[i], xi = x[i];
        wrong[l] = fma(e, T(0), wrong[l]);
        T D = fma(r.p, xi, r.q * e);
        D = D > r.limit ? r.limit : D;  // not a number stays so
        D = D < -r.limit ? -r.limit : D;
        T sum = fma(r.g, e, fma(r.a, xi, r.b * D));
        if constexpr (remembers) sum = fma(r.c2, h2[i], fma(r.c1, h1[i], sum));
        if constexpr (noisy) sum = fma(r.s, noise, sum);
        if constexpr (keeps) kept[i] = D;
        out[i] = sum;
    };
    const i64 whole = n - n % field_width;
    for (i64 b = 0; b < whole; b += field_width, z += z_row) {
#pragma GCC ivdep
        for (int l = 0; l < field_width; ++l) one(b + l, l, noisy ? z[l] : T(0));
    }
    for (i64 i = whole; i < n; ++i) one(i, 0, noisy ? z[i - whole] : T(0));
    u32 some = 0;
    for (int l = 0; l < field_width; ++l) some |= u32(!(wrong[l] == T(0)));
    return some;
}

// Noise alone: x' = s z.
template <class T>
[[gnu::noinline]] u32 noise_alone(const FieldRow<T> &row, const FieldData<T> &data, i64 first, i64 n, const T *,
                                  const T *z, i64 z_row) {
    T *out = data.out + first;
    for (i64 b = 0; b < n; b += field_width, z += z_row) {
        const i64 m = n - b < field_width ? n - b : field_width;
        for (i64 l = 0; l < m; ++l) out[b + l] = row.s * z[l];
    }
    return 0;
}

template <class T> class FieldStep {
    static constexpr i64 draws_at_once = 32, turned_at_once = draws_at_once * field_width;

    using Update = u32 (*)(const FieldRow<T> &, const FieldData<T> &, i64, i64, const T *, const T *, i64);
    using Turn = void (*)(const void *, i64, i64, T *);

  public:
    explicit FieldStep(const FieldJob &job)
        : job(job), elements(job.elements), segments(segments_per_step(job.elements)),
          data{static_cast<const T *>(job.x), static_cast<const T *>(job.h1),
               static_cast<const T *>(job.h2 ? job.h2 : job.h1), static_cast<T *>(job.out), static_cast<T *>(job.kept)},
          given(static_cast<const T *>(job.given)), update(chosen()), turn(turning()) {}

    // How many units, each for one thread, the samples are.
    static i64 units(i64 n_samples, i64 elements) {
        return elements < least_wide_field ? (n_samples + lane_step - 1) / lane_step
                                           : n_samples * (segments_per_step(elements) / field_width);
    }

    // The first sample whose output is not finite; else -1.
    i64 run() {
        if (elements < least_wide_field)
            for (i64 unit = job.first_unit; unit < job.last_unit; ++unit) small(unit * lane_step);
        else if (!draws() && job.row_stride == 0 && job.output != job.out)
            stretch(first_element(job.first_unit), first_element(job.last_unit));
        else
            for (i64 unit = job.first_unit; unit < job.last_unit; unit += 2)
                pair(unit, job.last_unit - unit < 2 ? 1 : 2);
        return first_wrong;
    }

  private:
    const FieldJob &job;
    const i64 elements, segments;
    const FieldData<T> data;
    const T *const given;
    const Update update;
    const Turn turn;
    FieldStreams streams;
    i64 first_wrong = -1;

    FieldRow<T> row(i64 sample) const { return FieldRow<T>(job.row + sample * job.row_stride); }

    Update chosen() const {
        if (!data.x) return noise_alone<T>;
        static constexpr Update variants[2][2][2] = {
            {{SDEFAST_LEVEL::update<T, false, false, false>, SDEFAST_LEVEL::update<T, false, false, true>},
             {SDEFAST_LEVEL::update<T, false, true, false>, SDEFAST_LEVEL::update<T, false, true, true>}},
            {{SDEFAST_LEVEL::update<T, true, false, false>, SDEFAST_LEVEL::update<T, true, false, true>},
             {SDEFAST_LEVEL::update<T, true, true, false>, SDEFAST_LEVEL::update<T, true, true, true>}}};
        return variants[data.kept != nullptr][data.h1 != nullptr][job.noisy];
    }

    // How outputs become the state's type; null if they have it.
    Turn turning() const {
        if (!data.x) return nullptr;
        switch (job.output_type) {
            case OutputType::float32: return sizeof(T) == sizeof(float) ? nullptr : turned<T, float>;
            case OutputType::float64: return sizeof(T) == sizeof(double) ? nullptr : turned<T, double>;
            case OutputType::bfloat16: return turned<T, BFloat16>;
            default: return turned<T, Float16>;
        }
    }

    bool draws() const { return job.noisy && !given; }

    // The first of a sample's segments in a lane.
    SDEFAST_INLINE void key(int lane, i64 sample) {
        streams.seed[lane] = job.seeds ? job.seeds[sample] : job.seed;
        streams.chain[lane] = u64(job.seeds ? job.first_sample : job.first_sample + sample);
        streams.segment[lane] = u64((job.steps ? job.steps[sample] : job.step) * segments);
    }

    // field_width segments of a sample side by side.
    SDEFAST_INLINE void key(int lane, i64 sample, i64 segment) {
        key(lane, sample);
        for (int l = field_width - 1; l >= 0; --l) {
            streams.seed[lane + l] = streams.seed[lane], streams.chain[lane + l] = streams.chain[lane];
            streams.segment[lane + l] = streams.segment[lane] + u64(segment + l);
        }
    }

    void found(i64 sample) {
        if (first_wrong < 0 || sample < first_wrong) first_wrong = sample;
    }

    i64 first_element(i64 unit) const {
        const i64 groups = segments / field_width;
        return unit / groups * elements + unit % groups * field_group;
    }

    // Many samples as one, where nothing differs between them. Outputs are looked at again to say whose is not finite.
    void stretch(i64 first, i64 last) {
        if (!updated(row(0), first, last - first, given ? given + first : nullptr, field_width)) return;
        for (i64 sample = first / elements; first < last; ++sample) {
            const i64 end = (sample + 1) * elements < last ? (sample + 1) * elements : last;
            if (!is_finite(first, end - first)) return found(sample);
            first = end;
        }
    }

    // One or two groups of wide samples, side by side in the lanes.
    void pair(i64 unit, int count) {
        const i64 groups = segments / field_width;
        i64 sample[2], begin[2], first[2], left[2] = {0, 0}, most = 0;
        for (int u = 0; u < count; ++u) {
            sample[u] = (unit + u) / groups;
            begin[u] = (unit + u) % groups * field_group;
            first[u] = first_element(unit + u);
            left[u] = elements - begin[u] < field_group ? elements - begin[u] : field_group;
            most = left[u] > most ? left[u] : most;
        }
        if (!draws()) {
            for (int u = 0; u < count; ++u)
                part(sample[u], first[u], left[u], given ? given + first[u] : nullptr, field_width);
            return;
        }
        for (int half = 0; half < 2; ++half) {
            const int u = half < count ? half : 0;  // the other lanes are nobody's
            key(half * field_width, sample[u], begin[u] / field_draws);
        }
        alignas(64) T z[draws_at_once * lane_step];
        streams.key();
        for (i64 done = 0; done < most; done += draws_at_once * field_width) {
            const i64 rows = (most - done + field_width - 1) / field_width;
            streams.fill(z, rows < draws_at_once ? rows + rows % 2 : draws_at_once);
            for (int u = 0; u < count; ++u) {
                const i64 rest = left[u] - done, n = rest < draws_at_once * field_width ? rest : draws_at_once * field_width;
                if (n > 0) part(sample[u], first[u] + done, n, z + u * field_width, lane_step);
            }
        }
    }

    void part(i64 sample, i64 first, i64 n, const T *z, i64 z_row) {
        if (updated(row(sample), first, n, z, z_row)) found(sample);
    }

    // Outputs of another type are turned a stretch at a time, which stays in the first-level cache.
    u32 updated(const FieldRow<T> &row, i64 first, i64 n, const T *z, i64 z_row) const {
        if (!turn) {
            const T *output = static_cast<const T *>(job.output);  // noise alone has none
            return update(row, data, first, n, output ? output + first : nullptr, z, z_row);
        }
        alignas(64) T output[turned_at_once];
        u32 wrong = 0;
        for (i64 done = 0; done < n; done += turned_at_once) {
            const i64 m = n - done < turned_at_once ? n - done : turned_at_once;
            turn(job.output, first + done, m, output);
            wrong |= update(row, data, first + done, m, output, z ? z + done / field_width * z_row : nullptr, z_row);
        }
        return wrong;
    }

    // Small samples, one a lane.
    void small(i64 sample) {
        const i64 left = job.n_samples - sample, count = left < lane_step ? left : lane_step;
        alignas(64) T by_sample[lane_step * least_wide_field];
        const T *z = given ? given + sample * elements : by_sample;
        if (draws()) {
            alignas(64) T drawn[lane_step * least_wide_field];
            for (int l = 0; l < lane_step; ++l) key(l, l < count ? sample + l : sample);
            streams.key();
            streams.fill(drawn, elements + elements % 2);
            for (i64 e = 0; e < elements; ++e)
                for (i64 l = 0; l < count; ++l) by_sample[l * elements + e] = drawn[e * lane_step + l];
        }
        const i64 first = sample * elements;
        const bool alike = job.row_stride == 0 && job.output != job.out;  // and outputs can be looked at again
        if (alike) {
            if (!updated(row(sample), first, count * elements, z, field_width)) return;
        }
        for (i64 l = 0; l < count; ++l) {
            const bool wrong = alike ? !is_finite(first + l * elements, elements)
                                                   : updated(row(sample + l), first + l * elements, elements,
                                                             z + l * elements, field_width);
            if (wrong) found(sample + l);
        }
    }

    // Whether `n` outputs are.
    bool is_finite(i64 first, i64 n) const {
        alignas(64) T kept[turned_at_once];
        for (i64 done = 0; done < n; done += turned_at_once) {
            const i64 m = n - done < turned_at_once ? n - done : turned_at_once;
            const T *output = turn ? kept : static_cast<const T *>(job.output) + first + done;
            if (turn) turn(job.output, first + done, m, kept);
            for (i64 e = 0; e < m; ++e)
                if (!(output[e] - output[e] == T(0))) return false;
        }
        return true;
    }
};

template <class T> i64 field_step(const FieldJob &job) { return FieldStep<T>(job).run(); }

// out[i] = the sum of the squares of sample i, in an order that depends on its size alone.
template <class T> void field_squares(const void *from, i64 n_samples, i64 elements, double *out) {
    for (i64 i = 0; i < n_samples; ++i) {
        const T *x = static_cast<const T *>(from) + i * elements;
        double sums[field_width] = {};
        const i64 whole = elements - elements % field_width;
        for (i64 b = 0; b < whole; b += field_width)
            for (int l = 0; l < field_width; ++l) sums[l] = fma(double(x[b + l]), double(x[b + l]), sums[l]);
        for (i64 e = whole; e < elements; ++e) sums[e - whole] = fma(double(x[e]), double(x[e]), sums[e - whole]);
        double sum = 0;
        for (int l = 0; l < field_width; ++l) sum += sums[l];
        out[i] = sum;
    }
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
