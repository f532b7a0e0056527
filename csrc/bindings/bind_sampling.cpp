// Langevin steps of samples that lie row by row, whose scores are computed elsewhere.
#include <memory>
#include <new>
#include <string>

#include "bindings.hpp"

namespace sdefast {

namespace {

// A range of chains, for one thread. A step that does not follow the one before is right too, and takes longer.
class ScoreSteps {
  public:
    ScoreSteps(uint64_t seed, int64_t first_chain, int64_t n_chains, int64_t dim, bool double_state, bool float32_noise)
        : double_state(double_state),
          entry(active().scores[!double_state ? float32 : float32_noise ? float64_on_float32_noise : float64]) {
        if (first_chain < 0 || n_chains < 0 || dim < 1) throw py::value_error("chains must be a range, and dim positive");
        job.seed = seed, job.first_chain = first_chain, job.n_chains = n_chains, job.dim = dim;
        kept.reset(static_cast<char *>(::operator new(size_t(entry.bytes(n_chains)), std::align_val_t(64))));
        job.kept = kept.get();
    }

    // x + h score + noise z, in place. The first chain that is finite and whose score is not, if there is one: then
    // nothing is done; else -1.
    int64_t step(py::array x, const py::array &score, double h, double noise, int64_t number) {
        const bool double_score = py::isinstance<py::array_t<double>>(score);
        require(x, double_state, "x");
        require(score, double_score, "score");
        if (number < 0) throw py::value_error("the number of a step must not be negative");
        job.x = x.mutable_data(), job.score = score.data();
        job.h = h, job.noise = noise, job.step = number, job.opening = number != next;
        int64_t wrong;
        {
            py::gil_scoped_release unlocked;
            wrong = entry.step[double_score](job);
        }
        next = wrong < 0 ? number + 1 : -1;
        return wrong;
    }

  private:
    struct Free {
        void operator()(char *memory) const { ::operator delete(memory, std::align_val_t(64)); }
    };

    ScoreJob job{};
    const bool double_state;
    const ScoreEntry &entry;
    std::unique_ptr<char, Free> kept;
    int64_t next = -1;

    void require(const py::array &a, bool is_double, const char *name) const {
        const bool typed = is_double ? py::isinstance<py::array_t<double>>(a) : py::isinstance<py::array_t<float>>(a);
        if (!typed || a.ndim() != 2 || a.shape(0) != job.n_chains || a.shape(1) != job.dim ||
            !(a.flags() & py::array::c_style))
            throw py::value_error(std::string(name) + " must be a contiguous array (n_chains, dim) of the right type");
    }
};

}  // namespace

void bind_sampling(py::module_ &m) {
    py::class_<ScoreSteps>(m, "ScoreSteps")
        .def(py::init<uint64_t, int64_t, int64_t, int64_t, bool, bool>(), py::arg("seed"), py::arg("first_chain"),
             py::arg("n_chains"), py::arg("dim"), py::arg("double_state"), py::arg("float32_noise"))
        .def("step", &ScoreSteps::step, py::arg("x").noconvert(), py::arg("score").noconvert(), py::arg("h"),
             py::arg("noise"), py::arg("number"));
}

}  // namespace sdefast
