"""Figure 1: training errors of nets, and the 25% to reach, drawn as in the paper."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

Points = Sequence[tuple[float, float]]  # (epoch, top-1 training error, 0 to 1)


def draw(figure: Figure, racers: Mapping[str, Sequence[Points]], goal: float = 0.25) -> None:
    """A line for each run: solid for the first racer, dashed for the second, as in the paper.

    Args:
        racers: {name: its runs}, such as one run for each seed; at most four.
        goal: the training error to reach, 0 to 1: a dotted line.
    """
    axes = figure.subplots()
    axes.axhline(goal, color="C6", linewidth=0.8, linestyle=":")
    for place, ((name, runs), style) in enumerate(
        zip(racers.items(), ("-", "--", "-.", ":")[: len(racers)], strict=True)
    ):
        for number, points in enumerate(runs):
            label = name if number == 0 else None
            axes.plot(*zip(*points, strict=True), style, color=f"C{place}", lw=1.4, label=label)
    axes.set_xlabel("epochs")
    axes.set_ylabel("training error rate")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 0.75)
    axes.legend(loc="upper right", fontsize=9)
