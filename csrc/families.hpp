// The list of compiled steps: name (what Python asks for) and model. A new model adds its header and one line here.
#pragma once

#include "least_squares/streams.hpp"
#include "sde/black_scholes.hpp"
#include "sde/brownian_motion.hpp"
#include "sde/cev.hpp"
#include "sde/cir.hpp"
#include "sde/double_well.hpp"
#include "sde/heston.hpp"
#include "sde/linear.hpp"
#include "sde/ornstein_uhlenbeck.hpp"

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
