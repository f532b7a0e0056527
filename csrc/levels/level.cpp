// All kernels at one instruction-set level. The build compiles this file once per level, with SDEFAST_LEVEL set to the
// name of a namespace and SDEFAST_LEVEL_NAME to what users call it.
#include "../diffusion/field_step.hpp"
#include "../engine/chain_loop.hpp"
#include "../families.hpp"
#include "../noise/vector_math.hpp"
#include "../sampling/score_step.hpp"
#include "table.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {
namespace {

template <class T, class Z, Layout layout> void run(const Job &job, Function stepper) {
    ChainLoop<T, Z, layout>(job, stepper).run();
}

template <class T, class Z, Layout layout> i64 scratch_bytes(const Job &job) {
    return ChainLoop<T, Z, layout>::scratch_bytes(job);
}

template <class T, class Z, Layout layout> constexpr Loop loop = {run<T, Z, layout>, scratch_bytes<T, Z, layout>};

#define SDEFAST_LOOPS(layout)                                                                           \
    {loop<float, float, layout>, loop<double, double, layout>, loop<double, float, layout>, loop<float, u32, layout>, \
     loop<double, u32, layout>}

// Rows of lanes, batch by batch, copied to where they belong.
template <class Kind, class Z> void noise(const NoiseJob &job) {
    alignas(64) Streams streams;
    alignas(64) Z batch[rows_per_batch<Z> * max_lanes];
    Z *out = static_cast<Z *>(job.out);
    for (i64 c = 0; c < job.n_chains; c += max_lanes) {
        const i64 valid = job.n_chains - c < max_lanes ? job.n_chains - c : max_lanes;
        const int lanes = int((valid + lane_step - 1) / lane_step * lane_step);
        const Source<Kind, Z> source{job.seed, u64(job.first_chain + c)};
        const i64 last = job.first_draw + job.n_draws;
        source.open(streams, lanes, job.first_draw);
        for (i64 start = job.first_draw - job.first_draw % rows_per_batch<Z>; start < last; start += rows_per_batch<Z>) {
            source.batch(streams, lanes, start, batch, max_lanes);
            for (i64 d = 0; d < rows_per_batch<Z>; ++d) {
                if (start + d < job.first_draw || start + d >= last) continue;
                __builtin_memcpy(out + (start + d - job.first_draw) * job.row + c, batch + d * max_lanes,
                                 size_t(valid) * sizeof(Z));
            }
        }
    }
}

void words(const NoiseJob &job, u32 stream) {
    alignas(64) Streams streams;
    u32 *out = static_cast<u32 *>(job.out);
    for (i64 c = 0; c < job.n_chains; ++c) {
        for (i64 d = 0; d < job.n_draws; ++d) {
            const i64 word = job.first_draw + d, within = word % words_per_segment;
            if (d == 0 || within == 0) {
                rekey(streams, lane_step, job.seed, stream, u32(word / words_per_segment), u64(job.first_chain + c));
                skip(streams, lane_step, int(within));
            }
            Xoshiro x = streams.load(0);
            out[d * job.row + c] = x.next();
            streams.store(0, x);
        }
    }
}

template <class T> void elementary(int function, const void *in, const void *power, void *out, i64 n) {
    const T *x = static_cast<const T *>(in), *b = static_cast<const T *>(power);
    T *y = static_cast<T *>(out);
    for (i64 i = 0; i < n; ++i) y[i] = function == 0 ? exp(x[i]) : function == 1 ? log(x[i]) : pow(x[i], b[i]);
}

template <class Model, class T, class Z> constexpr StepVariant<T, Z> variant() {
    if constexpr (Model::on_data)
        return {fits<Model, T>, nullptr, data_stepper<Model, T, Z>};
    else
        return {fits<Model, T>, stepper<Model, T, Z>, nullptr};
}

// Known when compiled: nothing of a level may run before the level is chosen.
template <class Model> constexpr StepEntry entry(const char *name) {
    return {name,
            Model::layout,
            Model::on_data,
            Model::dim > 0 || Model::writes_path,
            Model::needs_room,
            variant<Model, float, float>(),
            variant<Model, double, double>(),
            variant<Model, double, float>()};
}

#define SDEFAST_ENTRY(name, Model) entry<Model>(#name),
constexpr StepEntry steps[] = {SDEFAST_STEPS(SDEFAST_ENTRY)};

#define SDEFAST_OBSERVER(name, layout, function) {#name, Layout::layout, function<float>, function<double>},
constexpr ObserverEntry observers[] = {SDEFAST_OBSERVERS(SDEFAST_OBSERVER)};

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {
    SDEFAST_LEVEL_NAME,
    steps,
    int(sizeof steps / sizeof *steps),
    observers,
    int(sizeof observers / sizeof *observers),
    {SDEFAST_LOOPS(Layout::wide), SDEFAST_LOOPS(Layout::narrow), SDEFAST_LOOPS(Layout::chains)},
    {{noise<Normals, float>, noise<Normals, double>}, {noise<Uniforms, float>, noise<Uniforms, double>}},
    words,
    {elementary<float>, elementary<double>},
    {score_entry<float, float>, score_entry<double, double>, score_entry<double, float>},
    {{field_step<float>, FieldStep<float>::units, field_squares<float>},
     {field_step<double>, FieldStep<double>::units, field_squares<double>}},
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
