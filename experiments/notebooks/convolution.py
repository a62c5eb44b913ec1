# %% [markdown] id="title"
# # What a convolution computes
#
# From nine numbers that you can check by hand to the first layer of AlexNet on a photo. Each cell
# comes after a question. Answer it, then run the cell.
#
# - **Needs** this project and matplotlib. No data, no GPU, no network.
# - **Takes** about 20 seconds on a laptop.
# - **Try** other numbers. An `assert` checks the original cell: if one fails, the picture or the
#   number above it is the answer, and the next cell still runs.
#
# The next cell installs the project if it is missing. In a hosted notebook, first set SOURCE to the
# project's address. The cell accepts ranges of versions, so it keeps an installed jax that fits.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "../.."  # a clone of the project, or its address: "git+https://..."
if importlib.util.find_spec("alexnet") is None:
    packages = [SOURCE, "matplotlib>=3.10,<4"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)

# %%
import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax import lax
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from sklearn.datasets import load_sample_image

import alexnet

# %% [markdown] id="drawing"
# The next cell only defines drawing functions. In every picture zero is white, positive numbers are
# red and negative ones blue, and all matrices in a row share one scale.

# %%
plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.titlesize": 10})
SIGNED = LinearSegmentedColormap.from_list("signed", ["#2166ac", "white", "#b2182b"])


def draw(axes, matrix, left=0.0, top=0.0, limit=None, windows=(), colours=None):
    """A matrix as coloured cells with their numbers; windows are (row, column, height, width)."""
    rows, columns = matrix.shape
    colours = matrix if colours is None else colours
    scale = 1.6 * (limit or abs(matrix).max() or 1)  # pale enough for black numbers
    x, y = left + np.arange(columns + 1), top + np.arange(rows + 1)
    axes.pcolormesh(
        x, y, colours, cmap=SIGNED, vmin=-scale, vmax=scale, edgecolors="0.8", linewidth=0.5
    )
    for (i, j), value in np.ndenumerate(matrix):
        text = f"{value:.3g}".replace("-", "−")
        axes.text(left + j + 0.5, top + i + 0.5, text, ha="center", va="center")
    for i, j, height, width in windows:
        axes.add_patch(
            Rectangle((left + j, top + i), width, height, fill=False, linewidth=2, zorder=3)
        )


def show(*parts, unit=0.46):
    """A row of (title, matrix, *windows), with signs such as "=" between them."""
    shown = [np.asarray(part[1], float) for part in parts if not isinstance(part, str)]
    limit = max(abs(matrix).max() for matrix in shown)
    tall = max(len(matrix) for matrix in shown)
    widths = [0.6 if isinstance(part, str) else np.shape(part[1])[1] for part in parts]
    total = sum(widths) + 0.7 * (len(parts) - 1)
    _, axes = plt.subplots(figsize=(unit * total, unit * (tall + 1.2)))
    left = 0.0
    for part, width in zip(parts, widths, strict=True):
        if isinstance(part, str):
            axes.text(left + width / 2, tall / 2, part, ha="center", va="center", fontsize=14)
        else:
            title, matrix, *windows = part
            top = (tall - len(matrix)) / 2
            draw(axes, np.asarray(matrix, float), left, top, limit, windows)
            axes.text(left + width / 2, top - 0.2, title, ha="center", va="bottom")
        left += width + 0.7
    axes.set(xlim=(-0.1, total + 0.1), ylim=(tall + 0.1, -1), aspect="equal")
    axes.axis("off")
    plt.show()


def photos(*parts, limit=None, size=2.2):
    """A row of (title, map): colours as they are, single maps from blue over white to red."""
    _, axes = plt.subplots(1, len(parts), figsize=(size * len(parts), size + 0.2))
    singles = [abs(np.asarray(picture)).max() for _, picture in parts if np.ndim(picture) == 2]
    limit = limit or max(singles, default=1)
    for one, (title, picture) in zip(np.atleast_1d(axes), parts, strict=True):
        one.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit)
        one.set_title(title)
        one.axis("off")
    plt.tight_layout()
    plt.show()


# %% [markdown] id="window"
# ## 1. One window
#
# Here is an image of 5×5 pixels and a kernel of 3×3 weights. Lay the kernel on the top left corner
# of the image, multiply each pixel by the weight on it, and add up the nine products.
#
# *Which number comes out?*

# %%
image = np.array(
    [[0, 1, 2, 1, 0], [1, 3, 0, 2, 1], [2, 0, 1, 3, 0], [0, 2, 3, 1, 1], [1, 0, 2, 0, 2]]
)
kernel = np.array([[0, 1, 2], [1, 0, 0], [0, -1, 0]])

size = len(kernel)
window = image[:size, :size]
show(
    ("image", image, (0, 0, size, size)),
    "→",
    ("window", window),
    "·",
    ("kernel", kernel),
    "=",
    ("products", window * kernel),
    "Σ",
    ("sum", [[(window * kernel).sum()]]),
)
assert (window * kernel).sum() == 1 * 1 + 2 * 2 + 1 * 1 == 6

# %% [markdown] id="slide"
# ## 2. All windows
#
# Now the kernel slides over the image. At each place where it lies wholly inside, it gives one
# number. Together these numbers are a *feature map*, or map for short.
#
# *How many places are there? Where is the result largest, and why?* (The colours of the nine panels
# are the products: red adds to the sum, blue subtracts.)


# %%
def convolve(image, kernel, stride=1):
    """Every window's products, summed."""
    (height, width), (rows, columns) = image.shape, kernel.shape
    sides = (height - rows) // stride + 1, (width - columns) // stride + 1
    result = np.zeros(sides, np.result_type(image, kernel))
    for i, j in np.ndindex(sides):
        top, left = i * stride, j * stride
        result[i, j] = (image[top : top + rows, left : left + columns] * kernel).sum()
    return result


result = convolve(image, kernel)
_, axes = plt.subplots(*result.shape, figsize=(7.2, 8), squeeze=False)
for (i, j), one in np.ndenumerate(axes):
    products = np.zeros(image.shape)
    products[i : i + size, j : j + size] = image[i : i + size, j : j + size] * kernel
    draw(one, image.astype(float), limit=5, windows=[(i, j, size, size)], colours=products)
    one.set(aspect="equal", ylim=(len(image) + 0.1, -0.1), xlim=(-0.1, image.shape[1] + 0.1))
    one.set_title(f"row {i}, column {j}: {result[i, j]:.3g}".replace("-", "−"))
    one.axis("off")
plt.tight_layout()
plt.show()

show(("image", image), "⋆", ("kernel", kernel), "=", ("result", result))
assert result.tolist() == [[6, 6, -2], [3, 1, 4], [2, 7, 6]]

# %% [markdown] id="three-ways"
# There are nine places. The largest number is 7, in row 2, column 1: there the
# pixel 3 lies on the weight 2.
#
# Now compute the same three more times: with this project's definition of a layer, which is one
# call of `jax.lax`; with that call itself; and as a matrix product, with one row for each window.
# Many libraries compute it in the third way.
#
# A layer's images have four axes, `BHWC`: images in the batch, height, width, channels. Its kernels
# have `HWIO`: height, width, input channels, output channels.

# %%
x_BHWC = jnp.asarray(image, jnp.float32)[None, :, :, None]
kernel_HWIO = jnp.asarray(kernel, jnp.float32)[:, :, None, None]
NO_PADDING = ((0, 0), (0, 0))  # (above, below), (left, right)

by_project = alexnet.ops.conv(x_BHWC, kernel_HWIO, 1, NO_PADDING)
by_lax = lax.conv_general_dilated(
    x_BHWC, kernel_HWIO, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
)
places = np.ndindex(result.shape)
patches = np.stack([image[i : i + size, j : j + size].ravel() for i, j in places])
by_product = (patches @ kernel.ravel()).reshape(result.shape)

print("image", x_BHWC.shape, " kernel", kernel_HWIO.shape, " result", by_project.shape)
show(
    (f"patches: {len(patches)} windows of {size * size} pixels", patches),
    "·",
    ("kernel", kernel.reshape(-1, 1)),
    "=",
    ("result", by_product.reshape(-1, 1)),
)
for other in (by_project[0, :, :, 0], by_lax[0, :, :, 0], by_product):
    np.testing.assert_allclose(other, result, rtol=1e-5, atol=1e-5)

# %% [markdown] id="turned"
# ## 3. Is this a convolution?
#
# In mathematics a convolution turns the kernel by 180° first. We computed a cross-correlation
# instead, and almost every neural-network library calls that a convolution.
#
# *Does it matter to a net that learns its kernels?*

# %%
turned = kernel[::-1, ::-1]
convolution = convolve(image, turned)
show(("image", image), "⋆", ("turned kernel", turned), "=", ("convolution", convolution))
assert np.array_equal(convolution, jax.scipy.signal.convolve2d(image, kernel, mode="valid"))
assert convolution.tolist() == [[3, 1, 5], [0, 10, 5], [5, 2, 2]]

# %% [markdown] id="turned-answer"
# It does not. (image ⋆ turned kernel is what mathematics writes as image ∗ kernel.) With true
# convolutions, a net would learn each kernel turned by 180°, and give the
# same maps. From here on, we do not turn kernels.

# %% [markdown] id="padding"
# ## 4. Padding and stride
#
# The result is smaller than the image: a window may not hang over the edge. With a border of zeros,
# called *padding*, of the right width (one for a 3×3 kernel), the result keeps the size of the
# image. With a *stride* of 2 the window moves two pixels at a time.
#
# *With one pixel of padding and stride 2, what is the side of the result? Where in the result of
# padding 1 and stride 1 do its numbers stand?*

# %%
padded = np.pad(image, 1)
same = convolve(padded, kernel)
every_other = convolve(image, kernel, stride=2)
both = convolve(padded, kernel, stride=2)

taken = [(i, j, 1, 1) for i in (0, 2, 4) for j in (0, 2, 4)]
show(
    ("image, padding 1", padded, (1, 1, 5, 5)),
    "→",
    ("stride 1", same, *taken),
    "→",
    ("stride 2", both),
)
assert same.shape == (5, 5)
assert [same[0, 0], same[0, 4], same[4, 0], same[4, 4]] == [-1, 0, 4, 1]
assert every_other.tolist() == [[6, -2], [2, 6]]
assert both.tolist() == [[-1, 1, 0], [7, 1, 3], [4, 5, 1]]
assert np.array_equal(both, same[::2, ::2])

# %% [markdown] id="side"
# ## 5. Why 224 gives 55
#
# A window of $k$ pixels moves in steps of $s$ over $n$ pixels, with zeros before and after. It fits
#
# $$\left\lfloor \frac{n + \text{before} + \text{after} - k}{s} \right\rfloor + 1$$
#
# times. The first layer of AlexNet has 11×11 kernels and stride 4. According to the paper, it reads
# images of 224×224 and gives maps of 55×55; the paper does not mention padding.
#
# *Which of these five paddings give 55? Which of them leave pixels, in red, that no window reads?*


# %%
def side(n, k, s, before=0, after=0):
    """How many windows of k pixels fit, in steps of s."""
    return (n + before + after - k) // s + 1


paddings = {  # pixels of the image, zeros before, zeros after
    "224, no padding": (224, 0, 0),
    "224, 0 and 3": (224, 0, 3),
    "224, 2 and 2": (224, 2, 2),
    "224, SAME": (224, 3, 4),
    "227, no padding": (227, 0, 0),
}
sides = {name: side(n, 11, 4, *zeros) for name, (n, *zeros) in paddings.items()}

_, ends = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
for row, (name, (n, before, after)) in enumerate(paddings.items()):
    first, last = -before, -before + 4 * (sides[name] - 1)
    unread = range(last + 11, n + after)
    for one, pixels in zip(ends, (range(-4, 18), range(208, 230)), strict=True):
        for pixel in (p for p in pixels if -before <= p < n + after):
            inside = 0 <= pixel < n
            colour = "tab:red" if pixel in unread else "0.85" if inside else "white"
            one.add_patch(Rectangle((pixel, row), 1, 0.4, facecolor=colour, edgecolor="0.5"))
            if not inside:
                one.text(pixel + 0.5, row + 0.2, "0", ha="center", va="center", fontsize=7)
    for one, place in zip(ends, (first, last), strict=True):
        one.plot([place + 0.1, place + 10.9], [row + 0.56] * 2, color="tab:blue", linewidth=3)
    left_over = f", {len(unread)} unread" if unread else ""
    ends[1].text(233, row + 0.35, f"{sides[name]} windows{left_over}", va="center")
ends[0].set(xlim=(-4.5, 18.5), ylim=(len(paddings), -0.3), xlabel="first window (blue)")
ends[1].set(xlim=(207.5, 232), xlabel="last window (blue)")
ends[0].set_yticks(np.arange(len(paddings)) + 0.35, paddings)
for one in ends:
    one.tick_params(left=False)
    one.spines[["left", "right", "top"]].set_visible(False)
plt.tight_layout()
plt.show()
assert list(sides.values()) == [54, 55, 55, 56, 55]

# %% [markdown] id="side-answer"
# Three of them give 55. The authors' source pads with three zeros below and to the right; its last
# window ends exactly where the padding ends. Many articles say 227 without padding, which is the
# same count. Two zeros on each side also give 55, but on a shifted grid, and one row of the padding
# stays unread. Without padding, one row of the image itself is unread. One zero on each side is a
# common error: in libraries that round pooled sides down (section 9), it gives 54, 26, 12 and 5.
#
# The sizes of all later layers follow. Pooling (section 9) moves windows of 3 in steps of 2. This
# project's table agrees: `jax.eval_shape` finds the shapes of all maps without computing them.


# %%
def stages(first):
    """The sides of conv1's maps and of the three pools' after it, where sides are rounded down."""
    sides = [first]
    for _ in range(3):
        sides.append(side(sides[-1], 3, 2))
    return sides


net = alexnet.build("alexnet")
image_size = net.image_size
shapes = jax.eval_shape(
    lambda x: alexnet.apply(net, alexnet.init(net, jax.random.key(0)), x)[1],
    jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32),
)
for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6"):
    print(f"{name:6}", *shapes[name].shape[1:])
read_by_fc6 = math.prod(shapes["pool5"].shape[1:])
with_one_zero = stages(side(image_size, 11, 4, 1, 1))[-1] ** 2 * 256
print(f"fc6 reads {read_by_fc6:,} numbers; with one zero on each side, {with_one_zero:,}")
assert [shapes[name].shape[1] for name in ("conv1", "pool1", "pool2", "pool5")] == [55, 27, 13, 6]
assert stages(side(224, 11, 4, 0, 3)) == [55, 27, 13, 6]
assert stages(side(224, 11, 4, 1, 1)) == [54, 26, 12, 5]  # a common error
assert (read_by_fc6, with_one_zero) == (9216, 6400)

# %% [markdown] id="channels"
# ## 6. Channels are summed
#
# A colour image has three channels. A kernel has one slice of weights per channel. Each slice
# slides over its channel, and the three results are **added**, with one bias for the whole kernel.
#
# *A layer with 96 kernels reads a colour image. How many maps does it give: 3, 96 or 288?*

# %%
rgb = np.array(
    [
        [[1, 2, 0], [0, 1, 3], [2, 1, 0]],
        [[0, 1, 1], [2, 0, 1], [1, 0, 2]],
        [[1, 0, 2], [1, 1, 0], [0, 2, 1]],
    ]
)
slices = np.array([[[1, 0], [0, -1]], [[0, 1], [1, 0]], [[-1, 0], [0, 2]]])
bias = 1

parts = [convolve(channel, weights) for channel, weights in zip(rgb, slices, strict=True)]

by_project = alexnet.ops.conv(
    jnp.moveaxis(jnp.float32(rgb), 0, -1)[None],
    jnp.moveaxis(jnp.float32(slices), 0, -1)[..., None],
    1,
    NO_PADDING,
)

for name, channel, weights, part in zip("RGB", rgb, slices, parts, strict=True):
    show((name, channel), "⋆", (f"slice for {name}", weights), "=", ("part", part))
show(
    ("R", parts[0]),
    "+",
    ("G", parts[1]),
    "+",
    ("B", parts[2]),
    "+",
    ("bias", [[bias]]),
    "=",
    ("one map", sum(parts) + bias),
)
assert np.array_equal(by_project[0, :, :, 0] + bias, sum(parts) + bias)
assert [part.tolist() for part in parts] == [[[0, -1], [-1, 1]], [[3, 1], [1, 1]], [[1, 0], [3, 1]]]
assert (sum(parts) + bias).tolist() == [[5, 1], [4, 4]]

# %% [markdown] id="one-by-one"
# 96 kernels, 96 maps: each kernel spans all channels of its input.
#
# So even a 1×1 kernel is useful: it looks at one pixel at a time and mixes its channels. Here are
# three of them on a photo: brightness, red minus the other two, and blue minus yellow.
#
# *Which parts of the photo are zero (white) in the last two maps?* (Grey ones, from black to white,
# as the weights of these two kernels add up to zero: here the black parts of the background, whose
# dark teal is pale. Of other colours, those whose weighted channels cancel out.)

# %%
flower = jax.image.resize(
    jnp.float32(load_sample_image("flower.jpg")) / 255, (256, 384, 3), "linear"
)
flower = flower[16:240, 80:304].clip(0, 1)

mixers_IO = jnp.array([[0.3, 1, -0.5], [0.6, -0.5, -0.5], [0.1, -0.5, 1]])
mixed = alexnet.ops.conv(flower[None], mixers_IO[None, None], 1, NO_PADDING)[0]
assert mixed.shape == (224, 224, 3)
np.testing.assert_allclose(mixed, flower @ mixers_IO, atol=1e-5)
photos(
    ("photo", flower),
    ("brightness", mixed[..., 0]),
    ("red − others", mixed[..., 1]),
    ("blue − yellow", mixed[..., 2]),
)

# %% [markdown] id="edges"
# ## 7. A kernel that sees edges
#
# This kernel subtracts the column on its right from the column on its left. It gives zero on an
# even surface and a large number at a vertical edge. Its transpose does the same for horizontal
# edges. (224×224 pixels, as AlexNet sees a photo.)
#
# *Which parts of the tower light up in the first map, and which in the second?*

# %%
china = jax.image.resize(jnp.float32(load_sample_image("china.jpg")) / 255, (256, 384, 3), "linear")
china = china[16:240, 30:254].clip(0, 1)
grey = china.mean(-1)

vertical = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def maps(image_HW, *kernels, stride=1, padding=(1, 1)):
    """One map for each kernel [H, W], of a single image [H, W]."""
    kernels_HWIO = jnp.stack([jnp.float32(kernel) for kernel in kernels], -1)[:, :, None]
    return alexnet.ops.conv(image_HW[None, :, :, None], kernels_HWIO, stride, (padding, padding))[0]


edges = maps(grey, vertical, vertical.T)
show(("vertical edges", vertical), "  ", ("horizontal edges", vertical.T))
photos(
    ("photo", china),
    ("vertical edges", edges[..., 0]),
    ("horizontal edges", edges[..., 1]),
    ("both: root of the squares' sum", jnp.hypot(edges[..., 0], edges[..., 1])),
    limit=2,
)
turned_edges = maps(grey, vertical[::-1, ::-1])[..., 0]
np.testing.assert_allclose(turned_edges, -edges[..., 0], atol=1e-5)

# %% [markdown] id="edges-answer"
# The coloured frame of the maps is no edge in the photo: the zeros of the padding begin there.
#
# Nobody told AlexNet about edges: its first layer learned 96 kernels, and many of them detect edges
# at various angles. Note that turning *this* kernel by 180° only flips signs, as the last line
# checks. A program that forgets to turn it, or turns it twice, still draws good edges, so the
# kernel of section 3 is a better test.

# %% [markdown] id="weights"
# ## 8. What sharing saves
#
# AlexNet's first layer gives 55×55×96 numbers from 224×224×3. Count its weights in three designs:
# every output reads every input; every output has its own weights for an 11×11 window; all places
# share one kernel, as in a convolution.
#
# *How many times more weights does the first design need than the last? Guess the power of ten.*

# %%
inputs, outputs, window_size = 224 * 224 * 3, 55 * 55 * 96, 11 * 11 * 3
counts = {
    "fully connected": (inputs + 1) * outputs,
    "windows, not shared": outputs * (window_size + 1),
    "convolution": 96 * (window_size + 1),
}
print(f"{counts['fully connected'] / counts['convolution']:,.0f} times as many")

_, axes = plt.subplots(figsize=(8, 1.8))
bars = axes.barh(list(counts), list(counts.values()), color="tab:blue", height=0.6)
axes.bar_label(bars, [f"{count:,}" for count in counts.values()], padding=4)
axes.set(xscale="log", xlim=(1e3, 1e13), xlabel="weights and biases of conv1")
axes.invert_yaxis()
axes.spines[["right", "top"]].set_visible(False)
plt.show()
assert (inputs, outputs) == (150_528, 290_400)
assert f"{counts['fully connected'] / 1e9:.1f}" == "43.7"
assert counts["windows, not shared"] == 105_705_600
assert counts["convolution"] == 34_944
of_conv1 = jax.eval_shape(lambda: alexnet.init(net, jax.random.key(0)))["conv1"]
assert sum(leaf.size for leaf in jax.tree.leaves(of_conv1)) == counts["convolution"]

# %% [markdown] id="pooling"
# ## 9. Pooling, with and without overlap
#
# Pooling keeps the largest number of each window, so that a small shift changes little. AlexNet's
# windows are $z=3$ wide and move by $s=2$, so they overlap. Traditionally, windows did not overlap:
# $s=z$. The paper compares with $z=s=2$.
#
# *Pool 1 5 2 0 3 4 9 in both ways. Which numbers are read twice? What happens at the end?*

# %%
line = np.array([1, 5, 2, 0, 3, 4, 9])


def pool(line, z, s):
    """The largest of each window; the last may hang over the end."""
    starts = range(0, max(len(line) - z, 0) + s, s)
    return np.array([line[start : start + z].max() for start in starts])


_, axes = plt.subplots(1, 2, figsize=(9, 2.6))
for one, z in zip(axes, (3, 2), strict=True):
    pooled = pool(line, z, 2).astype(float)
    draw(one, line[None].astype(float), limit=9)
    for place, value in enumerate(pooled):
        height = 1.25 + 0.3 * (place % 2)
        one.plot([2 * place + 0.1, 2 * place + z - 0.1], [height] * 2, color="black", linewidth=2)
        draw(one, np.array([[value]]), 2 * place + z / 2 - 0.5, 2, limit=9)
    one.set_title(f"z = {z}, s = 2: " + " ".join(f"{value:g}" for value in pooled))
    one.set(xlim=(-0.1, len(line) + 1.1), ylim=(3.1, -0.1), aspect="equal")
    one.axis("off")
plt.tight_layout()
plt.show()
square = jnp.broadcast_to(jnp.float32(line), (1, len(line), len(line)))[..., None]
for z in (3, 2):
    assert np.array_equal(alexnet.ops.max_pool(square, z, 2)[0, 0, :, 0], pool(line, z, 2))
assert pool(line, 3, 2).tolist() == [5, 3, 9]
assert pool(line, 2, 2).tolist() == [5, 2, 4, 9]

# %% [markdown] id="pooling-answer"
# With overlap, 2 and 3 are read twice. Without overlap, the last window hangs over the end. Sides
# round *up* here, as in the authors' programs, so 32 pixels become 16, 8, 4. In libraries that
# round down, they become 15, 7, 3. AlexNet's sides are the same either way: 55, 27, 13, 6.
#
# In the paper, overlap lowers the top-1 error by 0.4 points and the top-5 error by 0.3 (the paper's
# numbers; on ImageNet, not run here). The other arm is `configs/imagenet.py:nonoverlapping_pool`.

# %%
x, up = jnp.zeros((1, 32, 32, 1)), []
for _ in range(3):
    x = alexnet.ops.max_pool(x, 3, 2)
    up.append(x.shape[1])
down = stages(32)[1:]
print("32 rounded up:", *up, " rounded down:", *down)
assert (up, down) == ([16, 8, 4], [15, 7, 3])

# %% [markdown] id="relu"
# ## 10. ReLU
#
# A nonlinearity follows each convolution; without it, two layers would compute no more than one.
# The paper uses $\max(0, x)$, called ReLU (rectified linear unit). In the paper, a small net for
# CIFAR-10 reaches a training error of 25% six times sooner with ReLU than with tanh (the paper's
# number; `net.activation=tanh` is the other arm). The reason is the slope: where $\tanh$ saturates,
# learning almost stops.
#
# *How steep is tanh at 3, and at 5?*

# %%
slope = jax.vmap(jax.grad(jnp.tanh))
print("slopes of tanh:", *(f"{value:.2g}" for value in slope(jnp.array([3.0, 5.0]))))

at = jnp.linspace(-5, 5, 201)
_, axes = plt.subplots(1, 2, figsize=(8, 2.4))
for name, function in {"tanh": jnp.tanh, "ReLU": alexnet.ops.relu}.items():
    axes[0].plot(at, function(at), label=name)
    axes[1].plot(at, jax.vmap(jax.grad(function))(at), label=name)
axes[0].set(title="the function", ylim=(-1.5, 3))
axes[1].set(title="its slope")
axes[0].legend()
for one in axes:
    one.spines[["right", "top"]].set_visible(False)
plt.show()
photos(("before", edges[..., 0]), ("after ReLU", alexnet.ops.relu(edges[..., 0])), limit=2)
of_relu = jax.vmap(jax.grad(alexnet.ops.relu))(jnp.array([-1.0, 0.0, 3.0, 5.0]))
assert of_relu.tolist() == [0, 0, 1, 1]
assert [f"{value:.2g}" for value in slope(jnp.array([3.0, 5.0]))] == ["0.0099", "0.00018"]

# %% [markdown] id="norm"
# ## 11. Response normalisation
#
# In *local response normalisation* (LRN), neighbouring **maps** compete at each pixel: each
# activation is divided by a number that grows with the squared activations of the $n=5$ maps around
# it, including its own:
#
# $$b = a \,/\, \left(k + \alpha \sum a^2\right)^{\beta}, \quad k=2,\ \alpha=10^{-4},\ \beta=0.75.$$
#
# *Eight maps have 10, 20, 100, 20, 10, 0, 0, 0 at one pixel. How much of the 100 is left?*

# %%
activations = jnp.array([10.0, 20, 100, 20, 10, 0, 0, 0])


def normalised(activations, n=5, alpha=1e-4):
    """Response normalisation over n maps at one pixel."""
    x_BHWC = activations[None, None, None]
    return alexnet.ops.response_norm(x_BHWC, n, 2.0, alpha, 0.75)[0, 0, 0]


after = normalised(activations)
shown = [float(f"{value:.3g}") for value in after]

_, axes = plt.subplots(figsize=(9, 2.6))
places = np.arange(8)
bars = axes.bar(places - 0.2, activations, 0.38, color="0.75", label="before")
axes.bar_label(bars, [f"{value:g}" for value in activations])
bars = axes.bar(places + 0.2, after, 0.38, color="tab:blue", label="after")
axes.bar_label(bars, [f"{value:g}" for value in shown])
axes.set(xlabel="map", ylim=(0, 115), yticks=[])
axes.spines[["left", "right", "top"]].set_visible(False)
axes.legend()
plt.show()
assert shown == [4.33, 8.58, 42.8, 8.58, 4.33, 0, 0, 0]
assert f"{100 / 2**0.75:.1f}" == "59.5"  # what k alone would leave of the 100

# %% [markdown] id="norm-answer"
# Dividing by $2^{0.75}$ alone would leave 59.5; most of the further reduction comes from the square
# of the 100 itself. Articles often get two details wrong: the sum runs over maps, not over pixels;
# and $n$ counts all maps in the sum, not those on each side. A third detail: the authors' source
# first divides $\alpha$ by $n$, as does this project's preset `original`.
#
# In the paper, response normalisation lowers the top-1 error by 1.4 points and the top-5 error by
# 1.2 (on ImageNet, which was not run here). The other arm is `configs/imagenet.py:no_lrn`.

# %%
five = jnp.full(5, 100.0)
text, source = (normalised(five, alpha=alpha)[2] for alpha in (1e-4, 1e-4 / 5))
print(f"the middle of five 100s: {text:.1f} by the text, {source:.1f} by the source")
assert (f"{text:.1f}", f"{source:.1f}") == ("23.2", "43.9")

# %% [markdown] id="layer"
# ## 12. All together: a first layer by hand
#
# Here are four 11×11 kernels like those that AlexNet's first layer learns. A formula makes them:
# waves at four angles that fade out. With stride 4 and three zeros below and to the right, they
# give four maps of 55×55. ReLU, response normalisation and pooling follow, down to 27×27. Each
# column has a separate scale.
#
# *What happens to a weak response at a pixel where another map responds strongly, and where none
# does?* (Beside a response of 1,000, it is divided by 32; alone, only by 1.7. A response alone
# divides itself, too: from about 200 on, a stronger one even gives less.)


# %%
def divisor(response):
    """What response normalisation divides by, if only this response is near."""
    return (2 + 1e-4 * response**2) ** 0.75


print(f"divided by {divisor(1000):.0f} beside a response of 1,000, alone by {divisor(0):.1f}")
strengths = np.arange(1, 1001)
assert strengths[np.argmax(strengths / divisor(strengths))] == 200

down, across = np.mgrid[-5:6, -5:6]
fading = np.exp(-(down**2 + across**2) / 12)
angles = np.deg2rad([0, 45, 90, 135])
waves = [fading * np.sin(0.9 * (np.cos(a) * across + np.sin(a) * down)) for a in angles]

centred = 255 * (grey - grey.mean())  # pixels of 0 to 255, as AlexNet reads them
steps = {"conv1": maps(centred, *waves, stride=4, padding=(0, 3))}
steps["ReLU"] = alexnet.ops.relu(steps["conv1"])
steps["norm"] = alexnet.ops.response_norm(steps["ReLU"][None], 5, 2.0, 1e-4, 0.75)[0]
steps["pool"] = alexnet.ops.max_pool(steps["norm"][None], 3, 2)[0]
_, axes = plt.subplots(4, 5, figsize=(9, 7.4))
for row, wave in enumerate(waves):
    limits = [1, *(abs(steps[name]).max() for name in steps)]
    for one, picture, limit in zip(
        axes[row], [wave, *(step[..., row] for step in steps.values())], limits, strict=True
    ):
        one.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit)
        one.set(xticks=[], yticks=[])
for one, title in zip(axes[0], ["kernel, 11×11", *steps], strict=True):
    size = f", {steps[title].shape[0]}×{steps[title].shape[1]}" if title in steps else ""
    one.set_title(title + size)
plt.tight_layout()
plt.show()
assert [steps[name].shape for name in ("conv1", "pool")] == [(55, 55, 4), (27, 27, 4)]

# %% [markdown] id="learn"
# ## 13. A kernel that is learned
#
# Suppose that we see noise and the output of section 7's kernel on it, but not the kernel. We start
# from nine zeros and take twenty gradient steps on the mean squared difference.
#
# *What will we find?*

# %%
noise = jax.random.normal(jax.random.key(0), (16, 16))
target = maps(noise, vertical)


def loss(guess):
    """Mean squared difference of what the guess and the hidden kernel give."""
    return jnp.mean((maps(noise, guess) - target) ** 2)


guesses, losses = [jnp.zeros((3, 3))], []
for _ in range(21):
    value, gradient = jax.value_and_grad(loss)(guesses[-1])
    losses.append(float(value))
    guesses.append(guesses[-1] - 0.3 * gradient)
for step in (0, 1, 3, 10, 20):
    print(f"step {step:2}: loss {losses[step]:.1e}")
show(*((f"step {step}", np.round(guesses[step], 1) + 0.0) for step in (0, 1, 3, 10, 20)))
assert losses[0] > 5
assert losses[10] < 1e-3
assert losses[20] < 1e-6
np.testing.assert_allclose(guesses[20], vertical, atol=1e-2)

# %% [markdown] id="questions"
# ## Three questions
#
# To answer a question, change a cell above and run it.
#
# 1. AlexNet's photos are stored at 256×256, and 224×224 is cut out of them. Suppose that it read
#    whole photos, `alexnet.build("alexnet", image_size=256)` in section 5. How many numbers would
#    fc6 read?
# 2. In section 13, use an image of ones instead of noise, and convolve without padding,
#    `padding=(0, 0)`. Which kernel does the descent find, and with what loss? Why?
# 3. In section 11, mistake $n$ for a radius, and so sum over 11 maps. Which of the eight numbers
#    change, and which one stays the same although it is not zero?

# %% [markdown] id="answers"
# <details><summary>Answers</summary>
#
# 1. 12,544 = 7 · 7 · 256. The maps of conv1 and of the three pools have 63, 31, 15 and 7 pixels a
#    side.
# 2. Nine zeros, with loss 0 from the start. The weights of the hidden kernel add up to zero, so an
#    image of ones gives zeros everywhere, whether the kernel is the hidden one or nine zeros. An
#    image without edges teaches nothing about edges.
# 3. The 10s become 4.28 instead of 4.33, and the 20s 8.56 instead of 8.58. The 100 stays 42.8: it
#    stands in the middle, and five maps already hold all numbers that are not zero.
#
# </details>
