"""Datasets: exact ranges of the log (or of recordings), read as columns, named by a digest, checked, frozen.

A source (sources.py, frozen.py) brings records partition by partition; collecting.py makes of them the digest
(digest.py), the columns by asset (columns.py), the dataset file (file.py) and the training set. The three kinds of
source go the same way from the records on, so the same records give the same training set from whichever of them.
"""
