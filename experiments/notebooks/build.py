"""Makes the notebooks from their scripts.

    python experiments/notebooks/build.py [convolution cifar10_cnn ...] [--anew]

`X.py` is a notebook as a script, in jupytext's percent format; its prose cells have ids. `X.ko.py`
is the Korean twin: it has the translated prose under the same ids, and a copy of the code in
`X.py`, with the comments in COMMENTS. `X.ipynb` and `X.ko.ipynb` also have the outputs, for people
to read. This script executes a notebook if its code has changed, or with --anew.
"""

import base64
import copy
import io
import os
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).parent
QUICK = "ALEXNET_QUICK"  # environment variable: if it is set, notebooks train for fewer steps
ANEW = "--anew"
# An editor with jupytext also saves the notebook to the script, without other metadata.
PAIRED = {"formats": "ipynb,py:percent", "notebook_metadata_filter": "-all"}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}

COMMENTS = {  # the comments in code, in Korean; numbers stay
    'a clone of the project, or its address: "git+https://..."': (
        '프로젝트 복제본의 경로 또는 주소("git+https://...")'
    ),
    "the project's tests train for less long": "프로젝트의 테스트에서는 더 짧게 훈련",
    # convolution
    "pale enough for black numbers": "검은색 숫자가 잘 보이는 옅은 색",
    "(above, below), (left, right)": "(위, 아래), (왼쪽, 오른쪽)",
    "pixels of the image, zeros before, zeros after": "이미지의 픽셀, 앞의 0, 뒤의 0(개수)",
    "a common error": "흔한 실수",
    "what k alone would leave of the 100": "k만 더할 때 100에서 남는 값",
    "pixels of 0 to 255, as AlexNet reads them": "AlexNet의 입력처럼 0~255",
    # cifar10_cnn
    "10 logits": "로짓 10개",
    "times minus the rate": "학습률에 -를 붙여 곱함",
    "the velocity": "속도",
    "the error rates of its batches": "배치마다의 오류율",
    # alexnet_tour
    "for the datasets and runs of this notebook": "이 노트북의 데이터셋과 실행",
    "for training; ImageNet's of ILSVRC-2012": "훈련용. ImageNet은 ILSVRC-2012",
    "its one slip is conv1": "틀린 것은 conv1뿐",
    "a convolution or a pooling": "합성곱이나 풀링",
    "a photo's pixels move alike": "한 사진의 픽셀은 똑같이 움직임",
    "the rule as it is printed": "논문에 적힌 대로",
    "logits of three classes": "세 클래스의 로짓",
    "their factors come as logarithms": "배수의 로그가 들어 있음",
    "over an epoch": "한 에폭의 평균",
}


def names() -> list[str]:
    """The names of all notebooks."""
    scripts = {path.name.removesuffix(".py") for path in HERE.glob("*.py")} - {"build"}
    return sorted(name for name in scripts if not name.endswith(".ko"))


def translated(english: str, prose: str) -> str:
    """The English script with the prose cells of the other script, matched by id, and COMMENTS.

    Raises:
        KeyError: if the other script lacks an id.
    """
    there = {prose_id(cell): cell for cell in cells(prose) if prose_id(cell)}

    def twin(cell: str) -> str:
        if not prose_id(cell):
            return re.sub(r"(?<=  # ).+", lambda words: COMMENTS.get(words[0], words[0]), cell)
        after = cell[len(cell.rstrip()) :]  # blank lines that the formatter needs
        return there[prose_id(cell)].rstrip() + after

    return "".join(map(twin, cells(english)))


def cells(script: str) -> list[str]:
    """The cells of a script as text, each with its first line `# %%`."""
    return re.split(r"^(?=# %%)", script, flags=re.MULTILINE)[1:]


def prose_id(cell: str) -> str:
    """The id of a prose cell; "" for code."""
    found = re.match(r'# %% \[markdown\] id="([a-z0-9_-]+)"\n', cell)
    return found[1] if found else ""


def read(script: Path) -> NotebookNode:
    """The notebook of a script, without outputs.

    The id of a code cell comes from the prose before it, so a new cell changes few other ids.
    """
    notebook, last, number = jupytext.read(script, fmt="py:percent"), "top", 0
    for cell in notebook.cells:
        prose = cell.metadata.get("id", "")
        last, number = (prose, 0) if prose else (last, number + 1)
        cell.id = last if prose else f"{last}-{number}"
    notebook.metadata = {
        "jupytext": PAIRED,
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: NotebookNode, timeout: float = 3600) -> NotebookNode:
    """Runs a notebook in the folder of the notebooks; raises nbclient's error if a cell fails.

    Args:
        timeout: seconds per cell.
    """
    resources = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(
        notebook,
        timeout=timeout,
        resources=resources,
        record_timing=False,
        coalesce_streams=True,  # else pieces of text end wherever the kernel was interrupted
    )
    return client.execute()


def tidy(notebook: NotebookNode) -> None:
    """Removes warnings and progress bars; reduces pictures to 255 colours, a third of the bytes."""
    for cell in notebook.cells:
        outputs = [output for output in cell.get("outputs", []) if not _is_passing(output)]
        if cell.cell_type == "code":
            cell.outputs = outputs
        for data in (output.data for output in outputs if "image/png" in output.get("data", ())):
            picture, small = (
                Image.open(io.BytesIO(base64.b64decode(data["image/png"]))),
                io.BytesIO(),
            )
            colours = picture.convert("RGB").quantize(
                255, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
            )
            colours.save(small, format="PNG", optimize=True)
            data["image/png"] = base64.b64encode(small.getvalue()).decode()


def _is_passing(output: NotebookNode) -> bool:
    widget = "application/vnd.jupyter.widget-view+json"
    return output.get("name") == "stderr" or widget in output.get("data", ())


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """A notebook with the outputs of another notebook that has the same code."""
    notebook = copy.deepcopy(notebook)
    mine, theirs = (
        [cell for cell in one.cells if cell.cell_type == "code"] for one in (notebook, executed)
    )
    for cell, other in zip(mine, theirs, strict=True):
        cell.outputs, cell.execution_count = other.outputs, other.execution_count
    return notebook


def build(name: str, anew: bool = False) -> None:
    """Writes the files of a notebook; executes it if its code has changed, or if `anew`."""
    english, korean = HERE / f"{name}.py", HERE / f"{name}.ko.py"
    notebook, shown = read(english), HERE / f"{name}.ipynb"
    executed = nbformat.read(shown, as_version=4) if shown.exists() and not anew else None
    if executed is None or code(executed) != code(notebook):
        executed = execute(copy.deepcopy(notebook))
        tidy(executed)
    nbformat.write(with_outputs(notebook, executed), shown)
    if korean.exists():
        korean.write_text(translated(english.read_text(), korean.read_text()))
        nbformat.write(with_outputs(read(korean), executed), HERE / f"{name}.ko.ipynb")


def code(notebook: NotebookNode) -> list[str]:
    """The sources of its code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def main(argv: list[str]) -> None:
    if QUICK in os.environ:
        sys.exit(f"{QUICK} is set: unset it, so that the notebooks train at full length")
    for name in [name for name in argv if name != ANEW] or names():
        start = time.monotonic()
        build(name, anew=ANEW in argv)
        print(f"{name}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
