"""Tags brought to one spelling and one tag per meaning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PrivateAttr

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl


class InsTagNormalized(Scorer):
    """The tags of each sample after rare ones are left out and those that say the same are merged.

    What became of each tag, and why, is one line of a file in the folder `tags` of the corpus. Write lines with another
    `canonical` into a file of your own (`aliases=FILE`) to correct it; the tags as they were stay in their column.

    Source: InsTag, Lu et al. 2024, arXiv:2308.07074, section 3: frequency filter, rules, semantic and association
        aggregation, with its numbers (DBSCAN at cosine distance 0.05; support 40, confidence 99 %).

    Columns:
        instag_normalized (VARCHAR[]): canonical tags, each once; null where the sample has not been tagged.
        instag_normalized_count (BIGINT): how many, 0 or more.

    Differs from the source: a tag is rare below 2 samples in pools under 50,000, below 20 (the paper's number) in
        larger ones. Letters are compared by default, where the source has PhraseBERT. Clusters that a chain drew out
        beyond `max_diameter` are cut. Rules have one tag on each side, as those with more say nothing about a single
        tag, and none leads to a tag that half of the samples have.
    """

    name: ClassVar[str] = "instag-normalized"
    whole: ClassVar[bool] = True

    tags: str = Field("instag", min_length=1, description="Column of tags; also the corpus' own `tags`")
    min_count: int | None = Field(
        None, ge=1, description="Leave out tags of fewer samples; empty: 2, or 20 from 50,000"
    )
    model: str = Field("lexical", description="Encoder of the tags: lexical, sentence-transformers:NAME, or none")
    distance: float = Field(0.05, ge=0, lt=1, description="Cosine distance up to which two tags are one")
    max_diameter: float | None = Field(0.1, gt=0, description="Largest distance within merged tags; empty: no limit")
    min_support: int | None = Field(40, ge=1, description="Samples that show that one tag implies another; empty: off")
    min_confidence: float = Field(0.99, gt=0.5, le=1, description="Share of a tag's samples that have the other too")
    aliases: str | None = Field(None, description="File of corrections, which outrank every step")

    _corpus_folder: Path | None = PrivateAttr(None)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.tags,)

    @property
    def columns(self) -> dict[str, str]:
        return {"instag_normalized": "VARCHAR[]", "instag_normalized_count": "BIGINT"}

    def in_corpus(self, folder: Path) -> Self:
        """This scorer, which now leaves its file of aliases in the corpus."""
        mine = self.model_copy()
        mine._corpus_folder = folder
        return mine

    def fingerprint(self) -> str:
        """Hash of the corrections, and of the encoder where it is a folder."""
        from curation.subsets.tag_similarity import encoder_digest
        from curation.tag_normalizing import corrections_in

        encoder = encoder_digest(self.model)
        if not self.aliases:
            return encoder
        corrections = repr(sorted(corrections_in(Path(self.aliases)).items()))
        return hashlib.sha256(f"{corrections}{encoder}".encode()).hexdigest()[:16]

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.tag_normalizing import (
            Normalization,
            alias_file,
            applied,
            corrections_in,
            normalized,
            save_aliases,
        )

        how = Normalization(
            self.min_count, self.model, self.distance, self.max_diameter, self.min_support, self.min_confidence
        )
        corrections = corrections_in(Path(self.aliases)) if self.aliases else {}
        found = normalized(batch[self.tags], how, corrections)
        if self._corpus_folder is not None:
            save_aliases(alias_file(self._corpus_folder, self.spec_json()), found)
        lists = applied(batch[self.tags], found).alias("instag_normalized")
        count = pl.col("instag_normalized").list.len().cast(pl.Int64).alias("instag_normalized_count")
        untagged = pl.col("instag_normalized").is_null()
        reason = pl.when(untagged).then(pl.lit(f"no tags in {self.tags}")).alias("reason")
        return lists.to_frame().with_columns(count, reason)
