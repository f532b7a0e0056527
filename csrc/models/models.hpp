// The list of compiled steps: name (what Python asks for) and model. A new model adds its header and one line here.
#pragma once

#include "black_scholes.hpp"
#include "brownian_motion.hpp"
#include "cev.hpp"
#include "cir.hpp"
#include "double_well.hpp"
#include "heston.hpp"
#include "least_squares.hpp"
#include "linear.hpp"
#include "ornstein_uhlenbeck.hpp"

#define SDEFAST_STEPS(STEP)                         \
    STEP(brownian_motion, BrownianMotion)           \
    STEP(ornstein_uhlenbeck, OrnsteinUhlenbeck)     \
    STEP(black_scholes_euler, BlackScholesEuler)    \
    STEP(black_scholes_exact, BlackScholesExact)    \
    STEP(cir, CIR)                                  \
    STEP(cev, CEV)                                  \
    STEP(heston, Heston)                            \
    STEP(linear, Linear)                            \
    STEP(least_squares, LeastSquares)               \
    STEP(double_well, DoubleWell)
