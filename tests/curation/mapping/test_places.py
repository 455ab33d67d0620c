"""Places: projections, samples that come later, polygons, crowds."""

from __future__ import annotations

import numpy as np
import pytest

from curation.mapping import projecting
from curation.mapping.crowds import crowds, levels_of
from curation.mapping.polygons import inside, nearest
from curation.mapping.projecting import components, fit_space, laid_out, neighbours, placed


def three_clouds(each=60, dimensions=8):
    random = np.random.default_rng(0)
    middles = np.eye(3, dimensions) * 6
    return np.concatenate([middle + random.normal(0, 0.4, (each, dimensions)) for middle in middles]).astype(np.float32)


def fitted(vectors):
    return fit_space(vectors, *components(vectors))


def test_principal_components_are_those_of_a_hand_computed_example():
    # Points on a line through (1, 1) in direction (3, 4) / 5, at -5, 0 and 5.
    mean, directions = components(np.array([[-2, -3], [1, 1], [4, 5]], np.float32), 1)
    assert mean.tolist() == [1, 1]
    assert np.allclose(directions[:, 0], [0.6, 0.8])
    assert np.allclose(fit_space(np.array([[4, 5]], np.float32), mean, directions), [[5, 0]])


def test_a_seed_gives_the_same_map_again_and_another_seed_another_one():
    vectors = fitted(three_clouds())
    first, again, other = (laid_out(vectors, "tsne", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_listener_hears_how_far_it_is_and_can_end_it():
    heard = []

    def listen(done, total, message):
        heard.append((done, total))
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        laid_out(fitted(three_clouds()), "tsne", progress=listen)
    assert heard == [(0, 750), (10, 750), (20, 750), (30, 750)]


def test_clouds_that_are_apart_stay_apart():
    places = laid_out(fitted(three_clouds()), "tsne")
    middles = places.reshape(3, 60, 2).mean(1)
    widths = np.linalg.norm(places.reshape(3, 60, 2) - middles[:, None], axis=2).max(1)
    gaps = [np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(gaps) > widths.max()


def test_equal_vectors_and_few_of_them_are_laid_out_too():
    assert np.isfinite(laid_out(fitted(np.ones((40, 4), np.float32)), "tsne")).all()
    assert laid_out(fitted(three_clouds(2)), "tsne").shape == (6, 2)
    assert fitted(np.ones((3, 1), np.float32)).shape == (3, 2)


def test_neighbours_leave_out_the_row_itself_even_among_its_equals():
    vectors = np.array([[0.0], [0.0], [0.0], [5.0]], np.float32)
    distances, places = neighbours(vectors, 2)
    assert all(row not in places[row] for row in range(4))
    assert distances[3].tolist() == [25, 25]


def test_of_many_samples_a_draw_is_laid_out_and_the_others_lie_among_their_neighbours(monkeypatch):
    monkeypatch.setattr(projecting, "FITTED_ON", 90)
    places = laid_out(fitted(three_clouds()), "tsne").reshape(3, 60, 2)
    middles = places.mean(1)
    own = np.linalg.norm(places - middles[:, None], axis=2)
    assert all(
        (own[a] < np.linalg.norm(places[a] - middles[b], axis=1)).all() for a in range(3) for b in range(3) if a != b
    )


def test_a_sample_that_comes_later_lies_amid_its_neighbours_weighted_by_nearness():
    known = np.array([[0, 0], [2, 0]], np.float32)
    places = np.array([[0, 0], [1, 1]], np.float32)
    # Squared distances 1 and 1: halfway; 0 and 4: on the first.
    found = placed(np.array([[1, 0], [0, 0]], np.float32), known, places)
    assert np.allclose(found, [[0.5, 0.5], [0, 0]], atol=1e-5)


def test_rows_whose_cells_hold_too_few_neighbours_find_them_all_the_same(monkeypatch):
    exact = neighbours(fitted(three_clouds()), 100)
    monkeypatch.setattr(projecting, "EXACT_UP_TO", 50)
    found = neighbours(fitted(three_clouds()), 100)
    assert (found[1] >= 0).all()
    assert np.allclose(found[0][:, 0], exact[0][:, 0], atol=1e-3)


def test_points_inside_a_polygon_are_those_counted_by_hand():
    points = np.array([[1, 1], [3, 1], [2, 2.5], [5, 5], [2, 0.2]], np.float32)
    triangle = [[0, 0.5], [4, 0.5], [2, 3]]
    assert inside(points, triangle).tolist() == [0, 1, 2]


def test_where_a_line_crosses_itself_the_part_wound_twice_is_outside():
    star = [[0, 10], [6, -8], [-9.5, 3], [9.5, 3], [-6, -8]]
    assert inside(np.array([[0, 0], [0, 6]]), star).tolist() == [1]


@pytest.mark.parametrize("line", [[], [[0, 0], [1, 1]], [[0, 0], [1, float("nan")], [1, 0]], [[0, 0, 0]] * 3])
def test_what_is_no_polygon_holds_nothing(line):
    assert inside(np.full((2, 2), 0.5), line).tolist() == []


def test_the_nearest_point_counts_only_within_reach():
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    assert nearest(points, [0.9, 0.9], 0.2) == 1
    assert nearest(points, [0.5, 0.5], 0.2) is None
    assert nearest(np.zeros((0, 2)), [0, 0], 1) is None


def test_holes_and_crowds_are_measured_in_doublings_of_a_fair_draw():
    # Of 400 samples a quarter is chosen: 25 of every 100 would be fair.
    pool, got = np.array([100, 100, 100, 100]), np.array([50, 25, 0, 25])
    assert levels_of(pool, got, 0.25).tolist() == [1, 0, -3, 0]


def test_few_samples_say_nothing_of_holes():
    assert levels_of(np.array([4, 396]), np.array([0, 100]), 0.25).tolist() == [0, 0]
    places = np.random.default_rng(0).random((50, 2))
    assert crowds(places, np.zeros(50, bool)) == []


def test_a_cell_is_told_by_column_and_row_from_below():
    places = np.concatenate([np.full((100, 2), [0.05, 0.95]), np.full((100, 2), [0.95, 0.05])])
    chosen = np.arange(200) < 100
    assert [(c.column, c.row, c.level) for c in crowds(places, chosen, 10)] == [(9, 0, -3), (0, 9, 1)]


def test_tsne_pulls_neighbours_together_more_than_principal_components():
    vectors = fitted(three_clouds(dimensions=20))
    kept = [near_kept(vectors, places) for places in (vectors[:, :2], laid_out(vectors, "tsne"))]
    assert kept[1] > kept[0]


def near_kept(vectors, places, count=10):
    before, after = (neighbours(np.ascontiguousarray(v, np.float32), count)[1] for v in (vectors, places))
    return np.mean([len(set(a) & set(b)) / count for a, b in zip(before, after, strict=True)])
