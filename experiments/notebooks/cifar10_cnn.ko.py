# %% [markdown] id="title"
# # 합성곱 신경망, 한 단계씩
#
# 픽셀에서 시작해 훈련이 끝난 합성곱 신경망(convolutional neural network, CNN)까지 갑니다.
# 계층(layer)은 flax로, 갱신 규칙은 optax로, 훈련 루프는 jax로 이 노트북 안에서 직접 작성합니다.
# 마지막에는 같은 신경망을 이 프로젝트의 표 하나로 나타냅니다.
#
# - **준비**: 이 프로젝트의 복제본과 matplotlib. GPU 불필요. CIFAR-10이 준비되어 있으면 CIFAR-10을
#   쓰고(`alexnet prepare cifar10`, 내려받기 170 MB), 없으면 같은 셀을 scikit-learn의
#   손글씨 숫자로 실행(내려받기 없음)
# - **소요 시간**: 다른 일을 하지 않는 코어 두 개에서 CIFAR-10 약 4분(두 코어의 시간을 합하면 8분),
#   손글씨 숫자 1분 이내
# - **바꿔 보기**: 수를 바꾸어 실행해 보기. assert 문은 고치기 전의 셀이 기준. 실패한다면 assert
#   문이 확인하는 수가 바뀐 것이고, 다음 셀은 그대로 실행됨
#
# 프로젝트가 설치되어 있지 않으면 다음 셀이 설치합니다. 온라인 노트북에서는 먼저 프로젝트를 복제하고
# `%cd`로 `experiments/notebooks` 폴더에 들어가십시오. 버전을 범위로 지정하므로, 이미 있는 jax가 그
# 범위 안이면 그대로 둡니다.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "../.."  # 프로젝트 복제본의 경로 또는 주소("git+https://...")
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

QUICK = "ALEXNET_QUICK" in os.environ  # 프로젝트의 테스트에서는 더 짧게 훈련
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
# ## 1. 픽셀
#
# 객체 인식(object recognition)이 어려운 까닭은 같은 종류라도 모습이 제각각이기 때문이며, 그래서
# 많은 데이터가 필요합니다. CIFAR-10은 32×32픽셀 사진 6만 장을 열 가지 클래스(class)로 나눈
# 데이터셋(dataset)입니다. 5만 장으로 훈련하고 1만 장으로 시험합니다. AlexNet의 저자들도 ReLU와 지역
# 응답 정규화(local response normalisation, LRN)를 여기에서 시험했습니다. AlexNet을 훈련한 데이터는
# ImageNet의 일부(ILSVRC)로, 사진이 120만 장입니다. (손글씨 숫자는 8×8픽셀 1,797장이며, 32×32로
# 키워서 씁니다.)
#
# *이미지 한 장에는 수가 몇 개 들어 있을까요? 아무렇게나 답하면 얼마나 맞을까요?*

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
# 컬러 이미지는 빨강, 초록, 파랑 세 장의 맵이고, 값은 0에서 255까지입니다. 크기를 맞추는 것 말고
# 논문에서 입력에 하는 처리는 하나뿐입니다. 훈련 데이터의 평균 이미지를 픽셀마다 빼서, 입력이 0
# 주위에 놓이게 합니다.
#
# *사진 5만 장의 평균은 어떤 모습일까요?*

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
# ## 2. 모델 구조
#
# AlexNet의 저자들이 cuda-convnet이라는 프로그램에 담은 작은 CIFAR-10 신경망입니다. 합성곱 계층 세
# 개에 풀링이 붙고, 완전 연결 계층 두 개가 이어집니다. 코드 오른쪽의 크기를 보면 맵의 한 변은 32,
# 16, 8, 4로 줄고 맵의 수는 늘어납니다.
#
# - **합성곱**(convolution, 컨볼루션): 5×5 커널(kernel) 32개가 이미지 위를 움직이며 저마다 특징
#   맵(feature map, 줄여서 맵) 한 장을 만듦. 손으로 하는 계산은 `convolution` 노트북에 있음
# - **ReLU**: $\max(0, x)$. 이 비선형성(nonlinearity)이 없으면 합성곱과 완전 연결 계층을
#   아무리 쌓아도 선형 계층 하나와 같음
# - **풀링**(pooling): 3×3 창에서 가장 큰 수나 평균만 남김. 창을 2픽셀씩 옮기므로 서로 겹침
# - **완전 연결**(fully connected): 남은 수 1,024개를 한 줄로 펴서 뉴런 64개로, 다시 클래스마다
#   하나씩 10개로 보냄. 마지막 수 10개가 로짓(logit)이고, softmax, 곧
#   $p_k = e^{z_k} / \sum_j e^{z_j}$가 이것을 확률로 바꿈


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
        return dense(10, "fc10")(x)  # 로짓 10개


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
# conv2를 손으로 세어 봅니다. 커널 32개가 저마다 맵 32장에 5·5개씩의 가중치를 두고 편향(bias)을 하나
# 더하므로 $32\,(25\cdot 32 + 1) = 25{,}632$입니다. 완전 연결 계층은 계산량은 적지만
# 매개변수(parameter)의 46%를 차지합니다. AlexNet에서는 96%입니다. (`jax.eval_shape`는 AlexNet의
# 가중치를 만들지 않고 형상(shape)만 알아냅니다.)


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
# ## 3. 훈련하기 전에
#
# 손실(loss)은 교차 엔트로피(cross-entropy), 곧 신경망이 정답에 준 확률의 로그에 음의 부호를 붙인
# 값입니다. 오류율(error rate)은 가장 확률이 높은 클래스가 정답이 아닌 비율입니다.
#
# *아무것도 모르는 신경망이라면 열 클래스에서 두 값은 얼마여야 할까요? 먼저 답해 보십시오. 여기서
# 확인하지 않은 잘못은 몇 시간 뒤에야 드러납니다.*


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
# ## 4. 한 걸음
#
# 기울기(gradient)는 매개변수 145,578개 각각에 대해, 미니배치(mini-batch)의 손실이 커지는 방향을
# 알려 줍니다. 논문의 규칙은 그 반대로 움직이되 모멘텀(momentum)을 씁니다. 속도(velocity) $v$는 매번
# 9할이 남고, 가중치는 가중치 감쇠(weight decay) 계수 $\lambda$에 비례하여 0 쪽으로 조금 당겨집니다.
#
# $$v \leftarrow 0.9\,v - \varepsilon\,(\lambda w + \nabla L), \qquad w \leftarrow w + v.$$
#
# optax에서는 변환 세 개를 `optax.chain`으로 잇습니다. 학습률(learning rate) $\varepsilon$은 0까지
# 선형으로 낮추어, 마지막에는 조금씩만 움직이게 합니다.

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
    optax.scale_by_learning_rate(rate),  # 학습률에 -를 붙여 곱함
    optax.trace(0.9),  # 속도
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
# ## 5. 훈련 루프
#
# 한 에폭(epoch)마다 훈련 이미지를 거의 모두(배치 하나를 채우지 못하고 남는 것은 빼고) 새로운 순서로
# 한 번씩 보여 주고, 훈련에 쓰지 않는 이미지로 시험합니다. 시험 결과를 보고 고른 설정은 없습니다.
# 신경망과 합성곱의 가중치 감쇠는 cuda-convnet의 것입니다. 다만 시간을 줄이려고 커널의 학습률은
# cuda-convnet(0.001)의 1.5배에서 시작해 선형으로 낮춥니다. 편향의 학습률도 이와 같으며,
# cuda-convnet에서는 0.002입니다. 완전 연결 계층의 감쇠도 합성곱과 같게 두었으며, cuda-convnet에서는
# 0.03입니다.
#
# *CIFAR-10을 세 에폭 훈련하면 100장 중 몇 장을 틀릴까요? 아무렇게나 답하면 90장입니다.*

# %%
rng = np.random.default_rng(0)
params, velocity = start, optimizer.init(start)
train_curve, test_curve, began = [], [], time.monotonic()
for epoch in range(1, epochs + 1):
    seen = []  # 배치마다의 오류율
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
# ## 6. 곡선
#
# 훈련 오류율은 그 단계에서 배우는 이미지로, 시험 오류율은 한 번도 배우지 않은 이미지로 잰 것입니다.
# 훈련 오류율은 계속 내려가는데 시험 오류율이 멈춘다면, 신경망이 훈련 데이터를 외우고 있는 것입니다.
# 이를 오버피팅(overfitting)이라고 합니다. AlexNet은 드롭아웃(dropout)과 데이터 증강(data
# augmentation)으로 오버피팅을 막았습니다.
#
# *이 신경망에서는 오버피팅이 보입니까?* (세 에폭으로는 보이지 않습니다. 두 곡선이 거의 겹칩니다.
# 손글씨 숫자로 실행했다면 1%와 4%쯤으로 벌어집니다.)

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
# ## 7. conv1이 배운 것
#
# 첫 계층의 커널 32개를 5×5픽셀 컬러로 그렸습니다. 가중치가 0이면 회색입니다.
#
# *훈련하기 전에는 어떤 모습이었을까요?*

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
# ## 8. 무엇을 혼동하는가
#
# 행은 정답 클래스이고, 그 클래스의 시험 이미지를 신경망이 무엇으로 보았는지를 백분율로 적었습니다.
# 이런 표를 혼동 행렬(confusion matrix)이라고 합니다.
#
# *가장 많이 혼동하는 두 클래스는 무엇일까요? 서로 똑같이 혼동할까요?*

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
# ## 9. 처음 여덟 장과, 자신 있게 틀린 여덟 장
#
# 위는 시험 데이터의 처음 여덟 장이고, 아래는 틀린 것 중에서 신경망의 확신이 가장 컸던 여덟
# 장입니다. 막대는 확률이 높은 클래스 세 개이며, 정답은 파란색입니다.
#
# *이 가운데 틀릴 만한 것은 어느 것입니까?* (정답이 잘못 붙은 경우도 있습니다. CIFAR-10이 고양이라고
# 적은 개구리를 찾아보십시오.)

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
# ## 10. 같은 신경망을 표로
#
# 이 프로젝트에서 신경망은 계층마다 한 행인 표이며, 표만 있으면 형상과 크기가 정해집니다. 위의
# 신경망에 해당하는 표에 방금 훈련한 매개변수를 넘기면 같은 로짓이 나옵니다. (프로젝트의
# 매개변수에는 맨 앞에 타워(tower)를 나타내는 축이 하나 더 있습니다. AlexNet은 GPU 한 장에 하나씩
# 타워가 두 개이고, 이 신경망은 한 개입니다.)

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
# 실험은 대개 행 하나를 바꾸거나 빼는 일입니다. 계층을 빼면 뒤따르는 계층의 크기가 저절로
# 맞추어집니다. (conv2는 맵 32장을 읽어 32장을 내므로 여기서는 달라지는 계층이 없습니다. 달라지는
# 예는 세 번째 질문에 있습니다.) 이렇게 일부를 빼고 비교하는 것을 제거 실험(ablation)이라고 합니다.


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
# ## 11. 이미지 한 장이 지나는 맵
#
# 표는 행마다 출력에 이름을 붙여 돌려줍니다. 이미지 한 장이 지나는 길을 따라가 봅니다. conv1의 맵
# 32장, 그 맵이 풀링과 ReLU를 거친 것, conv2와 ReLU를 거친 맵 32장, conv3과 ReLU를 거친 맵 64장,
# pool3의 맵 64장, 그리고 확률 열 개입니다. 눈금은 열마다 하나이며 흰색이 0입니다.
#
# *첫 계층의 맵 가운데 설명할 만한 것은 어느 것입니까? 마지막 계층에서는 어떻습니까?*

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
# ## 12. 더 나아가기
#
# 여기서 직접 짠 과정을 `alexnet.train_and_evaluate`가 대신합니다. 체크포인트(checkpoint)와 로그를
# 남기고, 무작위 크롭(crop)과 좌우 반전을 쓰는 신경망이라면 그것도 해 줍니다. 아래 명령은 프로젝트의
# 맨 위 폴더에서 실행합니다. 훈련이 끊겨도 다시 실행하면 이어집니다.
#
# ```
# alexnet train --config=configs/cifar10.py:80sec --workdir=runs/80sec
# alexnet evaluate --workdir=runs/80sec --checkpoint=last
# ```
#
# cuda-convnet의 학습률과 감쇠로 10에폭을 훈련하면 cuda-convnet이 밝힌 26%에 가까워집니다. 실행
# 결과는 `experiments/README.md`에 있습니다.
#
# 훈련이 끝난 신경망을 쓰는 방법은 `reload_checkpoint` 노트북(영어)에서 손글씨 숫자 신경망을 예로
# 들어 보여 줍니다.

# %% [markdown] id="questions"
# ## 세 가지 질문
#
# 모두 위의 셀을 고치고 거기서부터 *모든* 셀을 다시 실행하면 답이 나옵니다. `jax.jit`은 함수를 한
# 번만 컴파일하고 그때의 신경망을 그대로 씁니다. 사이의 셀을 건너뛰면 오류 없이 예전 신경망을 계속
# 훈련합니다.
#
# 1. `nn.relu` 네 군데를 모두 `nn.tanh`로 바꾸고, 10절의 표도 `activation="tanh"`로 만들어 보십시오.
#    같은 에폭과 학습률에서 시험 오류율이 얼마나 달라집니까?
# 2. 픽셀을 뒤섞어 보십시오. 픽셀 1,024개의 순서를 한 번만 무작위로 정하고, 훈련과 시험의 모든
#    이미지에 똑같이 적용합니다. 사람은 이제 한 클래스도 알아보지 못합니다. 신경망의 오류율은 어떻게
#    됩니까? 그 결과에서 합성곱에 대해 무엇을 알게 됩니까?
# 3. 10절에서 `remove="conv3,pool3"`으로 conv3과 그 풀링을 함께 빼 보십시오. 매개변수는 늘어납니까,
#    줄어듭니까? 달라진 계층은 무엇입니까?

# %% [markdown] id="answers"
# <details><summary>답</summary>
#
# CIFAR-10에서 시드 하나로 세 에폭을 훈련한 결과이며, 위의 신경망의 오류율은 35.8%입니다.
#
# 1. 오류율이 17%p 올라 52.9%가 됩니다. 학습률이 ReLU에 맞춰진 탓도 있을 것입니다. 제대로 견주려면
#    학습률을 각각 찾아야 합니다(`alexnet_tour` 노트북 7절).
# 2. 오류율은 61.6%입니다. 크게 나빠지지만 찍는 것보다는 훨씬 낫습니다. 색과 위치는 여전히 무언가를
#    알려 주기 때문입니다. 그러나 어디서나 똑같이 쓰이는 작은 커널은 이웃한 픽셀이 서로 이어져
#    있다고 전제하고, 풀링은 조금 어긋나도 상관없다고 전제합니다. 완전 연결 계층만 있는 신경망이라면
#    순서가 바뀐 것을 알아채지 못합니다.
# 3. 145,578개에서 159,850개로 늘어납니다. conv3의 51,264개는 없어지지만, fc64가 1,024개가 아니라 8
#    · 8 · 32 = 2,048개의 수를 읽어 매개변수가 65,600개에서 131,136개로 늘어나기 때문입니다.
#
# </details>
