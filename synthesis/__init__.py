"""New samples from seed samples: Evol-Instruct and distillation, through any chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from synthesis.prompt_improvement import improve_prompt
    from synthesis.self_instruct import SelfInstruct
    from synthesis.synthesizing import SynthesizeReport, synthesize
    from synthesis.textbook import Textbook
    from synthesis.verified_pairs import VerifiedPairs

__all__ = [
    "BackTranslation",
    "BestOfN",
    "CodeWithTests",
    "ContrastPairs",
    "CritiqueRepair",
    "Decomposition",
    "Distill",
    "DocumentQuestions",
    "EvolAnswer",
    "EvolInstruct",
    "Magpie",
    "MathsVariants",
    "NoisyPrompts",
    "OnPolicyPairs",
    "PersonaQuestions",
    "SelfInstruct",
    "SynthesizeReport",
    "Textbook",
    "VerifiedPairs",
    "improve_prompt",
    "synthesize",
]

_HOMES = {
    "SelfInstruct": "synthesis.self_instruct",
    "NoisyPrompts": "synthesis.noisy_prompts",
    "Magpie": "synthesis.magpie",
    "EvolAnswer": "synthesis.evol_answer",
    "Decomposition": "synthesis.decomposition",
    "BackTranslation": "synthesis.back_translation",
    "Distill": "synthesis.distill",
    "EvolInstruct": "synthesis.evol_instruct",
    "BestOfN": "synthesis.best_of_n",
    "CodeWithTests": "synthesis.code_with_tests",
    "ContrastPairs": "synthesis.contrast_pairs",
    "CritiqueRepair": "synthesis.critique_repair",
    "DocumentQuestions": "synthesis.document_questions",
    "MathsVariants": "synthesis.maths_variants",
    "OnPolicyPairs": "synthesis.on_policy_pairs",
    "PersonaQuestions": "synthesis.persona_questions",
    "Textbook": "synthesis.textbook",
    "VerifiedPairs": "synthesis.verified_pairs",
    "SynthesizeReport": "synthesis.synthesizing",
    "improve_prompt": "synthesis.prompt_improvement",
    "synthesize": "synthesis.synthesizing",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
