// The short way of steps and rows of diffusion samplers, on arrays of which nothing is unusual. A batch of one small
// image takes 2 us in the kernel: to look at every argument from Python costs several times that.
#include <optional>
#include <utility>
#include <vector>

#include "arrays.hpp"

namespace sdefast {

namespace {

// From so many numbers of a step on, or numbers of samples, the long way looks at them, or shares them out to threads.
constexpr int64_t most_steps = 1 << 16, most_numbers = 1 << 19;

constexpr int n_coefficients = 9;

// An integer of exactly Python's type from 0 to below `end`.
std::optional<int64_t> whole(PyObject *value, int64_t end) {
    if (!PyLong_CheckExact(value)) return {};
    const long long found = PyLong_AsLongLong(value);
    if (found == -1) PyErr_Clear();
    if (found < 0 || found >= end) return {};
    return found;
}

std::optional<uint64_t> seed_of(PyObject *value) {
    if (!PyLong_CheckExact(value)) return {};
    const uint64_t found = PyLong_AsUnsignedLongLong(value);
    if (found == UINT64_MAX && PyErr_Occurred()) {
        PyErr_Clear();
        return {};
    }
    return found;
}

// One seed, or a list with one for each sample, which are then in `each`.
bool take_seeds(PyObject *given, FieldJob &job, std::vector<uint64_t> &each) {
    if (!PyList_CheckExact(given)) {
        const auto one = seed_of(given);
        job.seed = one.value_or(0);
        return one.has_value();
    }
    if (PyList_GET_SIZE(given) != job.n_samples) return false;
    each.reserve(job.n_samples);
    for (Py_ssize_t i = 0; i < job.n_samples; ++i) {
        const auto one = seed_of(PyList_GET_ITEM(given, i));
        if (!one) return false;
        each.push_back(*one);
    }
    job.seeds = each.data();
    return true;
}

// Whether `output` may be read while x is written: they lie apart, or number by number.
bool may_be_read(const Plain &output, const Plain &x) {
    return output.end() <= x.data || x.end() <= output.data || (output.data == x.data && output.type == x.type);
}

// Samples and the outputs for them.
bool take_arrays(const Plain &x, const Plain &output, FieldJob &job) {
    if ((x.type != OutputType::float32 && x.type != OutputType::float64) || !x.ndim || !x.numbers ||
        x.numbers >= most_numbers || !x.same_shape(output))
        return false;
    job.n_samples = x.shape[0], job.elements = x.numbers / x.shape[0];
    job.x = x.data, job.output = output.data, job.output_type = output.type;
    return true;
}

bool take_row(PyObject *given, FieldJob &job) {
    if (!py::isinstance<py::array>(given)) return false;
    const auto row = py::reinterpret_borrow<py::array>(given);
    if (row.nbytes() != n_coefficients * sizeof(double)) return false;
    job.row = static_cast<const double *>(row.data());
    job.noisy = job.row[n_coefficients - 1] != 0;
    return true;
}

// Memory for what the step makes, which `job` is told of: x's own, or new; none if there is something unusual about it.
py::object memory(PyObject *x, const ArrayLibrary &library, bool in_place, FieldJob &job) {
    auto out = py::reinterpret_steal<py::object>(in_place ? Py_NewRef(x) : PyObject_CallOneArg(library.empty_like, x));
    if (!out) throw py::error_already_set();
    Plain to;
    if (in_place)
        job.out = const_cast<void *>(job.x);
    else if (library.look(out.ptr(), true, to))
        job.out = to.data;
    else
        out = {};
    return out;
}

// The samples, or the number of the first one whose output is not finite.
PyObject *done(py::object out, const ArrayLibrary &library, const FieldEntry &kernel, const FieldJob &job) {
    int64_t wrong;
    {
        py::gil_scoped_release unlocked;
        wrong = kernel.step(job);
    }
    if (job.out == job.x && !library.changed(out.ptr())) throw py::error_already_set();
    return wrong < 0 ? out.release().ptr() : PyLong_FromLongLong(wrong);
}

// Nothing is done; unless somebody has interrupted, the long way is to be taken.
PyObject *unusual() {
    if (PyErr_Occurred()) throw py::error_already_set();
    Py_RETURN_NONE;
}

// What a call is about, besides arrays. Coefficients are not looked at.
struct Keys {
    PyObject *row, *seed, *first_sample, *step, *threads;

    // False if there is anything unusual about them; several seeds come to lie in `seeds`.
    bool take(FieldJob &job, std::vector<uint64_t> &seeds) const {
        const auto first = whole(first_sample, int64_t(1) << 62), number = whole(step, most_steps);
        if (!first || !number || (threads != Py_None && whole(threads, INT64_MAX).value_or(0) < 1)) return false;
        job.first_sample = *first, job.step = *number;
        return take_seeds(seed, job, seeds) && take_row(row, job);
    }
};

const FieldEntry &kernel_of(const Plain &x, FieldJob &job) {
    const FieldEntry &kernel = active().fields[x.type == OutputType::float64];
    job.last_unit = kernel.units(job.n_samples, job.elements);
    return kernel;
}

// A step of (x, output, row, seed, first_sample, t, threads, in_place), or None if anything about them is unusual.
PyObject *step_at_once(PyObject *const *given, Py_ssize_t n_given) {
    if (n_given != 8) throw py::type_error("a step takes x, output, row, seed, first_sample, t, threads, in_place");
    PyObject *const x = given[0], *const output = given[1];
    const ArrayLibrary *library = library_of(x);
    const bool in_place = given[7] == Py_True;
    FieldJob job{};
    Plain at, from;
    std::vector<uint64_t> seeds;
    if (!library || Py_TYPE(output) != library->type || !library->look(x, in_place, at) ||
        !library->look(output, false, from) || !take_arrays(at, from, job) || !may_be_read(from, at) ||
        !Keys{given[2], given[3], given[4], given[5], given[6]}.take(job, seeds))
        return unusual();
    auto out = in_place || at.regular ? memory(x, *library, in_place, job) : py::object();
    if (!out) return unusual();
    return done(std::move(out), *library, kernel_of(at, job), job);
}

// Whether an array is like x, or None; then it is where `to` points.
bool take_like(PyObject *given, const ArrayLibrary &library, const Plain &x, bool written, void const *&to) {
    Plain found;
    if (given == Py_None) return true;
    if (Py_TYPE(given) != library.type || !library.look(given, written, found) || found.type != x.type ||
        !x.same_shape(found))
        return false;
    to = found.data;
    return true;
}

// A row on (x, output, out, h1, h2, kept, given) by (row, noisy, seed, first_sample, step, threads): the first sample
// whose output is not finite, or -1; None if anything about them is unusual.
PyObject *row_at_once(PyObject *const *given, Py_ssize_t n_given) {
    if (n_given != 13) throw py::type_error("a row takes seven arrays, row, noisy, seed, first_sample, step, threads");
    PyObject *const x = given[0], *const output = given[1], *const out = given[2];
    const ArrayLibrary *library = library_of(x);
    FieldJob job{};
    Plain at, from, to;
    const void *kept = nullptr;
    std::vector<uint64_t> seeds;
    if (!library || Py_TYPE(output) != library->type || Py_TYPE(out) != library->type ||
        !library->look(x, false, at) || !library->look(output, false, from) || !library->look(out, true, to) ||
        !take_arrays(at, from, job) || to.type != at.type || !at.same_shape(to) || !may_be_read(from, to) ||
        !take_like(given[3], *library, at, false, job.h1) || !take_like(given[4], *library, at, false, job.h2) ||
        !take_like(given[5], *library, at, true, kept) || !take_like(given[6], *library, at, false, job.given) ||
        !Keys{given[7], given[9], given[10], given[11], given[12]}.take(job, seeds))
        return unusual();
    job.out = to.data, job.kept = const_cast<void *>(kept), job.noisy = given[8] == Py_True;
    const FieldEntry &kernel = kernel_of(at, job);
    int64_t wrong;
    {
        py::gil_scoped_release unlocked;
        wrong = kernel.step(job);
    }
    return PyLong_FromLongLong(wrong);
}

template <PyObject *(*function)(PyObject *const *, Py_ssize_t)>
PyObject *called(PyObject *, PyObject *const *given, Py_ssize_t n_given) {
    try {
        return function(given, n_given);
    } catch (py::error_already_set &error) {
        error.restore();
    } catch (const py::builtin_exception &error) {
        error.set_error();
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

// (of Python's own kind of functions: pybind's look at every argument)
template <PyObject *(*function)(PyObject *const *, Py_ssize_t)> PyMethodDef defined(const char *name, const char *doc) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(called<function>)), METH_FASTCALL, doc};
}

PyMethodDef definitions[] = {
    defined<step_at_once>("field_step_at_once", "One step of samples and outputs, or None; see sdefast.diffusion.step."),
    defined<row_at_once>("field_row_at_once", "One row on arrays, or None; see sdefast.diffusion.kernel."),
};

}  // namespace

void bind_step(py::module_ &m) {
    for (PyMethodDef &definition : definitions) {
        PyObject *function = PyCFunction_NewEx(&definition, nullptr, nullptr);
        if (!function) throw py::error_already_set();
        m.add_object(definition.ml_name, py::reinterpret_steal<py::object>(function));
    }
}

}  // namespace sdefast
