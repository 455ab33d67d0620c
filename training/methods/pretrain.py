"""Continued pre-training: learn whole texts."""

from __future__ import annotations

from typing import ClassVar

from training.methods.sft import SFT


class Pretrain(SFT):
    """Every token is a label: of documents (format text), and of conversations, written out by the chat template.

    A document ends in the end token; one longer than max_length goes on in the next row, nothing is cut off. With
    `order` related, documents of similar wording are packed together (see `training.data.relatedness`); they see each
    other with `packing` wrapped alone, which does not keep samples apart.
    """

    name = "pretrain"
    title = "Continued pre-training: learn whole texts"
    formats: ClassVar[tuple[str, ...]] = (*SFT.formats, "text")
    reads: ClassVar[frozenset[str]] = frozenset({"packing", "reasoning", "order", "replay"})
