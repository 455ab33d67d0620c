"""The scorers. A new one is a file with a class, and its entry in `SCORERS`."""

from __future__ import annotations

from curation.operators import Scorer
from curation.scorers.arithmetic import Arithmetic
from curation.scorers.classifier import Classifier
from curation.scorers.contamination import Contamination
from curation.scorers.file import File
from curation.scorers.heuristics import Heuristics
from curation.scorers.ifd import IFD
from curation.scorers.importance import Importance
from curation.scorers.language import Language
from curation.scorers.length import Length
from curation.scorers.metadata import Metadata
from curation.scorers.near_duplicate import NearDuplicate
from curation.scorers.novelty import Novelty
from curation.scorers.semantic_duplicate import SemanticDuplicate
from curation.scorers.toxicity import Toxicity

__all__ = [
    "IFD",
    "SCORERS",
    "Arithmetic",
    "Classifier",
    "Contamination",
    "File",
    "Heuristics",
    "Importance",
    "Language",
    "Length",
    "Metadata",
    "NearDuplicate",
    "Novelty",
    "SemanticDuplicate",
    "Toxicity",
]

SCORERS: tuple[type[Scorer], ...] = (
    Length,
    Heuristics,
    Language,
    Arithmetic,
    Toxicity,
    Metadata,
    File,
    IFD,
    Classifier,
    Importance,
    Novelty,
    NearDuplicate,
    SemanticDuplicate,
    Contamination,
)
