"""The selectors. A new one is a file with a class, and its entry in `SELECTORS`."""

from __future__ import annotations

from curation.operators import Selector
from curation.selectors.hybrid import Hybrid
from curation.selectors.importance_resampling import ImportanceResampling
from curation.selectors.k_center import KCenter
from curation.selectors.longest import Longest
from curation.selectors.quantile_band import QuantileBand
from curation.selectors.random import Random
from curation.selectors.stratified import Stratified
from curation.selectors.threshold import Threshold
from curation.selectors.top_k import TopK

__all__ = [
    "SELECTORS",
    "Hybrid",
    "ImportanceResampling",
    "KCenter",
    "Longest",
    "QuantileBand",
    "Random",
    "Stratified",
    "Threshold",
    "TopK",
]

SELECTORS: tuple[type[Selector], ...] = (
    Random,
    Stratified,
    Longest,
    TopK,
    KCenter,
    ImportanceResampling,
    Hybrid,
    QuantileBand,
    Threshold,
)
