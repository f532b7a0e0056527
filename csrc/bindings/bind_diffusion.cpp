// Rows of diffusion samplers on memory that somebody else owns, by address: arrays of numpy and tensors of torch alike.
// Whoever calls has looked at types, lengths and contiguity.
#include <string>

#include "bindings.hpp"

namespace sdefast {

namespace {

using Address = uintptr_t;
using Doubles = py::array_t<double, py::array::c_style>;

constexpr int row_length = 9;

template <class T = void> const T *at(Address address) { return reinterpret_cast<const T *>(address); }

FieldJob sizes(int64_t n_samples, int64_t elements, const Doubles &row) {
    FieldJob job{};
    job.n_samples = n_samples, job.elements = elements, job.row = row.data();
    const bool each = row.ndim() == 2;
    if (n_samples < 0 || elements < 1 || (row.ndim() != 1 && !each) || row.shape(row.ndim() - 1) != row_length ||
        (each && row.shape(0) != n_samples))
        throw py::value_error("a row has nine coefficients, for all samples or for each");
    job.row_stride = each ? row_length : 0;
    return job;
}

// One number for all samples, or an array with one for each.
template <class T> const T *each(const py::object &given, T &all, int64_t n, const char *what) {
    if (!py::isinstance<py::array>(given)) {
        all = given.cast<T>();
        return nullptr;
    }
    const auto values = py::array_t<T, py::array::c_style>::ensure(given);
    if (!values || values.ndim() != 1 || values.shape(0) != n || values.ptr() != given.ptr())
        throw py::value_error(std::string(what) + " must be one for every sample");
    return values.data();
}

void keyed(FieldJob &job, const py::object &seed, int64_t first_sample, const py::object &step) {
    job.first_sample = first_sample;
    job.seeds = each(seed, job.seed, job.n_samples, "seeds");
    job.steps = each(step, job.step, job.n_samples, "steps");
    if (first_sample < 0 || job.step < 0) throw py::value_error("first_sample and step must not be negative");
}

// The first sample whose output is not finite, or -1; a negative last unit stands for all of them.
int64_t field_step(bool doubles, const Doubles &row, int64_t n_samples, int64_t elements, Address x, Address output,
                   int output_type, Address h1, Address h2, Address out, Address kept, bool noisy, Address given,
                   const py::object &seed, int64_t first_sample, const py::object &step,
                   int64_t first_unit, int64_t last_unit) {
    FieldJob job = sizes(n_samples, elements, row);
    keyed(job, seed, first_sample, step);
    if (output_type < 0 || output_type > int(OutputType::float16)) throw py::value_error("no such type of outputs");
    const int64_t units = active().fields[doubles].units(n_samples, elements);
    if (last_unit < 0) last_unit = units;
    if (first_unit < 0 || last_unit > units)
        throw py::value_error("units out of range");
    job.output_type = OutputType(output_type), job.noisy = noisy;
    job.first_unit = first_unit, job.last_unit = last_unit;
    job.x = at(x), job.output = at(output), job.h1 = at(h1), job.h2 = at(h2), job.given = at(given);
    job.out = reinterpret_cast<void *>(out), job.kept = reinterpret_cast<void *>(kept);
    py::gil_scoped_release unlocked;
    return active().fields[doubles].step(job);
}

Doubles field_squares(bool doubles, Address x, int64_t n_samples, int64_t elements) {
    Doubles result(n_samples);
    double *out = result.mutable_data();
    {
        py::gil_scoped_release unlocked;
        active().fields[doubles].squares(at(x), n_samples, elements, out);
    }
    return result;
}

}  // namespace

void bind_diffusion(py::module_ &m) {
    m.def("field_step", field_step, py::arg("doubles"), py::arg("row").noconvert(), py::arg("n_samples"),
          py::arg("elements"), py::arg("x"), py::arg("output"), py::arg("output_type"), py::arg("h1"), py::arg("h2"),
          py::arg("out"), py::arg("kept"), py::arg("noisy"), py::arg("given"), py::arg("seed"), py::arg("first_sample"),
          py::arg("step"), py::arg("first_unit"), py::arg("last_unit"));
    m.def("field_squares", field_squares, py::arg("doubles"), py::arg("x"), py::arg("n_samples"), py::arg("elements"));
    m.def(
        "field_units",
        [](int64_t n_samples, int64_t elements) { return active().fields[0].units(n_samples, elements); },
        py::arg("n_samples"), py::arg("elements"));
}

}  // namespace sdefast
