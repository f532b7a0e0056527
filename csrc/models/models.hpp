// The list of compiled steps: name (what Python asks for) and stepper. A new model adds its header and one line here.
#pragma once

#include "black_scholes.hpp"
#include "brownian_motion.hpp"
#include "cev.hpp"
#include "cir.hpp"
#include "double_well.hpp"
#include "heston.hpp"
#include "linear.hpp"
#include "ornstein_uhlenbeck.hpp"

#define SDEFAST_STEPS(STEP)                                        \
    STEP(brownian_motion, (stepper<BrownianMotion, T, Z>))         \
    STEP(ornstein_uhlenbeck, (stepper<OrnsteinUhlenbeck, T, Z>))   \
    STEP(black_scholes_euler, (stepper<BlackScholesEuler, T, Z>))  \
    STEP(black_scholes_exact, (stepper<BlackScholesExact, T, Z>))  \
    STEP(cir, (stepper<CIR, T, Z>))                                \
    STEP(cev, (stepper<CEV, T, Z>))                                \
    STEP(heston, (stepper<Heston, T, Z>))                          \
    STEP(linear, (step_linear<T, Z>))                              \
    STEP(double_well, (stepper<DoubleWell, T, Z>))
