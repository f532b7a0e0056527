"""What sampling gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import checks
from ..engine.gathering import ONE
from ..engine.statistics import Layout
from ..lazy import cached_property
from ..run.result import Expectation, Result, mean_error
from ..words import counted, per_second, product
from . import arviz_data, diagnostics, figures, laws
from .diagnostics import Summary
from .settings import Settings
from .targets.base import BaseTarget
from .targets.batch import BatchTarget

#: Sums of squares are good to some units in the last place: to a hundredth, where deviations are this many of them.
_LOST_DIGITS = 200

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Chains(Result):
    """Result of `langevin`: states and statistics over all finite chains at every saved iteration, and diagnostics.

    ``x`` has shape (n_times, n_chains, dim), ``mean`` and ``variance`` (n_times, dim). Of all draws after burn-in, also
    those that are not kept, ``pooled_mean``, ``pooled_variance``, ``ess`` and ``rhat`` tell, of shape (dim,).

    Examples
    --------
    >>> import sdefast as sf
    >>> target = sf.targets.Gaussian([1.0, 0.0], 0.5)
    >>> chains = sf.langevin(target, method="mala", step_size=0.3, n_steps=100, n_chains=1000, thin=20, seed=0)
    >>> chains.iterations, chains.x.shape, bool((chains.rhat < 1.05).all())
    (array([ 20,  40,  60,  80, 100]), (5, 1000, 2), True)
    """

    settings: Settings

    call: ClassVar[str] = "langevin"
    chain_word: ClassVar[str] = "chain"
    time_word: ClassVar[str] = "iteration"
    _why_not_kept: ClassVar[str] = "this run was made with paths=False"

    @property
    def target(self) -> BaseTarget:
        """The target."""
        return self.settings.target

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.settings.n_chains

    @property
    def iterations(self) -> np.ndarray:
        """Saved iterations, of shape (n_times,): that of number k comes after k steps."""
        return self.settings.saves

    @property
    def t(self) -> np.ndarray:
        """The same as `iterations`."""
        return self.settings.saves

    @property
    def step_size(self) -> Any:
        """Step sizes as ``langevin(step_size=)`` takes them: a number, (n_steps,), or (1, n_chains).

        Where they were adapted these are the ones that were found: a call with them, without ``adapt=``, gives the same
        bits.
        """
        sizes = self.settings.step_sizes
        return float(sizes[0]) if sizes.shape == (1,) else sizes

    @property
    def x(self) -> Any:
        """Saved states, a view of shape (n_times, n_chains, dim) in whose memory the chains are contiguous.

        A numpy array; of a run on a GPU a `DeviceArray` there, on a target of tensors one of those.
        """
        states = super().x
        return self.target.shown(states) if isinstance(self.target, BatchTarget) else states

    # Velocities and acceptance ------------------------------------------------------------------------------------

    @property
    def velocity(self) -> Any:
        """Saved velocities, of shape (n_times, n_chains, dim), of underdamped methods."""
        self._refuse_no_velocity()
        if self._states is None:
            raise AttributeError(f"no states were kept: {self._why_not_kept}")
        return self._rows(self.dim, self.dim)

    @property
    def velocity_variance(self) -> np.ndarray:
        """Sample variance of the velocities, of shape (n_times, dim), of underdamped methods: see the method's bias."""
        self._refuse_no_velocity()
        layout, total = Layout(self.dim, 2, False, False), self._totals[1]
        return np.where(total[:, :1] >= 2, total[:, layout.component(1)] / np.maximum(total[:, :1] - 1, 1), np.nan)

    def _refuse_no_velocity(self) -> None:
        if not self.settings.how.has_velocity:
            raise AttributeError(f"method {self.settings.method!r} has no velocities")

    def _counted(self, which: int) -> np.ndarray:
        if not self.settings.how.accepts:
            raise AttributeError(f"method {self.settings.method!r} accepts every step")
        if self.settings.saves[-1] <= self.settings.burn_in > 0:
            raise AttributeError("acceptance is counted after burn-in, and no iteration was saved there")
        return self._merged(self.settings.gathering.carried[which - 2], ONE)

    @property
    def acceptance(self) -> float:
        """Mean probability of acceptance over the chains and the steps from burn-in to the last saved iteration."""
        return float(self._counted(0)[-1, 1])

    @property
    def acceptance_standard_error(self) -> float:
        """Standard error of `acceptance`."""
        return float(mean_error(self._counted(0))[1][-1])

    @property
    def n_undefined(self) -> int:
        """Proposals whose density was no number; they were rejected."""
        total = self._counted(1)[-1]
        return round(float(total[0] * total[1]))

    @property
    def expectations(self) -> dict[str, Expectation]:
        """Means of user functions with their standard errors, by the names given to `langevin`."""
        return {name: self._expectation(i) for i, (name, _) in enumerate(self.settings.expectations)}

    # Diagnostics --------------------------------------------------------------------------------------------------

    @cached_property
    def _summary(self) -> Summary:
        s = self.settings
        if s.batches is None:
            raise AttributeError("no diagnostics were gathered: pass diagnostics=True to langevin, and enough steps")
        if self._final is None:
            raise AttributeError("diagnostics need the rows at the end, and this run was made with final_states=False")
        first = s.stepping.diagnosed
        found = diagnostics.summary(self._final[first : first + diagnostics.N_ROWS * self.dim], s.batches, s.center)
        away, digits = np.abs(found.mean - s.center), np.finfo(s.dtype).eps
        if (found.variance < _LOST_DIGITS * digits * away**2).any():
            i = int(np.argmax(away))
            checks.warn(
                f"diagnostics have lost their digits in {s.dtype}: draws of component {i} lie {away[i]:.3g} from where "
                "the sums are counted from, the target's mean or the start: begin nearer, or take dtype='float64'"
            )
        return found

    @property
    def pooled_mean(self) -> np.ndarray:
        """Mean of all draws of all chains after burn-in, of shape (dim,)."""
        return self._summary.mean

    @property
    def pooled_variance(self) -> np.ndarray:
        """Variance of all draws of all chains after burn-in, of shape (dim,)."""
        return self._summary.variance

    @property
    def pooled_standard_error(self) -> np.ndarray:
        """Standard error of `pooled_mean`, from `ess`."""
        error: np.ndarray = np.sqrt(self.pooled_variance / self.ess)
        return error

    @property
    def ess(self) -> np.ndarray:
        """Effective sample size of all draws after burn-in, of shape (dim,), by batch means.

        Too large where batches, of ``settings.batches.length`` draws, are shorter than about 20 autocorrelation times.
        """
        return self._summary.ess

    @property
    def autocorrelation_time(self) -> np.ndarray:
        """Integrated autocorrelation time in steps, of shape (dim,), by batch means."""
        return self._summary.autocorrelation_time

    @property
    def rhat(self) -> np.ndarray:
        """Split R-hat of shape (dim,): near 1 where the chains' halves agree; above 1.01 they have not mixed."""
        return self._summary.rhat

    # The exact law ------------------------------------------------------------------------------------------------

    @cached_property
    def _law(self) -> laws.Moments:
        return laws.moments(self.settings)

    @property
    def exact_mean(self) -> np.ndarray:
        """The exact mean at the saved iterations, of shape (n_times, dim), on Gaussians where steps are linear.

        That of the discrete chain from its start, with its bias; ValueError where it is not known.
        """
        return self._law.mean

    @property
    def exact_variance(self) -> np.ndarray:
        """The exact variance at the saved iterations, of shape (n_times, dim): as `exact_mean`."""
        return np.diagonal(self._law.covariance, axis1=1, axis2=2)

    # Figures ------------------------------------------------------------------------------------------------------

    def plot(
        self, ax: Axes | None = None, *, components: Any = None, n_chains: int | None = None, pooled: bool = False
    ) -> Axes:
        """Draw the last states over the target's density: a histogram of one component, or points of two.

        The density is normalised numerically. That of some of a target's components is drawn where it is known, of
        Gaussians and their mixtures.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        components : int or (int, int), optional
            One or two components of the state; by default the first two, or the only one.
        n_chains : int, optional
            Draw trajectories of so many chains through the saved iterations instead.
        pooled : bool, default False
            Draw the states at all saved iterations.

        Raises
        ------
        AttributeError
            If no states were kept and, of one component, no histogram was counted.
        ImportError
            If matplotlib is not installed.
        ValueError
            If components are out of range, or trajectories are asked for of one component or of one saved iteration.
        """
        return figures.draw(self, ax, components, n_chains, checks.flag("pooled", pooled))

    def plot_trace(self, ax: Axes | None = None, *, component: int = 0, n_chains: int = 5) -> Axes:
        """Draw traces of some chains, and mean and two-standard-deviation band of all, beside the target's.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        component : int
            Which component of the state.
        n_chains : int
            How many traces, if states were kept.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a single iteration was saved, or the component is out of range.
        """
        return figures.trace(self, ax, component, n_chains)

    # Going elsewhere ----------------------------------------------------------------------------------------------

    def to_arviz(self) -> Any:
        """The saved states for ArviZ: an `arviz.InferenceData`, or, of ArviZ 1, an `xarray.DataTree`.

        The group ``posterior`` has ``x`` over chain, draw and component, with the numbers of the chains and of the
        saved iterations; of methods that accept or reject ``sample_stats`` has ``acceptance_rate``, each chain's mean
        after burn-in, the same for all its draws. Attributes are those of `describe`.

        Raises
        ------
        AttributeError
            If no states were kept.
        ImportError
            If ArviZ is not installed.
        ValueError
            If fewer than four iterations were saved: ``langevin(thin=)`` saves more.
        """
        return arviz_data.converted(self)

    def describe(self) -> dict[str, Any]:
        """The settings as plain numbers and strings."""
        s, sizes = self.settings, self.settings.step_sizes
        described: dict[str, Any] = {
            "target": repr(s.target),
            "method": s.method,
            "step_size": float(sizes[0]) if sizes.shape == (1,) else "several",
            "temperature": s.temperature,
            "burn_in": s.burn_in,
            **{name: float(value) for name, value in s.options.items()},
            **super().describe(),
            "n_chains": s.n_chains,
        }
        if s.boundaries:
            described["boundaries"] = ", ".join(map(repr, s.boundaries))
        if s.expectations:
            described["expectations"] = ", ".join(name for name, _ in s.expectations)
        if s.metric.matrix is not None:
            described["metric"] = np.array2string(s.metric.matrix, separator=", ", threshold=16)
        return described

    def __repr__(self) -> str:
        s = self.settings
        done = (1 - self.cost.found) * s.n_chains * s.n_steps
        kept = counted(len(s.saves), "saved iteration") + ("" if s.keeps_states else ", statistics only")
        return (
            f"<{s.method} on {s.target!r}: {product(s.n_chains, 'chain', s.n_steps, 'step')}, {s.dtype.name}, "
            f"seed {s.seed}; {kept}; {self.cost.seconds:.3g} s, {per_second(done, self.cost.seconds, 'chain-steps')}, "
            f"{self.cost.executor}, {self.cost.isa}>"
        )
