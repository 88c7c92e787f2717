"""
Sums up rounds: tables in Markdown for docs/reliability.md, from the JSON lines of several runs.

The bound on the failure rate is one-sided, at 95 %: had the true rate been higher, so few failures in so many trials would have
been seen in fewer than one run of twenty. With no failure the exact bound (Clopper and Pearson) is 1 − 0.05^(1/n), close to 3/n.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]

CONFIDENCE = 0.95


def read(files: Iterable[Path]) -> list[Line]:
    """The lines of all files. Raises ValueError naming the file and line that is none of ours."""
    lines: list[Line] = []
    for file in files:
        for number, text in enumerate(file.read_text().splitlines(), 1):
            try:
                line = json.loads(text)
                if not {"seed", "records", "faults", "wrong"} <= line.keys():
                    raise ValueError("expected a round's line, as `python -m tests.chaos run --output` writes it")
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{file}, line {number}: {error}") from error
            lines.append(line)
    return lines


def upper_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The Clopper–Pearson upper bound on a rate of which `failures` were seen in `trials`; 1 without trials."""
    if failures >= trials:
        return 1.0
    if failures == 0:
        return -math.expm1(math.log1p(-confidence) / trials)
    low, high = failures / trials, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(failures, trials, middle) > 1 - confidence else (low, middle)
    return high


def _at_most(failures: int, trials: int, rate: float) -> float:
    """The chance of so many failures or fewer."""
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(each + 1)
            - math.lgamma(trials - each + 1)
            + each * math.log(rate)
            + (trials - each) * math.log1p(-rate)
        )
        for each in range(failures + 1)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def report(lines: Sequence[Line]) -> str:
    """All tables, for rounds of faults at random and for the original's scenarios."""
    rounds = [line for line in lines if "scenario" not in line]
    scenarios = [line for line in lines if "scenario" in line]
    parts = [_sums(rounds), _recoveries(rounds), _bounds(rounds)] if rounds else []
    parts += [_scenarios(scenarios)] if scenarios else []
    return "\n\n".join([*parts, _tested(lines)])


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; every column but the first to the right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def _sums(lines: Sequence[Line]) -> str:
    groups = {name: [line for line in lines if line["generation"] == name] for name in ("today", "2017")}
    groups = {name: found for name, found in groups.items() if found} | {"both": list(lines)}

    def row(text: str, value: Any) -> list[str]:
        return [text, *(f"{value(found):,}" for found in groups.values())]

    def total(name: str) -> Any:
        return lambda found: sum(line[name] for line in found)

    rows = [
        row("rounds", len),
        row("faults", lambda found: sum(sum(line["faults"].values()) for line in found)),
        row("API calls that met one", total("calls_hit")),
        row("records", total("records")),
        row("instances", total("instances")),
        row("jobs", total("jobs")),
        row("ledgers lost and born anew", total("births")),
        row("records deleted by Kafka unread, recorded as lost", total("written_off")),
        row("records lost otherwise", lambda found: _wrong(found, "lost")),
        row("records doubled", lambda found: _wrong(found, "doubled")),
        row("wrong states", lambda found: _wrong(found, " is ")),
        row("rounds that ended wrong", lambda found: sum(bool(line["wrong"]) for line in found)),
        row("minutes", lambda found: round(sum(line["seconds"] for line in found) / 60)),
    ]
    return table(["", *(f"{name} APIs" if name != "both" else "together" for name in groups)], rows)


def _wrong(lines: Iterable[Line], word: str) -> int:
    return sum(word in text for line in lines for text in line["wrong"])


def _recoveries(lines: Sequence[Line]) -> str:
    faults: Counter[str] = Counter()
    times: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines:
        faults.update(line["faults"])
        for name, found in line["recovery_s"].items() if "alone_rate" in line else ():
            times[name] += found
    rows = []
    for name, number in sorted(faults.items()):
        found = times.get(name, [])
        figures = [f"{percentile(found, share):.1f}" for share in (0.5, 0.99)] if found else ["–", "–"]
        rows.append([f"`{name}`", f"{number:,}", len(found), *figures])
    alone = [each for found in times.values() for each in found]
    if alone:
        rows.append(["all", f"{sum(faults.values()):,}", len(alone), *(f"{percentile(alone, share):.1f}" for share in (0.5, 0.99))])
    storms = [each for line in lines for each in line.get("storm_s", ())]
    if storms:
        rows.append(["a storm, all undone", len(storms), "–", *(f"{percentile(storms, share):.1f}" for share in (0.5, 0.99))])
    return table(["fault", "times", "of these alone", "recovered in s, p50", "p99"], rows)


def _bounds(lines: Sequence[Line]) -> str:
    faults = sum(sum(line["faults"].values()) for line in lines)
    records = sum(line["records"] for line in lines)
    rounds, wrong = len(lines), sum(bool(line["wrong"]) for line in lines)
    bad = _wrong(lines, "lost") + _wrong(lines, "doubled")
    rows = [
        ["records lost or doubled", bad, f"{records:,}", f"{upper_bound(bad, records):.1e}", f"{3 / records:.1e}"],
        ["faults that left something wrong", wrong, f"{faults:,}", f"{upper_bound(wrong, faults):.1e}", f"{3 / max(faults, 1):.1e}"],
        ["rounds that ended wrong", wrong, f"{rounds:,}", f"{upper_bound(wrong, rounds):.1e}", f"{3 / rounds:.1e}"],
    ]
    return table(["", "seen", "of", "95 % upper bound of the rate, exact", "3/n"], rows)


def _scenarios(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        instances_wrong = f"{len(line['instances_wrong'])} of {line['instances']}"
        lost, doubled = line["records_lost"], line["records_doubled"]
        done = sum(line["faults"].values()) or line["calls_hit"]
        settled = f"{line['settle_s'][-1]:.1f}" if line["settle_s"] else "–"
        row = [line["scenario"], f"{line['records']:,}", done, instances_wrong, f"{lost} / {doubled}", line["never_completed"], settled]
        rows.append([*row, line.get("original", "")])
    head = ["scenario", "records", "faults", "instances wrong", "lost / doubled", "never completed", "right after, s", "the original"]
    return table(head, rows)


def _tested(lines: Sequence[Line]) -> str:
    commits = Counter(str(line.get("commit", "?")) for line in lines)
    seeds = sorted({line["seed"] for line in lines})
    versions = {f"{name} {version}" for line in lines for name, version in line.get("versions", {}).items()}
    rows = [
        ["commits (rounds)", ", ".join(f"{commit} ({number})" for commit, number in commits.items())],
        ["seeds", ", ".join(map(str, seeds))],
        ["versions", ", ".join(sorted(versions))],
        ["from, to", f"{min(line.get('at', '?') for line in lines)}, {max(line.get('at', '?') for line in lines)}"],
    ]
    return table(["tested", ""], rows)
