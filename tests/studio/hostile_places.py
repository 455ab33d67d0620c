"""The places of a studio that is full of hostile texts: what fills them, and the addresses that show them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

from curation.annotating import annotate, ask
from curation.corpus import Corpus
from curation.embedding import embed
from curation.mapping.maps import MapSpec, make_map
from curation.views import View, save_view
from studio.app import SECTIONS
from studio.jobs import process_start
from synthesis import Distill, synthesize
from tests.studio.hostile import HOSTILE
from tests.studio.pages import write_run
from tests.studio.test_pages_evaluate import JUDGED, OVERALL, PAIRS, REPORT, SCORES
from training.judging.answers import Answer, AnswerBook
from training.judging.bad_cases import bad_cases
from training.judging.pairwise import keep_pairs, texts_of
from training.judging.verified import keep_scores

IMAGE = HOSTILE[1]
"""Has no slash, so that a file may be called so, too."""
RUN, OTHER = f"{IMAGE} run", "**second** :red[run]"
QUESTION = "good"


def fill(corpus: Corpus, chat: str) -> None:
    """Every page has something to show, and all of it is hostile.

    Args:
        corpus: of `hostile.corpus_at`.
        chat: address of a server that a run is said to be served by.
    """
    with corpus.database.held():
        embed(corpus)
        make_map(corpus, MapSpec("pca", clusters=3))
        _labels(corpus)
        _new_samples(corpus)
        _runs(corpus, chat)
    _jobs(corpus)
    for number, text in enumerate((IMAGE, HOSTILE[13], HOSTILE[18], HOSTILE[22])):
        save_view(corpus.path, View(text, "browse", {"where": HOSTILE[number], "q": text}))


def _labels(corpus: Corpus) -> None:
    ids = corpus.frame(["id"], limit=12)["id"].to_list()
    ask(corpus, QUESTION, [IMAGE, HOSTILE[13], HOSTILE[22]], text=HOSTILE[0])
    ask(corpus, "concept", text=HOSTILE[11], kind="concept")
    annotate(corpus, QUESTION, IMAGE, ids=ids, who=HOSTILE[18])
    annotate(corpus, QUESTION, HOSTILE[13], ids=ids[::2], who=IMAGE)
    annotate(corpus, "concept", "yes", ids=ids[:6])
    annotate(corpus, "concept", "no", ids=ids[6:])


def _new_samples(corpus: Corpus) -> None:
    replies = corpus.path.parent / "replies.jsonl"
    lines = [{"contains": [text.split("\n")[0][:60]], "reply": f"{text} is the answer."} for text in HOSTILE[:6]]
    replies.write_text("\n".join(map(json.dumps, [*lines, {"contains": [""], "reply": HOSTILE[0]}])))
    synthesize(corpus, Distill(), f"replay:{replies}", where="turns = 2 AND starts_with(instruction, 'Say <')")


def _runs(corpus: Corpus, chat: str) -> None:
    answers = [
        Answer(
            f"p{n}", text[:80], [{"role": "user", "content": f"Asked {text}"}], f"#### {text}", model,
            f"{text} " * 30 if n % 2 else text, "stop", 5, f"w-{model}", HOSTILE[0],
        )
        for n, text in enumerate(HOSTILE[:12])
        for model in ("base", "trained")
    ]  # fmt: skip
    pairs = [
        {**PAIRS[0], "id": f"p{n}", "raw": [HOSTILE[n]] * 2, "why": HOSTILE[n],
         "texts": texts_of(answers[2 * n + 1], answers[2 * n])}
        for n in (0, 1)
    ]  # fmt: skip
    found = replace(
        JUDGED, base_model=HOSTILE[0], verdict=HOSTILE[0], reason=HOSTILE[13], dropped={HOSTILE[11]: 2},
        rows=[replace(OVERALL, source=text[:80]) for text in HOSTILE[:12]],
        groups={HOSTILE[18]: [replace(OVERALL, source=IMAGE)]}, answers=replace(REPORT, judge=HOSTILE[13]),
    )  # fmt: skip
    for name in (RUN, OTHER):
        folder = write_run(corpus, name)
        AnswerBook(folder).add(answers)
        keep_scores(folder, [{**score, "final_answer_reason": HOSTILE[1]} for score in SCORES])
        keep_pairs(folder, pairs)
        (folder / "evaluation.json").write_text(json.dumps(asdict(found)))
        (folder / "config.json").write_text(json.dumps({"base_model": HOSTILE[11], "adapter": "full", "max_steps": 3}))
    bad_cases(corpus.path / "runs" / RUN)
    places = {name: {"address": chat, "model": HOSTILE[0]} for name in ("trained", "base")}
    state = {"pid": os.getpid(), "process_start": process_start(os.getpid()), "places": places, "by": IMAGE}
    (corpus.path / "runs" / RUN / "serving.json").write_text(json.dumps(state))


def _jobs(corpus: Corpus) -> None:
    for number, text in enumerate(HOSTILE[:12]):
        folder = corpus.path / "jobs" / f"score-{number}"
        folder.mkdir(parents=True)
        words = ["score", str(corpus.path), text, "--where", text]
        about = {"argv": words, "cwd": text, "pid": 1, "process_start": "0", "started": number}
        (folder / "job.json").write_text(json.dumps(about))
        (folder / "log.txt").write_text(f"{text}\n\x1b[31m{text}\n")
        (folder / "events.jsonl").write_text(json.dumps({"at": 1, "done": 1, "total": 2, "message": text}) + "\n")
        if number % 2:
            (folder / "error.json").write_text(json.dumps({"message": f"failed at {text}", "fix": text}))
        else:
            (folder / "report.json").write_text(json.dumps({"name": text, "added": 3, text[:50]: text}))
        (folder / "exit_code").write_text(str(number % 2))


def addresses(corpus: Corpus) -> list[tuple[str, dict[str, str]]]:
    """(page, what its address asks): every page, every view of it that shows something else, and hostile filters."""
    asked = {"where": HOSTILE[22], "q": HOSTILE[0], "run": IMAGE, "mix": IMAGE, "sample": IMAGE, "view": IMAGE}
    samples = [corpus.frame(["id"], where=f"shape = '{shape}'", limit=1)["id"][0] for shape in shapes(corpus)]
    views: dict[str, list[dict[str, str]]] = {
        "browse": [{"as": "cards"}, {"view": "rejected"}, *({"sample": sample} for sample in samples), asked],
        "map": [{"q": "script"}, asked],
        "annotate": [{"view": "agreement"}],
        "score": [{"view": view} for view in ("distribution", "pair", "tags")] + [asked],
        "clean": [{"view": view} for view in ("leaks", "normalize", "teach")],
        "select": [{"view": "compare"}, {"view": "hold-out"}, asked],
        "train": [{"run": RUN}, asked],
        "evaluate": [{"run": RUN}],
        "compare_runs": [{"view": "cases"}, {"view": "search"}],
        "chat": [{"run": RUN}],
    }
    pages = [place.address for places in SECTIONS.values() for place in places]
    return [(name, query) for name in pages for query in ({}, *views.get(name, ()))]


def shapes(corpus: Corpus) -> list[str]:
    """The kinds of samples that there are: pairs, conversations, preferences."""
    return sorted(corpus.frame(["shape"])["shape"].unique())
