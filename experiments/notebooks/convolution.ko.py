# %% [markdown] id="title"
# # 합성곱이 계산하는 것
#
# 합성곱(convolution, 컨볼루션)이 무엇을 계산하는지 알아봅니다. 숫자 아홉 개를 손으로 곱하고 더하는
# 데서 시작해, AlexNet의 첫 계층(layer)이 사진에 하는 일까지 갑니다. 셀 앞에는 질문이 하나씩
# 있습니다. 답을 먼저 정한 뒤에 실행해 보시기 바랍니다.
#
# - **준비**: 이 프로젝트와 matplotlib. 데이터, GPU, 네트워크 불필요
# - **소요 시간**: 노트북 컴퓨터에서 약 20초
# - **바꿔 보기**: 수를 바꾸어 실행해 보기. assert 문은 고치기 전의 셀이 기준. 실패하더라도 답은 그
#   위의 그림이나 수에 있고, 다음 셀은 그대로 실행됨
#
# 프로젝트가 설치되어 있지 않으면 다음 셀이 설치합니다. 온라인 노트북에서는 먼저 SOURCE에 프로젝트의
# 주소를 넣으십시오. 버전을 범위로 지정하므로, 이미 있는 jax가 그 범위 안이면 그대로 둡니다.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "../.."  # 프로젝트 복제본의 경로 또는 주소("git+https://...")
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
# 다음 셀은 그림을 그리는 코드이며 합성곱과는 관계가 없습니다. 모든 그림에서 0은 흰색, 양수는
# 빨간색, 음수는 파란색이고, 한 줄에 놓인 행렬은 모두 같은 눈금으로 칠합니다.

# %%
plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.titlesize": 10})
SIGNED = LinearSegmentedColormap.from_list("signed", ["#2166ac", "white", "#b2182b"])


def draw(axes, matrix, left=0.0, top=0.0, limit=None, windows=(), colours=None):
    """A matrix as coloured cells with their numbers; windows are (row, column, height, width)."""
    rows, columns = matrix.shape
    colours = matrix if colours is None else colours
    scale = 1.6 * (limit or abs(matrix).max() or 1)  # 검은색 숫자가 잘 보이는 옅은 색
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
# ## 1. 창 하나
#
# 5×5픽셀 이미지와, 3×3 가중치로 된 커널(kernel)이 있습니다. 커널을 이미지의 왼쪽 위 모서리에
# 올려놓고, 겹친 픽셀과 가중치를 곱한 뒤, 아홉 개의 곱을 모두 더합니다.
#
# *어떤 수가 나올까요?*

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
# ## 2. 모든 창
#
# 이제 커널을 이미지 위에서 한 칸씩 옮깁니다. 커널이 이미지 안에 온전히 들어가는 자리마다 수가
# 하나씩 나오며, 이렇게 모인 결과를 특징 맵(feature map), 줄여서 맵이라고 부릅니다.
#
# *그런 자리는 몇 군데일까요? 결과는 어디에서 가장 크고, 그 까닭은 무엇일까요?* (아홉 그림의 색은
# 곱을 나타냅니다. 빨간색은 합을 키우고 파란색은 줄입니다.)


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
# 자리는 아홉 군데입니다. 가장 큰 수는 행 2, 열 1(0부터 센 번호)에 있는 7입니다. 거기에서 픽셀 3이
# 가중치 2와 겹치기 때문입니다.
#
# 같은 계산을 세 가지 방법으로 다시 합니다. 첫째는 이 프로젝트가 정의한 계층으로, `jax.lax` 호출
# 하나가 전부입니다. 둘째는 그 호출을 직접 쓴 것이고, 셋째는 창 하나를 한 행으로 펼친 행렬의
# 곱입니다. 실제로는 셋째 방법으로 합성곱을 계산하는 라이브러리가 많습니다.
#
# 계층이 읽는 이미지에는 축이 네 개 있습니다. `BHWC`, 곧 미니배치(mini-batch) 안의 이미지, 높이,
# 너비, 채널(channel)입니다. 커널의 축은 `HWIO`, 곧 높이, 너비, 입력 채널, 출력 채널입니다.

# %%
x_BHWC = jnp.asarray(image, jnp.float32)[None, :, :, None]
kernel_HWIO = jnp.asarray(kernel, jnp.float32)[:, :, None, None]
NO_PADDING = ((0, 0), (0, 0))  # (위, 아래), (왼쪽, 오른쪽)

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
# ## 3. 이것이 정말 합성곱인가
#
# 수학에서 말하는 합성곱은 커널을 먼저 180° 돌립니다. 앞에서 계산한 것은 커널을 돌리지 않는 교차
# 상관(cross-correlation)이며, 신경망에서 합성곱이라고 부르는 것은 거의 모두 이 교차 상관입니다.
#
# *커널을 훈련으로 얻는 신경망에서 이 차이가 문제가 될까요?*

# %%
turned = kernel[::-1, ::-1]
convolution = convolve(image, turned)
show(("image", image), "⋆", ("turned kernel", turned), "=", ("convolution", convolution))
assert np.array_equal(convolution, jax.scipy.signal.convolve2d(image, kernel, mode="valid"))
assert convolution.tolist() == [[3, 1, 5], [0, 10, 5], [5, 2, 2]]

# %% [markdown] id="turned-answer"
# 문제가 되지 않습니다. ('이미지 ⋆ 돌린 커널'을 수학에서는 '이미지 ∗ 커널'로 씁니다.) 커널을 돌려서
# 계산하는 신경망은 180° 돌아간 커널을 배울 뿐이고, 나오는 특징 맵은 같습니다. 그래서 앞으로는
# 돌리지 않고 계산합니다.

# %% [markdown] id="padding"
# ## 4. 패딩과 스트라이드
#
# 결과는 이미지보다 작습니다. 창이 가장자리 밖으로 나가지 못하기 때문입니다. 둘레에 알맞은
# 너비로(3×3 커널이면 한 줄) 0을 두르는 패딩(padding, 채움)을 쓰면 크기가 유지되고,
# 스트라이드(stride, 보폭)를 2로 하면 창이 두 픽셀씩 움직입니다.
#
# *패딩이 1이고 스트라이드가 2이면 결과의 한 변은 얼마일까요? 그 수들은 패딩이 1이고 스트라이드가
# 1인 결과의 어느 자리에 있을까요?*

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
# ## 5. 224에서 55가 나오는 까닭
#
# $n$픽셀의 앞에 0을 before개, 뒤에 after개 덧대고 그 위에서 너비 $k$인 창을 $s$씩 옮기면, 창이
# 놓이는 자리의 수는 다음과 같습니다.
#
# $$\left\lfloor \frac{n + \text{before} + \text{after} - k}{s} \right\rfloor + 1$$
#
# AlexNet의 첫 계층은 11×11 커널을 스트라이드 4로 옮깁니다. 논문은 224×224 이미지를 읽어 55×55 맵을
# 낸다고 적었지만, 패딩은 언급하지 않았습니다.
#
# *아래 다섯 가지 가운데 55가 나오는 것은 어느 것일까요? 그리고 어느 창도 읽지 않는 픽셀(빨간색)이
# 남는 것은 어느 것일까요?*


# %%
def side(n, k, s, before=0, after=0):
    """How many windows of k pixels fit, in steps of s."""
    return (n + before + after - k) // s + 1


paddings = {  # 이미지의 픽셀, 앞의 0, 뒤의 0(개수)
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
# 세 가지에서 55가 나옵니다. 저자들의 소스 코드는 아래와 오른쪽에만 0을 세 줄 덧대며, 마지막 창이
# 패딩의 끝과 정확히 맞아떨어집니다. 패딩 없는 227도 개수는 같아서, 입력을 227로 소개하는 글이
# 많습니다. 양쪽에 두 줄씩 두어도 55이지만, 창의 위치가 달라지고 패딩 한 줄은 어느 창도 읽지
# 않습니다. 224에 패딩이 없으면 54가 되고, 이미지의 한 줄이 읽히지 않습니다. 양쪽에 한 줄씩 두는
# 것은 흔한 실수로, 풀링(pooling, 9절)에서 한 변을 내림하는 라이브러리라면 54, 26, 12, 5가 됩니다.
#
# 첫 계층이 정해지면 나머지 계층의 크기도 차례로 정해집니다. 풀링은 너비 3인 창을 2씩 옮깁니다. 이
# 프로젝트의 표에서도 같은 값이 나옵니다. `jax.eval_shape`는 맵을 계산하지 않고 형상(shape)만
# 알아냅니다.


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
assert stages(side(224, 11, 4, 1, 1)) == [54, 26, 12, 5]  # 흔한 실수
assert (read_by_fc6, with_one_zero) == (9216, 6400)

# %% [markdown] id="channels"
# ## 6. 채널은 더한다
#
# 컬러 이미지에는 채널이 세 개 있습니다. 커널은 채널마다 가중치를 한 장씩 두고, 각 장이 자기 채널
# 위를 움직입니다. 세 결과를 모두 **더하고** 편향(bias) 하나를 더하면 맵 한 장이 됩니다.
#
# *커널이 96개인 계층이 컬러 이미지를 읽으면 맵은 몇 장일까요? 3, 96, 288 중에서 골라 보십시오.*

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
# 커널이 96개이면 맵도 96장입니다. 커널 하나가 입력의 모든 채널에 걸쳐 있기 때문입니다.
#
# 그래서 1×1 커널도 쓸모가 있습니다. 한 번에 픽셀 하나만 보면서 채널을 섞습니다. 아래에서는 세
# 커널을 사진에 적용합니다. 차례로 밝기, 빨강에서 나머지 두 색을 뺀 것, 파랑에서 노랑을 뺀 것입니다.
#
# *뒤의 두 맵에서 흰색, 곧 0이 되는 곳은 사진의 어느 부분일까요?* (검은색에서 흰색까지의
# 무채색입니다. 두 커널 모두 가중치의 합이 0이기 때문이며, 이 사진에서는 배경의 검은 부분이
# 그렇고 짙은 청록색은 옅게 나옵니다. 다른 색은 가중치를 곱한 채널들이 서로 상쇄되는 곳입니다.)

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
# ## 7. 경계를 보는 커널
#
# 이 커널은 왼쪽 열에서 오른쪽 열을 뺍니다. 고른 면에서는 0이 나오고, 세로 경계(edge)에서는 큰 수가
# 나옵니다. 행과 열을 맞바꾸면 가로 경계를 같은 방식으로 찾습니다. 사진은 AlexNet이 읽는 크기인
# 224×224입니다.
#
# *첫째 맵과 둘째 맵에는 탑의 어느 부분이 드러날까요?*

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
# 맵의 테두리에 보이는 색 띠는 사진 속 경계가 아니라, 거기서 패딩의 0이 시작되어 생긴 것입니다.
#
# AlexNet에 경계를 알려 준 사람은 없습니다. 첫 계층의 커널 96개는 훈련으로 얻은 것인데, 그중 여럿은
# 갖가지 각도의 경계를 찾아냅니다. 위 셀의 마지막 줄도 눈여겨볼 만합니다. *이* 커널은 180° 돌려도
# 부호만 바뀝니다. 커널을 잘못 돌린 프로그램도 경계를 멀쩡하게 그린다는 뜻이므로, 프로그램을
# 시험하는 데는 3절의 커널이 낫습니다.

# %% [markdown] id="weights"
# ## 8. 공유하면 얼마나 줄어드나
#
# 기존 연구의 한계점 가운데 하나는 계산 비용이었습니다. 합성곱은 창만 읽어 계산을 줄이고, 가중치를
# 공유하여 매개변수(parameter)를 줄입니다. 224×224×3을 읽어 55×55×96을 내는 AlexNet의 첫 계층에서
# 가중치를 세 가지 경우로 세어 봅니다. 모든 출력이 모든 입력을 읽는 경우, 출력마다 11×11 창의
# 가중치를 따로 두는 경우, 합성곱처럼 모든 자리가 커널을 공유하는 경우입니다.
#
# *첫째는 셋째의 약 몇 배일까요? 10의 몇 제곱인지 짐작해 보십시오.*

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
# ## 9. 겹치는 풀링, 겹치지 않는 풀링
#
# 최대 풀링(max pooling)은 창마다 가장 큰 수만 남깁니다. 그래서 그림이 조금 움직여도 결과가 크게
# 바뀌지 않습니다. AlexNet에서는 너비 $z=3$인 창을 $s=2$씩 옮기므로 창이 서로 겹칩니다. 이것이 중첩
# 풀링(overlapping pooling)입니다. AlexNet 이전에는 보통 $s=z$로 두어 창이 겹치지 않았습니다. 논문의
# 비교 대상은 $z=s=2$입니다.
#
# *1 5 2 0 3 4 9를 두 방식으로 풀링해 보십시오. 두 번 읽히는 수는 무엇이고, 끝에서는 무슨 일이
# 생길까요?*

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
# 겹치면 2와 3이 두 번 읽힙니다. 겹치지 않으면 마지막 창이 끝을 넘어갑니다. 여기서는 저자들의
# 프로그램처럼 한 변의 길이를 *올림*하므로 32픽셀이 16, 8, 4로 줄어듭니다. 내림하는 라이브러리에서는
# 15, 7, 3이 됩니다. AlexNet에서는 올림을 하든 내림을 하든 55, 27, 13, 6입니다.
#
# 중첩 풀링은 일반화(generalisation)를 위한 것입니다. 논문에 따르면 오류율(error rate)이
# top-1(확률이 가장 높은 클래스가 정답이 아닌 비율)에서 0.4%p, top-5(확률이 높은 다섯 클래스에
# 정답이 없는 비율)에서 0.3%p 낮아졌습니다(이 프로젝트에서 실행하지 않은 ImageNet의 수치). 겹치지
# 않는 쪽은 `configs/imagenet.py:nonoverlapping_pool`에 있습니다.

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
# 합성곱 다음에는 비선형성(nonlinearity)이 필요합니다. 없으면 두 계층을 쌓아도 한 계층과 다르지
# 않습니다. 논문의 활성화 함수(activation function)는 $\max(0, x)$, 곧 ReLU(rectified linear
# unit)입니다. 논문에서는 작은 CIFAR-10 신경망의 훈련 오류율이 25%에 이를 때까지 ReLU가 tanh보다 6배
# 빨랐습니다(논문의 수치). 까닭은 기울기(gradient)에 있습니다. $\tanh$가 포화(saturation)하면
# 기울기가 0에 가까워져 훈련이 거의 멈춥니다. 비교 대상은 `net.activation=tanh`로 훈련합니다.
#
# *tanh의 기울기는 3에서 얼마이고 5에서 얼마일까요?*

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
# ## 11. 지역 응답 정규화
#
# 지역 응답 정규화(local response normalisation, LRN)는 한 픽셀 자리에서 이웃한 **맵**끼리 경쟁하게
# 합니다. 자신을 포함한 이웃 맵 $n=5$장의 제곱합을 구하고, 그 합이 클수록 더 큰 수로
# 활성값(activation)을 나눕니다.
#
# $$b = a \,/\, \left(k + \alpha \sum a^2\right)^{\beta}, \quad k=2,\ \alpha=10^{-4},\ \beta=0.75.$$
#
# *맵 여덟 장의 값이 한 픽셀에서 10, 20, 100, 20, 10, 0, 0, 0입니다. 100은 얼마가 될까요?*

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
assert f"{100 / 2**0.75:.1f}" == "59.5"  # k만 더할 때 100에서 남는 값

# %% [markdown] id="norm-answer"
# $2^{0.75}$으로만 나누면 59.5입니다. 거기서 더 줄어든 것은 대부분 자기 자신의 제곱 때문입니다. 이
# 식을 소개하는 글에서 자주 틀리는 점이 두 가지 있습니다. 합은 픽셀이 아니라 맵에 걸쳐 구하고, $n$은
# 한쪽에 있는 맵의 수가 아니라 모두 합한 수입니다. 또 하나, 저자들의 소스 코드는 $\alpha$를 먼저
# $n$으로 나눕니다. 이 프로젝트의 프리셋 `original`도 같은 방식입니다.
#
# 정규화도 일반화를 위한 것입니다. 논문에 따르면 오류율이 top-1에서 1.4%p, top-5에서 1.2%p
# 낮아졌습니다(이 프로젝트에서 실행하지 않은 ImageNet의 수치). 정규화가 없는 쪽은
# `configs/imagenet.py:no_lrn`에 있습니다.

# %%
five = jnp.full(5, 100.0)
text, source = (normalised(five, alpha=alpha)[2] for alpha in (1e-4, 1e-4 / 5))
print(f"the middle of five 100s: {text:.1f} by the text, {source:.1f} by the source")
assert (f"{text:.1f}", f"{source:.1f}") == ("23.2", "43.9")

# %% [markdown] id="layer"
# ## 12. 첫 계층을 손으로
#
# AlexNet의 첫 계층이 배우는 것과 닮은 11×11 커널을 식으로 만듭니다. 네 각도의 물결이 가장자리로
# 갈수록 희미해지는 모양입니다. 스트라이드를 4로 하고 아래와 오른쪽에 0을 세 줄 덧대면 55×55 맵 네
# 장이 나옵니다. ReLU와 정규화를 거쳐 풀링하면 27×27이 됩니다. 그림의 눈금은 열마다 다릅니다.
#
# *같은 픽셀에서 다른 맵이 강하게 반응하면 약한 반응은 어떻게 될까요? 다른 맵도 약하면
# 어떨까요?* (1,000인 반응 옆에서는 32로 나뉘고, 혼자라면 1.7로만 나뉩니다. 반응은 자기 자신도
# 나누므로, 혼자이더라도 약 200부터는 강할수록 오히려 작아집니다.)


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

centred = 255 * (grey - grey.mean())  # AlexNet의 입력처럼 0~255
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
# ## 13. 커널을 배운다
#
# 누군가 잡음과, 7절의 커널이 그 잡음에서 만들어 낸 결과를 보여 주되 커널은 숨긴다고 합시다. 0 아홉
# 개에서 출발해, 숨은 커널의 결과와 얼마나 다른지를 손실(loss), 여기서는 평균 제곱 오차(mean squared
# error)로 재고, 그 기울기를 따라 스무 번 내려갑니다.
#
# *무엇을 찾게 될까요?*

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
# ## 세 가지 질문
#
# 모두 위의 셀을 고쳐 실행하면 답이 나옵니다.
#
# 1. AlexNet은 256×256으로 저장한 사진에서 224×224를 잘라 읽습니다. 자르지 않고 통째로 읽는다면, 곧
#    5절에서 `alexnet.build("alexnet", image_size=256)`이라면, fc6이 읽는 수는 몇 개입니까?
# 2. 13절에서 잡음 대신 1로만 채운 이미지를 쓰고, `padding=(0, 0)`으로 패딩을 없애 보십시오. 어떤
#    커널을 찾고 손실은 얼마입니까? 왜 그렇습니까?
# 3. 누군가 11절의 $n$을 반지름으로 오해하여 맵 11장에 걸쳐 더했습니다. 여덟 개의 수 가운데 바뀌는
#    것은 무엇이며, 0이 아닌데도 바뀌지 않는 것은 무엇입니까?

# %% [markdown] id="answers"
# <details><summary>답</summary>
#
# 1. 12,544 = 7 · 7 · 256. conv1과 세 풀링을 지난 맵의 한 변은 63, 31, 15, 7픽셀입니다.
# 2. 0 아홉 개이고, 손실은 처음부터 0입니다. 숨은 커널은 가중치의 합이 0이어서, 1로만 채운
#    이미지에서는 숨은 커널이든 0 아홉 개든 결과가 모두 0입니다. 윤곽이 없는 이미지로는 윤곽을 배울
#    수 없습니다.
# 3. 10은 4.33이 아니라 4.28, 20은 8.58이 아니라 8.56이 됩니다. 100은 그대로 42.8입니다. 한가운데에
#    있어서, 맵 다섯 장만으로도 0이 아닌 수를 모두 더했기 때문입니다.
#
# </details>
