"""The selectors. A new one is a file with a class, and its entry in `SELECTORS`."""

from __future__ import annotations

from curation.operators import Selector
from curation.selectors.cluster_quota import ClusterQuota
from curation.selectors.deita import Deita
from curation.selectors.dpp import DPP
from curation.selectors.facility_location import FacilityLocation
from curation.selectors.hybrid import Hybrid
from curation.selectors.importance_resampling import ImportanceResampling
from curation.selectors.instag_diverse import InstagDiverse
from curation.selectors.k_center import KCenter
from curation.selectors.longest import Longest
from curation.selectors.mig import MIG
from curation.selectors.qdit import QDIT
from curation.selectors.quantile_band import QuantileBand
from curation.selectors.random import Random
from curation.selectors.rds import RDS
from curation.selectors.semdedup import SemDeDup
from curation.selectors.stratified import Stratified
from curation.selectors.threshold import Threshold
from curation.selectors.top_k import TopK

__all__ = [
    "DPP",
    "MIG",
    "QDIT",
    "RDS",
    "SELECTORS",
    "ClusterQuota",
    "Deita",
    "FacilityLocation",
    "Hybrid",
    "ImportanceResampling",
    "InstagDiverse",
    "KCenter",
    "Longest",
    "QuantileBand",
    "Random",
    "SemDeDup",
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
    InstagDiverse,
    MIG,
    Hybrid,
    QuantileBand,
    Threshold,
    RDS,
    Deita,
    SemDeDup,
    ClusterQuota,
    FacilityLocation,
    QDIT,
    DPP,
)
