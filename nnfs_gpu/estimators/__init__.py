"""Estimators for scikit-learn: a network of this package behind `fit`, `predict` and `score`."""

from .classes import NNFSClassifier, NNFSRegressor

__all__ = ["NNFSClassifier", "NNFSRegressor"]
