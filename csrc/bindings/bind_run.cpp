// One tile: a range of chains through a range of steps.
#include <algorithm>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "bindings.hpp"

namespace sdefast {

namespace {

struct Scratch {
    explicit Scratch(int64_t bytes) : memory(::operator new(size_t(bytes), std::align_val_t(64))) {}
    ~Scratch() { ::operator delete(memory, std::align_val_t(64)); }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    void *memory;
};

using Doubles = py::array_t<double, py::array::c_style>;

const StepEntry &find_step(const std::string &name) {
    const Kernels &kernels = active();
    for (int i = 0; i < kernels.n_steps; ++i)
        if (name == kernels.steps[i].name) return kernels.steps[i];
    throw py::value_error("there is no compiled step '" + name + "'");
}

Precision precision_of(const py::array &state, bool float32_noise, bool signs) {
    if (py::isinstance<py::array_t<float>>(state)) return signs ? float32_on_signs : float32;
    if (!py::isinstance<py::array_t<double>>(state)) throw py::type_error("state must be float32 or float64");
    return signs ? float64_on_signs : float32_noise ? float64_on_float32_noise : float64;
}

// Rows of chains: the last axis is contiguous, the others have any stride.
int64_t stride(const py::array &array, int axis) {
    const auto size = array.itemsize();
    if (array.shape(array.ndim() - 1) > 1 && array.strides(array.ndim() - 1) != size)
        throw py::value_error("the chains must be contiguous in memory");
    return array.strides(axis) / size;
}

void require(bool condition, const char *message) {
    if (!condition) throw py::value_error(message);
}

void check_saves(const Job &job) {
    const int64_t *end = job.saves + job.n_saves;
    require(std::adjacent_find(job.saves, end, std::greater_equal<int64_t>()) == end, "saves must increase");
    require(!job.n_saves || (job.saves[0] >= job.first_step && end[-1] <= job.first_step + job.n_steps),
            "saves must lie within the steps");
}

const char *const layout_names[n_layouts] = {"wide", "narrow", "chains"};

Layout layout_of(const std::string &name) {
    for (int i = 0; i < n_layouts; ++i)
        if (name == layout_names[i]) return Layout(i);
    throw py::value_error("a layout must be 'wide', 'narrow' or 'chains', got '" + name + "'");
}

// A stepper, and how and where it runs.
struct Plan {
    Function stepper;
    Layout layout;
    bool writes_path, needs_room;
};

template <class Variant> Function checked(const Variant &variant, const Job &job, const Doubles &coefficients) {
    const int64_t n = coefficients.shape(1);
    for (int64_t s = 0; s < coefficients.shape(0); ++s)
        require(variant.fits(job, coefficients.data() + s * n, n),
                "state, noise, data and coefficients must have the sizes that the step needs");
    return job.data.picks ? reinterpret_cast<Function>(variant.data_stepper) : reinterpret_cast<Function>(variant.stepper);
}

Plan built_in(const std::string &name, Precision precision, const Job &job, const Doubles &coefficients) {
    const StepEntry &entry = find_step(name);
    require(precision <= float64_on_float32_noise, "built-in steps draw normals");
    require(entry.on_data == (job.data.picks > 0),
            entry.on_data ? "this step draws rows of data" : "this step draws no rows of data");
    const Function stepper = precision == float32   ? checked(entry.float32, job, coefficients)
                             : precision == float64 ? checked(entry.float64, job, coefficients)
                                                    : checked(entry.float64_on_float32_noise, job, coefficients);
    return {stepper, entry.layout, entry.writes_path, entry.needs_room};
}

// Of a built-in step by name, or of (address, layout) of one that was compiled elsewhere.
Plan plan(const py::object &step, Precision precision, const Job &job, const Doubles &coefficients) {
    const bool named = py::isinstance<py::str>(step);
    const py::tuple own = named ? py::tuple() : step.cast<py::tuple>();
    const Plan how = named ? built_in(step.cast<std::string>(), precision, job, coefficients)
                           : Plan{reinterpret_cast<Function>(own[0].cast<uintptr_t>()),
                                  layout_of(own[1].cast<std::string>()), false, false};
    const bool wide = how.layout == Layout::wide;
    require(job.dim >= 1 && job.dim <= largest_dim, "a chain has from 1 to 8192 rows");
    require(job.noise_dim <= (wide ? most_wide_draws : most_draws) && job.uniform_dim <= (wide ? most_wide_draws : most_draws),
            "a step draws at most 131072 numbers of a kind, in wide rows 4096");
    require(how.layout != Layout::chains || (job.data.picks && job.dim % job.data.dim == 0),
            "chains that lie one after the other need data, and are whole vectors of their dimension");
    return how;
}

Function find_observer(const std::string &name, Precision precision, Layout layout) {
    const Kernels &kernels = active();
    const bool single = precision == float32 || precision == float32_on_signs;
    for (int i = 0; i < kernels.n_observers; ++i) {
        const ObserverEntry &entry = kernels.observers[i];
        if (name == entry.name && layout == entry.layout)
            return single ? reinterpret_cast<Function>(entry.float32) : reinterpret_cast<Function>(entry.float64);
    }
    throw py::value_error("there is no compiled observer '" + name + "' of states in layout '" +
                          layout_names[int(layout)] + "'");
}

// From (observed, first_row, dim, moments, extremes, covariance, out).
Gather gather_of(const py::tuple &t, const Job &job) {
    Gather g{t[0].cast<bool>(), t[1].cast<int>(),  t[2].cast<int>(), t[3].cast<int>(),
             t[4].cast<bool>(), t[5].cast<bool>(), nullptr};
    require(g.first_row >= 0 && g.dim >= 1 && g.first_row + g.dim <= (g.observed ? job.observer_dim : job.dim) &&
                (g.moments == 2 || g.moments == 4),
            "statistics must be of rows that there are, to the second or fourth moment");
    require(py::isinstance<Doubles>(t[6]), "statistics must be contiguous float64 arrays");
    auto out = py::reinterpret_borrow<Doubles>(t[6]);
    require(out.ndim() == 3 && out.shape(0) == (job.n_chains + chains_per_block - 1) / chains_per_block &&
                out.shape(1) == job.n_saves &&
                out.shape(2) == statistics_size(g.dim, g.moments, g.extremes, g.covariance),
            "statistics must have shape (n_blocks, n_saves, size)");
    g.out = out.mutable_data();
    return g;
}

// From (name or (address, layout), number of results, parameters, times of the saves); the layout must be the step's.
void set_observer(Job &job, const py::tuple &t, Precision precision, Layout layout) {
    if (py::isinstance<py::str>(t[0])) {
        job.observer = find_observer(t[0].cast<std::string>(), precision, layout);
    } else {
        const auto own = t[0].cast<py::tuple>();
        const Layout reads = layout_of(own[1].cast<std::string>());
        job.observes_rows = layout == Layout::chains && reads == Layout::narrow;
        require(reads == layout || job.observes_rows, "an observer must have the layout of the step");
        job.observer = reinterpret_cast<Function>(own[0].cast<uintptr_t>());
    }
    job.observer_dim = t[1].cast<int>();
    require(py::isinstance<Doubles>(t[2]) && py::isinstance<Doubles>(t[3]),
            "an observer's parameters and times must be contiguous float64 arrays");
    const auto parameters = py::reinterpret_borrow<Doubles>(t[2]), times = py::reinterpret_borrow<Doubles>(t[3]);
    require(times.size() == job.n_saves, "an observer needs the time of every save");
    job.observer_parameters = parameters.data(), job.save_times = times.data();
}

// From (rows, dim, whether they are shuffled, how many a step draws); rows of the noise's type.
void set_data(Job &job, const py::tuple &t, Precision precision) {
    require(precision <= float64_on_float32_noise, "signs and rows of data come from one stream: a step draws one of them");
    const auto rows = t[0].cast<py::array>();
    require(precision == float64 ? py::isinstance<py::array_t<double, py::array::c_style>>(rows)
                                 : py::isinstance<py::array_t<float, py::array::c_style>>(rows),
            "data must be a contiguous array of the noise's type");
    const int64_t dim = t[1].cast<int64_t>();
    const bool shuffled = t[2].cast<bool>();
    const int picks = t[3].cast<int>();
    require(rows.ndim() == 2 && rows.shape(0) >= 1 && rows.shape(0) < (int64_t(1) << 32), "data must have shape (n, width)");
    require(dim >= 1 && dim <= rows.shape(1), "vectors must fit the rows of the data");
    require(picks >= 1 && picks <= most_draws && (!shuffled || picks <= rows.shape(0)),
            "a step draws from 1 to 131072 rows of data, and an epoch must hold a step at least");
    job.data = {rows.data(), rows.shape(0), rows.shape(1), dim, picks, shuffled};
}

void set_table(Job &job, const py::array &table, const py::array &state) {
    require(table.ndim() == 1 && table.dtype().equal(state.dtype()) && (table.flags() & py::array::c_style),
            "a table must be a contiguous one-dimensional array of the state's type");
    job.table = table.data();
}

// From (low, bins per unit, counts, first row, whether rows are the observer's).
void set_histogram(Job &job, const py::tuple &t) {
    require(py::isinstance<py::array_t<int64_t, py::array::c_style>>(t[2]), "counts must be a contiguous int64 array");
    auto counts = py::reinterpret_borrow<py::array_t<int64_t, py::array::c_style>>(t[2]);
    job.counted_row = t[3].cast<int>(), job.counts_observed = t[4].cast<bool>();
    require(counts.ndim() == 3 && counts.shape(0) == job.n_saves && counts.shape(2) >= 3 && job.counted_row >= 0 &&
                job.counted_row + counts.shape(1) <= (job.counts_observed ? job.observer_dim : job.dim),
            "counts must have shape (n_saves, rows that there are, n_bins + 2)");
    job.low = t[0].cast<double>(), job.bins_per_unit = t[1].cast<double>();
    job.n_bins = int(counts.shape(2)) - 2, job.counted_dim = int(counts.shape(1));
    job.histogram = counts.mutable_data();
}

// Normals (draws, n_chains) of the type that the step draws.
void set_given(Job &job, const py::array &given, Precision precision) {
    const bool fits = precision == float64 ? py::isinstance<py::array_t<double>>(given)
                                           : precision != float32_on_signs && precision != float64_on_signs &&
                                                 py::isinstance<py::array_t<float>>(given);
    require(fits && given.ndim() == 2 && given.shape(0) == job.n_steps * job.noise_dim &&
                given.shape(1) == job.n_chains,
            "normals must have shape (n_steps * noise_dim, n_chains) and the noise's type");
    job.given = given.data(), job.given_stride = stride(given, 0);
}

void run(const py::object &step, const Doubles &coefficients, int noise_dim, int uniform_dim, bool signs, uint64_t seed,
         int64_t first_chain, int64_t first_step, int64_t n_steps, py::array state, bool float32_noise,
         const py::array_t<int64_t, py::array::c_style> &saves, const py::object &saved, const py::tuple &statistics,
         const py::object &observer, const py::object &histogram, const py::object &normals, const py::object &data,
         const py::object &table, bool uniform_words, const py::array_t<uint8_t, py::array::c_style> &abort) {
    require(state.ndim() == 2 && state.writeable(), "state must be a writeable array of shape (dim, n_chains)");
    require(coefficients.ndim() == 2 && (coefficients.shape(0) == 1 || coefficients.shape(0) == n_steps),
            "coefficients must have one row, or one a step");
    require(first_chain >= 0 && first_step >= 0 && n_steps >= 0, "ranges must not be negative");
    require(noise_dim >= 0 && noise_dim <= most_draws && uniform_dim >= 0 && uniform_dim <= most_draws,
            "a step draws at most 131072 numbers of a kind");
    require(abort.size() == 1, "abort must hold one byte");
    Job job{};
    job.seed = seed;
    job.first_chain = first_chain, job.n_chains = state.shape(1);
    job.first_step = first_step, job.n_steps = n_steps;
    job.dim = int(state.shape(0)), job.noise_dim = noise_dim, job.uniform_dim = uniform_dim;
    job.uniform_words = uniform_words;
    job.coefficients = coefficients.data();
    job.coefficient_stride = coefficients.shape(0) == 1 ? 0 : coefficients.shape(1);
    job.state = state.mutable_data(), job.state_stride = stride(state, 0);
    job.saves = saves.data(), job.n_saves = saves.size();
    job.abort = abort.data();
    if (!saved.is_none()) {
        py::array out = py::reinterpret_borrow<py::array>(saved);
        require(out.ndim() == 3 && out.shape(0) == job.n_saves && out.shape(1) <= job.dim &&
                    out.shape(2) == job.n_chains && out.dtype().equal(state.dtype()) && out.writeable(),
                "saved must be a writeable array of shape (n_saves, at most dim, n_chains) and of the state's type");
        job.saved = out.mutable_data(), job.saved_dim = int(out.shape(1));
        job.saved_time_stride = stride(out, 0), job.saved_dim_stride = stride(out, 1);
    }
    const Precision precision = precision_of(state, float32_noise, signs);
    if (!data.is_none()) set_data(job, data.cast<py::tuple>(), precision);
    if (!table.is_none()) set_table(job, table.cast<py::array>(), state);
    check_saves(job);
    const Plan how = plan(step, precision, job, coefficients);
    if (!observer.is_none()) set_observer(job, observer.cast<py::tuple>(), precision, how.layout);
    if (!histogram.is_none()) set_histogram(job, histogram.cast<py::tuple>());
    require(statistics.size() <= most_gathers, "there are at most 32768 groups of statistics");
    std::vector<Gather> gathers(statistics.size());
    for (size_t i = 0; i < statistics.size(); ++i) gathers[i] = gather_of(statistics[i].cast<py::tuple>(), job);
    job.gathers = gathers.data(), job.n_gathers = int(statistics.size());
    if (!normals.is_none()) set_given(job, normals.cast<py::array>(), precision);
    job.writes_path = how.writes_path, job.needs_room = how.needs_room;
    py::gil_scoped_release unlocked;
    const Loop &loop = active().loops[int(how.layout)][precision];
    const Scratch scratch(loop.scratch_bytes(job));
    job.scratch = scratch.memory;
    loop.run(job, how.stepper);
}

// Names of the built-in steps, and how their chains lie.
py::dict steps() {
    const Kernels &kernels = active();
    py::dict layouts;
    for (int i = 0; i < kernels.n_steps; ++i)
        layouts[kernels.steps[i].name] = layout_names[int(kernels.steps[i].layout)];
    return layouts;
}

}  // namespace

void bind_run(py::module_ &m) {
    m.attr("steps") = steps();
    m.attr("lanes") = py::dict(py::arg("wide") = max_lanes, py::arg("narrow") = narrow_lanes, py::arg("chains") = narrow_lanes);
    m.attr("largest_wide_dim") = largest_wide_dim;
    m.attr("largest_dim") = largest_dim;
    m.attr("most_wide_draws") = most_wide_draws;
    m.attr("most_gathers") = most_gathers;
    m.def("statistics_size", &statistics_size, py::arg("dim"), py::arg("moments"), py::arg("extremes"),
          py::arg("covariance"));
    m.def("run", &run, py::arg("step"), py::arg("coefficients"), py::arg("noise_dim"), py::arg("uniform_dim"),
          py::arg("signs"), py::arg("seed"), py::arg("first_chain"), py::arg("first_step"), py::arg("n_steps"),
          py::arg("state"), py::arg("float32_noise"), py::arg("saves"), py::arg("saved"), py::arg("statistics"),
          py::arg("observer"), py::arg("histogram"), py::arg("normals"), py::arg("data"), py::arg("table"),
          py::arg("uniform_words"), py::arg("abort"));
}

}  // namespace sdefast
