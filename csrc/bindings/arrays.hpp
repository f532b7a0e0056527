// Arrays of numpy and tensors of torch as the short way of a step sees them, without a call of Python where that can be
// had: torch hands out its tensors through the functions of DLPack's exchange interface.
#pragma once

#include <algorithm>

#include "bindings.hpp"

namespace sdefast {

// What is looked at of an array: contiguous, in the host's memory.
struct Plain {
    char *data;
    OutputType type;
    int ndim;
    const int64_t *shape;
    int64_t numbers;
    bool regular = true;  // axes of length 1 have the strides of others, which what is made like it takes over

    const char *end() const {
        return data + numbers * (type == OutputType::float64 ? 8 : type == OutputType::float32 ? 4 : 2);
    }
    bool same_shape(const Plain &other) const {
        return ndim == other.ndim && std::equal(shape, shape + ndim, other.shape);
    }
};

// Whose arrays have exactly one type; kept for as long as the process runs.
struct ArrayLibrary {
    PyTypeObject *type;
    PyObject *empty_like;  // memory for as much, called with the array
    // An array, if nothing about it is unusual: that includes what torch has beside numbers, such as gradients. False
    // with an error set where somebody interrupts.
    bool (*look)(PyObject *array, bool written, Plain &found);
    bool (*changed)(PyObject *array);  // tells who follows gradients that it is; false with an error set
};

// Null if it is none that is known here.
const ArrayLibrary *library_of(PyObject *array);

}  // namespace sdefast
