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

#define SDEFAST_STEPS(STEP)                                   \
    STEP(brownian_motion, (step_rows<BrownianMotion, T, Z>))       \
    STEP(ornstein_uhlenbeck, (step_rows<OrnsteinUhlenbeck, T, Z>)) \
    STEP(black_scholes_euler, (step_rows<BlackScholesEuler, T, Z>)) \
    STEP(black_scholes_exact, (step_rows<BlackScholesExact, T, Z>)) \
    STEP(cir, (step_rows<CIR, T, Z>))                              \
    STEP(cev, (step_rows<CEV, T, Z>))                              \
    STEP(heston, (step_rows<Heston, T, Z>))                        \
    STEP(linear, (step_linear<T, Z>))                              \
    STEP(double_well, (step_rows<DoubleWell, T, Z>))
