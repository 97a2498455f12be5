"""Learned scores: labels, the training of the universal forest, and bundles ready to score.

The engine imports `bundle` and `forest` alone, which are light; `train` needs scikit-learn: a process of its own.
"""
