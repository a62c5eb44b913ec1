"""`alexnet.report` on real runs: everything is there, or the page says why not."""

import html
import json
import re
import shlex
import shutil
import weakref
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from support.runs import leave
from support.tiny import ROOT, plant, tiny_config

from alexnet import prepare, report
from alexnet.errors import UserError
from alexnet.figures import style
from alexnet.training.setup import setup

pytestmark = pytest.mark.usefixtures("compile_quickly")

TRAINED = ROOT / "experiments/trained/digits"
CLASSES = ("<b>cats", 'dogs & "co" 犬')
PICTURES = {"filters", "predictions", "neighbours", "confusion", "class_errors", "surest"}
PARTS = {
    "Curves",
    "Filters (Figure 3)",
    "Predictions (Figure 4, left)",
    "Neighbours (Figure 4, right)",
    "Mistakes",
    "Surest mistakes",
    "Net",
    "Config",
    "Provenance",
}


@pytest.fixture(autouse=True)
def coarsely(monkeypatch):
    monkeypatch.setattr(style, "DPI", 40)


def left_out(page: str) -> dict[str, str]:
    """The reason for each part that is missing."""
    found = re.findall(r"<h3>([^<]*)</h3>\s*<p class=\"missing\">Left out: ([^<]*)</p>", page)
    return dict(found)


def titles(page: str) -> set[str]:
    return set(re.findall(r"<h3>([^<]*)</h3>", page))


@pytest.fixture
def digits(tmp_path) -> Path:
    workdir = shutil.copytree(TRAINED, tmp_path / "runs/<i>digits")
    shutil.rmtree(workdir / "features", ignore_errors=True)
    return workdir


@pytest.fixture
def pets(tmp_path) -> Path:
    """A run on two classes of photos of one colour each, whose weights were never trained."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for split, count in (("train", 8), ("validation", 3)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (24, 20, 3), np.uint8)
                pixels[..., label] = 255
                Image.fromarray(pixels).save(folder / f"{number}.png")
    config = tiny_config(str(tmp_path / "data"))
    config.data.name = f"folder:{tmp_path / 'photos'}"
    config.net.remove = "conv2,conv3,conv4,conv5,fc7"
    params = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(np.float32) / 9, setup(config).shapes
    )
    workdir = tmp_path / "run"
    workdir.mkdir()
    plant(workdir, config, params)
    return workdir


@pytest.mark.slow
def test_a_page_on_a_trained_run(digits, data_dir, tmp_path, capsys):
    output = tmp_path / "page.html"
    report.main([str(digits), f"--output={output}", f"--data_dir={data_dir}"])
    page = output.read_text()
    assert titles(page) == PARTS
    assert set(left_out(page)) == {"Provenance"}
    assert "no provenance.json" in left_out(page)["Provenance"]
    said = capsys.readouterr()
    assert "left out: <i>digits: Provenance: the workdir has no provenance.json" in said.err
    assert "8 figures in" in said.out
    names = {path.stem for path in (tmp_path / "page_figures").iterdir()}
    assert names == {"curve_top1_error", "curve_loss", *PICTURES}
    rows = [json.loads(line) for line in (TRAINED / "metrics.jsonl").read_text().splitlines()]
    errors = [row["validation/top1_error"] for row in rows if "validation/loss" in row]
    assert f"<dt>last top-1 error</dt><dd>{errors[-1]:.2%}</dd>" in page
    assert f"<dt>best top-1 error</dt><dd>{min(errors):.2%}</dd>" in page
    wrong = re.findall(r'<td>\d</td><td>\d</td><td class="number">(\d+)</td>', page)
    assert sum(map(int, wrong)) == round(359 * min(errors))  # of the best checkpoint
    assert "368,842 parameters." in page
    assert "The training images are grey" in page
    assert "&lt;i&gt;digits</h1>" in page
    assert "<i>" not in page
    assert list((digits / "features").glob("*-relu7-train/features.npy"))


@pytest.mark.slow
def test_odd_names_of_classes_are_text_everywhere(pets, tmp_path):
    output = tmp_path / "page.html"
    report.main([str(pets), f"--output={output}"])
    page = output.read_text()
    assert set(left_out(page)) == {"Curves", "Provenance"}
    assert {path.stem for path in (tmp_path / "page_figures").iterdir()} == PICTURES
    assert "<b>" not in page
    is_or_taken_for = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td><td class=\"number\">", page)
    assert set(sum(is_or_taken_for, ())) == {"&lt;b&gt;cats", "dogs &amp; &#34;co&#34; 犬"}


def test_without_its_images_a_page_says_what_it_left_out(pets, tmp_path):
    shutil.rmtree(tmp_path / "photos")
    for records in (tmp_path / "data").glob("**/*.array_record"):
        records.unlink()
    report.main([str(pets), f"--output={tmp_path / 'page.html'}"])
    missing = left_out((tmp_path / "page.html").read_text())
    assert {name.partition(" ")[0] for name in missing} == {
        *("Curves", "Predictions", "Neighbours", "Mistakes", "Surest", "Provenance"),
    }
    for name in ("Predictions (Figure 4, left)", "Neighbours (Figure 4, right)", "Mistakes"):
        assert "photos" in missing[name]


def test_photos_that_have_moved_are_found_where_the_command_says(pets, tmp_path):
    moved = tmp_path / "moved"
    (tmp_path / "photos").rename(moved)
    shutil.rmtree(tmp_path / "data")
    elsewhere = f"--data_dir={tmp_path / 'elsewhere'}"
    where = [f"--config.data.name=folder:{moved}", elsewhere]
    prepare.main([f"folder:{moved}", "--image_size=20", elsewhere])
    output = tmp_path / "page.html"
    report.main([str(pets), f"--output={output}", "--parts=mistakes,config", *where])
    page = output.read_text()
    assert not left_out(page)
    assert f"folder:{tmp_path / 'photos'}" in page  # in the config, as trained


def test_runs_without_weights_have_curves_and_a_table(tmp_path, capsys, monkeypatch):
    from alexnet.reports import about

    curve_part, labels = about.curve_part, []

    def drawn(named):
        labels.extend(label for label, _ in named)
        return curve_part(named)

    monkeypatch.setattr(about, "curve_part", drawn)
    names = ["fig1-relu-0.001-0", "fig1-relu-0.002-0"]
    dirs = [f"{ROOT}/experiments/results/runs/{name}" for name in names]
    output = tmp_path / "deep/er/page.html"
    report.main([*dirs, f"--output={output}", "--parts=curves,ablation,filters,config"])
    assert labels == names  # each arm has one run only
    page = output.read_text()
    assert titles(page) == {"Curves", "Ablation", "Filters (Figure 3)", "Config"}
    assert set(left_out(page)) == {"Filters (Figure 3)"}
    assert "there is no checkpoint in" in left_out(page)["Filters (Figure 3)"]
    assert "schedule.rate=0.002" in page  # what the second arm overrides
    assert page.count("<details open>") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert [line.partition(": Filters (Figure 3): there is no")[0] for line in said] == [
        f"left out: {name}" for name in names
    ]


def test_the_page_names_the_command_that_made_it_and_judges_the_experiment_that_it_names(tmp_path):
    for seed in range(5):
        for name, norm in (("a", True), ("b", False)):
            overrides = {"seed": seed, "net.norm": norm}
            errors = [0.5] * 7 + [0.3 + 0.001 * seed * (2 - norm) + 0.02 * (not norm)]
            leave(
                tmp_path / f"{name}-{seed}",
                errors,
                file=f"{ROOT}/configs/cifar10.py:pocket",
                overrides=overrides,
            )
    output = tmp_path / "page.html"
    argv = [str(tmp_path), f"--output={output}", "--parts=ablation"]
    for more, verdict in (([], False), ([f"--experiment={ROOT}/experiments/lrn.py:small"], True)):
        report.main([*argv, *more])
        page = output.read_text()
        assert ("supported" in page) == verdict
        assert shlex.join(["python", "-m", "alexnet.report", *argv, *more]) in html.unescape(page)


def test_runs_have_their_folders_names_if_these_differ():
    assert report.names([Path("a/x-0"), Path("b/y-0")]) == ["x-0", "y-0"]
    assert report.names([Path("a/x-0"), Path("b/x-0")]) == ["a/x-0", "b/x-0"]
    deep = Path("/scratch") / ("deep" * 20)  # whose end a legend would cut off
    assert report.names([deep / "a/x-0", deep / "b/x-0"]) == ["a/x-0", "b/x-0"]
    assert report.names([deep, deep / "b" / deep.name]) == [".", f"b/{deep.name}"]
    assert report.names([Path(".")]) == ["."]


def test_of_a_folder_an_example_is_shown_which_is_named_as_one(tmp_path):
    for name, norm in (("b-0", False), ("deep/a-0", True), ("c-0", True)):
        leave(tmp_path / "runs" / name, [0.5], overrides={"net.norm": norm, "seed": len(name)})
    other = leave(tmp_path / "more/d-0", [0.25])
    output = tmp_path / "page.html"
    for dirs, shown in (
        ([tmp_path / "runs"], ["b-0"]),
        ([tmp_path / "runs", other], ["b-0", "d-0"]),
    ):
        report.main([*map(str, dirs), f"--output={output}", "--parts=config"])
        page = output.read_text()
        assert f"<h1>{3 + len(dirs) - 1} runs</h1>" in page
        assert re.findall("<summary><h2>([^<]*)</h2>", page) == shown
        assert page.count('<span class="soft">an example of b</span>') == 1
    report.main([str(other), f"--output={output}", "--parts=config"])
    page = output.read_text()
    assert "<h1>d-0</h1>" in page
    assert "<summary>" not in page
    assert "an example" not in page


def test_runs_of_one_arm_share_programs_and_no_memory(tmp_path, monkeypatch):
    from alexnet.reports import subject

    opened, alive = [], []

    class Net:
        pass

    def load(workdir, checkpoint, overrides):
        assert not [one for one in alive if one()]  # of the run before
        net = Net()
        alive.append(weakref.ref(net))
        return net

    def splits(net, programs):
        opened.append(programs)
        raise UserError("no images")

    monkeypatch.setattr(subject, "load", load)
    monkeypatch.setattr(subject, "Splits", splits)
    runs = [leave(tmp_path / f"a-{seed}", [0.5], overrides={"seed": seed}) for seed in range(3)]
    argv = [*map(str, runs), f"--output={tmp_path / 'page.html'}", "--parts=predictions"]
    report.main(argv)
    assert len(opened) == 3
    assert len({id(programs) for programs in opened}) == 1
    assert opened[0] is not None


def test_the_plans_of_a_sweep_are_no_run(tmp_path):
    """The plans lie beside the runs, so `DIR/*` includes them."""
    runs = [leave(tmp_path / f"sweep/{arm}-0", [0.5]) for arm in "ab"]
    plans = tmp_path / "sweep/sweeps"
    plans.mkdir()
    output = tmp_path / "page.html"
    report.main([*map(str, [*runs, plans]), f"--output={output}", "--parts=config"])
    assert titles(output.read_text()) == {"Config"}
    named_alike = leave(tmp_path / "sweeps/c-0", [0.5])
    report.main([str(runs[0]), str(named_alike.parent), f"--output={output}", "--parts=config"])
    assert "2 runs" in output.read_text()
    with pytest.raises(UserError, match="sweeps holds no run"):
        report.main([str(plans), f"--output={output}"])


def test_a_sweep_has_more_folders_than_those_of_runs(tmp_path):
    """`DIR/*` names them all; evaluations are in the table."""
    sweep = tmp_path / "sweep"
    for name in ("sweeps", "slurm", "ten-0", "failed-0"):
        (sweep / name).mkdir(parents=True)
    for name, norm in (("a-0", True), ("b-0", False)):
        leave(sweep / name, [0.5], overrides={"net.norm": norm})
    (sweep / "failed-0/failure.txt").write_text("no memory\n")
    errors = {"loss": 1.0, "top1_error": 0.25, "top5_error": 0.1, "count": 100, "commit": None}
    found = {"views": "ten_crop", "of": ["a-0"]} | errors
    (sweep / "ten-0/evaluation.json").write_text(json.dumps(found))
    output = tmp_path / "page.html"
    everything = [str(path) for path in sorted(sweep.iterdir())]
    report.main([*everything, f"--output={output}", "--parts=ablation,config"])
    page = output.read_text()
    assert titles(page) == {"Ablation", "Config"}
    assert left_out(page) == {}
    assert "views=" in page
    assert page.count("<details open>") == 2
    with pytest.raises(UserError, match="c-0: no such folder"):
        report.main([*everything, f"{sweep}/c-0", f"--output={output}"])
    with pytest.raises(UserError, match="slurm holds no run"):
        report.main([f"{sweep}/slurm", f"{sweep}/ten-0", f"--output={output}"])


def test_one_run_is_compared_with_nothing(tmp_path, capsys):
    one = leave(tmp_path / "a-0", [0.5])
    for parts, missing in (("ablation", {"Ablation": "one run: nothing to compare"}), ("all", {})):
        output = tmp_path / f"{parts}.html"
        report.main([str(one), str(one), f"--output={output}", f"--parts={parts}"])
        found = left_out(output.read_text())
        assert {name: found[name] for name in found if name == "Ablation"} == missing
    assert "left out: Ablation: one run: nothing to compare" in capsys.readouterr().err


def test_an_import_among_runs_leaves_their_curves(tmp_path):
    one, imported = leave(tmp_path / "a-0", [0.5, 0.4]), leave(tmp_path / "b-0", [], epochs=1.0)
    (imported / "metrics.jsonl").unlink()
    report.main([str(one), str(imported), f"--output={tmp_path / 'x.html'}", "--parts=curves"])
    page = (tmp_path / "x.html").read_text()
    assert left_out(page) == {}
    assert "<p>Without b-0: there is no" in page
    assert "curve_loss" in {path.stem for path in (tmp_path / "x_figures").iterdir()}


def test_runs_that_do_not_compare_have_all_else(tmp_path):
    """Runs on different datasets, and one whose log is damaged."""
    one = leave(tmp_path / "a-0", [0.5, 0.4])
    other = leave(tmp_path / "b-0", [0.5, 0.4], overrides={"data.name": "cifar10"})
    damaged = leave(tmp_path / "c-0", [0.5, 0.4])
    (damaged / "metrics.jsonl").write_text("{}\n{}\n")
    for number, (dirs, missing) in enumerate(
        [
            ([one, other], set()),
            ([one, damaged], {"Ablation"}),
            ([damaged], {"Ablation", "Curves"}),
        ]
    ):
        output = tmp_path / f"{number}.html"
        report.main([*map(str, dirs), f"--output={output}", "--parts=curves,ablation,config"])
        page = output.read_text()
        assert titles(page) == {"Curves", "Ablation", "Config"}
        assert set(left_out(page)) == missing
        assert ("<p>Without c-0: " in page) == (len(dirs) == 2 and damaged in dirs)


def test_the_config_part_has_what_differs_from_the_base():
    from alexnet.reports.about import config_part
    from alexnet.reports.subject import Subject

    [table] = config_part(Subject(TRAINED)).tables
    assert {row[0]: row[1] for row in table.rows} == {
        "epochs": "30.0",
        "data.name": "digits",
        "data.image_size": "32",
        "net.name": "pocket",
        "augment.flip": "False",
        "schedule.milestones": "((24, 0.001),)",
        "log_every": "10",
        "checkpoint_every": "1000",
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "which runs\\? name the folder of one or more"),
        (["/nowhere"], "/nowhere: no such folder"),
        ([str(TRAINED), str(ROOT / "docs")], "docs holds no run"),
        ([str(TRAINED), "--parts=curve"], "did you mean 'curves'"),
        ([str(TRAINED), "--outptu=x"], "--outptu: no such option; did you mean 'output'"),
        ([str(TRAINED), "--checkpoint=worst"], "checkpoint=worst: choose best, last or a step"),
        ([str(TRAINED), "--output="], "--output= is empty"),
        ([str(TRAINED), "--experiment=lnr.py"], "lnr.py: no such file"),
        ([str(TRAINED), "--config.net.norm=0"], "how a run was trained cannot change now"),
        ([str(TRAINED), "--config.data.nam=x"], "config.data.nam"),
        ([str(TRAINED), "--output=page"], "--output=page: write a name that ends in .html"),
    ],
)
def test_mistakes_are_one_line(argv, message):
    with pytest.raises(UserError, match=message):
        report.main(argv)


def test_what_is_not_installed_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as raised:
        report.main([str(TRAINED)])
    assert str(raised.value) == (
        "a report needs matplotlib and jinja2: pip install matplotlib jinja2"
    )
