"""One update of a diffusion sampler in sdefast and in torch: as users write it, and as well as torch can."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sdefast import diffusion
from sdefast.diffusion import kernel
from sdefast.diffusion.kernel import State

SCHEDULE = diffusion.linear_beta_schedule(1000)
T = 500

#: batches of MNIST, CIFAR, a latent image, one digit, large images
SHAPES = [(64, 1, 28, 28), (64, 3, 32, 32), (1, 4, 64, 64), (1, 1, 28, 28), (16, 3, 256, 256)]

Update = Callable[[], object]


class Steps:
    """Updates of samples of one shape, float32, from timestep 500."""

    def __init__(self, shape: tuple[int, ...], threads: int = 1) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x, self.eps, self.last = (torch.randn(shape, generator=generator) for _ in range(3))
        self.n, self.threads = shape[0], threads
        self.row = kernel.coefficients_of(diffusion.row_of("ddpm", SCHEDULE, T, T - 1, clip=1.0))
        self.p, self.q, _, self.a, self.b, *_, self.s = self.row.tolist()

    # sdefast ---------------------------------------------------------------------------------------------------------

    def ddpm(self) -> Update:
        """Out of place, as in a loop of one's own."""
        how = {"seed": 1, "clip": 1.0, "threads": self.threads}
        return lambda: diffusion.ddpm_step(self.x, self.eps, T, SCHEDULE, **how)

    def ddpm_in_place(self) -> Update:
        x = self.x.clone()
        how = {"seed": 1, "clip": 1.0, "threads": self.threads}
        return lambda: diffusion.ddpm_step_(x, self.eps, T, SCHEDULE, **how)

    def ddpm_bfloat16(self) -> Update:
        x, eps = self.x.clone(), self.eps.bfloat16()
        return lambda: diffusion.ddpm_step_(x, eps, T, SCHEDULE, seed=1, clip=1.0, threads=self.threads)

    def ddpm_seeds(self) -> Update:
        x, seeds = self.x.clone(), list(range(self.n))
        return lambda: diffusion.ddpm_step_(x, self.eps, T, SCHEDULE, seed=seeds, clip=1.0, threads=self.threads)

    def ddim_in_place(self) -> Update:
        x = self.x.clone()
        return lambda: diffusion.ddim_step_(x, self.eps, T, SCHEDULE, threads=self.threads)

    def two_m(self) -> Update:
        """A row of DPM-Solver++ 2M, in place, D kept in the place of the last one."""
        row = kernel.coefficients_of(diffusion.plan("dpm++2m", SCHEDULE, 20, clip=1.0).rows[10])
        x, last = self.x.clone(), self.last.clone()
        state = State("x", x)
        return lambda: kernel.apply(row, state, self.eps, 0, x, h1=last, kept=last, threads=self.threads)

    # torch -----------------------------------------------------------------------------------------------------------

    def plain(self) -> Update:
        """The last lines of p_sample as scripts have them."""

        def update() -> torch.Tensor:
            x0 = (self.p * self.x + self.q * self.eps).clamp(-1, 1)
            return self.a * self.x + self.b * x0 + self.s * torch.randn_like(self.x)

        return update

    def best_in_place(self) -> Update:
        x, x0, z = self.x.clone(), torch.empty_like(self.x), torch.empty_like(self.x)

        def update() -> None:
            z.normal_()
            torch.mul(x, self.p, out=x0)
            x0.add_(self.eps, alpha=self.q).clamp_(-1, 1)
            x.mul_(self.a).add_(x0, alpha=self.b).add_(z, alpha=self.s)

        return update

    def generators(self) -> Update:
        """One generator for each sample."""
        own = [torch.Generator().manual_seed(i) for i in range(self.n)]

        def update() -> torch.Tensor:
            x0 = (self.p * self.x + self.q * self.eps).clamp(-1, 1)
            z = torch.stack([torch.randn(self.x.shape[1:], generator=g) for g in own])
            return self.a * self.x + self.b * x0 + self.s * z

        return update

    def add_in_place(self) -> Update:
        x, little = self.x.clone(), 1e-3 * self.eps
        return lambda: x.add_(little)

    def plain_two_m(self) -> Update:
        row = diffusion.plan("dpm++2m", SCHEDULE, 20, clip=1.0).rows[10]
        p, q, a, b, c = (float(row[name]) for name in ("p", "q", "a", "b", "c1"))

        def update() -> torch.Tensor:
            x0 = (p * self.x + q * self.eps).clamp(-1, 1)
            return a * self.x + b * x0 + c * self.last

        return update
