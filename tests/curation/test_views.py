import threading

import pytest

from curation.errors import WinnowError
from curation.views import View, remove_view, save_view, view_named, views


def test_a_view_is_what_was_saved(tmp_path):
    view = View("long answers", "browse", {"where": "turns > 1", "sort": "length"})
    save_view(tmp_path, view)
    assert view_named(tmp_path, "long answers") == view
    assert [view.name for view in views(tmp_path)] == ["long answers"]


def test_a_view_of_the_same_name_is_replaced_and_one_can_be_forgotten(tmp_path):
    save_view(tmp_path, View("a", "browse", {"where": "turns > 1"}))
    save_view(tmp_path, View("a", "map"))
    assert views(tmp_path) == [View("a", "map")]
    remove_view(tmp_path, "a")
    assert views(tmp_path) == []


def test_many_browsers_that_save_at_once_lose_nothing(tmp_path):
    names = [f"view {n:02}" for n in range(24)]
    threads = [threading.Thread(target=save_view, args=(tmp_path, View(name, "browse"))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [view.name for view in views(tmp_path)] == names


@pytest.mark.parametrize("name", ["", "  ", "../../etc/passwd", "a/b", ".hidden", "a\x00b", "x" * 300, "\u202egnp"])
def test_a_name_that_points_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(WinnowError, match="view"):
        save_view(tmp_path, View(name, "browse"))
    assert views(tmp_path) == []


def test_an_unknown_view_is_refused_with_the_names_there_are(tmp_path):
    save_view(tmp_path, View("short", "browse"))
    with pytest.raises(WinnowError) as refused:
        view_named(tmp_path, "shor")
    assert "short" in refused.value.fix


def test_a_file_that_is_no_view_is_passed_over(tmp_path):
    save_view(tmp_path, View("good", "browse"))
    (tmp_path / "views" / "bad.json").write_text("{")
    (tmp_path / "views" / "odd.json").write_text('{"page": "browse", "query": []}')
    assert [view.name for view in views(tmp_path)] == ["good"]
