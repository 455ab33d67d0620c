"""The scorers. A new one is a file with a class, and its entry in `SCORERS`."""

from __future__ import annotations

from curation.operators import Scorer
from curation.scorers.arithmetic import Arithmetic
from curation.scorers.classifier import Classifier
from curation.scorers.code_tests import CodeTests
from curation.scorers.concept import Concept
from curation.scorers.constraints import Constraints
from curation.scorers.contamination import Contamination
from curation.scorers.deita_complexity import DeitaComplexity
from curation.scorers.deita_quality import DeitaQuality
from curation.scorers.file import File
from curation.scorers.final_answer import FinalAnswer
from curation.scorers.heuristics import Heuristics
from curation.scorers.ifd import IFD
from curation.scorers.importance import Importance
from curation.scorers.instag import InsTag
from curation.scorers.instag_normalized import InsTagNormalized
from curation.scorers.judge import Judge
from curation.scorers.language import Language
from curation.scorers.length import Length
from curation.scorers.less import Less
from curation.scorers.metadata import Metadata
from curation.scorers.near_duplicate import NearDuplicate
from curation.scorers.novelty import Novelty
from curation.scorers.pass_rate import PassRate
from curation.scorers.perplexity import Perplexity
from curation.scorers.ranked_judge import RankedJudge
from curation.scorers.reward import Reward
from curation.scorers.s_ifd import SelectiveIFD
from curation.scorers.semantic_duplicate import SemanticDuplicate
from curation.scorers.target_fit import TargetFit
from curation.scorers.toxicity import Toxicity

__all__ = [
    "IFD",
    "SCORERS",
    "Arithmetic",
    "Classifier",
    "CodeTests",
    "Concept",
    "Constraints",
    "Contamination",
    "DeitaComplexity",
    "DeitaQuality",
    "File",
    "FinalAnswer",
    "Heuristics",
    "Importance",
    "InsTag",
    "InsTagNormalized",
    "Judge",
    "Language",
    "Length",
    "Less",
    "Metadata",
    "NearDuplicate",
    "Novelty",
    "PassRate",
    "Perplexity",
    "RankedJudge",
    "Reward",
    "SelectiveIFD",
    "SemanticDuplicate",
    "TargetFit",
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
    SelectiveIFD,
    Perplexity,
    TargetFit,
    DeitaComplexity,
    DeitaQuality,
    Reward,
    Classifier,
    Concept,
    Importance,
    InsTag,
    InsTagNormalized,
    Novelty,
    NearDuplicate,
    SemanticDuplicate,
    Contamination,
    Less,
    Judge,
    RankedJudge,
    FinalAnswer,
    CodeTests,
    Constraints,
    PassRate,
)
