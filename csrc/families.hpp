// The one list of what the families have compiled: steps by the name that Python asks for, and observers by name and the
// layout of the states that they read. A new step adds its header and a line here.
#pragma once

#include "least_squares/data.hpp"
#include "least_squares/streams.hpp"
#include "sampling/langevin.hpp"
#include "sde/black_scholes.hpp"
#include "sde/brownian_motion.hpp"
#include "sde/cev.hpp"
#include "sde/cir.hpp"
#include "sde/double_well.hpp"
#include "sde/heston.hpp"
#include "sde/linear.hpp"
#include "sde/ornstein_uhlenbeck.hpp"

#define SDEFAST_STEPS(STEP)                           \
    STEP(brownian_motion, BrownianMotion)             \
    STEP(ornstein_uhlenbeck, OrnsteinUhlenbeck)       \
    STEP(black_scholes_euler, BlackScholesEuler)      \
    STEP(black_scholes_exact, BlackScholesExact)      \
    STEP(cir, CIR)                                    \
    STEP(cev, CEV)                                    \
    STEP(heston, Heston)                              \
    STEP(linear, Linear<Layout::wide>)                \
    STEP(linear_of_many, Linear<Layout::narrow>)      \
    STEP(least_squares, LeastSquares)                 \
    STEP(least_squares_on_data, LeastSquaresOnData)   \
    STEP(double_well, DoubleWell)                     \
    STEP(ula_on_mixture, ULAOnMixture)                \
    STEP(ula_on_mixture_narrow, ULAOnMixtureNarrow)   \
    STEP(mala_on_mixture, MALAOnMixture)              \
    STEP(mala_on_mixture_narrow, MALAOnMixtureNarrow) \
    STEP(ula_on_gaussian, ULAOnGaussian)              \
    STEP(mala_on_gaussian, MALAOnGaussian)            \
    STEP(ula_on_logistic, ULAOnLogistic)              \
    STEP(mala_on_logistic, MALAOnLogistic)

#define SDEFAST_OBSERVERS(OBSERVER)                         \
    OBSERVER(squared_norms, narrow, squared_norms)          \
    OBSERVER(squared_norms, chains, squared_norms_on_data)  \
    OBSERVER(squared_norms_and_rotated, narrow, squared_norms_and_rotated)
