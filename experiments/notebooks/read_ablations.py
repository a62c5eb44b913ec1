# %% [markdown] id="title"
# # Reading ablations
#
# An ablation removes something and measures what it was worth. The answer is a difference between
# two error rates, but error rates also differ between seeds. We train a small sweep and read it: a
# table, pictures, paired differences with intervals, and the smallest effect that so few runs can
# show. Then we read this project's stored results.
#
# - **Needs** a clone of this project, matplotlib and pandas. No download, no GPU.
# - **Takes** about three minutes on two free cores, mostly for training eighteen small nets.
# - **Try** other numbers. An `assert` checks the original cell: if one fails, what it checks has
#   changed, and the next cell still runs.
#
# The next cell installs missing packages. In a hosted notebook, first clone the project and make
# `experiments/notebooks` the working directory (`%cd`). The cell accepts ranges of versions, so it
# keeps an installed jax that fits.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "../.."  # a clone of the project, or its address: "git+https://..."
if not all(map(importlib.util.find_spec, ("alexnet", "pandas"))):
    packages = [SOURCE, "matplotlib>=3.10,<4", "pandas>=2.2,<4"]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)

# %%
import math
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas
from scipy import stats

import alexnet

QUICK = "ALEXNET_QUICK" in os.environ  # the project's tests train for less long
home = Path(tempfile.mkdtemp())  # for the experiment and its runs
plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.titlesize": 10})
BLUE, RED = "#2166ac", "#b2182b"


def bare(*panels):
    """Takes away the lines above and to the right."""
    for panel in panels:
        panel.spines[["right", "top"]].set_visible(False)


def intervals(panel, rows, unit="points"):
    """The mean difference and its interval, a line for each of (name, mean, low, high)."""
    panel.axvline(0, color="0.6", linewidth=1)
    for place, (_, mean, low, high) in enumerate(rows):
        if low is not None and not math.isnan(low):
            panel.plot([low, high], [place] * 2, color=BLUE, linewidth=4, alpha=0.4)
        panel.plot(mean, place, "o", color=BLUE)
    panel.set_yticks(range(len(rows)), [name for name, *_ in rows])
    panel.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"difference from the baseline, {unit}")
    bare(panel)


# %% [markdown] id="sweep"
# ## 1. A sweep
#
# An experiment is a file with arms, scales and, optionally, claims. Arms are dicts of settings; the
# first is the baseline. This experiment measures what ReLU and response normalisation are worth to
# a pocket AlexNet on digits of 16×16 pixels, in its first three epochs. According to the paper,
# nets with tanh learn several times more slowly, and AlexNet's error is 1.4 points higher without
# response normalisation.
#
# `alexnet sweep` trains every arm with every seed. After an interruption, the same command would
# continue.
#
# *Six seeds, three epochs: which of the two claims will show?*

# %%
SEEDS = 2 if QUICK else 6
ARMS = {"baseline": {}, "tanh": {"net.activation": "tanh"}, "no_lrn": {"net.norm": False}}
CLAIMS = {
    "tanh": {"claim": "tanh, not ReLU (3.1)", "direction": +1},  # more errors, by no number
    "no_lrn": {"claim": "without LRN (3.3)", "effect": 1.4},  # points of top-1 error
}
SCALES = {
    "notebook": {
        "config": str(Path("../../configs/digits.py").resolve()),
        "seeds": SEEDS,
        "overrides": {
            "data.data_dir": str(home / "data"),
            "data.image_size": 16,
            "net.image_size": 16,
            "batch_size": 64,
            "epochs": 1 if QUICK else 3,
            "schedule.milestones": (),
        },
    }
}
title = '"""What ReLU and response normalisation are worth to a pocket AlexNet, early."""'
parts = [title, f"ARMS = {ARMS!r}", f"CLAIMS = {CLAIMS!r}", f"SCALES = {SCALES!r}"]
(home / "early.py").write_text("\n".join(parts) + "\n")

command = [sys.executable, "-m", "alexnet.sweep", f"{home / 'early.py'}:notebook"]
done = subprocess.run(
    [*command, f"--workdir={home / 'runs'}"], capture_output=True, text=True, check=False
)
said = done.stdout.replace(str(home), "...").splitlines()
print(*said[:7], "...", said[-1], sep="\n")
assert done.returncode == 0, done.stderr

# %% [markdown] id="table"
# ## 2. A table
#
# `alexnet.read_results` returns rows of plain values for pandas: one row per finished run, one
# column per setting. Errors are fractions.

# %%
runs = pandas.DataFrame(alexnet.read_results(home / "runs"))
print(f"{len(runs)} runs, {len(runs.columns)} columns")
assert len(runs) == SEEDS * len(ARMS)
assert {*runs["arm"]} == {*ARMS}
runs[["arm", "seed", "epochs", "top1_error", "best_top1_error", "config.net.norm"]].head(6)

# %% [markdown] id="pivot"
# Each row is a seed, each column an arm, in per cent. The validation set has 359 images, so one
# image is 0.28%.

# %%
errors = 100 * runs.pivot(index="seed", columns="arm", values="top1_error")[[*ARMS]]
assert errors.shape == (SEEDS, len(ARMS))
assert np.allclose(errors * 3.59, (errors * 3.59).round(), atol=1e-3)  # whole images
errors.round(2)

# %% [markdown] id="dots"
# ## 3. Look before you compute
#
# Each dot is a run. A line joins the runs of one seed, which started from the same weights (in the
# layers that both have) and saw the same images in the same order. The bar is the mean.
#
# *Which arm is better than the baseline, in your judgment? How sure are you?*

# %%
_, axes = plt.subplots(figsize=(7, 3.6))
for _, row in errors.iterrows():
    axes.plot(range(len(ARMS)), row, "-", color="0.8", linewidth=1, zorder=1)
for place, arm in enumerate(ARMS):
    axes.plot([place] * SEEDS, errors[arm], "o", color=BLUE, alpha=0.7)
    axes.plot([place - 0.15, place + 0.15], [errors[arm].mean()] * 2, color=RED, linewidth=2)
axes.set_xticks(range(len(ARMS)), ARMS)
axes.set(ylabel="validation error, %", ylim=(0, None), xlim=(-0.4, len(ARMS) - 0.6))
bare(axes)
plt.show()

# %% [markdown] id="pairs"
# ## 4. Differences, in pairs
#
# Seeds differ: one draws weights that learn fast, another draws weights that learn slowly. This
# moves both arms in the same way, so subtracting within a seed removes it.
#
# *Is the spread of the differences smaller than the arms' own spreads would suggest?* If runs of
# one seed had nothing in common, the variances would add up.

# %%
differences = errors.sub(errors["baseline"], axis=0).drop(columns="baseline")
spread = pandas.DataFrame(
    {
        "mean difference": differences.mean(),
        "std of the differences": differences.std(),
        "if unpaired": np.sqrt(errors.var() + errors["baseline"].var()).drop("baseline"),
        "correlation": errors.corr()["baseline"].drop("baseline"),
    }
)
assert np.allclose(
    spread["mean difference"], errors.drop(columns="baseline").mean() - errors["baseline"].mean()
)
print(differences.round(2).to_string())
spread.round(2)

# %% [markdown] id="pairs-answer"
# Pairing never changes the mean difference. It does change how precisely we know it: a positive
# correlation between the arms makes it more precise. If the correlation is near zero, as may happen
# after so few steps, pairing costs only a few degrees of freedom.

# %% [markdown] id="interval"
# ## 5. The interval
#
# Take $n$ differences with mean $\bar d$ and standard deviation $s$. The standard error of the mean
# is $s/\sqrt n$. Student's $t$ says how many standard errors the interval needs on each side; it
# accounts for $s$ being estimated from only $n$ numbers:
#
# $$\bar d \pm t_{n-1}\, \frac{s}{\sqrt n}.$$
#
# `alexnet compare` prints this interval, and `alexnet.compare_results` returns it in rows. The cell
# also computes it by hand and checks that both agree.

# %%
by_hand = {}
for arm, d in differences.items():
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / math.sqrt(len(d))
    by_hand[arm] = (d.mean(), d.mean() - half, d.mean() + half)

compared = pandas.DataFrame(alexnet.compare_results(home / "runs")).set_index("arm")
for arm, expected in by_hand.items():
    assert np.allclose(compared.loc[arm, ["difference", "low", "high"]].astype(float), expected)
assert QUICK or compared["verdict"].to_dict() == {
    "baseline": "",
    "tanh": "supported",
    "no_lrn": "cannot tell",
}
_, axes = plt.subplots(figsize=(8, 1.6))
intervals(axes, [(arm, *numbers) for arm, numbers in by_hand.items()])
plt.show()
columns = ["n", "mean", "std", "difference", "low", "high", "smallest", "claimed", "verdict"]
compared[columns].round(2)

# %% [markdown] id="interval-answer"
# An interval on one side of zero says that there is a difference, and how large it may be. An
# interval that contains zero does *not* say that there is no difference.
#
# Arms with a claim get a verdict. The verdict on tanh is no surprise. For response normalisation it
# is "cannot tell", and the column "smallest" shows that it could hardly have been otherwise: so few
# pairs with such a spread only show an effect several times as large as the claim. Section 7 shows
# how to compute this before a sweep. A verdict applies only to its dataset and training, here three
# epochs of digits, never to the paper's ImageNet.

# %% [markdown] id="covers"
# ## 6. What 95% means
#
# Let us simulate experiments whose truth we know: a difference of 1 point, and pairs with a
# standard deviation of 1. Each experiment draws $n$ pairs and computes its interval. Red intervals
# miss the true difference.
#
# *How many of 100 will be red? Will there be more with fewer pairs?*

# %%
rng = np.random.default_rng(0)
TRUTH, STD = 1.0, 1.0


def experiments(n, count, truth=TRUTH):
    """(lows, highs) of the intervals of so many experiments with n pairs."""
    d = rng.normal(truth, STD, (count, n))
    half = stats.t.ppf(0.975, n - 1) * d.std(1, ddof=1) / math.sqrt(n)
    return d.mean(1) - half, d.mean(1) + half


_, axes = plt.subplots(1, 4, figsize=(13, 3.6), sharex=True, sharey=True)
covered = {}
for panel, n in zip(axes, (2, 3, 5, 8), strict=True):
    lows, highs = experiments(n, 100)
    for place, (low, high) in enumerate(zip(lows, highs, strict=True)):
        missed = not low <= TRUTH <= high
        panel.plot([low, high], [place] * 2, color=RED if missed else "0.7", linewidth=1)
    panel.axvline(TRUTH, color=BLUE, linewidth=1)
    panel.axvline(0, color="0.3", linewidth=1, linestyle=":")
    width = np.median(highs - lows)
    panel.set(title=f"n = {n}: width {width:.1f}", xlim=(-7, 9), yticks=[], xlabel="points")
    many = experiments(n, 20_000)
    covered[n] = float(((many[0] <= TRUTH) & (many[1] >= TRUTH)).mean())
    bare(panel)
plt.tight_layout()
plt.show()
print({n: f"{share:.1%}" for n, share in covered.items()})
assert all(abs(share - 0.95) < 0.01 for share in covered.values())

# %% [markdown] id="covers-answer"
# The interval keeps its promise at every $n$: about five of 100 are red. With few pairs, it must be
# wide to do so. With $n=2$ it reaches $\pm 9$ times the standard deviation that the two
# differences show, and that may itself be wrong by a factor of several: some intervals above are
# tiny, others leave the picture.

# %% [markdown] id="smallest"
# ## 7. The smallest effect, and why fewer than five pairs say nothing
#
# Before launching a sweep, ask how large a difference must be for $n$ pairs to show it. "Show"
# means that the 95% interval excludes zero, which is a test at the 5% level; this should happen in
# 80% of such experiments. `alexnet compare` prints the answer as "detectable". Here we find it by
# simulation.
#
# *The paper's smallest claim is 0.4 points. If the differences have a standard deviation of 0.5,
# how many pairs does it need?*

# %%
NS = (2, 3, 4, 5, 6, 8, 12, 20, 30)
POWER = 0.8  # of the experiments should find the effect


def found(n, effect):
    """The share of experiments whose interval lies on one side of zero; the std is 1."""
    lows, highs = experiments(n, 8_000, effect)
    return float(((lows > 0) | (highs < 0)).mean())


def smallest_effect(n):
    """By bisection."""
    low, high = 0.0, 40.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if found(n, middle) > POWER else (middle, high)
    return high


smallest = {n: smallest_effect(n) for n in NS}
_, axes = plt.subplots(figsize=(8, 3))
axes.plot(list(smallest), list(smallest.values()), "o-", color=BLUE)
for n, effect in smallest.items():
    axes.annotate(f"{effect:.1f}", (n, effect), (4, 6), textcoords="offset points")
axes.axvspan(1, 4.5, color="0.93", zorder=0)
axes.set(xlabel="pairs", ylabel="smallest effect, in std", xscale="log", yscale="log")
axes.set_xticks(NS, NS)
axes.set_xticks([], minor=True)
axes.set(xlim=(1.7, 36), ylim=(0.4, 20))
bare(axes)
plt.show()

enough = next(n for n in range(2, 40) if found(n, 0.4 / 0.5) > POWER)
print(f"0.4 points with a std of 0.5: {enough} pairs")
for arm in differences if SEEDS in smallest else ():
    by_trying = smallest[SEEDS] * differences[arm].std()
    print(f"{arm}: {SEEDS} pairs could show {by_trying:.1f}; computed {compared.smallest[arm]:.1f}")
    assert abs(by_trying / compared.smallest[arm] - 1) < 0.05
assert smallest[3] > 3 > 1.8 > smallest[5]
assert 14 <= enough <= 16

# %% [markdown] id="smallest-answer"
# Three pairs only show a difference of more than three standard deviations, which one can see
# without statistics. Five pairs begin to be useful. So this project gives no verdict with fewer
# than five pairs, nor if the pairs could not show the claimed effect. "Cannot tell" is also a
# result: it comes with the effect that the pairs could show.

# %% [markdown] id="chance"
# ## 8. Many claims
#
# Suppose that none of 20 arms differs from its baseline, and that each has a 95% interval from
# eight pairs.
#
# *How many will look better than the baseline, and how many worse?*

# %%
lows, highs = experiments(8, 20 * 2_000, truth=0.0)
gains, losses = ((side.reshape(2_000, 20)).sum(1) for side in (highs < 0, lows > 0))
print(f"of 20, on average {gains.mean():.2f} look better and {losses.mean():.2f} worse")
print(f"at least one of either in {((gains + losses) > 0).mean():.0%} of such tables")
assert abs(gains.mean() - 0.5) < 0.05
assert abs(((gains + losses) > 0).mean() - (1 - 0.95**20)) < 0.03

# %% [markdown] id="best"
# ## 9. The best, or the last?
#
# A log has a row for each validation, and it is tempting to quote the lowest error. But that is the
# minimum of several noisy numbers, chosen on the same images that the error is reported for.
#
# *How far below the last error is the lowest, on average?* (Not all of that is optimism: the last
# net may really be worse. Only images that took no part in the choice could tell.)

# %%
flattery = 100 * (runs["top1_error"] - runs["best_top1_error"])
by_best = pandas.DataFrame(alexnet.compare_results(home / "runs", metric="best"))
print(f"the best validation is {flattery.mean():.2f} points lower than the last, on average")
assert (flattery >= 0).all()
by_best[["arm", "checkpoint", "mean", "difference", "low", "high"]].round(2)

# %% [markdown] id="real"
# ## 10. A real result, both arms
#
# `experiments/results` keeps complete runs. In Figure 1 of the paper, a net with ReLU reaches 25%
# training error on CIFAR-10 six times sooner than one with tanh. Both arms below have the same
# rate, the lowest of the search.
#
# *What do these two runs show?*

# %%
RESULTS = Path("../results")
kept = pandas.DataFrame(alexnet.read_results(RESULTS / "runs"))
both = kept[kept["config.schedule.rate"] == 0.0005]
_, axes = plt.subplots(figsize=(8, 3))
to_25 = {}
for row in both.itertuples():
    log = pandas.DataFrame(alexnet.read_log(RESULTS / "runs" / row.name))
    log = log.dropna(subset="train/top1_error")
    error = log["train/top1_error"].rolling(8).mean()  # about an epoch
    (line,) = axes.plot(log["epoch"], error, label=row.name)
    there = log["epoch"][error <= 0.25]
    to_25[row.name] = float(there.iloc[0]) if len(there) else None
axes.axhline(0.25, color="0.6", linewidth=1, linestyle=":")
axes.set(xlabel="epoch", ylabel="training error", ylim=(0, 0.9))
axes.yaxis.set_major_formatter("{x:.0%}")
axes.legend()
bare(axes)
plt.show()
print(to_25)
assert to_25["fig1-relu-0.0005-0"] < 15
assert to_25["fig1-tanh-0.0005-0"] is None

# %% [markdown] id="real-answer"
# ReLU gets there after some thirteen epochs. tanh does not get there in forty-five, so at this rate
# the factor is more than three, but we cannot say how much more. Besides, there is only one seed,
# and 0.0005 is the fastest rate of neither net. So the comparison has no pair, no difference and no
# interval. (In the table below, `mean` is the epochs to 25%, and differences are logarithms of
# factors. It averages the error over a fifth of an epoch, as cuda-convnet printed it, so it is a
# little below the number above; NaN: never reached.) Each net at its fastest rate, with three
# seeds, is in `experiments/README.md`.

# %%
rows = alexnet.compare_results(RESULTS / "runs", ["../relu_tanh.py:search"])
rows = [row for row in rows if row["experiment"] == "relu_tanh"]  # without 80sec's
search = pandas.DataFrame(rows).set_index("arm")
assert search.loc["relu_0.0005", "n"] == search.loc["tanh_0.0005", "n"] == 1
assert search["low"].isna().all()
search["factor"] = np.exp(search["difference"])
search[["n", "mean", "pairs", "factor", "low", "high"]].round(2)

# %% [markdown] id="all"
# ## 11. All that was measured
#
# The picture shows every comparison of errors in `experiments/results` that has at least two pairs
# and about which something is claimed.
# cuda-convnet's nets have no baseline: their rows show the difference from the published error, and
# n counts their runs. A cross marks the claimed effect, if a size is claimed: the paper's or, for
# `no_communication`, that of the authors' log. New results will appear automatically.

# %%
measured = pandas.DataFrame(alexnet.compare_results(RESULTS, ".."))
errors_claimed = (measured["metric"] == "top1_error") & (measured["verdict"] != "")
points = measured[measured["low"].notna() & errors_claimed]
if len(points):
    _, axes = plt.subplots(figsize=(8, 0.6 + 0.35 * len(points)))
    names = points["arm"] + ", " + points["dataset"] + ", n = " + points["pairs"].astype(str)
    numbers = points[["difference", "low", "high"]].itertuples(index=False)
    intervals(axes, [(name, *row) for name, row in zip(names, numbers, strict=True)])
    axes.plot(points["claimed"], range(len(points)), "x", color=RED)
    plt.show()
else:
    print("not measured yet: no comparison of errors has two pairs of runs")
print(f"{len(measured)} arms have runs")
assert len(measured) >= len(search)

# %% [markdown] id="questions"
# ## Three questions
#
# To answer a question, change a cell above and run from there.
#
# 1. In section 4, pair the wrong seeds: subtract the baseline's errors in another order,
#    `np.roll(errors["baseline"], 1)`. What happens to the mean differences, and to their spread?
#    What does that say about these seeds, and about a spread estimated from six numbers?
# 2. In section 5, keep the first three seeds, `differences.iloc[:3]`. Which arm still has an
#    interval without zero? (Compute only `by_hand`; it no longer agrees with
#    `alexnet.compare_results`.)
# 3. In section 7, lower `POWER` to 0.5. How many pairs does the paper's 0.4 then
#    need, and what is the price of this saving?

# %% [markdown] id="answers"
# <details><summary>Answers</summary>
#
# 1. The means stay: each run of the baseline is still subtracted once. The standard deviation falls
#    from 7.5 to 2.5 points for tanh and rises from 5.0 to 6.2 without LRN. So six pairs do not show
#    whether runs of one seed have anything in common after three epochs: a spread that was
#    estimated from six numbers may well be 40% too small or 60% too large.
# 2. Only tanh, from 43.3 to 70.7. Without LRN it goes from −21.9 to 9.3: three pairs need 4.3
#    standard errors on each side, six need 2.6.
# 3. 9 instead of 15; the simulation may also say 8, where the power is just below one half. The
#    price: half of the experiments would miss the effect, although it is there.
#
# </details>
