"""Small kernels in C++, compiled by the tests with the engine's own headers: what built-in steps may be and do."""

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"

#: A step that draws normals and uniforms and carries a row that is no state, the sum of its uniforms; another one in
#: loops of its own, on chains that lie one after the other, which draws normals, uniforms and rows of data.
SOURCE = """
#define SDEFAST_LEVEL test
#include "engine/step.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

struct Carrying : StepTraits {
    static constexpr int dim = 1, carried = 1, noise_dim = 2, uniform_dim = 3, n_coefficients = 1, steps_at_once = 4;
    static constexpr Layout layout = Layout::LAYOUT;

    template <class T> SDEFAST_INLINE static void step(const T *c, T *x, const T *z, const T *u) {
        x[0] = fma(c[0], x[0], z[0] - z[1]);
        x[1] += u[0] + u[1] + u[2];
    }
};

struct Everything : StepTraits {
    static constexpr Layout layout = Layout::chains;

    template <class T, class Z> static void rows(const Call<T, Z> &call) {
        constexpr int row = narrow_lanes;
        for (i64 s = 0; s < call.n_steps; ++s)
            for (int l = 0; l < call.lanes; ++l)
                for (int i = 0; i < call.dim; ++i) {
                    const u32 pick = call.picks[(s * call.n_picks + i % call.n_picks) * row + l];
                    T &x = call.x[l * call.width + i];
                    const T row_entry = T(call.rows[pick * call.width + i]);
                    x = T(0.5) * x + row_entry + T(call.z[(s * call.noise_dim + i) * row + l]) +
                        call.u[s * row + l] * call.table[(call.first_step + s) % 2];
                }
    }
};

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast

using namespace sdefast::SDEFAST_LEVEL;
extern "C" void *carrying() { return reinterpret_cast<void *>(&stepper<Carrying, TYPE, TYPE>); }
extern "C" void *everything() { return reinterpret_cast<void *>(&data_stepper<Everything, TYPE, TYPE>); }
"""


class Kernel:
    """A function of a library that was compiled here, as the engine takes it."""

    def __init__(self, library: ctypes.CDLL, name: str, layout: str) -> None:
        function = getattr(library, name)
        function.restype = ctypes.c_void_p
        self.layout, self._address, self._library = layout, function(), library

    def address(self) -> int:
        return self._address


@functools.cache
def compiled(folder: Path, dtype: str, layout: str) -> ctypes.CDLL:
    """The library for a type of state and a layout of `Carrying`; skips where there is no compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    source, library = folder / f"{dtype}_{layout}.cpp", folder / f"{dtype}_{layout}.so"
    kind = {"float32": "float", "float64": "double"}[dtype]
    source.write_text(SOURCE.replace("LAYOUT;", f"{layout};").replace("TYPE", kind))
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f"-I{CSRC}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))
