#include "arrays.hpp"

#include <optional>

namespace sdefast {

namespace {

// Whether rows lie one after the other; strides count numbers.
bool contiguous(Plain &array, const int64_t *strides) {
    int64_t expected = 1;
    for (int i = array.ndim; i-- > 0;) {
        if (array.shape[i] != 1 && strides[i] != expected) return false;
        array.regular = array.regular && strides[i] == expected;
        expected *= array.shape[i];
    }
    return true;
}

void count(Plain &array) {
    array.numbers = 1;
    for (int i = 0; i < array.ndim; ++i) array.numbers *= array.shape[i];
}

// numpy ---------------------------------------------------------------------------------------------------------------

bool look_at_array(PyObject *object, bool written, Plain &found) {
    const auto array = py::reinterpret_borrow<py::array>(object);
    const auto type = array.dtype();
    const char kind = type.kind(), order = type.byteorder();
    if (kind != 'f' || (order != '=' && order != '|') || (written && !array.writeable())) return false;
    const auto bytes = type.itemsize();
    if (bytes != 2 && bytes != 4 && bytes != 8) return false;
    found.type = bytes == 4 ? OutputType::float32 : bytes == 8 ? OutputType::float64 : OutputType::float16;
    found.data = static_cast<char *>(const_cast<void *>(array.data()));
    found.ndim = int(array.ndim()), found.shape = reinterpret_cast<const int64_t *>(array.shape());
    count(found);
    return array.flags() & py::array::c_style;
}

bool nothing_changed(PyObject *) { return true; }

// torch ---------------------------------------------------------------------------------------------------------------

// The layout that DLPack fixes for its structures, version 1, as far as it is used here.
namespace dlpack {

struct Tensor {
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

struct Exchange {
    uint32_t major, minor;
    void *older;
    void *allocate, *own, *make;
    int (*borrow)(void *object, Tensor *out);  // not 0 with an error set
};

constexpr int cpu = 1, floating = 2, brain = 4;

}  // namespace dlpack

const dlpack::Exchange *exchange;
PyObject *increment_version, *requires_grad, *is_neg;

std::optional<OutputType> type_of(const dlpack::Tensor &tensor) {
    if (tensor.lanes != 1) return {};
    if (tensor.code == dlpack::brain && tensor.bits == 16) return OutputType::bfloat16;
    if (tensor.code != dlpack::floating) return {};
    if (tensor.bits == 32) return OutputType::float32;
    if (tensor.bits == 64) return OutputType::float64;
    if (tensor.bits == 16) return OutputType::float16;
    return {};
}

// Whether a question to a tensor has the answer no.
bool answers_no(PyObject *answer) {
    Py_XDECREF(answer);
    return answer == Py_False;
}

bool look_at_tensor(PyObject *object, bool, Plain &found) {
    dlpack::Tensor tensor;
    if (exchange->borrow(object, &tensor) || !answers_no(PyObject_GetAttr(object, requires_grad)) ||
        !answers_no(PyObject_CallMethodNoArgs(object, is_neg))) {
        if (PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();  // the long way says what is wrong
        return false;
    }
    const auto type = type_of(tensor);
    if (tensor.device_type != dlpack::cpu || !type || !tensor.data) return false;
    found.data = static_cast<char *>(tensor.data) + tensor.byte_offset, found.type = *type;
    found.ndim = tensor.ndim, found.shape = tensor.shape;
    count(found);
    return contiguous(found, tensor.strides);
}

bool version_changed(PyObject *tensor) {
    PyObject *of = PyTuple_Pack(1, tensor);
    PyObject *done = of ? PyObject_CallOneArg(increment_version, of) : nullptr;
    Py_XDECREF(of), Py_XDECREF(done);
    return done;
}

// Libraries -----------------------------------------------------------------------------------------------------------

ArrayLibrary numpy, torch;

// Whether torch's tensors can be looked at from here: versions before 2.10 do not offer it, later ones may no longer.
bool know_torch(const py::type &tensor, const py::object &empty_like, const py::object &incremented) {
    if (!py::hasattr(tensor, "__dlpack_c_exchange_api__")) return false;
    const py::object capsule = tensor.attr("__dlpack_c_exchange_api__");
    const auto *offered = static_cast<const dlpack::Exchange *>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!offered || offered->major != 1) {
        PyErr_Clear();
        return false;
    }
    exchange = offered, increment_version = py::object(incremented).release().ptr();
    requires_grad = PyUnicode_InternFromString("requires_grad"), is_neg = PyUnicode_InternFromString("is_neg");
    capsule.inc_ref(), tensor.inc_ref();
    torch = {reinterpret_cast<PyTypeObject *>(tensor.ptr()), py::object(empty_like).release().ptr(), look_at_tensor,
             version_changed};
    return true;
}

}  // namespace

const ArrayLibrary *library_of(PyObject *array) {
    const PyTypeObject *type = Py_TYPE(array);
    return type == torch.type ? &torch : type == numpy.type ? &numpy : nullptr;
}

void bind_arrays(py::module_ &m) {
    const py::module_ np = py::module_::import("numpy");
    numpy = {reinterpret_cast<PyTypeObject *>(np.attr("ndarray").cast<py::object>().release().ptr()),
             np.attr("empty_like").cast<py::object>().release().ptr(), look_at_array, nothing_changed};
    m.def("know_torch", know_torch, py::arg("tensor"), py::arg("empty_like"), py::arg("increment_version"));
}

}  // namespace sdefast
