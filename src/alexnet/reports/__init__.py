"""A page on one run or several: parts made from workdirs, their figures, and one HTML file."""
