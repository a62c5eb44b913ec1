"""Training on a prepared dataset imports neither TensorFlow nor TFDS."""

import os
import subprocess
import sys

READ_BATCHES = """
import sys
import alexnet.evaluate, alexnet.train
from alexnet.data.pipeline import eval_batches, train_batches
from alexnet.data.prepare import ensure
from alexnet.data.recipe import Recipe

store = ensure(Recipe("digits", sys.argv[1], 8))
next(train_batches(store, batch_size=4, seed=0))
next(eval_batches(store, "validation", batch_size=4))
print(sorted({"tensorflow", "tensorflow_datasets"} & set(sys.modules)))
import tensorflow  # the stub was there to be found
print(tensorflow.STUB)
"""


def test_training_imports_neither_tensorflow_nor_tfds(digits, digits_dir, tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("STUB = 'importable'\n")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", READ_BATCHES, digits_dir],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "importable"]
