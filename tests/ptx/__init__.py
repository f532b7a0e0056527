"""Executes PTX without a GPU: numpy arrays over the threads of a launch, its lanes, stand for the registers.

`Machine` takes the text that a compiler made of one kernel and does the arithmetic that the PTX manual defines, bit for
bit, but for the bits of NaN. What it does not know it refuses: approximations, subnormals flushed to zero, calls, talk
between the lanes of a warp. It checks memory as well: every array has addresses of its own, and an access that is
misaligned or outside of all arrays raises. Shared and local memory start with all bits set, so that a float that is
read before it was written is NaN.

Every lane has a program counter. Those with the smallest run next, under a mask unless all are there. So a kernel in
which lanes wait for each other without a barrier may never end, and a barrier that is missing may go unnoticed.
"""

from . import arithmetic, comparisons, memory  # noqa: F401 (they register instructions)
from .compilation import compile_ptx
from .execution import LANES, Machine
from .memory import KernelError

__all__ = ["LANES", "KernelError", "Machine", "compile_ptx"]
