// Box-Muller: two words in, two independent standard normals out (four words and two normals in float64).
//
//     r = sqrt(-2 log u),  phi = pi y / 2,  u in (0, 1), y in (-1, 1):   first = r sin phi,  second = +-r cos phi
//
// The radius keeps the whole word (no 24-bit cut), so float32 normals reach 6.7 and float64 normals 9.4. u and y stop
// just short of 1, so that neither normal is ever exactly zero. Polynomials are minimax in relative error: against
// exact arithmetic on the same u and y the radius is good to 1.9e-7 (float32) and 6e-15 (float64), the normals to
// 5.4e-7 r and 7e-15 r.
#pragma once

#include "polynomial.hpp"

namespace sdefast {
namespace SDEFAST_LEVEL {

// -2 log(u), u = 2^-e (1 + f) with 1 + f in [1/2, 1): near u = 1 it is f times a polynomial, so that small radii keep
// their relative accuracy.
SDEFAST_INLINE void split(float u, float &f, float &minus_2_log_power) {
    const i32 halvings = (0x3f7fffff - bits<i32>(u)) & i32(0xff800000);  // e, in the exponent field
    minus_2_log_power = float(halvings) * 0x1.62e43p-23f;
    f = bits<float>(bits<i32>(u) + halvings) - 1.0f;
}

SDEFAST_INLINE void split(double u, double &f, double &minus_2_log_power) {
    // AVX2 cannot convert 64-bit integers, so e is read off the mantissa of 2^52 + exponent.
    const u64 word = bits<u64>(u);
    minus_2_log_power = ((0x1p52 + 1022) - bits<double>((word >> 52) | 0x4330000000000000)) * 0x1.62e42fefa39efp+0;
    f = bits<double>((word & 0x000fffffffffffff) | 0x3fe0000000000000) - 1.0;
}

struct NormalPolynomials32 {
    static constexpr float minus_2_log1p_over_f[] = {
        -0x1.fffffcp+0f, 0x1.0004cap+0f, -0x1.53d3ccp-1f, 0x1.16c8d8p-1f, -0x1.37719ep-4f, 0x1.922406p+0f,
        0x1.14dfd2p+1f, 0x1.2f57acp+1f};
    static constexpr float sine[] = {  // sqrt 2 sin(pi y / 4) / y in y^2
        0x1.1c5832p+0f, -0x1.d3ba3ep-4f, 0x1.cd8e5ap-9f, -0x1.aa7d8ap-15f};
    static constexpr float cosine[] = {  // sqrt 2 cos(pi y / 4) in y^2
        0x1.6a09e6p+0f, -0x1.bea55ap-2f, 0x1.6f3ea6p-6f, -0x1.d8a514p-12f};
};

struct NormalPolynomials64 {
    static constexpr double minus_2_log1p_over_f[] = {
        -0x1.000000000002ap+1, 0x1.ffffffffd1155p-1, -0x1.55555577e01d4p-1, 0x1.ffffebe93daf4p-2,
        -0x1.999caaa4087dep-2, 0x1.550cdbafddbe1p-2, -0x1.28f76752193b3p-2, 0x1.a1986ce1c4329p-3,
        -0x1.270e0c177e776p-1, -0x1.c8d94f1e2258cp+0, -0x1.0c2c0062f91bep+3, -0x1.8cd69eb6548e1p+4,
        -0x1.bd06911f8a3eep+5, -0x1.5e1f4041a8980p+6, -0x1.77b2290e07bfbp+6, -0x1.e9d8e293ed5c5p+5,
        -0x1.2fc3897cc395ep+4};
    static constexpr double sine[] = {
        0x1.1c5831add62e4p+0, -0x1.d3ba5c1c5f464p-4, 0x1.cda106381db59p-9, -0x1.b1e9f347f07c8p-15,
        0x1.dbd6f6a23df67p-22, -0x1.55889d4d3b074p-29, 0x1.563138a42e6a7p-37};
    static constexpr double cosine[] = {
        0x1.6a09e667f3bccp+0, -0x1.bea5b6072b1ddp-2, 0x1.6f5a49b28fd40p-6, -0x1.e36ab0b571ef7p-12,
        0x1.54cb87125c594p-18, -0x1.2af4ab0a60106p-25, 0x1.6166e349d6c4ap-33};
};

// A pair is one long chain of dependent operations, longer than what a core keeps in flight; so rows are worked off in
// two passes of half the length. The first leaves the squared radius and the angle, the second turns them into normals.

// Words 2j and 2j + 1: radius and angle. Leaves r^2 and the angle's word.
SDEFAST_INLINE void radius_and_angle(u32 radius, u32 angle, float &first, float &second) {
    const float u = fma(float(radius), 0x1.fffffep-33f, 0x1p-33f);  // the factor keeps u below 1
    float f, power;
    split(u, f, power);
    first = fma(f, horner(f, NormalPolynomials32::minus_2_log1p_over_f), power);
    second = bits<float>(angle);
}

// Words 4j to 4j + 3: high and low half of the radius (the lowest bit of the high half unused), of the angle.
// Leaves r^2, the sign of the cosine in its sign bit, and y.
SDEFAST_INLINE void radius_and_angle(u32 radius_high, u32 radius_low, u32 angle_high, u32 angle_low, double &first,
                                     double &second) {
    // Halves are converted as signed 32-bit integers, the one conversion that every instruction set has.
    const double low = fma(double(i32(radius_low)), 0x1p-63, 0x1.00000001p-32);
    const double u = fma(double(i32(radius_high >> 1)), 0x1.fffffffffffffp-32, low);
    double f, power;
    split(u, f, power);
    const double r2 = fma(f, horner(f, NormalPolynomials64::minus_2_log1p_over_f), power);
    first = bits<double>(bits<u64>(r2) | u64(angle_low) << 63);
    const double angle = fma(double(i32(angle_low)), 0x1p-63, 0x1.00000001p-32);
    second = fma(double(i32(angle_high)), 0x1.ffffffffffffep-32, angle);
}

// With half the angle: sin phi = 2 sin cos and cos phi = 1 - 2 sin^2 (the polynomials hold the factor sqrt 2). phi lies in
// (-pi/2, pi/2); the sign of the cosine covers the other half of the circle.
template <class P, class T, class Word>
SDEFAST_INLINE void rotate(T r, T y, Word cosine_sign, T &first, T &second) {
    const T y2 = y * y, s = y * horner(y2, P::sine), c = horner(y2, P::cosine), rs = r * s;
    first = rs * c;
    second = bits<T>(bits<Word>(fma(-rs, s, r)) ^ cosine_sign);
}

SDEFAST_INLINE void finish_normals(float &first, float &second) {
    const u32 angle = bits<u32>(second);
    const float y = fma(float(i32(angle)), 0x1.fffffcp-32f, 0x1p-32f);
    rotate<NormalPolynomials32>(sqrt(first), y, angle << 31, first, second);  // the angle's lowest bit is the sign
}

SDEFAST_INLINE void finish_normals(double &first, double &second) {
    const u64 sign = bits<u64>(first) & 0x8000000000000000;
    rotate<NormalPolynomials64>(sqrt(bits<double>(bits<u64>(first) ^ sign)), second, sign, first, second);
}

}  // namespace SDEFAST_LEVEL
}  // namespace sdefast
