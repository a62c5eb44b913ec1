"""A page on one run or several: parts from workdirs, figures, one HTML file."""
