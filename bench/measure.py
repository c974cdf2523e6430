"""Shared code of the benchmarks: interleaved timing, memory peaks, metrics with targets, and JSON results.

A benchmark is a function that returns its metrics. Its script ends in

    if __name__ == "__main__":
        run(__doc__, measure)

This adds three options. `--quick` selects a short form. `--check` exits with status 1 if a metric misses its threshold.
`--json FILE` stores the metrics in a results file, which `python -m bench.report` renders.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

Workload = Callable[[], object]
RESET_PEAK = "5"  # proc(5): writing this to /proc/PID/clear_refs resets VmHWM


@dataclass(frozen=True)
class Summary:
    """The median of a metric over the rounds, with the lowest and highest round."""

    median: float
    low: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Summary:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{format_number(self.median)} ({format_number(self.low)} to {format_number(self.high)})"


@dataclass(frozen=True)
class Metric:
    """One measured quantity. A quiet machine should reach the target. Beyond the threshold, something is broken."""

    name: str
    value: Summary | float
    unit: str = ""
    target: float | None = None
    threshold: float | None = None
    lower_is_better: bool = False
    limit: str = ""  # what arithmetic, memory or codec allow at best, and the share that is reached

    @property
    def median(self) -> float:
        return self.value.median if isinstance(self.value, Summary) else self.value

    @property
    def failed(self) -> bool:
        if self.threshold is None:
            return False
        # The negation makes NaN fail, too.
        return not (self.median <= self.threshold if self.lower_is_better else self.median >= self.threshold)

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, Summary) else format_number(self.value)
        sign = "≤" if self.lower_is_better else "≥"
        target = f"{sign} {format_number(self.target)}" if self.target is not None else ""
        return f"| {self.name} | {f'{value} {self.unit}'.strip()} | {target} | {self.limit} |"

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Metric:
        value = stored["value"]
        return cls(**{**stored, "value": Summary(**value) if isinstance(value, dict) else float(value)})


def time_interleaved(workloads: Mapping[str, Workload], rounds: int) -> dict[str, list[float]]:
    """Returns the wall seconds of each workload in each round, after one warm-up call of each.

    Each round runs all workloads, and every second round runs them in reverse order. Other load and warming caches
    then affect all workloads alike.
    """
    for workload in workloads.values():
        workload()
    taken: dict[str, list[float]] = {name: [] for name in workloads}
    for number in range(rounds):
        for name in sorted(workloads, key=list(workloads).index, reverse=bool(number % 2)):
            started = time.perf_counter()
            workloads[name]()
            taken[name].append(time.perf_counter() - started)
    return taken


def compute_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Summary:
    """Divides round by round, so that load that affects a whole round cancels."""
    return Summary.from_values([one / other for one, other in zip(numerators, denominators, strict=True)])


def measure_added_memory(prepare: Callable[..., Workload], *arguments: object) -> int:
    """Returns the bytes that a workload adds to the peak memory of a fresh process.

    The process calls `prepare(*arguments)` to get the workload. `prepare` must be a function of a module, and the
    arguments must be picklable. Raises RuntimeError if the process dies.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_measure_memory, args=(sender, prepare, arguments))
    process.start()
    sender.close()  # otherwise recv() would not notice that the process died
    try:
        return int(receiver.recv())
    except EOFError:
        raise RuntimeError("The measured process died. Its last output is above.") from None
    finally:
        process.join()


def _measure_memory(sender: Connection, prepare: Callable[..., Workload], arguments: tuple[object, ...]) -> None:
    workload = prepare(*arguments)
    with suppress(AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)  # otherwise freed memory could be reused without being counted
    reset_peak_memory()
    before = read_resident_memory()
    workload()
    sender.send(read_peak_memory() - before)


def read_resident_memory(pid: int | str = "self") -> int:
    """Returns the bytes that a process has in memory now."""
    return _read_status(pid, "VmRSS")


def read_peak_memory(pid: int | str = "self") -> int:
    """Returns the most bytes that a process has had in memory since its start or since `reset_peak_memory`."""
    return _read_status(pid, "VmHWM")


def reset_peak_memory(pid: int | str = "self") -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def _read_status(pid: int | str, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return 1024 * int(value.split()[0])
    raise ProcessLookupError(f"process {pid} has no memory any more")


def cpu_seconds(*processes: psutil.Process) -> float:
    """Returns the CPU time of all these processes."""
    times = [process.cpu_times() for process in processes]
    return float(sum(time.user + time.system for time in times))


def tree_cpu_seconds(process: psutil.Process) -> float:
    """Returns the CPU time of a process and of all below it, those that have ended included."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            time = one.cpu_times()  # a parent's has that of children that have ended
            total += time.user + time.system + time.children_user + time.children_system
    return total


def run(
    description: str | None,
    measure: Callable[[argparse.Namespace], Sequence[Metric]],
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> None:
    """Measures, prints and stores. `measure` receives the options of the command line, `quick` among them."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form, for a first look and for `make bench`")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a metric misses its threshold")
    add_json_option(parser)
    add_arguments(parser)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the start\n", flush=True)
    metrics = measure(options)
    print(
        "| what | median (lowest to highest) | target | limit, and the share of it that is reached |\n|---|---|---|---|"
    )
    for metric in metrics:
        print(metric)
    save_metrics(options, metrics, load=load)
    failed = describe_failures(metrics)
    for message in failed:
        print(message, file=sys.stderr)
    if options.check and failed:
        sys.exit(1)


def describe_failures(metrics: Sequence[Metric]) -> list[str]:
    """Returns a sentence for each metric that misses its threshold."""
    return [
        f"{metric.name}: {format_number(metric.median)} {metric.unit}".rstrip()
        + f" is {'above' if metric.lower_is_better else 'below'} the threshold, {format_number(metric.threshold)}."
        for metric in metrics
        if metric.failed and metric.threshold is not None
    ]


# Results files


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the metrics in this results file")


def save_metrics(options: argparse.Namespace, metrics: Sequence[Metric], *, load: float | None = None) -> None:
    """Stores the metrics of this script in the file of `--json`, in place of earlier ones of the same script.

    Does nothing without `--json` or without metrics.
    """
    if options.json is None or not metrics:
        return
    results = json.loads(options.json.read_text()) if options.json.exists() else {"machine": describe_machine()}
    results[_get_script_name()] = {
        "command": " ".join(["python -m", f"bench.{_get_script_name()}", *_get_arguments(options.json)]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": load,
        "metrics": [asdict(metric) for metric in metrics],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def describe_machine() -> str:
    """Returns the processor's name and the number of cores, such as `AMD EPYC 9B14, 2 cores`."""
    name = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or 'unknown processor'}, {os.cpu_count()} cores"


def _get_script_name() -> str:
    """Returns `api` for bench/api.py and `chaos` for bench/chaos/__main__.py."""
    script = Path(sys.argv[0])
    return script.parent.name if script.stem == "__main__" else script.stem


def _get_arguments(json_file: Path) -> list[str]:
    return [argument for argument in sys.argv[1:] if argument not in ("--json", f"--json={json_file}", str(json_file))]


def format_number(value: float) -> str:
    """Formats with three significant digits, or four from 10 on, so that 29.32 and 29.43 dB differ."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{4 if abs(value) >= 10 else 3}g}"
