import duckdb
import pytest

from studio.pages.browse import search_condition


@pytest.mark.parametrize("text", ["straSSe", "Kelvin", "İstanbul", "100%_[a]\\", "it's", "σΑΣ", "两个\n字"])
def test_a_search_finds_what_ilike_finds(text: str) -> None:
    texts = [
        "Strasse STRASSE straße",
        "\u212aelvin kelvin",
        "istanbul İSTANBUL ıstanbul",
        "100%_[A]\\",
        "IT'S",
        "Σας σασ",
    ]
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT unnest(?) AS instruction, '' AS response", [[*texts, "两个\n字"]])
        slow = connection.execute("SELECT instruction ILIKE ? ESCAPE '\\' FROM t", [f"%{pattern}%"]).fetchall()
        fast = connection.execute(f"SELECT {search_condition(text)} FROM t").fetchall()
    assert fast == slow
    assert any(found for (found,) in fast)
