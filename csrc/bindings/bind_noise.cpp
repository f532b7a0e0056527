// The noise contract as arrays, and the vector math that the steps use.
#include "bindings.hpp"

namespace sdefast {

namespace {

NoiseJob job(uint64_t seed, int64_t first_chain, int64_t first_draw, const py::array &out) {
    if (out.ndim() != 2) throw py::value_error("out must be two-dimensional");
    if (out.size() > 0 && out.shape(1) > 1 && out.strides(1) != out.itemsize())
        throw py::value_error("the chains of out must be contiguous");
    if (first_chain < 0 || first_draw < 0) throw py::value_error("first_chain and first_draw must not be negative");
    const int64_t row = out.strides(0) / out.itemsize();
    return {seed, first_chain, out.shape(1), first_draw, out.shape(0), const_cast<void *>(out.data()), row};
}

template <class Z> void fill(NoiseKind kind, uint64_t seed, int64_t first_chain, int64_t first_draw,
                             py::array_t<Z> out) {
    const NoiseJob work = job(seed, first_chain, first_draw, out);
    (void)out.mutable_data();  // refuses read-only arrays
    py::gil_scoped_release unlocked;
    active().noise[kind][sizeof(Z) == 8](work);
}

void words(uint64_t seed, uint32_t stream, int64_t first_chain, int64_t first_draw,
           py::array_t<uint32_t> out) {
    const NoiseJob work = job(seed, first_chain, first_draw, out);
    (void)out.mutable_data();
    py::gil_scoped_release unlocked;
    active().words(work, stream);
}

template <class T> using Vector = py::array_t<T, py::array::c_style>;

template <class T> Vector<T> elementary(int function, const Vector<T> &x, const Vector<T> &power) {
    if (function == 2 && power.size() != x.size()) throw py::value_error("power must be as long as x");
    Vector<T> result(x.size());
    active().elementary[sizeof(T) == 8](function, x.data(), power.data(), result.mutable_data(), x.size());
    return result;
}

template <class T> void bind_elementary(py::module_ &m) {
    m.def("exp", [](const Vector<T> &x) { return elementary<T>(0, x, x); }, py::arg("x").noconvert());
    m.def("log", [](const Vector<T> &x) { return elementary<T>(1, x, x); }, py::arg("x").noconvert());
    m.def("pow", [](const Vector<T> &x, const Vector<T> &power) { return elementary<T>(2, x, power); },
          py::arg("x").noconvert(), py::arg("power").noconvert());
}

}  // namespace

void bind_noise(py::module_ &m) {
    const auto bind = [&m](const char *name, NoiseKind kind, auto zero) {
        using Z = decltype(zero);
        m.def(
            name,
            [kind](uint64_t seed, int64_t first_chain, int64_t first_draw, py::array_t<Z> out) {
                fill<Z>(kind, seed, first_chain, first_draw, out);
            },
            py::arg("seed"), py::arg("first_chain"), py::arg("first_draw"), py::arg("out").noconvert());
    };
    bind("normals", normals, float());
    bind("normals", normals, double());
    bind("uniforms", uniforms, float());
    bind("uniforms", uniforms, double());
    m.def("words", words, py::arg("seed"), py::arg("stream"), py::arg("first_chain"), py::arg("first_draw"),
          py::arg("out").noconvert());
    bind_elementary<float>(m);
    bind_elementary<double>(m);
}

}  // namespace sdefast
