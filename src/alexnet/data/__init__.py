"""Images, from official archives to shuffled uint8 batches, one file per station.

raw.py         a dataset as it came: classes, and splits of encoded images
builders.py    a dataset's name -> its raw data: TFDS builders, digits, image folders
digits.py      a TFDS builder of the 1,797 digits that come with scikit-learn: no download
ilsvrc2010.py  a TFDS builder of ILSVRC-2010, from its official archives
folder.py      a folder of images with one sub-folder per class
images.py      encoded image -> square RGB pixels, as the paper stored them
statistics.py  mean image and colour PCA of the training set, in one pass
store.py       our ArrayRecord files: everything training reads, without TFDS or TensorFlow
prepare.py     raw data -> store                      python -m alexnet.prepare cifar10
pipeline.py    store -> batches, by Grain: shuffled, resumable, the same for any number of hosts
"""
