// What the binding files share. Bindings check shapes and release the GIL; they hold no loops.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "../levels/table.hpp"

namespace sdefast {

namespace py = pybind11;

// The level chosen at import.
const Kernels &active();

void bind_arrays(py::module_ &m);
void bind_config(py::module_ &m);
void bind_diffusion(py::module_ &m);
void bind_noise(py::module_ &m);
void bind_run(py::module_ &m);
void bind_sampling(py::module_ &m);
void bind_step(py::module_ &m);

}  // namespace sdefast
