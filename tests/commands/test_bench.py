"""experiments/benchmarks/bench.py: contestants, the order of races, results that are never torn."""

import functools
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from support.tiny import ROOT

from alexnet.errors import UserError

BENCHMARKS = ROOT / "experiments/benchmarks"
# A contestant in place of a framework: an iteration takes its `ms`. A batch of 0 cannot be built, a
# batch of 1 not by ours, one of 2 not as a CUDA graph.
FAKE = """
import sys, time
sys.path.insert(0, {folder!r})
import work
def build(task):
    if task["work"] == "ceilings":
        return work.Ready({{}})
    if task["batch"] == 0 or (task["batch"] == 1 and {ms} == 2):  # 2: ours
        raise MemoryError("out of memory: 9 GB")
    graph = task["work"] == "train" and task.get("cuda_graphs", True)
    if task["batch"] == 2 and {ms} == 2 and graph:
        raise RuntimeError("<unknown cudnn status: 5003>")
    if task.get("mode") == "channels_last":
        raise RuntimeError("no such layout")
    if task["batch"] == 99:
        time.sleep(60)
    print("what a library says")
    if task["work"] == "check":
        return work.Ready({{"loss": {loss}, "logits": [[0.0, {logit}]]}})
    return work.Ready({{"compile": 1.0, "start": 2.0, "floor": 1e9, "copy": 1e9}},
                      lambda: time.sleep({ms} / 1e3))
work.serve({{"platform": {platform!r}, "jax": "0", "torch": "0"}}, build)
"""


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The benchmarks' modules by name, and no trace of them afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def race(tmp_path, monkeypatch):
    """run(races, **how) -> (results, contestants that were started) of a bench without frameworks.

    Ours takes 2 ms, PyTorch's 4.
    """
    import bench
    import contestants
    import results

    def run(races, keeps=True, until=0.0, losses=(1.0, 1.0), logits=(2.0, 2.0), known=None):
        started = []
        stable = contestants.Stable("python", tmp_path, until)

        def start(ours, allocator=False, cache=None):
            name = "ours" if ours else "theirs"
            if (kept := stable.kept.get(name)) and kept.alive:
                return kept
            code = FAKE.format(
                folder=str(BENCHMARKS),
                loss=losses[not ours],
                logit=logits[not ours],
                ms=2 if ours else 4,
                platform="gpu",
            )
            started.append(name)
            found = contestants.Contestant([sys.executable, "-c", code], {}, stable.until)
            stable.kept |= {name: found} if stable.keeps else {}
            return found

        monkeypatch.setattr(stable, "ours", functools.partial(start, True))
        monkeypatch.setattr(stable, "theirs", functools.partial(start, False))
        monkeypatch.setattr(bench, "ROUND_SECONDS", {"gpu": 0.05})
        found = results.Results(tmp_path, "a title", known)
        made = bench.Bench(stable, 1, found)
        stable.keeps = keeps
        made.run(races)
        stable.end()
        return found, started

    return run


def races(*batches, modes=("eager", "compile"), net="80sec"):
    import rows

    asked = [rows.Row(net, "train", batch, "tf32") for batch in batches]
    return list(rows.full(asked, modes, gpu=True))


def test_a_race_has_a_ratio_and_is_written_at_once(race, tmp_path, capsys):
    found, started = race(races(8))
    [row] = json.loads((tmp_path / "bench.json").read_text())["races"]
    assert found.races == [row]
    assert {"net", "work", "batch", "dtype", "compile", "seconds", "peak", "floor"} <= row.keys()
    assert [it["mode"] for it in row["them"]] == ["eager", "compile"]
    assert {"tuning", "mode", "ratio", "seconds", "peak", "compile"} <= row["them"][0].keys()
    for ours, them in zip(row["seconds"], row["them"], strict=True):  # a round each
        [theirs] = them["seconds"]
        assert them["ratio"] == theirs / ours
        assert ours >= 2e-3  # a sleep is never shorter
        assert theirs >= 4e-3
    assert started == ["ours", "theirs"]  # and kept
    table = (tmp_path / "bench.md").read_text()
    assert "| 80sec, tf32, not against all modes | train | 8 |" in table
    assert "matrix product, tf32: 1 to 1 GFLOP/s\ncopy, read and written: 1 to 1 GB/s" in table


@pytest.mark.slow
def test_on_a_cpu_each_task_has_processes_of_its_own(race):
    _, started = race(races(8), keeps=False)
    # check; one that compiles, the one that races; PyTorch's twice, as it has two modes
    assert started == ["ours", "theirs", "ours", "ours", "theirs", "theirs"]


def test_what_cannot_be_built_is_said_and_the_next_row_goes_on(race, tmp_path):
    found, _ = race(races(0, 8, modes=("eager",)))
    failed, ran = found.races
    assert failed["them"] == [
        {"tuning": "stock", "mode": "eager", "error": "MemoryError: out of memory: 9 GB"}
    ]
    assert "ratio" in ran["them"][0]
    line = "not run: 80sec, train, batch 0, tf32, stock, eager: MemoryError: out of memory: 9 GB"
    assert line in (tmp_path / "bench.md").read_text()


@pytest.mark.slow
def test_when_the_time_is_up_a_build_is_cut_and_known_results_are_kept(race, tmp_path):
    begun = time.time()
    found, _ = race(races(8, 99, 8, modes=("eager",)), until=begun + 8)
    assert time.time() - begun < 30  # the build takes 60
    assert [len(row["them"]) for row in found.races] == [1, 0]
    known = tmp_path / "known.json"
    known.write_text((tmp_path / "bench.json").read_text())
    again, started = race(races(8, modes=("eager", "compile")), known=known)
    assert started == ["ours", "theirs"]
    assert [it["mode"] for it in again.races[0]["them"]] == ["eager", "compile"]
    assert again.races[0]["them"][0] == found.races[0]["them"][0]  # not run again


def test_known_races_of_another_device_or_version_are_refused(tmp_path, monkeypatch):
    import bench
    import results

    def about(device: str, found: results.Results) -> bool:
        one = SimpleNamespace(about={"platform": "gpu", "device": device}, words=lambda: "")
        stable = SimpleNamespace(ours=lambda: one, theirs=lambda: one, keeps=False)
        return bench.Bench(stable, 1, found).about("")

    monkeypatch.setattr(bench, "machine", lambda: "16 cores")
    first = results.Results(tmp_path, "a title")
    assert about("H100", first)
    first.row(races(8)[0].row)
    first.store()
    for device, same in (("H100", True), ("H200", False)):
        again = results.Results(tmp_path, "a title", tmp_path / "bench.json")
        if same:
            assert about(device, again)
            continue
        with pytest.raises(UserError, match="--known: its races ran on 16 cores with other code"):
            about(device, again)


def test_earlier_results_are_set_aside(tmp_path):
    import bench

    for number in (1, 2):
        results = bench.opened(
            {"out": tmp_path, "known": "", "rounds": "3", "only": "cifar", "dtype": "tf32"}
        )
        assert results.races == []
        results.row(races(number)[0].row)
        results.store()
    file = tmp_path / "bench.json"
    for name, batch in (("bench-1", 1), ("bench", 2)):
        found = json.loads((tmp_path / f"{name}.json").read_text())["races"]
        assert [row["batch"] for row in found] == [batch]
        assert (tmp_path / f"{name}.md").exists()
    options = {"out": tmp_path, "known": str(file), "rounds": "3", "only": "cifar", "dtype": "tf32"}
    assert len(bench.opened(options).races) == 1
    assert not (tmp_path / "bench-2.json").exists()  # it went on


def test_if_jax_sees_no_gpu_its_reason_is_told(tmp_path, monkeypatch):
    import bench
    import results

    monkeypatch.setattr(bench, "machine", lambda: "16 cores")
    ours = {"platform": "cpu", "device": "cpu", "jax": "1", "torch": "2"}
    us = SimpleNamespace(about=ours, words=lambda: "Outdated cuDNN installation found")
    them = SimpleNamespace(about=ours | {"platform": "gpu"})
    stable = SimpleNamespace(ours=lambda: us, theirs=lambda: them)
    with pytest.raises(UserError, match=r"jax says: Outdated cuDNN installation found$"):
        bench.Bench(stable, 1, results.Results(tmp_path, "a title")).about("")


def test_the_rates_are_measured_once_and_before_pytorch_has_work(race, monkeypatch):
    import contestants

    asked = []
    ask = contestants.Contestant.ask
    monkeypatch.setattr(
        contestants.Contestant, "ask", lambda self, task: asked.append(task) or ask(self, task)
    )
    race(races(8, 9, modes=("compile",)))
    works = [task["work"] for task in asked]
    assert works == ["check", "check", "ceilings", "train", "train", "train", "train"]


@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_what_only_we_cannot_build_leaves_no_answer_behind(race, mode):
    """PyTorch's answer to the failed task is none to the next one."""
    found, _ = race(races(1, 8, modes=(mode,)))
    failed, ran = found.races
    assert failed["them"][0]["error"] == "MemoryError: out of memory: 9 GB"
    assert "ratio" in ran["them"][0]


@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_a_step_that_no_cuda_graph_can_hold_is_built_without_one_in_a_new_process(race, mode):
    found, started = race(races(2, modes=(mode, "graphs")))
    [row] = found.races
    assert ["ratio" in race for race in row["them"]] == [True, True]
    assert started == ["ours", "theirs", "ours"]  # once a row


def test_failures_stay_in_the_table_until_the_next_run(race, tmp_path):
    first, again = races(8, modes=("channels_last",)), races(8, modes=("eager",))
    found, _ = race([*first, *races(9, modes=("eager",)), *again])
    assert ["error" in race for race in found.races[0]["them"]] == [True, False]
    assert "no such layout" in (tmp_path / "bench.md").read_text()
    known = tmp_path / "known.json"
    known.write_text((tmp_path / "bench.json").read_text())
    found, _ = race(first, known=known)
    assert ["error" in race for race in found.races[0]["them"]] == [False, True]


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"losses": (1.0, 1.01)}, "not the same work: the loss is 1 here and 1.01 in PyTorch"),
        ({"losses": ("float('nan')", 1.0)}, "not the same work: the loss is nan here and 1 in"),
        ({"logits": (2.0, 2.001)}, "not the same work: logits up to 2 differ by 0.001"),
    ],
)
def test_contestants_with_different_results_do_not_race(race, tmp_path, how, line):
    found, _ = race([*races(8), *races(8, net="19pct")], **how)
    for row in found.races:
        assert [race["error"].startswith(line) for race in row["them"]] == [True, True]
    assert (
        f"80sec, train, batch 8, tf32, stock, compile: {line}"
        in (tmp_path / "bench.md").read_text()
    )


def test_the_short_part_has_a_row_of_each_kind_first_and_everything_once():
    import rows

    found = rows.short(rows.MODES, (128, 1024), gpu=True)
    assert len(set(found)) == len(found)
    first = found[0]
    goal = "alexnet", "train", 128, "bfloat16", "auto", "auto"
    assert first == (goal, "by hand", "compile_channels_last")
    begin = [race.row for race in found[:32]]  # two modes each
    assert {race.mode for race in found[:32]} == {*rows.NHWC}
    assert {race.row for race in found[32:80]} == {*begin}
    assert {race.mode for race in found[32:80]} == {"compile", "graphs", "channels_last"}
    assert {row.launch for row in begin} == {"auto", "steps"}
    nets = {*rows.ALEXNETS, "alexnet, one tower", *rows.CIFARS}
    assert {row.net for row in begin} == nets
    assert {row.work for row in begin} == {"train", "forward"}
    assert {row.batch for row in begin} == {128, 1024}
    assert {row.dtype for row in begin} == set(rows.DTYPES)
    asked = {(race.row, race.mode) for race in found if race.row.kernels == "auto"}
    assert {row for row, _ in asked} >= {*begin}
    for net in (*rows.ALEXNETS, *rows.ONE_TOWER):
        for work in ("train", "forward"):
            for batch in (128, 1024):
                for dtype in rows.DTYPES:
                    row = rows.Row(net, work, batch, dtype)
                    assert {mode for it, mode in asked if it == row} == set(rows.MODES)
    assert {race.row.kernels for race in found} == {"auto", "plain"}  # both forms of ours


def test_a_step_is_a_cuda_graph_unless_the_task_says_otherwise(monkeypatch):
    import jax_contestant

    monkeypatch.setattr(jax_contestant, "compiled", lambda task: task.get("cuda_graphs", False))
    assert not jax_contestant.build({"work": "train"})  # on a CPU
    monkeypatch.setattr(jax_contestant, "on_cpu", lambda: False)
    assert jax_contestant.build({"work": "train"})
    assert not jax_contestant.build({"work": "train", "cuda_graphs": False})
    assert not jax_contestant.build({"work": "train", "launch": "steps"})
    assert jax_contestant.build({"work": "train", "launch": "auto"})


def test_the_table_says_whether_a_step_was_no_cuda_graph():
    import results
    import rows

    row = {"net": "80sec", "work": "train", "batch": 128, "dtype": "tf32", "kernels": "auto"}
    row |= {"seconds": [0.001], "peak": 1, "compile": 1, "floor": 1e12, "copy": 1e12}
    row["them"] = [{"tuning": "stock", "mode": mode, "ratio": 1, "peak": 1} for mode in rows.USUAL]
    for known, name in (({}, "80sec, tf32"), ({"cuda_graphs": True}, "80sec, tf32")):
        assert results.line(row | known).startswith(f"| {name} |")
    line = results.line(row | {"cuda_graphs": False})
    assert line.startswith("| 80sec, tf32, no CUDA graph |")
    line = results.line(row | {"them": row["them"][:4]})
    assert line.startswith("| 80sec, tf32, not against all modes |")


def test_times_with_and_without_a_cuda_graph_are_not_mixed(race, tmp_path):
    """A later run may capture what an earlier one could not."""
    found, _ = race(races(8, modes=("eager",)))
    [row] = found.races
    assert len(row["seconds"]) == 1
    row["cuda_graphs"] = False  # the contestants here say nothing, as on a CPU
    known = tmp_path / "known.json"
    found.store()
    known.write_text((tmp_path / "bench.json").read_text())
    before = row["seconds"][0]
    again, _ = race(races(8), known=known)
    assert len(again.races[0]["seconds"]) == 1
    assert again.races[0]["seconds"][0] != before


def test_without_its_history_the_code_is_known_by_its_files(tmp_path, monkeypatch):
    import bench

    monkeypatch.setattr(bench, "HERE", tmp_path / "experiments/benchmarks")
    for name in ("src/a/b.py", "experiments/benchmarks/bench.py", "tests/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    first = bench.digest()
    (tmp_path / "tests/c.py").write_text("other")
    assert bench.digest() == first
    (tmp_path / "src/a/b.py").write_text("other")
    assert bench.digest() != first


def test_compiled_programs_outlive_a_run_in_the_folder_of_the_cache(tmp_path):
    import contestants

    kept = contestants.Stable("python", tmp_path / "own", cache=tmp_path / "kept")
    assert kept._environment(None)["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "kept")
    assert kept._environment(tmp_path / "new")["TRITON_CACHE_DIR"] == str(tmp_path / "new/triton")
    own = contestants.Stable("python", tmp_path / "own")
    assert own._environment(None)["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "own")


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        (f"--cache={__file__}", "--cache=.*test_bench.py: .*File exists"),
        ("--only=shrot", "--only='shrot': choose one of .*did you mean 'short'"),
        ("--dtype=fp16", "--dtype='fp16': choose one of float32, tf32, bfloat16"),
        ("--torch=/nowhere/python", "--torch=/nowhere/python: no such Python"),
        ("--seconds=soon", "--seconds=soon: expected a whole number"),
        ("--work=train --only=short", "--work has no effect on short, which has its own rows"),
    ],
)
def test_mistakes_are_one_line(argument, line, tmp_path):
    import bench

    others = [f"--out={tmp_path}/out", f"--torch={sys.executable}"]
    others = [it for it in others if it.partition("=")[0] != argument.partition("=")[0]]
    with pytest.raises(UserError, match=line):
        bench.main([*argument.split(), *others])


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    import bench

    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out=.*file/out"):
        bench.main([f"--out={tmp_path}/file/out", f"--torch={sys.executable}"])


@pytest.mark.slow
def test_a_step_needs_neither_a_config_nor_what_reads_images():
    refused = "grain tensorflow_datasets array_record simplejpeg tensorboardX ml_collections PIL"
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); "
        f"sys.modules.update(dict.fromkeys({refused.split()!r})); "  # None: importing it fails
        "import jax_contestant, bench"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_convolutions_are_timed_in_the_form_of_the_device(monkeypatch):
    import convolutions
    import work

    from alexnet.kernels import choose, convolution
    from alexnet.models import network, ops

    forms = {"plain": ops.conv, "cpu": convolution.conv, "gpu": convolution.in_blocks}
    kernels = {"plain": network.PLAIN, "cpu": choose.CPU, "gpu": choose.GPU}
    for device, form in forms.items():
        used = []
        monkeypatch.setattr(choose, "choose", lambda *_, device=device: kernels[device])
        monkeypatch.setattr(
            convolutions, "programs", lambda *given, used=used: used.append(given[-1]) or ({}, 1)
        )
        convolutions.rates(work.net("80sec"), images=1, rounds=1)
        assert used == [form] * 3, device


def test_the_memory_of_a_program_is_what_it_reads_writes_and_keeps():
    import jax
    import jax.numpy as jnp
    import jax_contestant

    x = jnp.zeros((256, 1024), jnp.float32)  # 1 MiB
    plain = jax.jit(lambda x: x + 1).lower(x).compile()
    in_place = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert jax_contestant.memory(plain) == pytest.approx(2 * 2**20, abs=4096)
    assert jax_contestant.memory(in_place) == pytest.approx(2**20, abs=4096)


@pytest.mark.slow
@pytest.mark.parametrize(("net", "towers"), [("alexnet", 2), ("alexnet, one tower", 1)])
def test_a_step_for_cuda_has_its_convolutions_and_nothing_that_a_gpu_waits_for(net, towers):
    import lowering

    own, dense = 5 * towers, 3
    for kernels in ("plain", "gpu"):
        text = lowering.lowered(net, kernels, batch=2)
        found = lowering.counted(text)
        # Forward and both gradients; conv1 has none for its input.
        together = kernels == "gpu" and towers == 2  # conv1 and conv3 of both towers are one
        expected = 3 * own - towers - (5 if together else 0)
        assert found["convolutions"] == expected == text.count("stablehlo.convolution(")
        assert found["products"] == 3 * dense * (1 if kernels == "gpu" else towers)
        assert found["loops"] == found["host"] == 0
        assert found["barriers"] == (2 * own if kernels == "gpu" else 0)  # of biases' gradients
        # Those of the flip and of each convolution's input gradient, which cuDNN takes on itself
        assert found["reverses"] <= 1 + 4 * towers
        pools = 3 * towers
        assert text.count("stablehlo.select_and_scatter") == (pools if kernels == "plain" else 0)
    # The kernels of `cpu` have barriers: the counts see them.
    assert lowering.counted(lowering.lowered(net, "cpu", batch=2))["barriers"] > 0


@pytest.mark.slow
def test_a_net_races_pytorch(tmp_path):
    """As on a GPU: processes that are kept, the goals first; 80sec is the last of them."""
    pytest.importorskip("torch")
    script = str(BENCHMARKS / "bench.py")
    for how in ("kept", "new"):
        out = tmp_path / how
        line = [sys.executable, script, f"--torch={sys.executable}", f"--out={out}"]
        line += [f"--processes={how}", "--only=cifar", "--modes=eager,graphs", "--rounds=1"]
        subprocess.run(line, check=True, timeout=900)
        found = json.loads((out / "bench.json").read_text())
        assert [row["net"] for row in found["races"]] == [
            *("80sec", "19pct", "18pct", "conv-local-13pct", "conv-local-11pct")
        ]
        for row in found["races"]:
            assert row["peak"] > 2**20
            for them in row["them"]:
                assert them["mode"] == "eager" or them["error"].endswith("need a GPU")
                assert them["mode"] == "graphs" or them["ratio"] > 0
