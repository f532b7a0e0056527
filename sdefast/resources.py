"""What this process may use: processors by its affinity, memory by the machine and by its container."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

#: The part of the available memory that one result may take.
USABLE = 0.9


def available_threads() -> int:
    """Processors that the scheduler gives this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can still be allocated, the least of the machine's and the container's; None if neither tells."""
    candidates = [value for value in (_machine(), _container_v2(), _container_v1()) if value is not None]
    return min(candidates, default=None)


#: Below this nobody needs to read the machine's limits, which costs more than a small run.
_SMALL = 64 * 2**20


def refuse_too_large(needed: int, what: str, options: Sequence[str]) -> None:
    """MemoryError, before anything is allocated, if ``needed`` bytes cannot fit; it lists the options that would."""
    if needed < _SMALL:
        return
    room = available_memory()
    if room is not None and needed > USABLE * room:
        raise MemoryError(
            f"{what} need {needed / 2**30:.1f} GiB, {room / 2**30:.1f} GiB are available: {'; '.join(options)}"
        )


def _machine() -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _container_v2() -> int | None:
    """Control groups version 2: the tightest limit on the way from this process's group to the root."""
    entry = next((line for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), None)
    if entry is None:
        return None
    root = Path("/sys/fs/cgroup")
    group = root / entry[3:].lstrip("/")
    rooms = [_room(path) for path in (group, *group.parents) if path.is_relative_to(root)]
    return min((room for room in rooms if room is not None), default=None)


def _room(group: Path) -> int | None:
    limit, current = _read(group / "memory.max").strip(), _read(group / "memory.current").strip()
    return max(int(limit) - int(current), 0) if limit.isdigit() and current.isdigit() else None


def _container_v1() -> int | None:
    group = Path("/sys/fs/cgroup/memory")
    limit, current = _read(group / "memory.limit_in_bytes").strip(), _read(group / "memory.usage_in_bytes").strip()
    return max(int(limit) - int(current), 0) if limit.isdigit() and current.isdigit() else None


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
