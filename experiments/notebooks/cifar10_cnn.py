# %% [markdown] id="title"
# # A convolutional net, step by step
#
# From pixels to a trained net: we write the layers in flax, the update rule in optax and the
# training loop in jax. At the end, we build the same net as a table of this project.
#
# - **Needs** a clone of this project, and matplotlib; no GPU. It uses CIFAR-10 if you have prepared
#   it (`alexnet prepare cifar10` downloads 170 MB), and otherwise scikit-learn's
#   handwritten digits, which need no download.
# - **Takes** about four minutes on CIFAR-10 with two free cores (eight core-minutes), and under a
#   minute on the digits.
# - **Try** other numbers. An `assert` checks the original cell: if one fails, what it checks has
#   changed, and the next cell still runs.
#
# The next cell installs the project if it is missing. In a hosted notebook, first clone the project
# and make `experiments/notebooks` the working directory (`%cd`). The cell accepts ranges of
# versions, so it keeps an installed jax that fits.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "../.."  # a clone of the project, or its address: "git+https://..."
if importlib.util.find_spec("alexnet") is None:
    packages = [SOURCE, "matplotlib>=3.10,<4"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)

# %%
import os
import time

import flax.linen as nn
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.colors import LinearSegmentedColormap

import alexnet

QUICK = "ALEXNET_QUICK" in os.environ  # the project's tests train for less long
plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.titlesize": 10})
SIGNED = LinearSegmentedColormap.from_list("signed", ["#2166ac", "white", "#b2182b"], bad="0.8")


def mosaic(pictures, columns, fill=255):
    """Pictures [N, H, W, ...] side by side in one, with lines between them."""
    n, height, width = pictures.shape[:3]
    line = max(1, height // 16)
    rows = -(-n // columns)
    down, across = height + line, width + line
    whole = np.full((rows * down, columns * across, *pictures.shape[3:]), fill, pictures.dtype)
    for number, picture in enumerate(pictures):
        top, left = number // columns * down, number % columns * across
        whole[top : top + height, left : left + width] = picture
    return whole[:-line, :-line]


# %% [markdown] id="data"
# ## 1. Pixels
#
# CIFAR-10 is 60,000 photos of 32×32 pixels in ten classes: 50,000 for training and 10,000 for the
# test. AlexNet's authors tested some of their ideas on it, too: ReLUs and response normalisation.
# The part of ImageNet on which AlexNet was trained (ILSVRC) has 1.2 million photos. (The digits,
# 1,797 of 8×8 pixels, are enlarged to 32×32.)
#
# *How many numbers make up one image? How often is a random guess right?*

# %%
config = alexnet.load_config("../../configs/cifar10.py:80sec")
try:
    store = alexnet.setup(config).store
except alexnet.UserError as error:
    print(f"{error}\nSo these are the digits.")
    store = alexnet.open_dataset("digits", image_size=32)

train_images, train_labels = store.read("train", range(store.counts["train"]))
test_images, test_labels = store.read("validation", range(store.counts["validation"]))
print(store.name, store.counts)
print("one image:", train_images[0].shape, train_images.dtype, f"{train_images[0].size:,} numbers")
assert train_images[0].size == 3072
assert len(store.classes) == 10

_, axes = plt.subplots(figsize=(9.6, 6.4))
examples = [np.flatnonzero(train_labels == label)[:15] for label in range(10)]
axes.imshow(mosaic(train_images[np.concatenate(examples)], columns=15))
axes.set_yticks(34 * np.arange(10) + 16, store.classes)
axes.set_xticks([])
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
plt.show()

# %% [markdown] id="mean"
# A colour image is three maps, red, green and blue, of numbers from 0 to 255. Apart from bringing
# photos to one size, the paper makes only one change: it subtracts the mean image of the training
# set, pixel by pixel. The input of the net is then centred on zero.
#
# *What does the mean of 50,000 photos look like?*

# %%
mean_HWC = train_images.mean(0, dtype=np.float64).astype(np.float32)


def centred(images_BHWC):
    """What the net reads: float32, around zero."""
    return images_BHWC.astype(np.float32) - mean_HWC


one = test_images[0]
panels = {
    "an image": one,
    **{name: one[..., channel] for channel, name in enumerate(("red", "green", "blue"))},
    "mean image": mean_HWC / 255,
    "red − mean": centred(one)[..., 0],
}
_, axes = plt.subplots(1, 6, figsize=(12, 2.2))
for panel, (title, picture) in zip(axes, panels.items(), strict=True):
    scale = {"cmap": SIGNED, "vmin": -255, "vmax": 255} if title == "red − mean" else {}
    panel.imshow(picture, **scale or {"cmap": "gray", "vmin": 0, "vmax": 255})
    panel.set_title(title)
    panel.axis("off")
plt.show()
assert abs(centred(train_images[:1000]).mean()) < 5

# %% [markdown] id="net"
# ## 2. The net
#
# This is the authors' small net for CIFAR-10 from their program cuda-convnet: three convolutions
# with pooling, and two fully connected layers. The sizes on the right show that the maps shrink,
# 32, 16, 8, 4, while their number grows.
#
# - **Convolution**: 32 kernels of 5×5 slide over the image; each gives a map. Notebook
#   `convolution` computes one by hand.
# - **ReLU**, $\max(0, x)$: without it, convolutions and fully connected layers in a row would
#   collapse into one linear map.
# - **Pooling**: the largest number, or the mean, of 3×3 windows in steps of 2. They overlap.
# - **Fully connected**: the last maps, as one list of 1,024 numbers, go into 64 neurons and then
#   into ten, one per class. The ten outputs are *logits*; softmax,
#   $p_k = e^{z_k} / \sum_j e^{z_j}$, turns them into probabilities.


# %%
def conv(maps, std, name):
    """A convolution of 5×5 whose maps keep their size; weights start as noise, biases at 0."""
    return nn.Conv(maps, (5, 5), kernel_init=nn.initializers.normal(std), name=name)


def dense(neurons, name):
    """A fully connected layer."""
    return nn.Dense(neurons, kernel_init=nn.initializers.normal(0.1), name=name)


def max_pool(x):
    """The largest number of 3×3 windows in steps of 2."""
    return nn.max_pool(x, (3, 3), (2, 2), "SAME")


def avg_pool(x):
    """The mean of 3×3 windows in steps of 2, over the part that lies inside."""
    return nn.avg_pool(x, (3, 3), (2, 2), "SAME", count_include_pad=False)


class CNN(nn.Module):
    """cuda-convnet's "26% error in 80 seconds"."""

    @nn.compact
    def __call__(self, x_BHWC):  # 32 × 32 × 3
        x = max_pool(conv(32, 1e-4, "conv1")(x_BHWC))  # 16 × 16 × 32
        x = nn.relu(x)
        x = nn.relu(conv(32, 0.01, "conv2")(x))
        x = avg_pool(x)  # 8 × 8 × 32
        x = nn.relu(conv(64, 0.01, "conv3")(x))
        x = avg_pool(x)  # 4 × 4 × 64
        x = x.reshape(len(x), -1)  # 1,024
        x = nn.relu(dense(64, "fc64")(x))  # 64
        return dense(10, "fc10")(x)  # 10 logits


net = CNN()
start = net.init(jax.random.key(0), centred(train_images[:1]))["params"]
for name, leaves in start.items():
    size = sum(leaf.size for leaf in leaves.values())
    print(
        f"{name:6} kernel {leaves['kernel'].shape!s:15} bias {leaves['bias'].shape!s:6} {size:7,}"
    )
count = sum(leaf.size for leaf in jax.tree.leaves(start))
print(f"{count:,} parameters")
assert count == 2_432 + 25_632 + 51_264 + 65_600 + 650 == 145_578

# %% [markdown] id="count"
# Count conv2 by hand: each of its 32 kernels has 5·5 weights on each of 32 maps, and a bias:
# $32\,(25\cdot 32 + 1) = 25{,}632$. The fully connected layers do little of the work but have 46%
# of the parameters; in AlexNet they have 96%.
# (`jax.eval_shape` finds AlexNet's shapes without making its weights.)


# %%
def share(params):
    """That of the fully connected layers."""
    sizes = {name: sum(leaf.size for leaf in params[name].values()) for name in params}
    return sum(sizes[name] for name in sizes if name.startswith("fc")) / sum(sizes.values())


of_alexnet = jax.eval_shape(lambda: alexnet.init(alexnet.build("alexnet"), jax.random.key(0)))
print(f"here {share(start):.0%}, AlexNet {share(of_alexnet):.0%}")
assert sum(leaf.size for leaf in start["conv2"].values()) == 32 * (25 * 32 + 1) == 25_632
assert (f"{share(start):.0%}", f"{share(of_alexnet):.0%}") == ("46%", "96%")

# %% [markdown] id="loss"
# ## 3. Before it has learned
#
# The *loss* is the cross-entropy: minus the logarithm of the probability that the net gives to the
# right class. The *error rate* is the share of images for which another class is the most probable.
#
# *What are loss and error rate for a net that knows nothing, with ten classes? Checking this first
# can save hours of training a broken net.*


# %%
@jax.jit
def logits_of(params, x_BHWC):
    """What the net says of a batch, [B, 10]."""
    return net.apply({"params": params}, x_BHWC)


def ask(params, images_NHWC, batch=500):
    """The logits of many images, a batch at a time."""
    firsts = range(0, len(images_NHWC), batch)
    parts = [logits_of(params, centred(images_NHWC[i : i + batch])) for i in firsts]
    return np.concatenate(parts)


def judge(logits_NK, labels_N):
    """(mean cross-entropy, error rate)."""
    loss_N = optax.softmax_cross_entropy_with_integer_labels(logits_NK, labels_N)
    return loss_N.mean(), (logits_NK.argmax(-1) != labels_N).mean()


loss, error = judge(ask(start, test_images), test_labels)
print(f"loss {loss:.4f}, ln 10 = {np.log(10):.4f}; error {error:.1%}")
assert abs(loss - np.log(10)) < 0.05
assert 0.8 < error < 1

# %% [markdown] id="step"
# ## 4. One step
#
# For each of the 145,578 parameters, the gradient says in which direction the loss of a batch
# grows. The paper's rule moves the other way, with momentum: the velocity $v$ keeps nine tenths of
# its value, and *weight decay* $\lambda$ pulls the weights towards zero a little:
#
# $$v \leftarrow 0.9\,v - \varepsilon\,(\lambda w + \nabla L), \qquad w \leftarrow w + v.$$
#
# In optax, this is a chain of three transformations. The learning rate $\varepsilon$ falls linearly
# to zero, so that the last steps are small.

# %%
BATCH = 128
epochs = {"cifar10": 3, "digits": 1 if QUICK else 12}[store.name]
steps_an_epoch = len(train_images) // BATCH
steps = epochs * steps_an_epoch

rate = optax.linear_schedule(0.0015, 0.0, steps)
optimizer = optax.chain(
    optax.add_decayed_weights(
        0.004, mask=lambda params: jax.tree.map(lambda w: w.ndim > 1, params)
    ),
    optax.scale_by_learning_rate(rate),  # times minus the rate
    optax.trace(0.9),  # the velocity
)


def loss_of(params, x_BHWC, labels_B):
    """(loss, error rate) of a batch: what the gradient is taken of, and what is shown beside it."""
    return judge(logits_of(params, x_BHWC), labels_B)


@jax.jit
def train_step(params, velocity, x_BHWC, labels_B):
    """One batch: (parameters, velocity, loss, error rate) after it."""
    gradient_of = jax.value_and_grad(loss_of, has_aux=True)
    (loss, error), gradients = gradient_of(params, x_BHWC, labels_B)
    updates, velocity = optimizer.update(gradients, velocity, params)
    return optax.apply_updates(params, updates), velocity, loss, error


params, velocity = start, optimizer.init(start)
batch = slice(0, BATCH)
for _ in range(3):
    params, velocity, loss, error = train_step(
        params, velocity, centred(train_images[batch]), train_labels[batch]
    )
    print(f"loss {loss:.6f}")

# %% [markdown] id="loop"
# ## 5. The loop
#
# An epoch shows the net nearly every training image once, in a new order each time; what does not
# fill a batch is left out. Then the net is tested on images that it never learns from. We did not
# tune anything on the test images: the net and the weight decay of its convolutions are
# cuda-convnet's. To train quickly, we start the kernels' rate 1.5 times as high as theirs (.001)
# and let it fall linearly; the biases have the same rate, theirs .002; and the fully connected
# layers have the same decay, theirs .03.
#
# *After three epochs of CIFAR-10, how many errors would you expect in 100 images? Guessing makes
# 90.*

# %%
rng = np.random.default_rng(0)
params, velocity = start, optimizer.init(start)
train_curve, test_curve, began = [], [], time.monotonic()
for epoch in range(1, epochs + 1):
    seen = []  # the error rates of its batches
    order = rng.permutation(len(train_images))
    for step in range(steps_an_epoch):
        batch = order[step * BATCH : (step + 1) * BATCH]
        params, velocity, _, error = train_step(
            params, velocity, centred(train_images[batch]), train_labels[batch]
        )
        seen.append(error)
    train_curve += [np.mean(part) for part in np.array_split(np.array(seen), 10)]
    test_curve.append(float(judge(ask(params, test_images), test_labels)[1]))
    if epoch % max(1, epochs // 6) == 0:
        print(
            f"epoch {epoch:2}: training error {np.mean(seen):6.2%}, "
            f"test error {test_curve[-1]:6.2%}, {time.monotonic() - began:4.0f} s"
        )
final = test_curve[-1]
assert final < {"cifar10": 0.42, "digits": 0.95 if QUICK else 0.1}[store.name]

# %% [markdown] id="curves"
# ## 6. Curves
#
# The training error is measured on the images of the current step, the test error on images that
# the net never learns from. When the training error keeps falling but the test error does not, the
# net memorises its images. This is *overfitting*.
#
# *Does this net overfit? What would you do about it?* (Not after three epochs: the curves lie
# together. On the digits a gap opens: some 1% against 4%. AlexNet has dropout and data augmentation
# against it.)

# %%
_, axes = plt.subplots(figsize=(8, 3.2))
axes.plot(np.arange(1, len(train_curve) + 1) / 10, train_curve, label="training")
axes.plot(np.arange(1, epochs + 1), test_curve, "o-", label="test", markersize=4)
axes.annotate(f"{final:.1%}", (epochs, final), xytext=(6, 0), textcoords="offset points")
axes.axhline(0.9, color="0.6", linewidth=1, linestyle=":")
axes.text(0, 0.91, "guessing", color="0.4")
axes.set(xlabel="epoch", ylabel="error rate", ylim=(0, 1), xlim=(0, epochs * 1.08))
axes.yaxis.set_major_formatter("{x:.0%}")
axes.spines[["right", "top"]].set_visible(False)
axes.legend(loc="upper right")
plt.show()

# %% [markdown] id="filters"
# ## 7. What conv1 has learned
#
# The 32 kernels of the first layer, 5×5 pixels in colour, grey where a weight is zero.
#
# *What did they look like before?*

# %%
_, axes = plt.subplots(2, 1, figsize=(9.6, 3.2))
for panel, (title, layers) in zip(axes, {"before": start, "after": params}.items(), strict=True):
    kernels_NHWC = np.moveaxis(np.asarray(layers["conv1"]["kernel"]), -1, 0)
    largest = abs(kernels_NHWC).max()
    panel.imshow(mosaic(0.5 + 0.5 * kernels_NHWC / largest, columns=16, fill=1.0))
    panel.set_title(f"{title}: weights up to ±{largest:.2g}")
    panel.axis("off")
plt.tight_layout()
plt.show()
moved = abs(params["conv1"]["kernel"]).max() / abs(start["conv1"]["kernel"]).max()
assert moved > 2

# %% [markdown] id="confusion"
# ## 8. What it confuses
#
# Each row is a true class. It shows how the net classified the test images of that class, in per
# cent.
#
# *Which two classes will the net confuse most? Are these mistakes symmetric?*

# %%
test_logits = ask(params, test_images)
probabilities = np.asarray(jax.nn.softmax(test_logits))
predicted = probabilities.argmax(-1)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (test_labels, predicted), 1)
assert np.trace(confusion) == (predicted == test_labels).sum()
assert abs(1 - np.trace(confusion) / len(test_labels) - final) < 1e-3

percent = 100 * confusion / confusion.sum(1, keepdims=True)
_, axes = plt.subplots(figsize=(7, 6))
axes.imshow(percent, cmap=SIGNED, vmin=-130, vmax=130)
for (i, j), value in np.ndenumerate(percent):
    if value >= 0.5:
        weight = "bold" if i == j else "normal"
        axes.text(j, i, f"{value:.0f}", ha="center", va="center", weight=weight)
axes.set_xticks(range(10), store.classes, rotation=45, ha="right")
axes.set_yticks(range(10), store.classes)
axes.set(xlabel="seen as", ylabel="class")
axes.tick_params(length=0)
plt.show()

off = confusion - np.diag(np.diag(confusion))
i, j = np.unravel_index(off.argmax(), off.shape)
print(f"most often: {store.classes[i]} seen as {store.classes[j]}, {off[i, j]} times;", end=" ")
print(f"the other way round {off[j, i]} times")

# %% [markdown] id="mistakes"
# ## 9. The first images, and its surest mistakes
#
# The top row shows the first images of the test set, the bottom row the most confident mistakes.
# The bars are the three most probable classes; the right class is blue.
#
# *Which of these mistakes would you forgive?* (A mistake may also be the label's: look for a frog
# that CIFAR-10 calls a cat.)

# %%
wrong = np.flatnonzero(predicted != test_labels)
surest = wrong[np.argsort(-probabilities[wrong].max(-1))][:8]
shown = [*range(8), *surest]
_, axes = plt.subplots(4, 8, figsize=(12, 6.6), height_ratios=[2, 1, 2, 1])
for place, index in enumerate(shown):
    row, column = 2 * (place // 8), place % 8
    axes[row, column].imshow(test_images[index])
    axes[row, column].set_title(store.classes[test_labels[index]])
    best = np.argsort(-probabilities[index])[:3][::-1]
    colours = ["tab:blue" if k == test_labels[index] else "0.8" for k in best]
    bars = axes[row + 1, column].barh(range(3), probabilities[index][best], color=colours)
    axes[row + 1, column].bar_label(bars, [store.classes[k] for k in best], padding=2, fontsize=9)
    axes[row + 1, column].set_xlim(0, 1.9)
for panel in axes.flat:
    panel.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown] id="table"
# ## 10. The same net as a table
#
# In this project a net is a table with one row per layer, which determines all shapes and sizes.
# Here is the net above as a table; with the parameters that we trained, it gives the same logits.
# (The project's parameters have an extra first axis for *towers*: AlexNet has two, one per GPU, and
# this net has one.)

# %%
table = alexnet.build("cifar_80sec", classes=10)
in_one_tower = jax.tree.map(lambda leaf: leaf[None], params)
run = jax.jit(lambda params, x_BHWC: alexnet.apply(table, params, x_BHWC))
table_logits, activations = run(in_one_tower, centred(test_images[:100]))
for row in table.rows:
    print(f"{row.name:6} {row.sentence(table.towers):26}", *activations[row.name].shape[1:])

difference = abs(np.asarray(table_logits) - test_logits[:100]).max()
print(f"\nlogits up to {float(abs(table_logits).max()):.1f}, largest difference {difference:.1e}")
assert difference < 1e-3

# %% [markdown] id="ablation"
# For an experiment, change a row or remove one; later layers adapt their sizes. (conv2 reads 32
# maps and gives 32, so here none has to; in question 3 one does.)


# %%
def size(**changes):
    """The parameters of the net with some changes."""
    changed = alexnet.build("cifar_80sec", classes=10, **changes)
    shapes = jax.eval_shape(lambda: alexnet.init(changed, jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


for changes in ({}, {"activation": "tanh"}, {"remove": "conv2"}):
    print(f"{size(**changes):,} parameters", *(f"{name}={what}" for name, what in changes.items()))
assert size() == size(activation="tanh") == count
assert size(remove="conv2") == count - 25_632

# %% [markdown] id="maps"
# ## 11. One image through all maps
#
# The table gives the output of each row by name. Here is one image on its way through the net: 32
# maps of conv1, before and after pooling and ReLU; 32 after conv2; 64 after conv3 and after pool3;
# and ten probabilities. Each column has one scale; white is zero.
#
# *Which maps of the first layer can you explain? Which of the last?*

# %%
index = 0
logits, maps_of = run(in_one_tower, centred(test_images[index : index + 1]))
stages = ["conv1", "relu1", "relu2", "relu3", "pool3"]
_, axes = plt.subplots(1, 7, figsize=(13, 4.2), width_ratios=[1.3, *[2] * 5, 1.2])
axes[0].imshow(test_images[index])
axes[0].set_title("image")
for panel, name in zip(axes[1:], stages, strict=False):
    maps_NHW = np.moveaxis(np.asarray(maps_of[name][0]), -1, 0)
    largest = abs(maps_NHW).max()
    whole = mosaic(maps_NHW, columns=4 if len(maps_NHW) == 32 else 6, fill=np.nan)
    panel.imshow(whole, cmap=SIGNED, vmin=-largest, vmax=largest)
    panel.set_title(f"{name}\n{len(maps_NHW)} of {maps_NHW.shape[1]}×{maps_NHW.shape[2]}")
for panel in axes[:-1]:
    panel.axis("off")
axes[-1].barh(store.classes, probabilities[index], color="tab:blue")
axes[-1].invert_yaxis()
axes[-1].yaxis.tick_right()
axes[-1].set(xlim=(0, 1), title="softmax")
axes[-1].spines[:].set_visible(False)
axes[-1].tick_params(length=0)
plt.tight_layout()
plt.show()
assert np.allclose(jax.nn.softmax(logits)[0], probabilities[index], atol=1e-4)

# %% [markdown] id="onwards"
# ## 12. Onwards
#
# `alexnet.train_and_evaluate` does what we wrote by hand here. It adds checkpoints and logs, and,
# for nets that use them, crops and reflections. Run this in the project's folder; repeated after an
# interruption, it continues:
#
# ```
# alexnet train --config=configs/cifar10.py:80sec --workdir=runs/80sec
# alexnet evaluate --workdir=runs/80sec --checkpoint=last
# ```
#
# With cuda-convnet's rates and decays, its 10 epochs end near the 26% that cuda-convnet reports;
# `experiments/README.md` has the runs.
#
# Notebook `reload_checkpoint` shows what can be done with a finished run, on a net for digits.

# %% [markdown] id="questions"
# ## Three questions
#
# To answer a question, change a cell above and run *every* cell from there. `jax.jit` compiles a
# function once and keeps the net that it saw then: if you skip the cells in between, the loop goes
# on training the old net, without an error.
#
# 1. Replace `nn.relu` by `nn.tanh` in all four places, and in section 10 build the table with
#    `activation="tanh"`. By how much does the test error change with the same epochs and rates?
# 2. Shuffle the 1,024 pixels in one random order, the same for all training and test images. A
#    person could no longer recognise any class. How well does the net do, and what does that say
#    about convolutions?
# 3. Leave out conv3 together with its pooling, `remove="conv3,pool3"` in section 10. Does the net
#    then have more parameters, or fewer? Which layer changes?

# %% [markdown] id="answers"
# <details><summary>Answers</summary>
#
# On CIFAR-10, after three epochs with one seed; the net above ends with 35.8% errors.
#
# 1. It rises by 17 points, to 52.9%. Part of this may be the rate, which suits ReLU: a comparison
#    would search one for each (notebook `alexnet_tour`, section 7).
# 2. It makes 61.6% errors: far more, but far fewer than a guess. Colours and places still tell
#    something. But small kernels, the same everywhere, count on neighbouring pixels belonging
#    together, and pooling on small shifts not mattering. A net of fully connected layers alone
#    would not notice the new order.
# 3. More: 159,850 instead of 145,578. The 51,264 of conv3 are gone, but fc64 reads 8 · 8 · 32 =
#    2,048 numbers instead of 1,024, and has 131,136 parameters instead of 65,600.
#
# </details>
