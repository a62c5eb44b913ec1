# %% [markdown] id="title"
# # AlexNet 둘러보기
#
# AlexNet 논문 "ImageNet Classification with Deep Convolutional Neural Networks"(Krizhevsky,
# Sutskever, Hinton, 2012)를 결과부터 본 뒤 강의 "AlexNet은 어떻게 딥러닝 시대를 열었는가"의
# 순서대로 따라갑니다. 배경과 목표, 모델 구조와 GPU 병렬 처리, 훈련 속도, 오버피팅 방지, 일반화,
# 그리고 결과와 깊이입니다. 내용마다 그림과 바로 실행되는 작은 실험이 있고, 제목 끝의 괄호는 논문의
# 절 번호입니다. `convolution`과 `cifar10_cnn` 노트북을 먼저 보시기를 권합니다.
#
# - **준비**: 이 프로젝트의 복제본과 matplotlib, 메모리 약 1.5 GB. 데이터, GPU, 네트워크 불필요
# - **소요 시간**: 다른 일을 하지 않는 코어 두 개에서 약 1분 반
# - **바꿔 보기**: 수를 바꾸어 실행해 보기. assert 문은 고치기 전의 셀이 기준. 실패한다면 assert
#   문이 확인하는 수가 바뀐 것이고, 다음 셀은 그대로 실행됨
#
# 이 노트북은 ImageNet으로 훈련하지 않습니다. ImageNet의 수치는 논문이나 저자들의 2012년 소스 코드에
# 적힌 것이며, 그때마다 그렇다고 밝힙니다. 이 프로젝트에서 잰 결과는 끝에 모았습니다.
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
import math
import os
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.patches import Polygon, Rectangle
from PIL import Image
from sklearn.datasets import load_sample_images

import alexnet

QUICK = "ALEXNET_QUICK" in os.environ  # 프로젝트의 테스트에서는 더 짧게 훈련
plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.titlesize": 10})
BLUE, RED, GREY = "#2166ac", "#b2182b", "0.55"
home = Path(tempfile.mkdtemp())  # 이 노트북의 데이터셋과 실행


def bare(*panels):
    """Takes away the lines above and to the right."""
    for panel in panels:
        panel.spines[["right", "top"]].set_visible(False)


def bars(panel, values, text="{:,}", colours=BLUE, room=1.3):
    """Horizontal bars with their numbers, the first on top."""
    drawn = panel.barh(list(values), list(values.values()), color=colours, height=0.65)
    panel.bar_label(drawn, [text.format(value) for value in values.values()], padding=4)
    panel.set_xlim(right=room * max(values.values()))
    panel.invert_yaxis()
    bare(panel)


def pictures(panels, images):
    """Photos on 0-255, one in each panel."""
    for panel, image in zip(np.ravel(panels), images, strict=True):
        panel.imshow(np.asarray(image).clip(0, 255).astype(np.uint8))
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_edgecolor("0.8")


# %% [markdown] id="abstract"
# ## 1. 결과부터: 2012년에 일어난 일 (초록, 6절)
#
# ILSVRC는 사진을 1,000가지 클래스(class)로 나누는 대회입니다. top-1 오류율(error rate)은 확률이
# 가장 높은 클래스가 정답이 아닌 비율, top-5 오류율은 확률이 높은 다섯 클래스에 정답이 없는
# 비율입니다. 회색은 사람이 설계한 특징(feature)을 쓰는 다른 방법 가운데 가장 좋았던 것이며, 26.2%는
# 같은 2012년 대회의 2위입니다. 파란색은 특징까지 훈련으로 얻는 신경망입니다.
#
# *2010년 대회의 데이터에서 top-5 오류율은 대회 최고 기록인 28.2%에서 17.0%로, 11.2%p 낮아졌습니다.
# 전체 오류의 몇 퍼센트가 사라진 것일까요?*

# %%
ilsvrc_2010 = {"sparse coding": 28.2, "SIFT + Fisher vectors": 25.7, "AlexNet": 17.0}
ilsvrc_2012 = {
    "SIFT + Fisher vectors (test)": 26.2,
    "AlexNet (validation)": 18.2,
    "5 AlexNets (test)": 16.4,
    "7 AlexNets, 2 pre-trained (test)": 15.3,
}
_, axes = plt.subplots(1, 2, figsize=(12, 1.9))
contests = {"ILSVRC-2010, test": ilsvrc_2010, "ILSVRC-2012": ilsvrc_2012}
for panel, (title, errors) in zip(axes, contests.items(), strict=True):
    colours = [BLUE if "AlexNet" in name else "0.75" for name in errors]
    bars(panel, errors, "{:.1f}", colours)
    panel.set(title=f"{title}: top-5 error, %", xticks=[])
plt.tight_layout()
plt.show()
fewer = ilsvrc_2010["sparse coding"] - ilsvrc_2010["AlexNet"]
print(f"{fewer:.1f} points are {fewer / ilsvrc_2010['sparse coding']:.0%} of the errors")
assert f"{fewer:.1f}" == "11.2"
assert f"{fewer / ilsvrc_2010['sparse coding']:.0%}" == "40%"

# %% [markdown] id="abstract-answer"
# 자주 인용되는 두 수에는 설명이 더 필요합니다. 17.0%는 신경망 하나가 사진마다 크롭(crop) 10개를
# 보고 평균한 결과이고, 중앙 크롭 하나만 보면 18.3%입니다. 2012년 대회에서 우승한 15.3%는 신경망
# 일곱 개의 앙상블(ensemble)이 낸 결과이며, 그중 두 개는 ImageNet 전체로 사전 훈련(pre-training)한
# 것입니다. 신경망 하나로는 검증 데이터에서 18.2%였습니다.

# %% [markdown] id="large"
# ## 2. 논문 배경과 기존 연구의 한계점 (1절)
#
# 같은 물건도 사진마다 모습이 다릅니다. 그래서 객체 인식(object recognition)에는 많은 사진이
# 필요하고, 그 사진들을 담아낼 만큼 학습 용량(capacity)이 큰 모델이 필요합니다. 그런데 기존
# 데이터셋(dataset)은 수만 장 규모였고, 합성곱 신경망(convolutional neural network, CNN)은 고해상도
# 사진에 쓰기에는 계산 비용이 너무 컸습니다.
#
# 논문의 목표는 이 한계를 넘는 것이었습니다. 사진 120만 장을 1,000가지 클래스로 나누는 큰 합성곱
# 신경망을 GPU에서, 지도 학습(supervised learning)만으로 훈련하고자 했습니다. 아래는 `cifar10_cnn`
# 노트북의 신경망과 AlexNet을 각자의 데이터셋과 함께 비교한 것입니다. 눈금은 로그입니다. 네 그림
# 모두 10배의 너비가 같고 짧은 막대의 길이를 10배에 맞추었으니, 막대의 길이가 아니라 두 막대의
# 차이를 견주어 보십시오.
#
# *훈련 사진을 한 번씩 모두 보는 데 드는 계산은 몇 배일까요?*

# %%
small, net = alexnet.build("cifar_80sec", classes=10), alexnet.build("alexnet", preset="paper")


def total(net, what):
    """Of all layers: parameters or multiply_adds (of one image, forward)."""
    return sum(getattr(layer, what) for layer in net.layers)


IMAGES = {"CIFAR-10": 50_000, "ImageNet": 1_281_167}  # 훈련용. ImageNet은 ILSVRC-2012
nets = dict(zip(IMAGES, (small, net), strict=True))
work = {name: total(one, "multiply_adds") for name, one in nets.items()}
an_epoch = {name: work[name] * IMAGES[name] for name in IMAGES}
columns = {
    "training images": (IMAGES, 1),
    "parameters": ({name: total(one, "parameters") for name, one in nets.items()}, 1),
    "multiply-adds an image, millions": (work, 1e6),
    "to see all images once, billions": (an_epoch, 1e9),
}
_, axes = plt.subplots(1, 4, figsize=(13, 1.5), sharey=True)
for panel, (title, (values, unit)) in zip(axes, columns.items(), strict=True):
    values = {name: value / unit for name, value in values.items()}
    bars(panel, values, "{:,.0f}", ["0.75", BLUE])
    low = min(values.values()) / 10
    panel.set(title=title, xscale="log", xlim=(low, low * 10**6))
    panel.set_xticks([])
    panel.set_xticks([], minor=True)
axes[0].invert_yaxis()
plt.tight_layout()
plt.show()
print(f"{an_epoch['ImageNet'] / an_epoch['CIFAR-10']:,.0f} times as much work")
assert (work["CIFAR-10"], work["ImageNet"]) == (12_354_176, 724_406_816)
assert round(an_epoch["ImageNet"] / an_epoch["CIFAR-10"]) == 1502

# %% [markdown] id="table"
# ## 3. 모델 구조 (3.5절)
#
# 이 프로젝트에서 신경망은 계층(layer)마다 한 행인 표이며, 표만 있으면 형상(shape)과 크기가
# 정해집니다. 논문의 신경망은 합성곱(convolution, 컨볼루션) 계층 다섯 개와 완전 연결(fully
# connected) 계층 세 개로 되어 있습니다. 가중치가 있는 계층이 모두 여덟 개입니다.
#
# *표를 보기 전에 짐작해 보십시오. 매개변수(parameter)가 가장 많은 계층과 계산량이 가장 많은 계층은
# 각각 어느 것일까요?*

# %%
net

# %% [markdown] id="ledger"
# 가중치가 있는 계층만 모아 장부처럼 늘어놓았습니다. 계산은 대부분 합성곱 계층이 하고, 매개변수는
# 대부분 완전 연결 계층에 있습니다. 뉴런은 첫 계층에 가장 많습니다.

# %%
layers = {layer.row.name: layer for layer in net.layers if layer.parameters}
names = list(layers)
_, axes = plt.subplots(1, 3, figsize=(13, 3), sharey=True)
for panel, what in zip(axes, ("neurons", "parameters", "multiply_adds"), strict=True):
    values = {name: getattr(layer, what) for name, layer in layers.items()}
    colours = [BLUE if name.startswith("conv") else "0.75" for name in names]
    bars(panel, values, colours=colours, room=1.45)
    panel.set(title=f"{what.replace('_', '-')}: {sum(values.values()):,}", xticks=[])
    panel.tick_params(left=False)
axes[0].set_ylim(7.6, -0.6)
plt.tight_layout()
plt.show()

params_of = {name: layer.parameters for name, layer in layers.items()}
count = sum(params_of.values())
convs = [name for name in names if name.startswith("conv")]
in_convs = sum(params_of[name] for name in convs) / count
work_of_convs = sum(layers[name].multiply_adds for name in convs) / total(net, "multiply_adds")
print(f"convolutions: {in_convs:.1%} of the parameters, {work_of_convs:.1%} of the multiply-adds")
print(f"fc6 alone: {params_of['fc6'] / count:.1%} of the parameters")
assert (count, sum(layer.neurons for layer in layers.values())) == (60_965_224, 659_272)
assert (f"{in_convs:.1%}", f"{work_of_convs:.1%}") == ("3.8%", "91.9%")
assert f"{params_of['fc6'] / count:.1%}" == "61.9%"

# %% [markdown] id="slips"
# 표가 있으면 논문의 문장도 검산할 수 있습니다. 논문은 합성곱 계층 하나의 매개변수가 전체의 1%를
# 넘지 않는다고 적었고, 그림 2에는 첫 계층의 뉴런이 253,440개라고 적었습니다.
#
# *두 문장은 맞을까요?*

# %%
for name in convs:
    share = params_of[name] / count
    print(f"{name}: {share:.2%}{'  more than 1%' if share > 0.01 else ''}")
neurons = sum(layer.neurons for layer in layers.values())
print(f"conv1: 55 · 55 · 96 = {55 * 55 * 96:,} neurons; all layers: {neurons:,}")
assert [name for name in convs if params_of[name] > 0.01 * count] == ["conv3", "conv4"]
assert layers["conv1"].neurons == 55 * 55 * 96 == 290_400 != 253_440
figure_2 = (253_440, 186_624, 64_896, 64_896, 43_264, 4_096, 4_096, 1_000)
print(f"Figure 2's neurons: {sum(figure_2):,}; the text says 650,000")
assert sum(figure_2) + (290_400 - 253_440) == neurons == 659_272  # 틀린 것은 conv1뿐

# %% [markdown] id="towers"
# ## 4. GPU 병렬 처리 (3.2절, 3.5절, 그림 2)
#
# 저자들이 쓴 GTX 580은 메모리가 3 GB였습니다. 그래서 계층마다 커널(kernel)을 절반씩 나누어 GPU 두
# 장에 올렸습니다. GPU 한 장이 맡은 절반을 타워(tower)라고 부릅니다. 다음 셀은 논문의 그림 2를
# 표에서 그립니다. 상자는 타워 하나의 출력입니다. 특징 맵(feature map, 줄여서 맵)이 클수록 높고,
# 많을수록 넓습니다. 회색 화살표는 타워 안에 머물고 빨간 화살표는 다른 타워로 건너갑니다.
#
# *두 타워를 모두 읽는 계층은 어느 것일까요?*


# %%
def box(panel, x, y, width, height, colour, lean=0.35):
    """A block, seen from the front and a little from above."""
    up = lean * height
    front = [(x, y - height / 2), (x + width, y - height / 2), (x + width, y + height / 2)]
    front.append((x, y + height / 2))
    top = [(x, y + height / 2), (x + width, y + height / 2)]
    top += [(x + width + up, y + height / 2 + up), (x + up, y + height / 2 + up)]
    side = [(x + width, y - height / 2), (x + width + up, y - height / 2 + up)]
    side += [(x + width + up, y + height / 2 + up), (x + width, y + height / 2)]
    for corners, alpha in ((front, 0.75), (top, 0.35), (side, 0.5)):
        panel.add_patch(Polygon(corners, facecolor="white", edgecolor="none", zorder=2))
        patch = Polygon(corners, facecolor=colour, alpha=alpha, edgecolor="none", zorder=2)
        panel.add_patch(patch)
        panel.add_patch(Polygon(corners, fill=False, edgecolor="0.3", linewidth=0.8, zorder=2))


def figure_2(panel, net):
    """The towers of a net from its table, one above the other."""
    heights = np.linspace(2.4 * (net.towers - 1), 0, net.towers)
    middle = heights.mean()
    box(panel, 0, middle, 0.08, 1.5, "0.85")
    panel.text(
        0.3, middle - 1.0, f"image\n{net.image_size}×{net.image_size}×3", ha="center", va="top"
    )
    before, x = [(0.35, middle)] * net.towers, 1.6
    for layer in net.layers:
        row, shape = layer.row, layer.output_shape
        if "pool" in row.name:
            pooled = f"pooled to {shape[0]}×{shape[1]}"
            panel.text(x - 0.75, heights[-1] - 1.23, pooled, ha="center", va="top", color="0.45")
        if not layer.parameters:
            continue
        maps = len(shape) == 3
        width = shape[-1] / 250 if maps else 0.16
        height = 1.35 * math.sqrt(shape[0] / 55) if maps else 1.5 * math.sqrt(shape[0] / 2048)
        after = [(x, y) for y in heights]
        for tower, end in enumerate(after):
            for other, start in enumerate(before):
                if other == tower or row.reads_all:
                    crosses = other != tower and start[1] != middle
                    colour = RED if crosses else GREY
                    panel.annotate(
                        "", end, start, arrowprops={"arrowstyle": "->", "color": colour}, zorder=3
                    )
        for y in heights:
            box(panel, x, y, width, height, BLUE if maps else "0.6", 0.25 if maps else 0.08)
        panel.text(x + width / 2, heights[0] + 1.42, row.name, ha="center", weight="bold")
        if maps:
            kernel = f"{row.size}×{row.size}" + f", step {row.stride}" * (row.stride > 1)
            panel.text(x + width / 2, heights[0] + 1.15, kernel, ha="center", color="0.45")
        size = "×".join(map(str, shape))
        panel.text(x + width / 2, heights[-1] - 0.88, size, ha="center", va="top")
        lean = (0.25 if maps else 0.08) * height / 2
        before = [(x + width + lean, y) for y in heights]
        x += width + (1.55 if maps else 1.05)
    panel.set(xlim=(-0.6, x - 0.5), ylim=(-1.5, heights[0] + 1.75), aspect="equal")
    panel.axis("off")


_, axes = plt.subplots(figsize=(15, 5.2))
figure_2(axes, net)
plt.tight_layout()
plt.show()
crossing = [row.name for row in net.rows if row.reads_all]
print("read both towers:", *crossing)
assert crossing == ["conv3", "fc6", "fc7", "fc8"]

# %% [markdown] id="crossing"
# 그림이 맞는지 실험으로 확인합니다. 전체 신경망에 무작위 가중치를 주고 사진을 보여 줍니다. 사진은
# 논문대로 짧은 변을 256픽셀로 줄인 뒤 가운데 정사각형만 남기고, 신경망은 그 가운데 224×224를
# 읽습니다(논문 2절). 입력에서 빼는 훈련 사진의 평균은 여기서는 회색 하나로 대신합니다. 그다음에
# *위쪽* 타워에서만 첫 계층의 커널을 두 배로 키우고 다시 실행합니다.
#
# *출력이 달라지는 곳은 어디일까요?*

# %%
params = jax.jit(lambda key: alexnet.init(net, key))(jax.random.key(0))


def square(photo, side=256):
    """Its central square, after its shorter side became `side` pixels: uint8 [side, side, 3]."""
    photo, scale = photo.convert("RGB"), side / min(photo.size)
    whole = photo.resize([round(scale * edge) for edge in photo.size], Image.Resampling.BICUBIC)
    left, top = ((edge - side) // 2 for edge in whole.size)
    return np.asarray(whole.crop((left, top, left + side, top + side)))


originals = dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
photos = {name: square(Image.fromarray(pixels)) for name, pixels in originals.items()}
x_BHWC = np.stack([photo[16:240, 16:240] for photo in photos.values()]).astype(np.float32) - 117
assert originals["temple"].shape == (427, 640, 3)
assert x_BHWC.shape == (2, 224, 224, 3)

run_net = jax.jit(lambda params, x_BHWC: alexnet.apply(net, params, x_BHWC))
logits, seen = run_net(params, x_BHWC)
upper_doubled = jnp.array([2.0, 1.0])[:, None, None, None, None]
changed = params | {
    "conv1": params["conv1"] | {"kernel": params["conv1"]["kernel"] * upper_doubled}
}
_, seen_changed = run_net(changed, x_BHWC)

differs = {}
for name in names:
    before, after = (np.split(np.asarray(one[name]), 2, -1) for one in (seen, seen_changed))
    differs[name] = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
_, axes = plt.subplots(figsize=(9, 1.5))
for place, name in enumerate(names):
    for tower in range(2):
        colour = RED if differs[name][tower] else "0.9"
        axes.add_patch(Rectangle((place, 1 - tower), 0.92, 0.85, facecolor=colour))
axes.set(xlim=(0, 8), ylim=(0, 2), title="red: changed by the upper tower's conv1")
axes.set_xticks(np.arange(8) + 0.46, names)
axes.set_yticks([0.42, 1.42], ["lower tower", "upper tower"])
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
plt.show()
assert all(upper for upper, _ in differs.values())
assert [name for name in names if not differs[name][1]] == ["conv1", "conv2"]

# %% [markdown] id="split"
# 아래쪽 타워는 conv3부터 위쪽 타워의 영향을 받습니다. 그전까지는 받지 않습니다. 자기 타워만 읽는
# 계층은 가중치가 절반이므로, 나누면 매개변수와 계산량이 함께 줄어듭니다.
#
# *그렇다면 신경망 두 개의 앙상블일까요?* 그렇지 않습니다. 연결이 줄어든 신경망 하나입니다. 논문은
# 커널이 절반이고 타워가 하나인 신경망과 비교했으며, GPU를 두 장 쓴 쪽의 오류율이 top-1에서 1.7%p,
# top-5에서 1.2%p 낮았습니다(논문의 수치). 비교 대상은 `configs/ilsvrc2010.py:one_gpu`입니다. 다만
# conv5와 완전 연결 계층은 줄이지 않아 매개변수의 수가 비슷하며, 논문도 이 비교가 GPU 한 장 쪽에
# 유리하다고 밝힙니다. 두 타워가 fc8에서만 만나는 신경망은 `configs/imagenet.py:no_communication`에
# 있습니다. 저자들의 기록에 따르면 conv2와 fc6이 더 큰데도 top-1 오류율이 41.8%(150번)로, 주
# 실행(145번)의 40.7%보다 높습니다(이 프로젝트에서 실행하지 않은 ImageNet의 수치).

# %%
arms = {
    "two towers": net,
    "the same kernels, unsplit": alexnet.build("alexnet", preset="paper", towers=1),
    "one GPU, half the kernels": alexnet.build(
        "alexnet", preset="paper", towers=1, kernels=(48, 128, 192, 192, 256)
    ),
}
_, axes = plt.subplots(1, 2, figsize=(12, 1.6), sharey=True)
for panel, what in zip(axes, ("parameters", "multiply_adds"), strict=True):
    bars(panel, {name: total(one, what) for name, one in arms.items()}, room=1.35)
    panel.set(title=what.replace("_", "-"), xticks=[])
axes[0].invert_yaxis()
plt.tight_layout()
plt.show()
conv2 = {
    name: next(layer.parameters for layer in one.layers if layer.row.name == "conv2")
    for name, one in arms.items()
}
for name, own in conv2.items():
    print(f"{name}: conv2 has {own:,} parameters")
sizes = [total(one, "parameters") for one in arms.values()]
assert sizes == [60_965_224, 62_378_344, 59_798_312]
assert (conv2["two towers"], conv2["the same kernels, unsplit"]) == (307_456, 614_656)
assert round(total(arms["the same kernels, unsplit"], "multiply_adds") / 1e6) == 1135

# %% [markdown] id="memory"
# ## 5. GPU가 필요한 까닭: 메모리와 시간
#
# 훈련할 때는 매개변수마다 기울기(gradient)와 속도(velocity)가 딸려 있어 메모리가 세 배로 듭니다.
# 미니배치(mini-batch) 하나의 사진 128장이 각 행에서 낸 출력도, 기울기를 구할 때까지 모두 남겨
# 두어야 합니다. ReLU와 드롭아웃(dropout)만은 읽은 자리에 덮어쓸 수 있습니다. (합하면 1.3 GiB입니다.
# 배치 전체를 한 번에, 같은 것을 두 번 계산하지 않을 때의 값이며, 출력의 기울기와 입력, 작업 공간이
# 더 필요합니다. 논문에는 GPU 한 장에 들어가지 않는 크기였다고만 적혀 있습니다.)
#
# 시간도 재 봅니다. 저자들은 GPU 두 장으로 사진 120만 장을 약 90번 보는 데 5~6일이 걸렸습니다. 이
# 컴퓨터에서 사진 한 장의 순전파(forward pass)에 걸리는 시간을 재서, 같은 훈련에 며칠이 걸릴지
# 셈합니다. 역전파(backward pass)까지 하는 훈련은 순전파의 세 배쯤 걸린다고 봅니다.
#
# *며칠이나 걸릴까요?*

# %%
MIB = 2**20
weights = 4 * count / MIB
kept = sum(layer.neurons for layer in net.layers if not layer.row.in_place) * 128 * 4 / MIB
print(f"weights {weights:.0f} MiB, with gradients and velocities {3 * weights:.0f} MiB")
print(f"outputs of a batch of 128, as few as can be: {kept:.0f} MiB")
assert (round(weights), round(3 * weights), round(kept)) == (233, 698, 615)

seconds = []
for _ in range(2 if QUICK else 8):
    start = time.perf_counter()
    jax.block_until_ready(run_net(params, x_BHWC))
    seconds.append((time.perf_counter() - start) / len(x_BHWC))
days = 3 * min(seconds) * 90 * 1_200_000 / 86_400
print(f"{1000 * min(seconds):.0f} ms a photo here: about {days:,.0f} days for the paper's training")

# %% [markdown] id="fields"
# ## 6. 뉴런은 얼마나 넓게 보는가
#
# conv1의 뉴런 하나는 11×11픽셀을 봅니다. pool1의 뉴런은 네 픽셀씩 떨어진 conv1의 뉴런 아홉 개를
# 보므로 19×19픽셀을 봅니다. 뉴런이 보는 영역을 수용 영역(receptive field)이라고 합니다. 수용 영역은
# 계층을 지날 때마다, 창의 너비에서 1을 뺀 수에 그때까지의 스트라이드(stride, 보폭)를 모두 곱한 만큼
# 넓어집니다.
#
# 사각형은 각 계층의 가운데 뉴런이 보는 영역입니다. (pool5는 6×6이어서 한가운데 뉴런이 없습니다.
# 바로 앞의 뉴런을 골랐으므로 사각형이 왼쪽 위로 치우칩니다.) 계산이 맞는지는 눈을 가려서
# 확인합니다. 사각형 밖의 픽셀을 모두 NaN, 곧 '수가 아닌 값'으로 바꾸면 NaN은 그것을 읽는 모든
# 뉴런으로 번집니다. 가운데 뉴런은 값이 그대로여야 하고, 사각형을 한 픽셀만 줄여도 NaN이 되어야
# 합니다.

# %%
field, jump, fields = 1, 1, {}
for row in net.rows:
    if hasattr(row, "stride"):  # 합성곱이나 풀링
        field, jump = field + (row.size - 1) * jump, jump * row.stride
        fields[row.name] = field
print(*(f"{name} {size}" for name, size in fields.items()), sep=", ")
assert list(fields.values()) == [11, 19, 51, 67, 99, 131, 163, 195]


def middle(name):
    """Where a row's middle neuron is; of an even number the one before."""
    return (seen[name].shape[1] - 1) // 2


def left_edge(name):
    """The first pixel that the middle neuron of a row sees."""
    place = middle(name)
    for row in reversed(net.rows[: [row.name for row in net.rows].index(name) + 1]):
        if hasattr(row, "stride"):
            place = place * row.stride - (row.padding[0] if row.name.startswith("conv") else 0)
    return place


def notices(name, size, skip=0):
    """Whether that neuron reads anything but a square of `size` pixels from its edge on.

    With `skip`, the square begins so many pixels later.
    """
    blinded, at = np.full_like(x_BHWC, np.nan), middle(name)
    inside = slice(left_edge(name) + skip, left_edge(name) + size)
    blinded[:, inside, inside] = x_BHWC[:, inside, inside]
    return bool(np.isnan(run_net(params, blinded)[1][name][:, at, at]).any())


for name, size in fields.items():
    assert (notices(name, size), notices(name, size - 1), notices(name, size, 1)) == (
        False,
        True,
        True,
    )

_, axes = plt.subplots(figsize=(4, 4))
axes.imshow(photos["temple"][16:240, 16:240])
for number, (name, size) in enumerate(fields.items()):
    corner = (left_edge(name) - 0.5,) * 2
    colour = plt.cm.viridis(0.2 + 0.8 * number / 7)
    label = f"{name}: {size}×{size}"
    axes.add_patch(
        Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=2, label=label)
    )
axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
axes.axis("off")
plt.show()

# %% [markdown] id="relu"
# ## 7. 훈련 속도: ReLU (3.1절, 그림 1)
#
# 활성화 함수(activation function)로 $\tanh x$ 대신 $\max(0, x)$, 곧 ReLU(rectified linear unit)를
# 씁니다. tanh는 포화하면 기울기가 0에 가까워지고, ReLU는 그렇지 않습니다(곡선은 `convolution`
# 노트북에 있습니다). 논문의 그림 1은 네 계층짜리 신경망을 CIFAR-10으로 훈련하여 훈련 오류율이 25%가
# 될 때까지 걸린 에폭(epoch)의 수를 비교합니다. ReLU가 tanh보다 6배 빨랐습니다(논문의 수치).
#
# 같은 실험을 작게 해 봅니다. cuda-convnet의 네 계층짜리 신경망을 가중치 감쇠(weight decay) 없이,
# 16×16픽셀 손글씨 숫자로 훈련합니다. 훈련 루프는 이 프로젝트의 것입니다. 시드(seed)도
# 학습률(learning rate)도 하나뿐이므로 맛보기일 뿐 판정은 아닙니다. (논문은 신경망마다 가장 좋은
# 학습률을 골랐습니다.)
#
# *여기서는 tanh가 몇 배 느릴까요?*

# %%
RATES = {"relu": 0.008, "tanh": 0.008}
EPOCHS = 1 if QUICK else 12


def training_errors(activation, stop=0.25):
    """The training error of each epoch, until it is at most `stop`."""
    settings = {
        "data.name": "digits",
        "data.data_dir": str(home / "data"),
        "data.image_size": 16,
        "net.image_size": 16,
        "net.activation": activation,
        "batch_size": 64,
        "epochs": EPOCHS,
        "schedule.rate": RATES[activation],
        "schedule.milestones": (),
        "optimizer.weight_decay": 0.0,
        "optimizer.layer_decay": (),
    }
    run = alexnet.setup(alexnet.load_config("../../configs/cifar10.py:19pct", settings))
    state, wrong, epochs = run.fresh(), [], []
    for step, batch in run.batches():
        state, sums = run.train_step(state, batch, run.hyperparameters(step))
        wrong.append(sums.top1_errors / sums.count)
        if int(run.epoch(step)) > len(epochs) or step == run.steps:
            epochs.append(float(np.mean(wrong)))
            wrong = []
            if epochs[-1] <= stop:
                break
    return epochs


curves = {activation: training_errors(activation) for activation in RATES}
_, axes = plt.subplots(figsize=(8, 2.8))
for activation, curve in curves.items():
    line = "-" if activation == "relu" else "--"
    axes.plot(np.arange(1, len(curve) + 1), curve, f"o{line}", label=activation, markersize=4)
axes.axhline(0.25, color="0.6", linewidth=1, linestyle=":")
axes.set(xlabel="epoch", ylabel="training error", ylim=(0, 1))
axes.yaxis.set_major_formatter("{x:.0%}")
axes.legend()
bare(axes)
plt.show()
to_25 = {name: len(curve) if curve[-1] <= 0.25 else math.inf for name, curve in curves.items()}
print(f"epochs to 25%: {to_25}, a factor of {to_25['tanh'] / to_25['relu']:.1f}")
assert QUICK or to_25["relu"] < to_25["tanh"]

# %% [markdown] id="crops"
# ## 8. 오버피팅 방지: 데이터 증강 (4.1절)
#
# 매개변수는 6,000만 개인데 사진은 120만 장입니다. 그대로 훈련하면 신경망은 사진을 외웁니다. 이것이
# 오버피팅(overfitting)입니다. 오버피팅을 막는 첫 번째 방법은 데이터 증강(data augmentation)입니다.
# 사진을 쓸 때마다 256×256에서 224×224를 새로 잘라 내고, 두 번에 한 번은 좌우로 반전합니다.
#
# *사진 한 장에서 모두 몇 가지가 나올까요? 논문에는 2048배라고 적혀 있습니다. 2048은 32 · 32 ·
# 2입니다.*

# %%
for name, pixels in originals.items():
    for split, photo in (("train", pixels), ("val", pixels[:, ::-1])):
        folder = home / "photos" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / "photo.png")


def training_views(count=7, **changes):
    """(run, the temple's pixels, `count` random views of it); the mean is not subtracted."""
    settings = {
        "data.name": f"folder:{home / 'photos'}",
        "data.data_dir": str(home / "data"),
        "augment.mean": "pixel",
        "augment.mean_pixel": (0.0, 0.0, 0.0),
        **{f"augment.{name}": value for name, value in changes.items()},
    }
    run = alexnet.setup(alexnet.load_config("../../configs/folder.py:paper", settings))
    images, labels = run.store.read("train", range(2))
    temple = images[list(labels).index(run.store.classes.index("temple"))]
    return run, temple, np.asarray(run.inputs(1, {"image": np.stack([temple] * count)}))


run, temple, views = training_views(colour_noise=0.0)
_, axes = plt.subplots(1, 7, figsize=(10, 1.6))
pictures(axes, views)
plt.tight_layout()
plt.show()
border = run.config.data.image_size - run.net.image_size
print(f"{border + 1} · {border + 1} places, mirrored or not: {2 * (border + 1) ** 2:,}")
assert views.shape == (7, 224, 224, 3)
assert 2 * (border + 1) ** 2 == 2178

# %% [markdown] id="colour"
# 데이터 증강의 두 번째 방법은 빛을 바꾸는 것입니다. 훈련 사진의 모든 픽셀을 빨강, 초록, 파랑의 세
# 축에 점으로 찍으면 길쭉한 구름이 되고, 가장 긴 방향은 밝기입니다. 논문은 주성분 분석(principal
# component analysis, PCA)으로 구름의 세 축을 구하고, 사진마다 색을 그 축을 따라 무작위로 옮깁니다.
# 옮기는 크기는 $0.1$에 축의 고윳값(eigenvalue)을 곱한 정도입니다. 논문은 이 방법으로 top-1 오류율이
# 1%p 넘게 낮아졌다고 합니다(논문의 수치). 비교 대상은 `augment.colour_noise=0`입니다.
#
# 그런데 0에서 255까지인 픽셀에 이 식을 글자 그대로 쓰면 터무니없는 그림이 나옵니다. 고윳값은 표준
# 편차가 아니라 *분산*이기 때문입니다. 저자들의 소스 코드는 고윳값의 제곱근을 쓰며, 이 프로젝트도
# 같습니다. 아래의 셋째 줄이 글자 그대로 한 결과입니다.

# %%
rows = {
    "0.1 · deviation": training_views(random_crop=False, flip=False),
    "0.3 · deviation": training_views(random_crop=False, flip=False, colour_noise=0.3),
    "0.1 · variance": training_views(random_crop=False, flip=False, colour_scale="variance"),
}
_, axes = plt.subplots(3, 7, figsize=(9.5, 4.6))
for panels, (title, (*_, views)) in zip(axes, rows.items(), strict=True):
    pictures(panels, views)
    panels[0].set_title(title, loc="left")
plt.tight_layout()
plt.show()
shifts = {title: views - temple[16:240, 16:240] for title, (*_, views) in rows.items()}
for title, shift in shifts.items():
    print(f"{title}: pixels move by {abs(shift).mean():,.0f} on average")
one_colour = np.ptp(shifts["0.1 · deviation"], (1, 2)).max()  # 한 사진의 픽셀은 똑같이 움직임
assert one_colour < 1e-3
assert abs(shifts["0.1 · variance"]).mean() > 255 > 30 > abs(shifts["0.1 · deviation"]).mean()

# %% [markdown] id="dropout"
# ## 9. 오버피팅 방지: 드롭아웃 (4.2절)
#
# 드롭아웃(dropout)은 훈련할 때 fc6과 fc7의 출력 하나하나를 2분의 1의 확률로 0으로 만듭니다. 무엇을
# 지울지는 이미지마다, 훈련 단계마다 새로 정합니다. 그래서 어느 뉴런도 특정 뉴런에 기댈 수 없습니다.
# 시험할 때는 하나도 지우지 않고, 대신 출력을 절반으로 줄입니다.
#
# *한 뉴런이 여덟 출력 2, 4, 1, 3, 5, 0, 2, 7을 더합니다. 훈련할 때는 평균 얼마를 읽고, 시험할 때는
# 얼마를 읽을까요?*

# %%
outputs = jnp.array([2.0, 4, 1, 3, 5, 0, 2, 7])
keys = jax.random.split(jax.random.key(0), 10_000)
sums = np.asarray(alexnet.ops.dropout(jnp.tile(outputs, (10_000, 1)), 0.5, keys).sum(-1))
in_test = float((0.5 * outputs).sum())
expected_std = float(jnp.sqrt((outputs**2).sum() / 4))

_, axes = plt.subplots(1, 2, figsize=(12, 2.6))
axes[0].hist(sums, np.arange(-0.5, 25), color="0.75")
axes[0].axvline(in_test, color=RED)
axes[0].set(title="10,000 masks: what the neuron reads (red: test)", yticks=[])
print(f"average {sums.mean():.1f}, standard deviation {sums.std():.1f}; test {in_test:g}")
assert in_test == 12
assert f"{expected_std:.1f}" == "5.2"
assert abs(sums.mean() - 12) < 0.2
assert abs(sums.std() - expected_std) < 0.2

masked = jax.jit(
    lambda params, key: alexnet.apply(net, params, x_BHWC[:1], train=True, dropout_key=key)[0][0]
)
keys = jax.random.split(jax.random.key(1), 5 if QUICK else 25)
drawn = np.stack([masked(params, key) for key in keys])
agreement = [
    float(np.corrcoef(drawn[:n].mean(0), logits[0])[0, 1]) for n in range(1, len(drawn) + 1)
]
axes[1].plot(range(1, len(drawn) + 1), agreement, color=BLUE)
axes[1].set(title="the full net: mean logits of n masks against the test's", xlabel="n masks")
axes[1].set(ylabel="correlation", ylim=(0, 1.02))
bare(*axes)
plt.tight_layout()
plt.show()
slope = np.polyfit(np.asarray(logits[0]), drawn.mean(0), 1)[0]
print(f"{len(drawn)} masks: correlation {agreement[-1]:.2f}, slope {slope:.2f}")
assert agreement[0] < agreement[-1]
assert QUICK or 0.8 < slope < 1.2

# %% [markdown] id="dropout-answer"
# 둘 다 12입니다. 오른쪽 그림은 무작위 가중치를 준 전체 신경망에서 얻은 것입니다. 마스크(mask)
# 하나로 구한 로짓(logit)은 시험할 때의 로짓과 닮은 데 그치지만, 여러 마스크의 평균은 거의
# 일치합니다. 출력을 절반으로 줄이는 것만으로, 수많은 신경망의 평균을 신경망 하나의 비용으로
# 대신하는 셈입니다. (요즘 라이브러리는 훈련할 때 출력을 두 배로 키우고 시험할 때는 그대로 둡니다.
# 평균은 같습니다.)
#
# 드롭아웃이 훈련을 빠르게 하는 것은 아닙니다. 논문에 따르면 수렴에 필요한 반복 횟수는 오히려 약 두
# 배로 늘어납니다. 그 대신 드롭아웃이 없으면 오버피팅이 심합니다. 비교 대상은 `net.dropout=0`입니다.

# %% [markdown] id="norm"
# ## 10. 일반화: 지역 응답 정규화 (3.3절)
#
# 맵 한 장이 강하게 반응하면 같은 자리에서 이웃한 맵은 약해집니다. 이것이 지역 응답 정규화(local
# response normalisation, LRN)입니다. 이웃은 픽셀이 아니라 *맵* 다섯 장입니다(손으로 하는 계산은
# `convolution` 노트북에 있습니다). GPU를 두 장 쓰면, 그림에는 잘 나오지 않는 경계가 생깁니다. 0부터
# 세어 47번 맵과 48번 맵은 번호로는 이웃이지만 서로 다른 타워에 있습니다.
#
# *맵 96장의 값이 모두 10이고 47번만 500입니다. 47번 때문에 더 약해지는 맵은 몇 번일까요?*

# %%
activity = np.full((1, 1, 1, 96), 10.0, np.float32)
activity[..., 47] = 500
norm = next(row for row in net.rows if row.name == "norm1")


def normalised(maps_BHWC):
    """By the row's own numbers."""
    return alexnet.ops.response_norm(maps_BHWC, norm.size, norm.k, norm.scale, norm.beta)


per_tower = np.concatenate([normalised(half) for half in np.split(activity, 2, -1)], -1).ravel()
across = np.asarray(normalised(activity)).ravel()
places = np.arange(42, 54)
_, axes = plt.subplots(1, 2, figsize=(12, 2.2), sharey=True)
for panel, values, title in (
    (axes[0], per_tower, "two towers"),
    (axes[1], across, "one tower"),
):
    colours = [BLUE if place < 48 or title == "one tower" else "tab:orange" for place in places]
    drawn_bars = panel.bar(places, values[places], color=colours)
    panel.bar_label(drawn_bars, [f"{value:.1f}" for value in values[places]])
    panel.set(title=title, xlabel="map", xticks=places, yticks=[], ylim=(0, 60))
axes[0].axvline(47.5, color="0.4", linestyle=":")
bare(*axes)
plt.tight_layout()
plt.show()
quiet = per_tower[0]
assert [int(m) for m in np.flatnonzero(per_tower < 0.9 * quiet)] == [45, 46]
assert [int(m) for m in np.flatnonzero(across < 0.9 * quiet)] == [45, 46, 48, 49]
assert norm.scale == 1e-4

# %% [markdown] id="norm-answer"
# 타워가 둘이면 두 장이 약해지고, 하나라면 네 장이 약해집니다. 논문에 따르면 정규화로 오류율이
# top-1에서 1.4%p, top-5에서 1.2%p 낮아졌습니다(논문의 수치). 정규화가 없는 쪽은
# `configs/imagenet.py:no_lrn`입니다.
#
# 소스 코드를 보아야 알 수 있는 점도 있습니다. 소스 코드는 $\alpha$를 먼저 $n$으로 나누므로 본문의
# 식보다 덜 약해집니다. `alexnet.build("alexnet")`은 소스 코드를 따르고, 여기서 쓰는
# `preset="paper"`는 본문을 따릅니다.

# %% [markdown] id="pooling"
# ## 11. 일반화: 중첩 풀링 (3.4절)
#
# 최대 풀링(max pooling)은 창마다 가장 큰 수만 남깁니다. 너비 $z=3$인 창을 $s=2$씩 옮기면 창이 서로
# 겹칩니다. 이것이 중첩 풀링(overlapping pooling)입니다. 겹치지 않는 $z=s=2$와 비교하면 맵의 크기는
# 거의 같고($z=s=2$에서는 소스 코드처럼 conv2와 conv5의 패딩도 한 픽셀 줄입니다) 매개변수의 수는
# 똑같습니다. 그런데도 논문에서는 오류율이 top-1에서 0.4%p, top-5에서
# 0.3%p 낮아졌고, 오버피팅도 조금 덜했습니다(논문의 수치). 겹치지 않는 쪽은
# `configs/imagenet.py:nonoverlapping_pool`입니다.
#
# 그럴 만한 까닭 하나를 눈으로 볼 수 있습니다. 사진을 한 픽셀 옮겨 봅니다.
#
# *풀링한 맵은 어느 쪽이 더 많이 달라질까요?*

# %%
apart = alexnet.build("alexnet", preset="paper", overlapping_pool=False)
maps_of = ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")
print("side of the maps", *maps_of)
for title, one in {"z = 3, s = 2": net, "z = s = 2": apart}.items():
    sides = {layer.row.name: layer.output_shape[0] for layer in one.layers if layer.row.needs_maps}
    shown = [f"{sides[name]:5}" for name in maps_of]
    print(f"{title:16}", *shown, f" {total(one, 'parameters'):,} parameters")
    assert total(one, "parameters") == count

edge = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
grey = photos["temple"].mean(-1)


def edges(left):
    """The vertical edges of the photo, from column `left` on: [1, 222, 222, 1]."""
    x = jnp.float32(grey[None, 16:240, left : left + 224, None])
    return alexnet.ops.relu(alexnet.ops.conv(x, edge[:, :, None, None], 1, ((0, 0), (0, 0))))


_, axes = plt.subplots(1, 5, figsize=(11, 2.3))
axes[0].imshow(grey[16:240, 16:240], cmap="gray")
axes[0].set_title("photo")
changes = {}
for z in (3, 2):
    here, there = (alexnet.ops.max_pool(edges(left), z, 2)[0, :, :, 0] for left in (16, 17))
    changes[z] = float(jnp.linalg.norm(there - here) / jnp.linalg.norm(here))
    first = 1 if z == 3 else 3
    axes[first].imshow(here, cmap="gray_r", vmax=500)
    axes[first].set_title(f"edges, z = {z}, s = 2")
    axes[first + 1].imshow(there - here, cmap="RdBu_r", vmin=-500, vmax=500)
    axes[first + 1].set_title(f"moved by a pixel: {changes[z]:.0%} change")
for panel in axes:
    panel.axis("off")
plt.tight_layout()
plt.show()
assert changes[3] < changes[2]

# %% [markdown] id="rule"
# ## 12. 갱신 규칙 (5절)
#
# $$v \leftarrow 0.9\,v - 0.0005\,\varepsilon w - \varepsilon\,\nabla L, \quad w \leftarrow w + v.$$
#
# 모멘텀(momentum)은 0.9, 가중치 감쇠는 0.0005입니다. 미니배치는 사진 128장이고, 검증 오류율이 더
# 낮아지지 않을 때 학습률을 10분의 1로 낮추기를 세 번 했습니다. 눈여겨볼 것은 학습률 $\varepsilon$이
# 속도 $v$의 *안*에 있다는 점입니다. PyTorch와 `optax.sgd`에서는 바깥에 있습니다. 식으로는
# $v \leftarrow 0.9\,v + \nabla L$, $w \leftarrow w - \varepsilon v$입니다. (Keras는 논문처럼 안에
# 둡니다.) 학습률이 그대로인 동안에는 두 규칙이 같습니다.
#
# *학습률을 10분의 1로 낮추면 그때까지 쌓인 속도는 어떻게 될까요?*


# %%
def valley(w):
    """A loss with a long, narrow valley."""
    return 0.5 * (w[0] ** 2 + 12 * w[1] ** 2)


def walk(rule, drop=15, steps=30):
    """Where an optax rule of a rate goes; the rate drops once, and the velocity is kept."""
    w, states, path = jnp.array([-4.0, 1.0]), None, []
    for step in range(steps):
        path.append(w)
        optimizer = rule(0.02 if step < drop else 0.002)
        states = optimizer.init(w) if states is None else states
        updates, states = optimizer.update(jax.grad(valley)(w), states, w)
        w = optax.apply_updates(w, updates)
    return np.array(path)


DECAY = optax.add_decayed_weights(0.0005)
rules = {
    "paper: rate inside": lambda rate: optax.chain(DECAY, optax.scale(-rate), optax.trace(0.9)),
    "rate outside": lambda rate: optax.chain(DECAY, optax.trace(0.9), optax.scale(-rate)),
    "no momentum": lambda rate: optax.chain(DECAY, optax.trace(0.0), optax.scale(-rate)),
}
paths = {name: walk(rule) for name, rule in rules.items()}

w, v = np.array([-4.0, 1.0]), np.zeros(2)  # 논문에 적힌 대로
for step in range(30):
    np.testing.assert_allclose(paths["paper: rate inside"][step], w, atol=1e-5)
    rate = 0.02 if step < 15 else 0.002
    v = 0.9 * v - 0.0005 * rate * w - rate * np.array([w[0], 12 * w[1]])
    w = w + v

_, axes = plt.subplots(figsize=(10, 3.2))
grid = np.meshgrid(np.linspace(-4.3, 2.2, 100), np.linspace(-1.2, 1.2, 100))
axes.contour(*grid, valley(grid), 12, colors="0.85")
for (name, path), mark in zip(paths.items(), ("o-", "s--", "^:"), strict=True):
    axes.plot(*path.T, mark, markersize=4, label=name)
    axes.plot(*path[15], "k*", markersize=12, zorder=4)
axes.set(xlabel="w[0]", ylabel="w[1]", title="30 steps; stars: the rate drops to a tenth")
axes.legend(loc="upper center", ncol=3)
bare(axes)
plt.show()
travelled = {name: abs(path[-1] - path[15])[0] for name, path in paths.items()}
for name, distance in travelled.items():
    print(f"{name}: moves {distance:.2f} along w[0] after the drop")
inside, outside = (paths[name] for name in ("paper: rate inside", "rate outside"))
np.testing.assert_allclose(inside[:16], outside[:16], atol=1e-5)
assert travelled["paper: rate inside"] > 5 * travelled["rate outside"]

# %% [markdown] id="rule-answer"
# 논문의 규칙에서는 속도가 그대로 남아, 걸음마다 10분의 9로 줄며 더 굴러갑니다. 학습률이 바깥에
# 있으면 속도 자체는 그대로이지만, 그 속도로 내딛는 걸음이 단번에 10분의 1이 됩니다. `optax.sgd`가
# 뒤의 규칙이므로, 학습률을 처음 낮추는 순간부터 논문과 달라집니다. 이 프로젝트는 위의 첫 번째
# 규칙을 씁니다.
#
# 가중치는 표준 편차 0.01인 잡음에서 시작합니다. conv2, conv4, conv5, fc6, fc7의 편향(bias)은 1에서
# 시작하므로 처음에는 ReLU가 열려 있습니다. (이 초깃값으로는 이 프로젝트의 작은 신경망이 아무렇게나
# 답하는 수준(오류율 90%)에서 벗어나지 못했습니다. 15절에 결과가, `docs/fidelity.md`에 까닭이
# 있습니다. 저자들의 소스 코드에서 conv3~conv5의 표준 편차는 0.03입니다.)
#
# *클래스가 1,000개일 때, 아무것도 모르는 신경망의 손실(loss)은 얼마일까요?*

# %%
for row in net.weighted:
    kernel, bias = params[row.name]["kernel"], params[row.name]["bias"]
    print(f"{row.name}: deviation {kernel.std():.4f}, biases {float(bias.min()):g}")
    assert abs(kernel.std() - 0.01) < 2e-4
    assert bool((bias == (row.name in ("conv2", "conv4", "conv5", "fc6", "fc7"))).all())
loss = float(-jax.nn.log_softmax(logits).mean())
print(f"loss, averaged over all 1,000 labels: {loss:.2f}; ln 1000 = {math.log(1000):.2f}")
assert abs(loss - math.log(1000)) < 0.3

# %% [markdown] id="views"
# ## 13. 사진 한 장을 열 번 보기 (4.1절, 6절)
#
# 시험할 때는 사진마다 크롭 10개를 봅니다. 네 모서리와 중앙, 그리고 이 다섯을 좌우로 반전한
# 것입니다. 크롭마다 나온 *확률*을 평균합니다.
#
# *로짓을 먼저 평균하고 나서 softmax로 확률을 구해도 같을까요?*

# %%
corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
views = [photos["temple"][y : y + 224, x : x + 224] for y, x in corners]
_, axes = plt.subplots(1, 11, figsize=(12, 1.5))
pictures(axes, [photos["temple"], *views, *(view[:, ::-1] for view in views)])
for y, x in corners:
    axes[0].add_patch(Rectangle((x, y), 223, 223, fill=False, edgecolor="white", linewidth=0.8))
axes[0].set_title("256×256")
axes[1].set_title("five views of 224×224 ...", loc="left")
axes[6].set_title("... and their reflections", loc="left")
plt.tight_layout()
plt.show()

three_views = jnp.array([[4.0, 0, 0], [0, 1.5, 0], [0, 1.5, 0]])  # 세 클래스의 로짓
of_probabilities = jax.nn.softmax(three_views).mean(0)
of_logits = jax.nn.softmax(three_views.mean(0))
print("mean of the probabilities:", *(f"{p:.3f}" for p in of_probabilities))
print("softmax of mean logits:   ", *(f"{p:.3f}" for p in of_logits))
assert [f"{p:.3f}" for p in of_probabilities] == ["0.424", "0.467", "0.109"]
assert [f"{p:.3f}" for p in of_logits] == ["0.505", "0.362", "0.133"]

# %% [markdown] id="views-answer"
# 같지 않습니다. 이 예에서는 확률이 가장 높은 클래스까지 바뀝니다. 로짓을 평균하면 확신이 아주 큰
# 크롭 하나가 다른 둘을 누릅니다. 논문에서는 크롭 10개를 평균하여 top-5 오류율이 18.3%에서 17.0%로
# 낮아졌습니다(논문의 수치).
#
# `reload_checkpoint` 노트북(영어)은 같은 방법을 손글씨 숫자에 써 보는데, 오류가 오히려 늘어납니다.
# 뒤집힌 2는 2가 아니기 때문입니다. 훈련이 끝난 신경망의 커널(그림 3)도, 서로 닮은 이미지를 찾는
# 셀(그림 4)도 그 노트북에 있습니다. ImageNet의 열 클래스로 30에폭 훈련한 전체 신경망의 그림 3은
# `experiments/results/figure3.png`에 있습니다.

# %% [markdown] id="depth"
# ## 14. 깊이의 중요성 (7절)
#
# 논문에 따르면 가운데 계층은 어느 것을 빼도 top-1 오류율이 약 2%p 높아집니다(논문의 수치). 표에서는
# 두 행(합성곱과 그 ReLU)을 빼는 일입니다. 이렇게 일부를 빼고 비교하는 것을 제거
# 실험(ablation)이라고 합니다.
#
# *뺐을 때 깊이만 달라지는 계층은 어느 것일까요? 다른 것까지 함께 달라지는 계층은 어느 것일까요?*

# %%
removed = {name: alexnet.build("alexnet", preset="paper", remove=name) for name in convs[1:]}
for name, one in {"": net, **removed}.items():
    meet = [row.name for row in one.rows if row.reads_all]
    parameters = total(one, "parameters")
    title = f"without {name}" if name else "all layers"
    print(f"{title:14} {parameters:,} ({parameters / count - 1:+6.1%}), meet in", *meet)
work = 1 - total(removed["conv4"], "multiply_adds") / total(net, "multiply_adds")
print(f"without conv4: {work:.0%} fewer multiply-adds")
assert total(removed["conv3"], "parameters") == 59_858_920
assert total(removed["conv4"], "parameters") == 60_301_288
assert total(removed["conv5"], "parameters") == 79_396_968
assert "conv3" not in [row.name for row in removed["conv3"].rows if row.reads_all]

# %% [markdown] id="depth-answer"
# 깊이만 달라진다고 할 만한 것은 conv4입니다. 매개변수가 1.1%, 계산량이 15% 줄지만 나머지 계층의
# 가중치는 형상이 그대로입니다. conv2를 빼면 conv3이 맵 256장이 아니라 96장을 읽습니다. conv3을 빼면
# 두 타워가 fc6에 가서야 만납니다. conv5를 빼면 fc6이 맵 256장이 아니라 384장을 읽게 되어, 신경망이
# 오히려 *커집니다*. 이 비교를 모두 훈련하는 실험이 `experiments/depth.py`입니다.

# %% [markdown] id="measured"
# ## 15. 기여도 및 결과: 여기서 잰 것
#
# 주장마다 논문의 수치와 저자들의 기록(실행 번호별, 145가 주 실행)을 함께 적었습니다. 이름이
# *cuda-convnet's ...*인 행과 네 계층짜리 신경망의 "기록"(the log)은 cuda-convnet이 밝힌
# 오류율입니다. 논문의 수치가 "-"이면 저자들의 기록에서 온 주장이거나 이 프로젝트가 덧붙인 비교이며,
# 덧붙인 비교에는 판정이 없습니다. 결과는 이 프로젝트에서 잰 것으로, `experiments/results`에 있는
# 파일에서 바로 읽습니다. 오류율은 top-1이고, n은 실행의 수입니다(CNN 다섯 개에서는 다섯 개를 평균한
# 앙상블의 수이며, 그 다섯의 평균 오류율과 비교합니다). 차이는 시드가 같은 기준 실행과 비교한
# 값(%p)이며, 대괄호 안은 95% 구간입니다. cifar10에서는 작은 AlexNet(pocket)을 8에폭 훈련했고, 그림
# 1과 네 계층짜리 신경망, 그리고 이름이 *cuda-convnet's ...*인 행만은 cuda-convnet의 신경망입니다.
# 이 마지막 행들은 기준이 없이 공개된 오류율과 비교하며, 판정하려면 실행 다섯 번이 필요합니다.
# ImageNet의 클래스 열 개인 imagenette에서는 전체 신경망을 30에폭 훈련했고, 사전 훈련의 행에서만은
# 32×32픽셀 사진으로 작은 AlexNet을 훈련했습니다. 판정은 그 행의 데이터셋과 훈련에만 해당하며
# ImageNet에 대한 것이 아닙니다. 구간에 0(배수는 1)이 들어 있으면 차이가 있다고 말할 수 없습니다.
# *supported*(뒷받침됨)는 구간 전체가 0(배수는 1)을 기준으로 주장과 같은 쪽에 있다는 뜻이며,
# 크기까지 맞다는 뜻은 아닙니다. *contradicted*(반박됨)는 구간이 그쪽에 있지 않으면서 주장한 크기도
# 구간 밖에 있거나, 논문이 크기를 말하지 않았다면 구간이 반대쪽에 있다는 뜻입니다. 짝지은 실행이
# 다섯 쌍보다 적거나, 그 쌍들로는 주장만큼 작은 차이를 알아볼 수 없거나, 그 훈련으로는 주장을 검증할
# 수 없으면 *cannot tell*(알 수 없음)입니다. 쌍이 필요한 까닭은 `read_ablations` 노트북에 영어로
# 적었습니다. 아직 실행하지 않은 주장까지 모은 표는 `experiments/README.md`에 있습니다.

# %%
measured = [row for row in alexnet.compare_results("../results", "..") if row["claim"]]
for row in measured:
    epochs = row["metric"].startswith("epochs")  # 배수의 로그가 들어 있음
    unit, change = (" epochs", "factor {:.2f}") if epochs else ("%", "difference {:+.2f}")
    numbers = [row[key] for key in ("difference", "low", "high") if row[key] is not None]
    numbers = np.exp(numbers) if epochs else numbers
    said = f"{row['dataset']}, n = {row['n']}: "
    said += "never got there" if row["mean"] is None else f"{row['mean']:.2f}{unit}"
    if row["pairs"] and row["target"] is None:
        said += f", {change.format(numbers[0])}"
        said += " [{:.2f}, {:.2f}]".format(*numbers[1:]) if len(numbers) > 1 else ""
    print(f"{row['claim']}; the paper: {row['paper'] or '-'}; the log: {row['log'] or '-'}")
    print(f"    {said} {row['verdict']}{row['caveat'] and ': ' + row['caveat']}")
shown = {(row["experiment"], row["arm"]) for row in measured}
assert {("lrn", "no_lrn"), ("depth", "no_conv4"), ("relu_tanh", "tanh")} <= shown

# %% [markdown] id="figure-1"
# 그림 1에 대해서는, CIFAR-10에서 신경망마다 가장 빠른 학습률을 찾아본 기록이 있습니다. 시드는
# 하나씩이며, 한 에폭에 걸쳐 평균했으므로 25%에 닿는 때가 위의 수보다 늦습니다. 실선은 ReLU, 긴
# 점선은 tanh, 가로로 그은 가는 점선은 25%입니다. (이 탐색의 마지막인 tanh 0.008과 0.016의 기록은
# `results/cpu`에 있습니다.)
#
# *6배 빠르다는 주장이 확인되었을까요?*

# %%
LOGS = Path("../results/runs")
runs = {row["name"]: row for row in alexnet.read_results(LOGS) if row["name"].startswith("fig1-")}


def by_activation(item):
    """The order of the legend."""
    return item[1]["config.net.activation"], item[1]["config.schedule.rate"]


_, axes = plt.subplots(figsize=(9, 3.4))
for name, row in sorted(runs.items(), key=by_activation):
    log = [line for line in alexnet.read_log(LOGS / name) if "train/top1_error" in line]
    errors = np.array([line["train/top1_error"] for line in log])
    smooth = np.convolve(errors, np.ones(8) / 8, "valid")  # 한 에폭의 평균
    activation, rate = row["config.net.activation"], row["config.schedule.rate"]
    epochs = [line["epoch"] for line in log][7:]
    axes.plot(epochs, smooth, "-" if activation == "relu" else "--", label=f"{activation} {rate:g}")
axes.axhline(0.25, color="0.6", linewidth=1, linestyle=":")
axes.set(xlabel="epoch", ylabel="training error, CIFAR-10", ylim=(0, 1))
axes.yaxis.set_major_formatter("{x:.0%}")
axes.legend(title="rate", ncol=5, fontsize="small")
bare(axes)
plt.show()
four_layers = total(alexnet.build("cifar_19pct", classes=10), "parameters")
print(f"cuda-convnet's four-layer net has {four_layers:,} parameters")
assert four_layers == 89_578
shown = {row["config.net.activation"] for row in runs.values()}
assert {"relu", "tanh"} <= shown

# %% [markdown] id="figure-1-answer"
# 배수를 말하려면 두 신경망이 저마다 가장 빠른 학습률에서 겨루어야 합니다. 위 목록의 배수가 그
# 값으로, ReLU는 0.004, tanh는 0.008에서 쟀습니다(곡선은 `experiments/results/figure1.png`에
# 있습니다). 시드가 다섯 쌍보다 적으므로 판정은 *cannot tell*입니다. 학습률이 같을 때에도 ReLU가
# 훨씬 앞섭니다.
#
# 큰 데이터셋과 깊은 신경망, 그리고 GPU가 한자리에 모인 이 결과를 계기로 컴퓨터 비전은 딥러닝(deep
# learning)으로 옮겨 갔습니다. 논문의 수치를 재현(reproduction)하는 명령은 거의 모두
# `docs/paper.md`에 있고, 지금까지 나온 결과는 `experiments/README.md`에 있습니다.

# %% [markdown] id="questions"
# ## 세 가지 질문
#
# 모두 위의 셀을 고쳐 실행하면 답이 나옵니다.
#
# 1. 7절에서 tanh의 학습률을 절반인 0.004와 두 배인 0.016으로 바꾸어 보십시오. 몇 배라는 답은
#    학습률에 얼마나 좌우됩니까?
# 2. 4절에서 위쪽 타워의 커널을 두 배로 키울 때 conv1 대신 conv4를 고르십시오. 아래쪽 타워에서는
#    어느 계층이 달라집니까? `communicate=False`인 신경망에서는 어떻습니까? (신경망은 2절에서
#    만듭니다.)
# 3. 14절에서 합성곱 계층 대신 `pool5`를 빼 보십시오. 매개변수는 어떻게 되고, 달라진 계층은
#    무엇입니까? 기울기와 속도까지 더하면 3 GB(3 · 10⁹바이트)인 GPU 한 장에 들어갑니까? 5절의
#    출력까지 더하면 어떻습니까?

# %% [markdown] id="answers"
# <details><summary>답</summary>
#
# 1. 여기서 ReLU는 3에폭이 걸리고, tanh는 0.004에서 11에폭, 0.008에서 7에폭, 0.016에서 5에폭이
#    걸립니다. 배수로는 3.7, 2.3, 1.7입니다. 가장 큰 배수의 절반 이상이 학습률에서 나온 셈이고,
#    ReLU에도 더 나은 학습률이 있을지 모릅니다. 그래서 공정하게 겨루려면 신경망마다 학습률을 따로
#    찾아야 합니다.
# 2. fc6, fc7, fc8입니다. conv4 다음의 conv5는 자기 타워만 읽습니다. `communicate=False`라면 두
#    타워가 만나는 fc8뿐입니다.
# 3. 매개변수가 200,425,832개로, 세 배가 넘습니다. 달라진 계층은 fc6뿐입니다. 9,216개가 아니라 13 ·
#    13 · 256 = 43,264개의 수를 읽어 매개변수가 177,213,440개가 됩니다. 기울기와 속도까지 더하면
#    2.41 · 10⁹바이트로 GPU 한 장에 들어가지만, 출력까지 더하면 3.04 · 10⁹바이트로 들어가지
#    않습니다.
#
# </details>
