"""What the scripts here share: timing in turn, the memory that work adds, and figures with their aims and limits.

A script is a function that gives its figures, and ends in

    if __name__ == "__main__":
        run(__doc__, measure)

which adds `--quick`, a short form, and `--floors`, exit status 1 when a figure is beyond its floor.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

Work = Callable[[], object]
RESET_PEAK = "5"  # what proc(5) calls this in /proc/PID/clear_refs


@dataclass(frozen=True)
class Spread:
    """A figure's median over the rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)} to {_short(self.high)})"


@dataclass(frozen=True)
class Figure:
    """What was measured. The aim is what it shall be on a quiet machine; beyond the floor, something has broken."""

    name: str
    value: Spread | float
    unit: str = ""
    aim: float | None = None
    floor: float | None = None
    lower_is_better: bool = False
    limit: str = ""  # what arithmetic, memory or codec could do at best, and the share that is reached

    @property
    def middle(self) -> float:
        return self.value.median if isinstance(self.value, Spread) else self.value

    @property
    def failed(self) -> bool:
        if self.floor is None:
            return False
        # So put that a figure that is not a number fails, too.
        return not (self.middle <= self.floor if self.lower_is_better else self.middle >= self.floor)

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, Spread) else _short(self.value)
        sign = "≤" if self.lower_is_better else "≥"
        aim = f"{sign} {_short(self.aim)}" if self.aim is not None else ""
        return f"| {self.name} | {f'{value} {self.unit}'.strip()} | {aim} | {self.limit} |"


def seconds_in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each work in each round, after one that does not count.

    In every round all are done, every other time in the opposite order: whatever else the machine does meanwhile, and
    whatever warms up, meets all of them alike.
    """
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name in sorted(works, key=list(works).index, reverse=bool(number % 2)):
            started = time.perf_counter()
            works[name]()
            taken[name].append(time.perf_counter() - started)
    return taken


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Round by round, so that what disturbs a whole round cancels."""
    return Spread.of([one / other for one, other in zip(above, below, strict=True)])


def added_memory(prepare: Callable[..., Work], *arguments: object) -> int:
    """Bytes that the peak of a fresh process lies above what it held before the work.

    `prepare(*arguments)` is called there and gives the work: a function of a module, arguments that can be pickled.
    """
    ours, its = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure_memory, args=(its, prepare, arguments))
    process.start()
    its.close()  # else an end of the process would not be seen here
    try:
        return int(ours.recv())
    except EOFError:
        raise RuntimeError("the process whose memory was measured died; its last words are above") from None
    finally:
        process.join()


def _measure_memory(answer: Connection, prepare: Callable[..., Work], arguments: tuple[object, ...]) -> None:
    work = prepare(*arguments)
    with suppress(AttributeError):  # where the C library is another
        ctypes.CDLL(None).malloc_trim(0)  # or what was freed and kept would be taken again unseen
    forget_peak()
    before = resident_memory()
    work()
    answer.send(peak_memory() - before)


def resident_memory(pid: int | str = "self") -> int:
    """Bytes that a process has in memory."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int | str = "self") -> int:
    """Bytes that it has had in memory at most, since its start or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int | str = "self") -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def _status(pid: int | str, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise ProcessLookupError(f"process {pid} has no memory any more")


def run(
    description: str | None,
    measure: Callable[[argparse.Namespace], Sequence[Figure]],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> None:
    """Measures and prints; `measure` is given the command line's options, `quick` among them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form, for a first look and for `make bench`")
    parser.add_argument("--floors", action="store_true", help="exit status 1 when a figure is beyond its floor")
    add_arguments(parser)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {os.getloadavg()[0]:.1f} processes at work before the start\n", flush=True)
    figures = measure(options)
    print("| what | median (lowest to highest) | aim | limit, and the share of it that is reached |\n|---|---|---|---|")
    for figure in figures:
        print(figure)
    failed = failures(figures)
    for complaint in failed:
        print(complaint, file=sys.stderr)
    if options.floors and failed:
        sys.exit(1)


def failures(figures: Sequence[Figure]) -> list[str]:
    """A sentence for each figure that is beyond its floor."""
    return [
        f"{figure.name}: {_short(figure.middle)} {figure.unit}".rstrip()
        + f" is {'above' if figure.lower_is_better else 'below'} the floor, {_short(figure.floor)}."
        for figure in figures
        if figure.failed and figure.floor is not None
    ]


def _short(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
