// Instruction-set levels: which there are, which is used.
#include <cstdlib>
#include <string>

#include "bindings.hpp"

namespace sdefast {

namespace {

std::string level_names() {
    int n;
    const Kernels *const *levels = all_levels(n);
    std::string names;
    for (int i = 0; i < n; ++i) names += (i ? ", " : "") + std::string(levels[i]->level);
    return names;
}

const Kernels &choose() {
    const char *wanted = std::getenv("SDEFAST_ISA");
    if (!wanted || !*wanted) return widest_level();
    const Kernels *level = find_level(wanted);
    if (!level)
        throw py::import_error("SDEFAST_ISA must be one of " + level_names() + ", got '" + wanted + "'");
    if (!supported(wanted))
        throw py::import_error("SDEFAST_ISA asks for " + std::string(wanted) + ", which this machine does not support");
    return *level;
}

}  // namespace

const Kernels &active() {
    static const Kernels &level = choose();
    return level;
}

void bind_config(py::module_ &m) {
    m.attr("isa") = active().level;
    py::list available;
    int n;
    const Kernels *const *levels = all_levels(n);
    for (int i = 0; i < n; ++i)
        if (supported(levels[i]->level)) available.append(levels[i]->level);
    m.attr("isas") = py::tuple(available);
    m.attr("chains_per_block") = chains_per_block;
    m.attr("compiler") = SDEFAST_COMPILER;
}

}  // namespace sdefast
