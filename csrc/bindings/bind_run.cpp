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

Precision precision_of(const py::array &state, bool float32_noise) {
    if (py::isinstance<py::array_t<float>>(state)) return float32;
    if (!py::isinstance<py::array_t<double>>(state)) throw py::type_error("state must be float32 or float64");
    return float32_noise ? float64_on_float32_noise : float64;
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
    require(dim >= 1 && dim <= largest_dim && noise_dim >= 1 && noise_dim <= largest_dim,
            "state and noise must have 1 to 64 components");
    require(entry.dim == 0 || (entry.dim == dim && entry.noise_dim == noise_dim),
            "state and noise must have as many components as the step");
    require(n_coefficients == (entry.dim ? entry.n_coefficients : dim * (dim + 1 + noise_dim)),
            "coefficients must have as many columns as the step needs");
}

void check_saves(const Job &job) {
    const int64_t *end = job.saves + job.n_saves;
    require(std::adjacent_find(job.saves, end, std::greater_equal<int64_t>()) == end, "saves must increase");
    require(!job.n_saves || (job.saves[0] >= job.first_step && end[-1] <= job.first_step + job.n_steps),
            "saves must lie within the steps");
}

void run(const std::string &step, const py::array_t<double, py::array::c_style> &coefficients, int noise_dim,
         uint64_t seed, int64_t first_chain, int64_t first_step, int64_t n_steps, py::array state, bool float32_noise,
         const py::array_t<int64_t, py::array::c_style> &saves, const py::object &saved, const py::object &statistics,
         int moments, bool extremes, bool covariance, const py::array_t<uint8_t, py::array::c_style> &abort) {
    require(state.ndim() == 2 && state.writeable(), "state must be a writeable array of shape (dim, n_chains)");
    require(coefficients.ndim() == 2 && (coefficients.shape(0) == 1 || coefficients.shape(0) == n_steps),
            "coefficients must have one row, or one a step");
    require(first_chain >= 0 && first_step >= 0 && n_steps >= 0, "ranges must not be negative");
    require(abort.size() == 1, "abort must hold one byte");
    Job job{};
    job.seed = seed;
    job.first_chain = first_chain, job.n_chains = state.shape(1);
    job.first_step = first_step, job.n_steps = n_steps;
    job.dim = int(state.shape(0)), job.noise_dim = noise_dim;
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
    job.moments = moments, job.extremes = extremes, job.covariance = covariance;
    if (!statistics.is_none()) {
        require(py::isinstance<py::array_t<double, py::array::c_style>>(statistics),
                "statistics must be a contiguous float64 array");
        auto out = py::reinterpret_borrow<py::array_t<double, py::array::c_style>>(statistics);
        require(out.ndim() == 3 && out.shape(0) == (job.n_chains + chains_per_block - 1) / chains_per_block &&
                    out.shape(1) == job.n_saves &&
                    out.shape(2) == statistics_size(job.dim, moments, extremes, covariance),
                "statistics must have shape (n_blocks, n_saves, size)");
        job.statistics = out.mutable_data();
    }
    const StepEntry &entry = find_step(step);
    check_sizes(entry, job.dim, noise_dim, coefficients.shape(1));
    check_saves(job);
    const Precision precision = precision_of(state, float32_noise);
    py::gil_scoped_release unlocked;
    const Scratch scratch(active().scratch_bytes[precision](job));
    job.scratch = scratch.memory;
    active().run[precision](job, entry);
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
    m.def("run", &run, py::arg("step"), py::arg("coefficients"), py::arg("noise_dim"), py::arg("seed"),
          py::arg("first_chain"), py::arg("first_step"), py::arg("n_steps"), py::arg("state"),
          py::arg("float32_noise"), py::arg("saves"), py::arg("saved"), py::arg("statistics"), py::arg("moments"),
          py::arg("extremes"), py::arg("covariance"), py::arg("abort"));
}

}  // namespace sdefast
