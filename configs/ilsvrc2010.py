"""The paper's main experiment, ILSVRC-2010: 1000 classes, 1,261,406 images, a public test set.

    python -m alexnet.prepare imagenet2010
    python -m alexnet.train --config=configs/ilsvrc2010.py --workdir=runs/2010
    python -m alexnet.evaluate --workdir=runs/2010 --checkpoint=last --split=test --ten_crop

Table 1, top-1 / top-5 errors on the 150,000 test images: this net 37.5 / 17.0, on the centre patch
alone 39.0 / 18.3; SIFT + FVs 45.7 / 25.7; sparse coding 47.1 / 28.2. The source's log of run
145-2010 has 37.4727 / 16.9987 (ten crops; log-probability 1.614660) and 39.0247 / 18.2953 (centre;
1.706031); for the one-GPU net, the variant one_gpu, it has 39.1680 / 18.2287 (1.702802). None was
run here.

This config has the variants of `configs/imagenet.py` except those of the Fall releases; variants
without a schedule of their own use the epochs of run 145-2010. The run's last parameter file has
bias rates of .002. The log does not say when they fell, so here they stay .02, except conv1's.
"""

from base import BASE, one_of
from imagenet import IMAGENET, VARIANTS

ILSVRC2010 = {
    "data.name": "imagenet2010",
    "epochs": 93,
    "schedule.milestones": ((23, 0.001), (51, 0.0001), (78, 0.00001)),
    "schedule.events": (
        (68, "conv1.kernel", 0.00001),
        (68, "conv1.bias", 0.002),
        (68, "colour_noise", 0.0),
        (72, "conv1", 0.0),
    ),
}


def get_config(variant: str = "original") -> list[dict]:
    here = {name: own for name, own in VARIANTS.items() if not name.startswith("fall_")}
    return [BASE, IMAGENET, ILSVRC2010, one_of(here, variant)]
