"""Least squares, streamed or on data: losses, gradients, their noise, and the exact laws of SGD on them."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..run.keywords import known_keywords
from ..run.records import Recorded
from ..sde.models import laws
from .inputs import InputLaw, Normal, law_of
from .laws.exact import ExactLaws
from .laws.matrices import covariance_matrix, symmetric_root
from .laws.modified import ModifiedEquations
from .laws.moments import EmpiricalMoments, GaussianMoments, IndependentMoments, Moments, PenalisedMoments
from .samples import Samples

#: Arguments of problems that calls on them do not have.
OF_PROBLEMS = dict.fromkeys(("theta_star", "noise_std", "inputs", "data"), "LeastSquares")

#: Numbers up to which products of four of them are far from the end of float64, with as many of them as memory holds.
_LARGEST = 1e70


class LeastSquares(Recorded, ExactLaws, ModifiedEquations, Samples):
    r"""Linear least squares as a problem for stochastic gradient descent.

    The loss of one sample is :math:`\ell(\theta) = \frac12 (y - \langle\theta, x\rangle)^2`. Samples are streamed,
    :math:`y = \langle\theta^*, x\rangle + \xi` with :math:`\xi \sim N(0, \sigma^2)` independent of x, or drawn with
    replacement from data. SGD with step sizes g_k and batches of B samples is

    .. math::

        \theta_{k+1} = \theta_k - g_k \frac1B \sum_{b=1}^B \nabla\ell_b(\theta_k), \qquad
        \nabla\ell(\theta) = x\,(\langle\theta, x\rangle - y) .

    All laws below are exact, in every dimension, for every step size.

    Parameters
    ----------
    theta_star : array_like of shape (d,), optional
        The parameters that streamed samples follow.
    noise_std : float, optional
        Standard deviation sigma of the noise in streamed y, not negative. It must be given with ``theta_star``.
    covariance : array_like of shape (d, d) or (d,), optional
        H, for inputs x ~ N(0, H): symmetric positive semidefinite, or the variances of independent coordinates; the
        identity by default.
    inputs : InputLaw or str, optional
        Law of independent coordinates of x, of those in ``sf.inputs``: `Normal()` by default, `Uniform`,
        `Rademacher` or `Student`, such as ``sf.inputs.Uniform(-1, 1)``, or as the command line has it, "normal",
        "uniform:-1:1", "rademacher" or "student:5"; all but the first exclude ``covariance``.
    data : tuple of array_like, optional
        (X, y) of shapes (n, d) and (n,) or (n, 1), instead of all the other arguments.
    ridge : float, optional
        A penalty for data: lambda of the loss :math:`\frac12 (y - \langle\theta, x\rangle)^2 + \frac12 \lambda
        |\theta|^2` of a sample, not negative.
    label_noise : float, optional
        For data: standard deviation of normal noise that is added to the label of every sample that is drawn, each time
        anew (Blanc, Gupta, Valiant and Valiant, COLT 2020).

    Attributes
    ----------
    dim : int
        Number of parameters, d.
    theta_star : numpy.ndarray
        The minimiser of the loss, of shape (d,). For data the least-squares solution; if X has not full column rank,
        the one of minimum norm, to which SGD from zero converges. Directions that the inputs never take keep their
        start for ever: errors count them, floors and thresholds do not.
    noise_std : float
        sigma; for data the root of the mean squared residual (with label noise and penalty at the minimiser), so that
        the least loss is noise_std^2 / 2 in any case.
    hessian : numpy.ndarray
        H = E xx', or X'X / n + ridge: the Hessian of the loss, of shape (d, d). It is no covariance if the mean of x is
        not 0.
    inputs : InputLaw or None
        The law of the coordinates; None for data.
    data : tuple of numpy.ndarray or None
        (X, y), read-only copies.

    Raises
    ------
    ValueError
        If arguments are missing, exclude each other, or have values or shapes out of range; if the variance of the
        inputs is infinite.

    Notes
    -----
    Problems are immutable, compare and hash by value, and can be pickled.

    References
    ----------
    Li, Tai and E, Journal of Machine Learning Research 20, 2019. Polyak and Juditsky, SIAM Journal on Control and
    Optimization 30, 1992. Bach and Moulines, Advances in Neural Information Processing Systems 26, 2013.

    Examples
    --------
    >>> from sdefast.least_squares import LeastSquares
    >>> problem = LeastSquares(theta_star=[0.1, -0.2, 1.0, 0.5, -0.5], noise_std=0.1)
    >>> float(problem.expected_error(step_size=0.01, n_steps=1000)[-1].round(8))
    0.00025907
    """

    _NAMES: ClassVar[tuple[str, ...]] = (
        "theta_star", "noise_std", "covariance", "inputs", "data", "ridge", "label_noise",
    )  # fmt: skip

    inputs: InputLaw | None
    data: tuple[np.ndarray, np.ndarray] | None
    ridge: float
    label_noise: float
    _residuals: np.ndarray
    _padded: dict[tuple[np.dtype, int], np.ndarray]

    @known_keywords(dict.fromkeys(("step_size", "n_steps", "n_runs", "batch_size", "averaging", "sampling"), "sgd"))
    def __init__(
        self,
        theta_star: ArrayLike | None = None,
        noise_std: float | None = None,
        covariance: ArrayLike | None = None,
        inputs: InputLaw | None = None,
        data: tuple[ArrayLike, ArrayLike] | None = None,
        ridge: float = 0.0,
        label_noise: float = 0.0,
    ) -> None:
        given = (theta_star, noise_std, covariance, inputs)
        own = {"ridge": ridge, "label_noise": label_noise}
        self._set(**{name: checks.real(name, value, least=0.0) for name, value in own.items()})
        if data is None:
            if self.is_penalised:
                raise ValueError("ridge and label_noise are for data=(X, y): the noise of a stream is noise_std")
            self._stream(theta_star, noise_std, covariance, inputs)
        else:
            others = [name for name, value in zip(self._NAMES, given, strict=False) if value is not None]
            if others:
                raise ValueError(f"data excludes {' and '.join(others)}: the data say all")
            self._read(data)
        _freeze(self.theta_star, self._moments.hessian)

    def _stream(self, theta_star: Any, noise_std: Any, covariance: Any, inputs: Any) -> None:
        for name, value in (("theta_star", theta_star), ("noise_std", noise_std)):
            if value is None:
                raise ValueError(f"{name} must be given, or data=(X, y)")
        if np.ndim(theta_star) == 2 or np.ndim(noise_std) > 0:
            raise ValueError(
                "theta_star and noise_std are one vector and one number, from which samples are drawn; samples that "
                "are there are data=: LeastSquares(data=(X, y))"
            )
        theta = checks.array("theta_star", theta_star, shape=(None,)) + 0.0
        if len(theta) and np.abs(theta).max() > _LARGEST:
            raise ValueError(f"theta_star must be within {_LARGEST:g}, so that squares are finite")
        d = checks.count("the number of entries of theta_star", len(theta))
        sigma = checks.real("noise_std", noise_std, least=0.0, most=_LARGEST) + 0.0
        law = Normal() if inputs is None else law_of(inputs)
        if isinstance(law, Normal):
            H = np.eye(d) if covariance is None else _covariance(covariance, d)
            if H.shape != (d, d):
                raise ValueError(f"covariance must have shape {(d, d)} as theta_star has {d} entries, got {H.shape}")
            moments: Moments = GaussianMoments(H, sigma**2)
        elif covariance is not None:
            raise ValueError(f"covariance needs Gaussian inputs, got inputs={inputs!r}")
        else:
            moments = IndependentMoments(law, d, sigma**2)
        self._set(theta_star=theta, noise_std=sigma, inputs=law, data=None, _moments=moments)

    def _read(self, data: Any) -> None:
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            got = f"{type(data).__name__} of {len(data)}" if isinstance(data, (tuple, list)) else type(data).__name__
            raise TypeError(f"data must be a pair (X, y), got {got}")
        X = np.ascontiguousarray(checks.array("X of data", data[0], shape=(None, None)) + 0.0)
        if 0 in X.shape:
            raise ValueError(f"X of data must have at least one row and one column, got shape {X.shape}")
        y = checks.array("y of data", data[1])
        y = checks.array("y of data", y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, shape=(len(X),)) + 0.0
        for name, values in (("X", X), ("y", y)):
            if np.abs(values).max() > _LARGEST:
                raise ValueError(f"{name} of data must be within {_LARGEST:g}, so that squares are finite")
        root = np.sqrt(len(X) * self.ridge)  # the penalty is d rows more
        rows, labels = (X, y) if root == 0 else (np.vstack([X, root * np.eye(X.shape[1])]), np.append(y, 0 * X[0]))
        theta = np.linalg.lstsq(rows, labels, rcond=None)[0]
        # (equal rows have equal residuals, which a matrix product may not give)
        self._put_data(X, y, theta, y - (X * theta).sum(axis=1))

    def _put_data(self, X: np.ndarray, y: np.ndarray, theta: np.ndarray, residuals: np.ndarray) -> None:
        """The problem on data with that minimiser and those residuals."""
        _freeze(X, y)
        least = float(residuals @ residuals) / len(X)
        moments: Moments = EmpiricalMoments(X, residuals)
        if self.is_penalised:
            least += self.ridge * float(theta @ theta) + self.label_noise**2
            moments = PenalisedMoments(EmpiricalMoments(X, residuals), self.ridge, theta, self.label_noise**2)
        self._set(theta_star=theta, noise_std=math.sqrt(least), inputs=None, data=(X, y), _moments=moments)
        self._set(_residuals=residuals, _padded={})

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a LeastSquares problem cannot be changed: make another one with its own {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a LeastSquares problem cannot be changed: {name} stays")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a call, so that the copy's arrays are read-only too."""
        return type(self), self._arguments()

    def _to_record(self) -> dict[str, Any]:
        """The arguments, or data with their minimiser, which may be rounded differently elsewhere."""
        if self.data is None:
            return dict(zip(self._NAMES, self._arguments(), strict=True))
        own = {"data": self.data, "minimiser": self.theta_star, "residuals": self._residuals}
        return own | ({"ridge": self.ridge, "label_noise": self.label_noise} if self.is_penalised else {})

    @classmethod
    def _from_record(cls, record: dict[str, Any]) -> LeastSquares:
        if "minimiser" not in record:
            return cls(**record)
        problem = cls.__new__(cls)
        problem._set(**{name: record.get(name, 0.0) for name in ("ridge", "label_noise")})
        X, y = record["data"]
        problem._put_data(X, y, record["minimiser"], record["residuals"])
        _freeze(problem.theta_star, problem._moments.hessian)
        return problem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LeastSquares) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self.data is not None:
            own = {"ridge": self.ridge, "label_noise": self.label_noise}
            more = "".join(f", {name}={value:g}" for name, value in own.items() if value)
            return f"LeastSquares(data of {len(self.data[0])} rows, dim={self.dim}{more})"
        law = self.inputs if self.covariance is None or self._isotropic == 1 else "N(0, covariance)"
        return f"LeastSquares(dim={self.dim}, noise_std={self.noise_std:g}, inputs={law})"

    def _arguments(self) -> tuple[Any, ...]:
        if self.data is not None:
            return None, None, None, None, self.data, self.ridge, self.label_noise
        return self.theta_star, self.noise_std, self.covariance, self.inputs, None, 0.0, 0.0

    def _key(self) -> tuple[Any, ...]:
        if self.data is not None:
            own = self.ridge, self.label_noise
            return self.data[0].shape, self.data[0].tobytes(), self.data[1].tobytes(), *own
        return self.theta_star.tobytes(), self.noise_std, self.hessian.tobytes(), self.inputs

    @property
    def covariance(self) -> np.ndarray | None:
        """The covariance H of Gaussian inputs, of shape (d, d); None for other laws and for data."""
        return self.hessian if isinstance(self._moments, GaussianMoments) else None

    @property
    def is_finite(self) -> bool:
        """Whether samples are drawn from data."""
        return self.data is not None

    @property
    def is_penalised(self) -> bool:
        """Whether it has a ridge penalty or noise on its labels."""
        return self.ridge > 0 or self.label_noise > 0

    @property
    def n_data(self) -> int | None:
        """Number of rows of the data; None for streams."""
        return None if self.data is None else len(self.data[0])

    def padded_rows(self, dtype: np.dtype, vector: int) -> np.ndarray:
        """The rows of the data as kernels read them: x, then y - <theta*, x>, then zeros up to whole vectors.

        They are kept, for the next call.
        """
        if self.data is None:
            raise ValueError("rows are those of a problem on data")
        key = (dtype, vector)
        if key not in self._padded:
            n, d = self.data[0].shape
            rows = _aligned((n, -(-(d + 1) // vector) * vector), dtype)
            rows[:, :d], rows[:, d] = self.data[0], self._residuals
            if not np.isfinite(rows).all():
                raise ValueError(f"data must be finite in {dtype.name}")
            _freeze(rows)
            self._padded[key] = rows
        return self._padded[key]

    # Loss, gradient and gradient noise

    def loss(self, theta: ArrayLike) -> Any:
        r"""The loss :math:`L(\theta) = \frac12 E (y - \langle\theta, x\rangle)^2 = \frac12(\delta'H\delta + \sigma^2)`.

        For data the mean over the rows. ``theta`` has shape (..., d), the result shape (...).
        """
        delta = self._delta(theta)
        return laws.unwrap(0.5 * (np.sum((delta @ self.hessian) * delta, axis=-1) + self.noise_std**2))

    def gradient(self, theta: ArrayLike) -> np.ndarray:
        r"""The gradient :math:`H (\theta - \theta^*)` of the loss, of the shape (..., d) of ``theta``."""
        return np.asarray(self._delta(theta) @ self.hessian)

    def sample_gradient(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        r"""The gradient :math:`x (\langle\theta, x\rangle - y) + \lambda\theta` of one sample's loss.

        ``theta`` and ``x`` have shape (..., d), ``y`` has shape (...); they broadcast against each other.
        """
        theta, x, y = self._points("theta", theta), self._points("x", x), checks.array("y", y)
        gradient = x * (np.sum(theta * x, axis=-1) - y)[..., None]
        return np.asarray(gradient if self.ridge == 0 else gradient + self.ridge * theta)

    def martingale_difference(self, theta: ArrayLike, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        r"""The noise :math:`m = \nabla L(\theta) - \nabla\ell(\theta)` of one sample's gradient; it has mean zero.

        SGD is :math:`\theta_{k+1} = \theta_k - g H (\theta_k - \theta^*) + g m_k`. Shapes as in `sample_gradient`.
        """
        return np.asarray(self.gradient(theta) - self.sample_gradient(theta, x, y))

    def gradient_covariance(self, theta: ArrayLike, batch_size: int = 1) -> np.ndarray:
        r"""The covariance :math:`\Sigma(\theta) / B` of a mini-batch's gradient, of shape (..., d, d).

        For Gaussian inputs :math:`\Sigma = (\delta'H\delta + \sigma^2) H + H\delta\delta'H`. Data are drawn with
        replacement.

        Raises
        ------
        ValueError
            If the fourth moment of the inputs is infinite.
        """
        delta, B = self._delta(theta), checks.count("batch_size", batch_size)
        mean = delta @ self.hessian
        second = self._moments.gradient_second_moment(delta)
        return np.asarray((second - mean[..., :, None] * mean[..., None, :]) / B)

    @property
    def gradient_noise_dim(self) -> int:
        """Number of normals that `gradient_noise` takes: d + 1 for Gaussian inputs with a covariance, otherwise d."""
        return self.dim + (self.covariance is not None and self._isotropic is None)

    def gradient_noise(self, theta: ArrayLike, z: ArrayLike, batch_size: int = 1) -> np.ndarray:
        r"""Gaussian noise with the covariance `gradient_covariance`, from standard normals.

        For H = c I in O(d), with the symmetric root of the covariance: :math:`\sqrt a\,z + v \langle v, z\rangle /
        (\sqrt{a + |v|^2} + \sqrt a)` with :math:`v = c\,\delta` and :math:`a = c\,(c\,|\delta|^2 + \sigma^2)`. For
        other Gaussian inputs :math:`\sqrt{\delta'H\delta + \sigma^2}\, H^{1/2} z_{1..d} + H\delta\, z_{d+1}`. For other
        laws and for data with the symmetric root of the matrix, in O(d^3).

        Parameters
        ----------
        theta : array_like of shape (..., d)
            Parameters.
        z : array_like of shape (..., gradient_noise_dim)
            Standard normals; leading axes broadcast with those of ``theta``.
        batch_size : int
            Samples per step.

        Returns
        -------
        numpy.ndarray
            Of shape (..., d).
        """
        delta, B = self._delta(theta), checks.count("batch_size", batch_size)
        z = checks.array("z", z)
        if z.ndim == 0 or z.shape[-1] != self.gradient_noise_dim:
            raise ValueError(f"z must have shape (..., {self.gradient_noise_dim}), got {z.shape}")
        if self._isotropic is not None:
            noise = self._isotropic_noise(delta, z, self._isotropic)
        elif self.covariance is not None:
            slope = delta @ self.hessian
            scale = np.sqrt(np.sum(slope * delta, axis=-1, keepdims=True) + self.noise_std**2)
            noise = scale * (z[..., :-1] @ symmetric_root(self.hessian)) + slope * z[..., -1:]
        else:
            noise = (symmetric_root(self.gradient_covariance(theta)) @ z[..., None])[..., 0]
        return np.asarray(noise / math.sqrt(B))

    def _isotropic_noise(self, delta: np.ndarray, z: np.ndarray, c: float) -> np.ndarray:
        v = c * delta
        squared = np.sum(v**2, axis=-1, keepdims=True)
        root_a = np.sqrt(squared + c * self.noise_std**2)
        denominator = np.sqrt(root_a**2 + squared) + root_a
        along = np.sum(v * z, axis=-1, keepdims=True)
        # The denominator is zero only where v is: without noise, at the minimiser.
        return np.asarray(root_a * z + v * (along / np.where(denominator > 0, denominator, 1.0)))

    def _points(self, name: str, value: ArrayLike) -> np.ndarray:
        points = checks.array(name, value)
        if points.ndim == 0 or points.shape[-1] != self.dim:
            raise ValueError(f"{name} must have shape (..., {self.dim}), got {points.shape}")
        return points

    def _delta(self, theta: ArrayLike) -> np.ndarray:
        return np.asarray(self._points("theta", theta) - self.theta_star)


def _aligned(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Zeros whose rows begin with cache lines if their length is one of lines."""
    n, line = math.prod(shape), 64 // dtype.itemsize
    memory = np.zeros(n + line, dtype)
    first = -memory.ctypes.data // dtype.itemsize % line
    return memory[first : first + n].reshape(shape)


def _freeze(*arrays: np.ndarray) -> None:
    for array in arrays:
        array.flags.writeable = False


def refuse_others(problem: object) -> None:
    """TypeError where a problem is none of these."""
    if not isinstance(problem, LeastSquares):
        raise TypeError(f"problem must be a LeastSquares, got {checks.shown(problem)}")


def _covariance(given: Any, d: int) -> np.ndarray:
    """The covariance of Gaussian inputs, from a matrix or from variances."""
    values = checks.array("covariance", given)
    if values.ndim == 1:
        values = np.diag(checks.array("covariance", values, shape=(d,)))
    if values.size and np.abs(values).max() > _LARGEST**2:
        raise ValueError(f"covariance must be within {_LARGEST**2:g}, so that products are finite")
    return covariance_matrix("covariance", values)
