from __future__ import annotations

import random
from itertools import pairwise

import pytest

from training.config import TrainConfig
from training.data.encoding import Account, Encoded
from training.data.packing import PACKINGS, Piece, efficiency, packed
from training.data.rows import columns, related, rows_of
from training.data.training_set import TrainingSet

LENGTHS = [6, 3, 4, 5, 2]


def test_unpacked_every_sample_is_a_row_and_a_batch_as_wide_as_its_longest() -> None:
    assert packed(LENGTHS, 10, "none") == [[Piece(i, 0, n)] for i, n in enumerate(LENGTHS)]
    fill = efficiency(LENGTHS, 10, "none", batch_size=2)
    # Batches (6, 3), (4, 5), (2): 12 + 10 + 2 places for 20 tokens.
    assert (fill.rows, fill.tokens, fill.padding, fill.fill) == (5, 20, 4, round(20 / 24, 4))


def test_best_fit_keeps_samples_whole_and_fills_rows() -> None:
    rows = packed(LENGTHS, 10, "best-fit")
    assert rows == [[Piece(0, 0, 6), Piece(2, 0, 4)], [Piece(3, 0, 5), Piece(1, 0, 3), Piece(4, 0, 2)]]
    assert efficiency(LENGTHS, 10, "best-fit").fill == 1.0


def test_wrapped_cuts_the_samples_one_after_the_other_every_max_length_tokens() -> None:
    assert packed(LENGTHS, 8, "wrapped") == [
        [Piece(0, 0, 6), Piece(1, 0, 2)],
        [Piece(1, 2, 3), Piece(2, 0, 4), Piece(3, 0, 3)],
        [Piece(3, 3, 5), Piece(4, 0, 2)],
    ]
    assert packed([20], 8, "wrapped") == [[Piece(0, 0, 8)], [Piece(0, 8, 16)], [Piece(0, 16, 20)]]
    fill = efficiency(LENGTHS, 8, "wrapped")
    assert (fill.rows, fill.padding, fill.fill) == (3, 4, round(20 / 24, 4))


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_token_is_lost_or_doubled_and_no_row_is_too_long(packing: str) -> None:
    chance = random.Random(0)
    lengths = [min(64, int(chance.expovariate(1 / 20)) + 1) for _ in range(500)]
    for in_order in (False, True):
        rows = packed(lengths, 64, packing, in_order=in_order)
        assert all(0 < sum(piece.tokens for piece in row) <= 64 for row in rows)
        tokens = sorted((p.sample, t) for row in rows for p in row for t in range(p.start, p.stop))
        assert tokens == [(sample, t) for sample, length in enumerate(lengths) for t in range(length)]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("seed", range(8))
def test_efficiency_counts_the_rows_that_packing_makes(packing: str, seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.randint(0, 70) for _ in range(chance.randint(1, 400))]
    rows = packed(lengths, 64, packing)
    fill = efficiency(lengths, 64, packing)
    assert (fill.rows, fill.tokens) == (len(rows), sum(piece.tokens for row in rows for piece in row))


def test_best_fit_in_order_keeps_neighbours_near() -> None:
    chance = random.Random(0)
    lengths = [chance.randint(1, 40) for _ in range(400)]
    rows = packed(lengths, 64, "best-fit", in_order=True)
    first = [min(piece.sample for piece in row) for row in rows]
    assert first == sorted(first)
    assert max(max(p.sample for p in row) - min(p.sample for p in row) for row in rows) < 150
    assert len(rows) < 1.1 * len(packed(lengths, 64, "best-fit"))


def test_nothing_to_pack_is_no_row() -> None:
    for packing in PACKINGS:
        assert packed([], 8, packing) == []
        assert efficiency([0], 8, packing).fill == 0.0


def test_a_document_that_goes_on_learns_its_first_token_from_the_piece_before() -> None:
    def piece(ids: list[int], *, continues: bool) -> Encoded:
        return Encoded("d", "s", ids, [False, *[True] * (len(ids) - 1)], continues=continues)

    samples = [piece([1, 2, 3], continues=False), piece([4, 5], continues=True)]
    made = columns(samples, packed([3, 2], 5, "wrapped"), {"channel": [0, 1]})
    assert made["input_ids"] == [[1, 2, 3, 4, 5]]
    assert made["labels"] == [[-100, 2, 3, 4, 5]]
    assert made["channel"] == [[0, 0, 0, 1, 1]]
    assert made["seq_lengths"] == [[3, 2]]


class Words:
    """Decodes a number to a sentence."""

    sentences = ("the cat sat on the mat", "stocks fell as interest rates rose", "rain and snow in the hills")

    def decode(self, ids: list[int], **rest: bool) -> str:
        return f"{self.sentences[ids[0] % 3]} {ids[0]}"


def test_related_documents_come_one_after_the_other_and_their_pieces_stay_together() -> None:
    rows = []
    for number in range(30):
        rows.append(Encoded(str(number), "s", [number, 1], [False, True]))
        rows.append(Encoded(str(number), "s", [number, 2], [False, True], continues=True))
    ordered = related(rows, Words())
    assert sorted(row.id for row in ordered) == sorted(row.id for row in rows)
    assert all(a.id == b.id and b.continues for a, b in zip(ordered[::2], ordered[1::2], strict=True))
    kinds = [int(row.id) % 3 for row in ordered[::2]]
    assert sum(a != b for a, b in pairwise(kinds)) == 2
    assert ordered == related(rows, Words())


def test_a_wrapped_row_whose_only_label_is_its_first_token_is_left_out() -> None:
    def sample(*loss: bool) -> Encoded:
        return Encoded("s", "s", [1] * len(loss), list(loss))

    # Rows of eight: the ninth token carries loss, but in the second row nothing comes before it.
    samples = [sample(*[False] * 7, True, True), sample(*[False] * 7), sample(False, True)]
    data = TrainingSet(samples, [], Account(), 18)
    layout = rows_of(data, TrainConfig(base_model="m", max_length=8, packing="wrapped", order="mix"))
    assert layout.rows == [[Piece(0, 0, 8)], [Piece(2, 0, 2)]]
    assert layout.without_loss == 1
