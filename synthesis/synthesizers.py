"""The synthesizers there are."""

from __future__ import annotations

from synthesis.back_translation import BackTranslation
from synthesis.best_of_n import BestOfN
from synthesis.code_with_tests import CodeWithTests
from synthesis.contrast_pairs import ContrastPairs
from synthesis.critique_repair import CritiqueRepair
from synthesis.decomposition import Decomposition
from synthesis.distill import Distill
from synthesis.document_questions import DocumentQuestions
from synthesis.evol_answer import EvolAnswer
from synthesis.evol_instruct import EvolInstruct
from synthesis.magpie import Magpie
from synthesis.maths_variants import MathsVariants
from synthesis.noisy_prompts import NoisyPrompts
from synthesis.on_policy_pairs import OnPolicyPairs
from synthesis.persona_questions import PersonaQuestions
from synthesis.self_instruct import SelfInstruct
from synthesis.synthesizer import Synthesizer
from synthesis.textbook import Textbook
from synthesis.verified_pairs import VerifiedPairs

SYNTHESIZERS: tuple[type[Synthesizer], ...] = (
    EvolInstruct,
    Distill,
    DocumentQuestions,
    PersonaQuestions,
    Textbook,
    MathsVariants,
    CodeWithTests,
    CritiqueRepair,
    BestOfN,
    VerifiedPairs,
    ContrastPairs,
    OnPolicyPairs,
    EvolAnswer,
    SelfInstruct,
    Magpie,
    BackTranslation,
    NoisyPrompts,
    Decomposition,
)
