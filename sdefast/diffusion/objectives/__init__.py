"""What a network is trained to say, and how samplers then ask it: one objective each, between networks and samplers.

A network sees x_t = alpha x_0 + sigma eps and a noise condition c on a scale of about 0 to 1000. Every loss is the mean
square of what it says minus a target; objectives differ in the levels of noise that they draw, in the target, in its
weight, and in what samplers are told.

================ ============================ ================================== ======================================
name             target                       levels of noise                    source
================ ============================ ================================== ======================================
``flow``         eps - x_0                    sigma logit-normal, or uniform     Lipman et al. 2023; Esser et al. 2024
``eps``          eps                          timesteps, uniform                 Ho et al. 2020, equation 14
``eps-weighted`` eps                          the same, with the bound's weights Ho et al. 2020, equation 12
``v``            alpha eps - sigma x_0        timesteps, uniform                 Salimans and Ho 2022, appendix D
``x0``           x_0                          timesteps, uniform                 Ho et al. 2020, section 3.2
``edm``          (x_0 - c_skip x_t) / c_out   log sigma normal                   Karras et al. 2022, table 1
``ve``           the same, weights sigma^2    sigmas, uniform                    Song and Ermon 2019, equation 5
================ ============================ ================================== ======================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ... import checks
from ..schedule import Schedule
from .base import Level, Model, Objective
from .edm import EDM
from .flow import OF_IMAGES, FlowMatching
from .scaled import Scaled
from .timesteps import X0, Eps, EpsWeighted, V
from .ve import NoiseConditional

__all__ = [
    "EDM",
    "OBJECTIVES",
    "X0",
    "Eps",
    "EpsWeighted",
    "FlowMatching",
    "Level",
    "Model",
    "NoiseConditional",
    "Objective",
    "V",
    "build",
    "objective",
    "suited",
]

#: All of them, by name.
OBJECTIVES: dict[str, type[Objective]] = {
    one.name: one for one in (FlowMatching, Eps, EpsWeighted, V, X0, EDM, NoiseConditional)
}


def objective(name: str | Objective, **options: Any) -> Objective:
    """An objective by its name.

    Parameters
    ----------
    name : {"flow", "eps", "eps-weighted", "v", "x0", "edm", "ve"}
        An objective itself is returned as it is.
    **options
        Those of its class: ``schedule`` of all but edm and ve; ``times``, ``mean``, ``spread`` of flow; ``variance`` of
        eps-weighted; ``sd``, ``mean``, ``spread``, ``sigma_min``, ``sigma_max``, ``rho`` of edm; ``sigmas``, ``sd`` of
        ve.

    Raises
    ------
    TypeError, ValueError
        If the name or an option is unknown, or an option is not what it may be.

    Examples
    --------
    >>> from sdefast.diffusion import objectives
    >>> objectives.objective("flow", times="uniform").prediction
    'flow'
    """
    if isinstance(name, Objective):
        if options:
            raise TypeError(f"options are for a name: {name!r} has its own, got {', '.join(options)}")
        return name
    found = OBJECTIVES[checks.choice("objective", name, OBJECTIVES)]
    known = [one.name for one in fields(found)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise TypeError(f"{name!r} has no option {option!r}: it takes {', '.join(map(repr, known))}")
    return found(**options)


def suited(name: str, x: np.ndarray, **options: Any) -> Objective:
    """An objective by its name for samples x (n, ...): with their standard deviation where it has one, unless an option
    says it, and for flow matching on images with a schedule that is shifted to more noise.

    Examples
    --------
    >>> import numpy as np
    >>> from sdefast.diffusion import objectives
    >>> objectives.suited("edm", np.array([[-2.0], [2.0]])).sd
    2.0
    """
    found = objective(name, **options)
    fitting: dict[str, Any] = {}
    if isinstance(found, Scaled):
        fitting["sd"] = float(x.std(dtype=np.float64))
    elif isinstance(found, FlowMatching) and x.ndim == 4:
        fitting["schedule"] = OF_IMAGES
    return objective(name, **fitting | options)


def build(config: Mapping[str, Any]) -> Objective:
    """The objective of a ``config``: its name and its options in plain values.

    Examples
    --------
    >>> from sdefast.diffusion import objectives
    >>> v = objectives.objective("v")
    >>> objectives.build(v.config) == v
    True
    """
    if not isinstance(config, Mapping) or "name" not in config:
        raise TypeError(f"config must be a mapping with a 'name', one of {', '.join(OBJECTIVES)}, got {config!r}")
    options = {name: value for name, value in config.items() if name != "name"}
    if isinstance(options.get("schedule"), Mapping):
        options["schedule"] = Schedule(**options["schedule"])
    return objective(config["name"], **options)
