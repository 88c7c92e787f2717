"""docs/performance.md and its pictures, made from the results: nothing in its tables is written by hand."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Runs = list[dict[str, Any]]

ORIGINAL = {"2017's": (6186, 182), "the latest": (309, 165)}
"""Records a second of the Go service, at once and with 5 ms to a call, as measured on this kind of machine (docs/differences.md)."""

BEGIN, END = "<!-- made by `make bench`: do not edit from here -->", "<!-- to here -->"


def quantile(values: Iterable[float], share: float) -> float:
    """The value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rate(run: dict[str, Any]) -> float:
    """Records a second of one run."""
    return float(run["records"]) / float(run["seconds"])


def bare(runs: Runs) -> list[float]:
    """Records a second of the bare loop."""
    return [rate(run["bare"]) for run in runs if "bare" in run]


def stand_in(runs: Runs, delay_s: float) -> list[float]:
    """Records a second of the stand-in for the original."""
    return [rate(each) for run in runs for each in run.get("original", ()) if bool(each["delay_s"]) == bool(delay_s)]


def split(runs: Runs, field: str) -> dict[Any, Runs]:
    """The runs by what a field says."""
    found: dict[Any, Runs] = {}
    for run in runs:
        found.setdefault(run[field], []).append(run)
    return found


def spread(values: Sequence[float], form: Callable[[float], str] = "{:,.0f}".format) -> str:
    """Median, least and most."""
    return f"{form(median(values))} ({form(min(values))} to {form(max(values))})"


def milliseconds(runs: Runs, share: float) -> list[float]:
    """That quantile of each run."""
    return [1000 * quantile(run["seconds"], share) for run in runs]


def summary(name: str, runs: Runs) -> str:
    """A few lines for the person who waits."""
    return "\n".join(f"  {what}: {measured} {'' if goal is None else f'(goal: {goal})'}" for what, goal, measured, _ in rows(name, runs))


Row = tuple[str, str | None, str, bool | None]
"""What was measured, its goal, the figure, and whether it is reached."""


def rows(name: str, runs: Runs) -> list[Row]:
    """The lines of the table that one figure gives."""
    return ROWS[name](runs)


def _throughput(runs: Runs) -> list[Row]:
    found: list[Row] = []
    alone = median(bare(runs))
    found.append(("bare loop of kafka-python and fastavro, records/s", None, spread(bare(runs)), None))
    for delay_s, some in sorted(split(runs, "delay_s").items()):
        words = f", {1000 * delay_s:g} ms added to each API call" if delay_s else ""
        rates = [rate(run) for run in some]
        speed, goal, times = median(rates), alone / 1.5, 300 if delay_s else 20
        slow = stand_in(runs, delay_s)
        calls = [1000 * run["calls"] / run["records"] for run in some]
        found += [
            (f"records/s end to end{words}", f"≥ {goal:,.0f} (bare ÷ 1.5)", spread(rates), speed >= goal),
            (f"… counted from the bridge's start{words}", None, spread([run["records"] / run["seconds_with_start"] for run in some]), None),
            (f"stand-in for the original, records/s{words}", None, spread(slow), None),
            (f"times as fast as the stand-in{words}", f"≥ {times}", f"{speed / median(slow):,.0f}", speed >= times * median(slow)),
            (f"HTTP calls per 1,000 records{words}", "≤ 5", spread(calls, "{:.2f}".format), median(calls) <= 5),  # noqa: PLR2004 - the goal
        ]
    return found


def _followed(runs: Runs) -> list[Row]:
    by = split(runs, "followed")
    few, many = min(by), max(by)
    ratio = median([rate(run) for run in by[many]]) / median([rate(run) for run in by[few]])
    taken = median([run["bytes_per_instance"] for run in runs])
    speeds: list[Row] = [
        (f"records/s with {number:,} followed", None, spread([rate(run) for run in some]), None) for number, some in by.items()
    ]
    return [
        *speeds,
        (f"records/s with {many:,} followed ÷ with {few:,}", "≥ 0.8", f"{ratio:.2f}", ratio >= 0.8),  # noqa: PLR2004 - the goal
        ("Redis bytes per followed instance", "≤ 700", f"{taken:,.0f}", taken <= 700),  # noqa: PLR2004 - the goal
    ]


def _latency(what: str, goals: dict[float, int]) -> Callable[[Runs], list[Row]]:
    def lines(runs: Runs) -> list[Row]:
        found: list[Row] = []
        for share in (0.5, 0.99):
            values, goal = milliseconds(runs, share), goals.get(share)
            name = f"last record to job completed, {what}, p{100 * share:.0f}"
            limit = None if goal is None else f"≤ {goal} ms"
            found.append((name, limit, f"{spread(values)} ms", None if goal is None else median(values) <= goal))
        return found

    return lines


def _quiet(runs: Runs) -> list[Row]:
    calls, cpu = [run["calls"] for run in runs], [sum(run["cpu_s"][name] for name in run["cpu_s"] if name in TRACKER) for run in runs]
    words = f"{runs[0]['instances']:,} quiet instances"
    return [
        (f"{words}, calls a minute", "≤ 30", spread(calls, "{:.0f}".format), median(calls) <= 30),  # noqa: PLR2004 - the goal
        (f"{words}, CPU s a minute of all the tracker's processes", "≤ 3", spread(cpu, "{:.2f}".format), median(cpu) <= 3),  # noqa: PLR2004 - the goal
    ]


def _memory(runs: Runs) -> list[Row]:
    [run] = runs[-1:]
    working = [each for each in run["samples"] if each["records"] > 0]
    before, after = run["bytes_per_partition"]
    found: list[Row] = [("Redis bytes per partition, before and after", "constant", f"{before:,} and {after:,}", after <= 2 * before)]
    for name in ("bridge", "apply", "push"):
        # Not the first fifth, in which the bridge has only just started. A run made small to try it out may have no sample there.
        early = max((each[name] for each in working if run["records"] / 5 < each["records"] <= run["records"] * 2 / 5), default=0.0)
        late = max(each[name] for each in working if each["records"] >= run["records"] * 4 / 5)
        text = f"{early / 2**20:.0f} and {late / 2**20:.0f} MiB"
        words = f"{name}: resident in the second and last fifth of {run['records']:,} waiting records"
        found.append((words, "flat", text, late <= 1.1 * early))
    return found


TRACKER = frozenset({"bridge", "apply", "push", "beat", "web"})

ROWS: dict[str, Callable[[Runs], list[Row]]] = {
    "throughput": _throughput,
    "followed": _followed,
    "idle": _latency("idle", {0.5: 25, 0.99: 100}),
    "steady": _latency("under 10,000 records/s", {0.99: 500}),
    "quiet": _quiet,
    "memory": _memory,
}


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def costs(runs: Runs) -> str:
    """Where the CPU goes, microseconds a record."""
    names = sorted({name for run in runs for name in run["cpu_us"]})
    lines = []
    for delay_s, some in sorted(split(runs, "delay_s").items()):
        values = [median([run["cpu_us"].get(name, 0.0) for run in some]) for name in names]
        lines.append([f"{1000 * delay_s:g} ms", *(f"{value:.2f}" for value in values), f"{sum(values):.2f}"])
    return table(["added to each call", *names, "all"], lines)


def measured_on(machines: dict[str, dict[str, str]]) -> str:
    """A column for each machine, headed by the figures that were measured on it."""
    by: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for figure, machine in machines.items():
        by.setdefault(tuple(machine.items()), []).append(figure)
    names = list(dict.fromkeys(name for machine in by for name, _ in machine))
    return table(["", *(", ".join(figures) for figures in by.values())], [[name, *(dict(m).get(name, "") for m in by)] for name in names])


def write(results: dict[str, Any], docs: Path) -> None:
    """Put tables and pictures in place; what is written by hand in docs/performance.md stays."""
    figures: dict[str, Runs] = results["figures"]
    lines = []
    for name, runs in figures.items():
        for what, goal, measured, reached in rows(name, runs):
            lines.append([what, goal or "", measured, "" if reached is None else "yes" if reached else "**no**"])
    parts = [table(["what", "goal", "median (least to most)", "reached"], lines)]
    if "throughput" in figures:
        parts += [
            "CPU microseconds a record, by process, while the backlog is worked off (the bridge's with its start):",
            costs(figures["throughput"]),
        ]
    parts += ["Measured on:", measured_on(results["machines"])]
    parts += [f"![{words}](images/{name}.svg)" for name, words in draw(figures, docs / "images").items()]
    page = docs / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n\n".join(parts)
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after or chr(10)}")


def draw(figures: dict[str, Runs], folder: Path) -> dict[str, str]:
    """Draw the pictures for which there are figures; returns what each shows by its name."""
    import matplotlib as mpl  # noqa: PLC0415 - only for this, and not installed for anything else

    mpl.use("svg")
    mpl.rcParams |= {
        "svg.hashsalt": "import-tracker",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    from matplotlib import pyplot as plt  # noqa: PLC0415

    drawn = {}
    if "throughput" in figures:
        figure, axes = plt.subplots(figsize=(7.5, 3.2))
        _draw_throughput(axes, figures["throughput"])
        drawn["throughput"] = "Records a second, on a logarithmic scale"
        figure.savefig(folder / "throughput.svg", bbox_inches="tight", metadata={"Date": None})
    if "idle" in figures or "steady" in figures:
        figure, axes = plt.subplots(figsize=(7.5, 3.0))
        for name, words in (("idle", "idle"), ("steady", "under 10,000 records/s")):
            values = sorted(1000 * value for run in figures.get(name, ()) for value in run["seconds"])
            if values:
                axes.plot(values, [(n + 1) / len(values) for n in range(len(values))], label=f"{words} ({len(values)} imports)")
        axes.set(xscale="log", xlabel="milliseconds from the last record to the completed job", ylabel="share of imports")
        for formatted in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            formatted("{x:.0f}")
        axes.legend(frameon=False, loc="lower right")
        drawn["latency"] = "Completion latency: the share of imports that were completed within so many milliseconds"
        figure.savefig(folder / "latency.svg", bbox_inches="tight", metadata={"Date": None})
    if "memory" in figures:
        figure, axes = plt.subplots(figsize=(7.5, 3.0))
        samples = [each for each in figures["memory"][-1]["samples"] if each["records"] > 0]
        for name in ("bridge", "apply", "push", "valkey"):
            axes.plot([each["records"] / 1e6 for each in samples], [each[name] / 2**20 for each in samples], label=name)
        axes.set(xlabel="million records worked off", ylabel="MiB resident", ylim=(0, None))
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.12), ncols=4)
        drawn["memory"] = "Memory of the processes while 5 million records are worked off"
        figure.savefig(folder / "memory.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close("all")
    return drawn


def _draw_throughput(axes: Any, runs: Runs) -> None:  # noqa: ANN401 - matplotlib has no types here
    by = split(runs, "delay_s")
    ours = [median([rate(run) for run in by[delay_s]]) for delay_s in sorted(by)]
    slow = [median(stand_in(runs, delay_s)) for delay_s in sorted(by)]
    bars: dict[str, list[float]] = {
        "bare loop: poll and decode only": [median(bare(runs))],
        "import tracker": ours,
        "stand-in for the original": slow,
        **{f"Go service, {name}": list(values) for name, values in ORIGINAL.items()},
    }
    for at, values in enumerate(reversed(bars.values())):
        for number, value in enumerate(values):
            height = 0.36 if len(values) > 1 else 0.72
            where = at if len(values) == 1 else at + 0.19 - 0.38 * number
            axes.barh(where, value, height=height, color=("#2f6f9f", "#9fc3dd")[number])
            axes.text(value * 1.05, where, f"{value:,.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), list(reversed(bars)))
    axes.set(xscale="log", xlabel="records/s (dark: APIs answer at once; light: 5 ms added to each call)", xlim=(100, None))
