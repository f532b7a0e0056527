// Table of contents of sdefast._core.
#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled kernels of sdefast; the Python face is in sdefast.";
    sdefast::bind_arrays(m);
    sdefast::bind_config(m);
    sdefast::bind_diffusion(m);
    sdefast::bind_noise(m);
    sdefast::bind_run(m);
    sdefast::bind_sampling(m);
    sdefast::bind_step(m);
}
