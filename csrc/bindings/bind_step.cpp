// The short way of one step of a diffusion sampler, on arrays of which nothing is unusual. A batch of one small image
// takes 2 us in the kernel: to look at every argument from Python costs several times that.
#include <optional>
#include <utility>
#include <vector>

#include "arrays.hpp"

namespace sdefast {

namespace {

using Coefficients = py::array_t<double, py::array::c_style>;

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

bool take_arrays(const Plain &x, const Plain &output, FieldJob &job) {
    if ((x.type != OutputType::float32 && x.type != OutputType::float64) || !x.ndim || !x.numbers ||
        x.numbers >= most_numbers || !x.same_shape(output) || !may_be_read(output, x))
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

// None if anything is unusual about the arguments. Coefficients are not looked at.
PyObject *step_at_once(PyObject *const *given, Py_ssize_t n_given) {
    if (n_given != 8) throw py::type_error("a step takes x, output, row, seed, first_sample, t, threads, in_place");
    PyObject *const x = given[0], *const output = given[1], *const threads = given[6];
    const ArrayLibrary *library = library_of(x);
    const auto first_sample = whole(given[4], int64_t(1) << 62), step = whole(given[5], most_steps);
    const bool in_place = given[7] == Py_True, some = threads == Py_None || whole(threads, INT64_MAX).value_or(0) > 0;
    FieldJob job{};
    Plain at, from;
    std::vector<uint64_t> seeds;
    if (!library || Py_TYPE(output) != library->type || !first_sample || !step || !some ||
        !library->look(x, in_place, at) || !library->look(output, false, from) || !take_arrays(at, from, job) ||
        !take_seeds(given[3], job, seeds) || !take_row(given[2], job))
        return unusual();
    auto out = memory(x, *library, in_place, job);
    if (!out) return unusual();
    job.first_sample = *first_sample, job.step = *step;
    const FieldEntry &kernel = active().fields[at.type == OutputType::float64];
    job.last_unit = kernel.units(job.n_samples, job.elements);
    return done(std::move(out), *library, kernel, job);
}

PyObject *called(PyObject *, PyObject *const *given, Py_ssize_t n_given) {
    try {
        return step_at_once(given, n_given);
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
PyMethodDef definition{"field_step_at_once", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(called)),
                       METH_FASTCALL, "One step of samples and outputs, or None; see sdefast.diffusion.step."};

}  // namespace

void bind_step(py::module_ &m) {
    PyObject *function = PyCFunction_NewEx(&definition, nullptr, nullptr);
    if (!function) throw py::error_already_set();
    m.add_object("field_step_at_once", py::reinterpret_steal<py::object>(function));
}

}  // namespace sdefast
