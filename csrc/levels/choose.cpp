#include <string.h>

#include "table.hpp"

// Narrowest first; CMakeLists.txt compiles the same list.
#if defined(__x86_64__)
#define SDEFAST_LEVELS(LEVEL) LEVEL(baseline) LEVEL(v3) LEVEL(v4)
#else
#define SDEFAST_LEVELS(LEVEL) LEVEL(baseline)
#endif

namespace sdefast {

#define SDEFAST_DECLARE(name) \
    namespace name {          \
    extern const Kernels kernels; \
    }
SDEFAST_LEVELS(SDEFAST_DECLARE)

const Kernels *const *all_levels(int &n) {
#define SDEFAST_POINTER(name) &name::kernels,
    static const Kernels *const levels[] = {SDEFAST_LEVELS(SDEFAST_POINTER)};
    n = int(sizeof levels / sizeof *levels);
    return levels;
}

bool supported(const char *level) {
#if defined(__x86_64__)
    // The features of the psABI's levels that the compiler may use; __builtin_cpu_supports knows the levels by name
    // only since GCC 12 and LLVM 18.
    if (!strcmp(level, "x86-64-v3") || !strcmp(level, "x86-64-v4")) {
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
              __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")))
            return false;
    }
    if (!strcmp(level, "x86-64-v4"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    return true;
}

const Kernels *find_level(const char *level) {
    int n;
    const Kernels *const *levels = all_levels(n);
    for (int i = 0; i < n; ++i)
        if (!strcmp(levels[i]->level, level)) return levels[i];
    return nullptr;
}

const Kernels &widest_level() {
    int n;
    const Kernels *const *levels = all_levels(n);
    while (n > 1 && !supported(levels[n - 1]->level)) --n;
    return *levels[n - 1];
}

}  // namespace sdefast
