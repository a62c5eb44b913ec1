"""Reads a step as XLA compiled it: the program's text, and the profile of its operations."""

import bisect
import collections
import functools
import re
from collections.abc import Container, Sequence
from pathlib import Path

import jax

Span = tuple[float, float, str]  # start and end in ns, and the name of an operation
Spent = dict[str, dict[str, float]]  # {layer: {"forward": ms a step, "gradient": ms a step}}

_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%(?P<name>[\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%(?P<name>[\w.\-]+) \(")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
_OPT_STATE = re.compile(r"%state_opt_state__(\w+?)____")
_CALLS = re.compile(r"calls=%([\w.\-]+)")
_END = "end: "  # prefix of the event that marks the end of an operation on other threads


def users(hlo: str) -> dict[str, set[str]]:
    """{operation of a compiled program: the operations that read its result}."""
    found = collections.defaultdict(set)
    for line in hlo.splitlines():
        if match := _INSTRUCTION.match(line):
            for operand in _OPERAND.findall(line[match.end() :]):
                found[operand].add(match["name"])
    return found


def owners(hlo: str, names: Container[str]) -> dict[str, tuple[str, str]]:
    """{operation of a compiled program: (one of `names` or "other", "forward" or "gradient")}."""
    lines, inside, read_by = {}, {}, users(hlo)
    computation = ""
    for line in hlo.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match["name"]
        elif match := _INSTRUCTION.match(line):
            lines[match["name"]] = line
            if scope := _OP_NAME.search(line):
                inside[computation] = scope[1]

    @functools.cache
    def owner(name: str) -> tuple[str, str]:
        line = lines[name]
        said, called = _OP_NAME.search(line), _CALLS.search(line)
        # A fusion may lack the op_name that its instructions have.
        scope = said[1] if said else inside.get(called[1] if called else "", "")
        parts = re.split(r"[/()]", scope)
        if own := [part for part in parts if part in names]:
            return own[0], "gradient" if "transpose(" in scope else "forward"
        # XLA creates weight gradients without a name: they end in their layer's opt_state.
        for user in sorted(read_by[name]):
            # As in %state_opt_state__momentum___trace__conv3____kernel__.1
            parameter = _OPT_STATE.search(lines[user])
            if parameter and (layer := parameter[1].rpartition("__")[2]) in names:
                return layer, "gradient"
            if (found := owner(user))[0] != "other":
                return found
        return "other", "forward"

    return {name: owner(name) for name in lines}


def spans(trace: Path, read_by: dict[str, set[str]]) -> list[Span]:
    """When each operation ran, in the newest profile in a folder, on all threads and devices.

    On CPUs an operation may hand its work to other threads and return. It ends at the earlier of
    two times: when an operation that reads its result begins, or at the event that marks its end,
    which may come late, after the next work of its last thread.
    """
    file = max(trace.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    events, begun, ended = [], collections.defaultdict(list), collections.defaultdict(list)
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for thread in plane.lines:
            for event in thread.events:
                if event.name.startswith(_END):
                    ended[event.name.removeprefix(_END)].append(event.start_ns)
                elif (name := dict(event.stats).get("hlo_op")) is not None:
                    begun[name].append(event.start_ns)
                    events.append((event.start_ns, event.start_ns + event.duration_ns, name))
    for times in (*begun.values(), *ended.values()):
        times.sort()

    def first_after(times: list[float], start: float) -> list[float]:
        return times[(place := bisect.bisect(times, start)) : place + 1]

    found = []
    for start, returned, name in events:
        if stop := first_after(ended[name], start):
            for user in read_by.get(name, ()):
                stop += first_after(begun[user], start)
        found.append((start, max(returned, min(stop, default=returned)), name))
    return found


def shared(spans: Sequence[Span]) -> dict[str, float]:
    """{operation: ms}: each moment is divided equally among the operations that run in it."""
    changes = sorted(
        change
        for number, (start, stop, _) in enumerate(spans)
        for change in ((start, number), (stop, number))
    )
    spent: dict[str, float] = collections.defaultdict(float)
    running: set[int] = set()
    before = 0.0
    for now, number in changes:
        for other in running:
            spent[spans[other][2]] += (now - before) / len(running) / 1e6
        running ^= {number}
        before = now
    return spent


def by_layer(spent: dict[str, float], owner: dict[str, tuple[str, str]], steps: int) -> Spent:
    """The time of all operations per step, summed by layer and direction."""
    found: Spent = collections.defaultdict(lambda: {"forward": 0.0, "gradient": 0.0})
    for name, ms in spent.items():
        layer, direction = owner.get(name, ("other", "forward"))
        found[layer][direction] += ms / steps
    return found
