// Stores of saved states past the caches: nobody reads them soon, and a line that is written whole need not be read first.
#pragma once

#include "../noise/lanes.hpp"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace sdefast {
namespace SDEFAST_LEVEL {

constexpr i64 line_bytes = 64;

// Saved states of a call that take less stay in the caches.
constexpr i64 least_streamed = 1 << 20;

#ifdef __SSE2__
SDEFAST_INLINE void stream_line(char *to, const char *from) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i *>(to), _mm512_loadu_si512(from));
#elif defined(__AVX__)
    for (int i = 0; i < 2; ++i)
        _mm256_stream_si256(reinterpret_cast<__m256i *>(to) + i,
                            _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from) + i));
#else
    for (int i = 0; i < 4; ++i)
        _mm_stream_si128(reinterpret_cast<__m128i *>(to) + i, _mm_loadu_si128(reinterpret_cast<const __m128i *>(from) + i));
#endif
}

// Before anybody else reads what was streamed.
SDEFAST_INLINE void finish_streaming() { _mm_sfence(); }
#else
SDEFAST_INLINE void stream_line(char *to, const char *from) { __builtin_memcpy(to, from, line_bytes); }
SDEFAST_INLINE void finish_streaming() {}
#endif

// Copies `bytes`; with `streaming` whole lines go past the caches where `to` begins one.
SDEFAST_INLINE void store_row(void *to, const void *from, i64 bytes, bool streaming) {
    char *out = static_cast<char *>(to);
    const char *in = static_cast<const char *>(from);
    if (streaming && reinterpret_cast<uintptr_t>(out) % line_bytes == 0)
        for (; bytes >= line_bytes; bytes -= line_bytes, out += line_bytes, in += line_bytes) stream_line(out, in);
    __builtin_memcpy(out, in, size_t(bytes));
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
