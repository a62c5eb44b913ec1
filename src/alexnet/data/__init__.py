"""Sections 2 and 4.1: images, from official archives to batches, one file per station.

sources/       a dataset as it came: classes, and splits of encoded images
images.py      encoded image -> square RGB pixels, as the paper stored them
statistics.py  mean image and colour PCA of the training set, in one pass
store.py       our ArrayRecord files: everything training reads, without TFDS or TensorFlow
prepare.py     source -> store
pipeline.py    store -> batches, by Grain: shuffled, resumable, the same for any number of hosts
augment.py     batch -> what the net sees, inside the jitted step
"""
