// One tile: a range of chains through a range of steps.
#include <algorithm>
#include <functional>
#include <new>
#include <string>

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

void check_sizes(const StepEntry &entry, int64_t dim, int64_t noise_dim, int64_t n_coefficients) {
    require(dim >= 1 && dim <= largest_dim && noise_dim >= 1, "the state must have 1 to 64 components");
    require(entry.dim == 0 || (entry.dim == dim && entry.noise_dim == noise_dim),
            "state and noise must have as many components as the step");
    require(n_coefficients == entry.n_coefficients(dim, noise_dim),
            "coefficients must have as many columns as the step needs");
}

void check_saves(const Job &job) {
    const int64_t *end = job.saves + job.n_saves;
    require(std::adjacent_find(job.saves, end, std::greater_equal<int64_t>()) == end, "saves must increase");
    require(!job.n_saves || (job.saves[0] >= job.first_step && end[-1] <= job.first_step + job.n_steps),
            "saves must lie within the steps");
}

// A built-in step by name, or the address of one that was compiled elsewhere.
Function stepper_of(const py::object &step, Precision precision, const Job &job, int64_t n_coefficients) {
    if (py::isinstance<py::int_>(step)) return reinterpret_cast<Function>(step.cast<uintptr_t>());
    const StepEntry &entry = find_step(step.cast<std::string>());
    check_sizes(entry, job.dim, job.noise_dim, n_coefficients);
    require(precision <= float64_on_float32_noise, "built-in steps draw normals");
    return precision == float32   ? reinterpret_cast<Function>(entry.float32)
           : precision == float64 ? reinterpret_cast<Function>(entry.float64)
                                  : reinterpret_cast<Function>(entry.float64_on_float32_noise);
}

using Doubles = py::array_t<double, py::array::c_style>;

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

// From (address, number of results, parameters, times of the saves).
void set_observer(Job &job, const py::tuple &t) {
    job.observer = reinterpret_cast<Function>(t[0].cast<uintptr_t>());
    job.observer_dim = t[1].cast<int>();
    require(py::isinstance<Doubles>(t[2]) && py::isinstance<Doubles>(t[3]),
            "an observer's parameters and times must be contiguous float64 arrays");
    const auto parameters = py::reinterpret_borrow<Doubles>(t[2]), times = py::reinterpret_borrow<Doubles>(t[3]);
    require(times.size() == job.n_saves, "an observer needs the time of every save");
    job.observer_parameters = parameters.data(), job.save_times = times.data();
}

// From (low, bins per unit, counts).
void set_histogram(Job &job, const py::tuple &t) {
    require(py::isinstance<py::array_t<int64_t, py::array::c_style>>(t[2]), "counts must be a contiguous int64 array");
    auto counts = py::reinterpret_borrow<py::array_t<int64_t, py::array::c_style>>(t[2]);
    require(counts.ndim() == 3 && counts.shape(0) == job.n_saves && counts.shape(1) == job.dim && counts.shape(2) >= 3,
            "counts must have shape (n_saves, dim, n_bins + 2)");
    job.low = t[0].cast<double>(), job.bins_per_unit = t[1].cast<double>();
    job.n_bins = int(counts.shape(2)) - 2, job.histogram = counts.mutable_data();
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
         const py::object &observer, const py::object &histogram, const py::object &normals,
         const py::array_t<uint8_t, py::array::c_style> &abort) {
    require(state.ndim() == 2 && state.writeable(), "state must be a writeable array of shape (dim, n_chains)");
    require(coefficients.ndim() == 2 && (coefficients.shape(0) == 1 || coefficients.shape(0) == n_steps),
            "coefficients must have one row, or one a step");
    require(first_chain >= 0 && first_step >= 0 && n_steps >= 0, "ranges must not be negative");
    require(noise_dim >= 0 && noise_dim <= 4096 && uniform_dim >= 0 && uniform_dim <= 4096,
            "a step draws at most 4096 numbers of a kind");
    require(abort.size() == 1, "abort must hold one byte");
    Job job{};
    job.seed = seed;
    job.first_chain = first_chain, job.n_chains = state.shape(1);
    job.first_step = first_step, job.n_steps = n_steps;
    job.dim = int(state.shape(0)), job.noise_dim = noise_dim, job.uniform_dim = uniform_dim;
    job.coefficients = coefficients.data();
    job.coefficient_stride = coefficients.shape(0) == 1 ? 0 : coefficients.shape(1);
    job.state = state.mutable_data(), job.state_stride = stride(state, 0);
    job.saves = saves.data(), job.n_saves = saves.size();
    job.abort = abort.data();
    if (!saved.is_none()) {
        py::array out = py::reinterpret_borrow<py::array>(saved);
        require(out.ndim() == 3 && out.shape(0) == job.n_saves && out.shape(1) == job.dim &&
                    out.shape(2) == job.n_chains && out.dtype().equal(state.dtype()) && out.writeable(),
                "saved must be a writeable array of shape (n_saves, dim, n_chains) and of the state's type");
        job.saved = out.mutable_data();
        job.saved_time_stride = stride(out, 0), job.saved_dim_stride = stride(out, 1);
    }
    if (!observer.is_none()) set_observer(job, observer.cast<py::tuple>());
    if (!histogram.is_none()) set_histogram(job, histogram.cast<py::tuple>());
    require(statistics.size() <= most_gathers, "there are at most 64 groups of statistics");
    Gather gathers[most_gathers];
    for (size_t i = 0; i < statistics.size(); ++i) gathers[i] = gather_of(statistics[i].cast<py::tuple>(), job);
    job.gathers = gathers, job.n_gathers = int(statistics.size());
    check_saves(job);
    const Precision precision = precision_of(state, float32_noise, signs);
    const Function stepper = stepper_of(step, precision, job, coefficients.shape(1));
    if (!normals.is_none()) set_given(job, normals.cast<py::array>(), precision);
    job.writes_path = py::isinstance<py::str>(step);
    py::gil_scoped_release unlocked;
    const Scratch scratch(active().scratch_bytes[precision](job));
    job.scratch = scratch.memory;
    active().run[precision](job, stepper);
}

py::tuple step_names() {
    const Kernels &kernels = active();
    py::list names;
    for (int i = 0; i < kernels.n_steps; ++i) names.append(kernels.steps[i].name);
    return py::tuple(names);
}

}  // namespace

void bind_run(py::module_ &m) {
    m.attr("steps") = step_names();
    m.def("statistics_size", &statistics_size, py::arg("dim"), py::arg("moments"), py::arg("extremes"),
          py::arg("covariance"));
    m.def("run", &run, py::arg("step"), py::arg("coefficients"), py::arg("noise_dim"), py::arg("uniform_dim"),
          py::arg("signs"), py::arg("seed"), py::arg("first_chain"), py::arg("first_step"), py::arg("n_steps"),
          py::arg("state"), py::arg("float32_noise"), py::arg("saves"), py::arg("saved"), py::arg("statistics"),
          py::arg("observer"), py::arg("histogram"), py::arg("normals"), py::arg("abort"));
}

}  // namespace sdefast
