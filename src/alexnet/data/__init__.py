"""Sections 2 and 4.1: images, from their source to batches, one file per stage.

recipe.py      config.data: which dataset, where, and how its images are stored
sources/       a dataset as it came: classes, splits of encoded images, what is left out of it
images.py      encoded image -> square RGB pixels, as the paper stored them
statistics.py  mean image and colour PCA of the training set, in one pass
intake.py      a source -> the files of a store, in one pass
records.py     a split's images on disk: shards of ArrayRecord, with checksums
inventory.py   what was found, used and left out
store.py       the prepared dataset on disk: training reads it, without TFDS or TensorFlow
kept.py        small images that stay in memory
synsets.py     words for ImageNet's classes
summary.py     a store's summary for people, and warnings
progress.py    a bar on a terminal, a line a minute elsewhere
prepare.py     a recipe -> its store, made or found
pipeline.py    store -> batches, by Grain: shuffled, resumable, the same for any number of hosts
augment.py     batch -> what the net sees, inside the jitted step
"""
