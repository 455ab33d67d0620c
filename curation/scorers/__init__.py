"""The scorers. A new one is a file with a class, and its entry in `SCORERS`."""

from __future__ import annotations

from curation.operators import Scorer
from curation.scorers.file import File
from curation.scorers.heuristics import Heuristics
from curation.scorers.ifd import IFD
from curation.scorers.length import Length
from curation.scorers.metadata import Metadata

__all__ = ["IFD", "SCORERS", "File", "Heuristics", "Length", "Metadata"]

SCORERS: tuple[type[Scorer], ...] = (Length, Heuristics, Metadata, File, IFD)
