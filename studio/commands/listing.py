"""What `winnow operators` lists."""

from __future__ import annotations

from typing import Any


def operator_rows() -> list[dict[str, Any]]:
    """kind, name, parameters with their defaults, and the first line of the docstring, of every operator."""
    from curation.normalizers import NORMALIZERS
    from curation.scorers import SCORERS
    from curation.selectors import SELECTORS
    from synthesis.synthesizers import SYNTHESIZERS

    kinds = {"scorer": SCORERS, "selector": SELECTORS, "normalizer": NORMALIZERS, "synthesizer": SYNTHESIZERS}
    return [
        {
            "kind": kind,
            "name": operator.name,
            "parameters": ", ".join(
                n if field.is_required() else f"{n}={field.default}" for n, field in operator.model_fields.items()
            ),
            "summary": operator.summary(),
        }
        for kind, operators in kinds.items()
        for operator in operators
    ]
