"""The command `winnow`: one command per verb. Imports are inside the commands, so that help is instant."""

from __future__ import annotations

import contextvars
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from curation.errors import IngestError, OperatorError, WinnowError

Command = TypeVar("Command", bound=Callable[..., Any])
_argv: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("argv", default=None)

WHERE = click.option(
    "--where", metavar="SQL", help="Only samples that meet this condition, such as: source = 'a' AND ifd < 1"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else")
SETTINGS = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of the operator")
CORPUS = click.argument("corpus", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="winnow-studio", prog_name="winnow")
def winnow() -> None:
    """Curate, synthesize, mix and train on fine-tuning data. CORPUS is a folder."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a mistake the user can mend is two lines on stderr and exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _argv.set(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    # Threads that spin while they wait make torch several times slower on a machine that does something else too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        winnow.main(args=arguments, prog_name="winnow", standalone_mode=False)
    except WinnowError as error:
        click.echo(f"error: {error.message}\n  fix: {error.fix}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}\n  fix: see {_help_line(error)}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped: what was stored stays; the same command goes on from there", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _help_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'winnow'} --help"


def perform(corpus: Path | None, as_json: bool, work: Callable[[Any], Any], show: Callable[[Any], None]) -> None:
    """Run a verb as a job: progress to stderr and the job's folder, the report to stdout and the folder."""
    from studio.jobs import FOLDER_VARIABLE, Recorder, job_id
    from studio.printing import ProgressLine, as_dict, print_json

    argv = _argv.get() or []
    given = os.environ.get(FOLDER_VARIABLE)
    folder = Path(given) if given else corpus / "jobs" / job_id(argv) if corpus and argv else None
    recorder, line = Recorder(folder, argv), ProgressLine(silent=False)

    def progress(done: int, total: int | None, message: str) -> None:
        recorder.progress(done, total, message)
        line(done, total, message)

    try:
        report = work(progress)
    except WinnowError as error:
        recorder.finish(2, error=error)
        raise
    except KeyboardInterrupt:
        recorder.finish(130)
        raise
    except BaseException as error:
        unexpected = WinnowError(f"Unexpected {type(error).__name__}: {error}", fix="read the job's log and report it")
        recorder.finish(1, error=unexpected)
        raise
    finally:
        line.close()
    plain = as_dict(report)
    recorder.finish(0, plain)
    if as_json:
        print_json(plain)
    else:
        show(report)


def facts(title: str, *names: str) -> Callable[[Any], None]:
    """Show these fields of a report under a title, which is formatted with the report as `r`."""

    def show(report: Any) -> None:
        from studio.printing import print_facts

        print_facts(title.format(r=report), {n.replace("_", " "): getattr(report, n) for n in names})

    return show


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """NAME=VALUE words as a dict.

    Raises:
        OperatorError: a word has no `=`.
    """
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise OperatorError(
                f"{option} {word!r} is not NAME=VALUE.", fix=f"write it like: {option} {word or 'NAME'}=VALUE"
            )
        found[name.strip()] = value
    return found


@winnow.command()
@CORPUS
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--source", help="What to call the source; the file's name if not given")
@click.option(
    "--map", "fields", multiple=True, metavar="NAME=COLUMN", help="Which column is meant, such as: response=reply"
)
@JSON
def ingest(corpus: Path, files: tuple[str, ...], source: str | None, fields: tuple[str, ...], as_json: bool) -> None:
    """Read files (JSON, JSONL, Parquet, CSV; .gz, .zst) into a corpus; known text adds nothing."""
    from curation.corpus import Corpus
    from curation.ingestion import ingest as verb

    mapped = pairs(fields, "--map")
    missing = [file for file in files if not Path(file).exists()]
    if missing:  # before a corpus is made for nothing
        raise IngestError(f"There is no file {missing[0]}.", fix="check the name; a pattern works too: data/*.jsonl")
    opened = Corpus.create(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, files, source=source, fields=mapped, progress=progress),
        lambda report: _show_ingest(report, corpus),
    )


def _show_ingest(report: Any, corpus: Path) -> None:
    from studio.printing import print_table

    print_table(
        [
            {
                "file": f.file,
                "shape": ", ".join(f.shapes),
                "added": f.added,
                "duplicates": f.duplicates,
                "rejected": f.rejected,
            }
            for f in report.files
        ]
    )
    if report.rejected:
        click.echo(f"{report.rejected:,} rows could not be read; see why: winnow inspect {corpus} --rejected")


@winnow.command()
@CORPUS
@WHERE
@click.option("--selection", help="Only the samples of this selection, best first")
@click.option("--rejected", is_flag=True, help="The rows that could not be read, and why")
@click.option("--order", metavar="SQL", help="Such as: ifd DESC NULLS LAST")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Samples to show")
@JSON
def inspect(
    corpus: Path, where: str | None, selection: str | None, rejected: bool, order: str | None, limit: int, as_json: bool
) -> None:
    """Show samples, or the rows that could not be read."""
    from curation.corpus import Corpus
    from studio.inspecting import rejected_rows, samples
    from studio.printing import print_json

    opened = Corpus(corpus)
    found = rejected_rows(opened, limit) if rejected else samples(opened, where, selection, order, limit)
    if as_json:
        print_json(found)
    else:
        _show_samples(found)


def _show_samples(found: dict[str, Any]) -> None:
    from studio.printing import print_table, shortened

    if "rows" in found:
        print_table(
            [{**row, "text": shortened(row["text"] or "", 60)} for row in found["rows"]],
            ["file", "line", "reason", "text"],
        )
    else:
        print_table(
            [
                {
                    "id": s["id"],
                    "source": s["source"],
                    "first turn": shortened(s["messages"][0]["content"], 50),
                    "last turn": shortened(s["messages"][-1]["content"], 50),
                }
                for s in found["samples"]
            ]
        )
    click.echo(f"{found['count']:,} in all")


@winnow.command()
@CORPUS
@click.argument("scorer")
@SETTINGS
@WHERE
@click.option("--engine", type=click.Choice(["here", "processes", "ray"]), default="here", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Of the engine; one per core if not given")
@JSON
def score(
    corpus: Path,
    scorer: str,
    settings: tuple[str, ...],
    where: str | None,
    engine: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Measure samples: length, heuristics, metadata, file, ifd (see: winnow operators)."""
    from curation.corpus import Corpus
    from curation.operators import build
    from curation.scorers import SCORERS
    from curation.scoring import score as verb

    operator = build("scorer", SCORERS, scorer, pairs(settings, "--set"))
    opened = Corpus(corpus)
    folder = _shard_folder(opened.path)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, operator, where=where, engine=engine, workers=workers, folder=folder, progress=progress
        ),
        facts("{r.scorer}", "columns", "scored", "unscored", "already"),
    )


def _shard_folder(corpus: Path) -> Path | None:
    from studio.jobs import FOLDER_VARIABLE, job_id

    argv = _argv.get()
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else corpus / "jobs" / job_id(argv) if argv else None


@winnow.command()
@CORPUS
@click.option("--model", default="lexical", show_default=True, help="lexical, or sentence-transformers:NAME_OR_PATH")
@click.option("--text", type=click.Choice(["both", "instruction", "response"]), default="both", show_default=True)
@click.option("--vectors", type=click.Path(path_type=Path), help="Take these vectors instead: a .npy file")
@click.option("--by", metavar="FIELD", help="Metadata field whose order the rows of --vectors have")
@click.option("--name", help="What to call the embedding")
@WHERE
@JSON
def embed(
    corpus: Path,
    model: str,
    text: str,
    vectors: Path | None,
    by: str | None,
    name: str | None,
    where: str | None,
    as_json: bool,
) -> None:
    """Give every sample a vector."""
    from curation.corpus import Corpus
    from curation.embedding import add_vectors
    from curation.embedding import embed as verb

    if (vectors is None) != (by is None):
        raise OperatorError(
            "--vectors and --by go together.", fix="name the metadata field: --vectors FILE.npy --by FIELD"
        )
    opened = Corpus(corpus)

    def work(progress: Any) -> Any:
        if vectors is not None and by is not None:
            return add_vectors(opened, vectors, by, name=name)
        return verb(opened, model, text=text, name=name, where=where, progress=progress)

    perform(opened.path, as_json, work, facts("embedding {r.name}", "model", "dimensions", "embedded", "already"))


@winnow.command("warm-up")
@CORPUS
@SETTINGS
@click.option("--seed", default=0, show_default=True)
@JSON
def warm_up(corpus: Path, settings: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Train the small local causal LM that IFD uses, and training starts from, when none is named."""
    from curation.corpus import Corpus
    from studio.warming import warm_up_corpus

    opened = Corpus(corpus)
    given = pairs(settings, "--set")
    perform(
        opened.path,
        as_json,
        lambda progress: warm_up_corpus(opened, given, seed, progress),
        facts("{r.folder}", "parameters", "steps", "tokens", "seconds", "held_out_loss_before", "held_out_loss_after"),
    )


@winnow.command("hold-out")
@CORPUS
@click.argument("budget")
@click.option("--seed", default=0, show_default=True)
@JSON
def hold_out(corpus: Path, budget: str, seed: int, as_json: bool) -> None:
    """Set samples aside for evaluation, each source with its share; no selection takes them."""
    from curation.corpus import Corpus
    from curation.selection import hold_out as verb

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, budget, seed=seed),
        facts("held out for evaluation", "added", "held_out", "by_source"),
    )


@winnow.command()
@CORPUS
@click.argument("selector")
@click.argument("budget")
@click.option("--name", required=True, help="What to call the selection")
@SETTINGS
@WHERE
@click.option("--embedding", help="Which vectors; the latest if not given")
@JSON
def select(
    corpus: Path,
    selector: str,
    budget: str,
    name: str,
    settings: tuple[str, ...],
    where: str | None,
    embedding: str | None,
    as_json: bool,
) -> None:
    """Choose BUDGET samples (a number, or a share such as 5%) and keep the choice under a name."""
    from curation.corpus import Corpus
    from curation.operators import build
    from curation.selection import select as verb
    from curation.selectors import SELECTORS

    operator = build("selector", SELECTORS, selector, pairs(settings, "--set"))
    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, operator, budget, name=name, where=where, embedding=embedding, progress=progress),
        _show_selection,
    )


def _show_selection(report: Any) -> None:
    from collections import Counter

    from studio.printing import print_facts

    kinds = Counter(
        reason.split(";")[0] if len(reason) < 30 else reason.split(" ")[0] + " …" for reason in report.rejected.values()
    )
    print_facts(
        f"selection {report.name}",
        {
            "selector": report.selector,
            "chosen": len(report.ids),
            "pool": report.pool,
            "left": dict(kinds.most_common(4)),
        },
    )


@winnow.command()
@CORPUS
@click.argument("names", nargs=-1, required=True, metavar="SELECTION...")
@JSON
def compare(corpus: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Put selections side by side: size, overlap, score means, sources."""
    from curation.corpus import Corpus
    from curation.selection import compare as verb
    from studio.printing import print_json, print_table

    comparison = verb(Corpus(corpus), names)
    frames = {name: getattr(comparison, name).to_dicts() for name in ("sizes", "overlap", "scores", "sources")}
    if as_json:
        print_json(frames)
        return
    for name, rows in frames.items():
        click.echo(f"{name}")
        print_table(rows)
        click.echo()


@winnow.command()
@CORPUS
@click.argument("synthesizer")
@click.option("--model", required=True, help="http://HOST:PORT/v1#MODEL, openai:MODEL, replay:FILE, or demo")
@SETTINGS
@WHERE
@click.option("--limit", type=click.IntRange(min=1), help="Seed samples at most")
@click.option("--seed", default=0, show_default=True)
@click.option("--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Calls at the same time")
@JSON
def synthesize(
    corpus: Path,
    synthesizer: str,
    model: str,
    settings: tuple[str, ...],
    where: str | None,
    limit: int | None,
    seed: int,
    concurrency: int,
    as_json: bool,
) -> None:
    """Make new samples from samples of the corpus: evol-instruct, distill."""
    from curation.corpus import Corpus
    from curation.operators import build
    from studio.demo_corpus import DEMO_SEED_SAMPLES, REPLIES
    from synthesis import synthesize as verb
    from synthesis.synthesizers import SYNTHESIZERS

    operator = build("synthesizer", SYNTHESIZERS, synthesizer, pairs(settings, "--set"))
    opened = Corpus(corpus)
    if model == "demo":  # its endpoint has answers for its own seed samples only
        model, where = f"replay:{REPLIES}", where or DEMO_SEED_SAMPLES
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, operator, model, where=where, limit=limit, seed=seed, concurrency=concurrency, progress=progress
        ),
        facts("{r.name}", "seeds", "accepted", "duplicates", "rejected", "calls", "cached_calls", "failed"),
    )


@winnow.command()
@CORPUS
@click.argument("mix")
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="SELECTION[=ROWS|=xWEIGHT]",
    help="A selection, all of it, so many rows, or a weight such as x2; or where:SQL, all samples that meet it",
)
@click.option(
    "--format",
    "format_name",
    default="messages",
    show_default=True,
    help="messages, prompt-completion, alpaca, sharegpt, preference",
)
@click.option("--seed", default=0, show_default=True)
@JSON
def export(
    corpus: Path,
    mix: str,
    out: Path | None,
    parts: tuple[str, ...],
    format_name: str,
    seed: int,
    as_json: bool,
) -> None:
    """Write a mix: MIX is a name for the --part's given, or a selection, or a JSON file with a recipe."""
    from curation.corpus import Corpus
    from curation.mixing import export as verb
    from studio.mixes import recipe

    opened = Corpus(corpus)
    wanted = recipe(mix, parts, format_name, seed, opened.selections())
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, wanted, out, progress=progress),
        facts("{r.folder}", "rows", "sha256", "by_source", "eval_rows", "random_rows", "skipped", "notes"),
    )


@winnow.command()
@click.argument("mix", type=click.Path(path_type=Path))
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--method", type=click.Choice(["sft", "dpo"]), default="sft", show_default=True)
@click.option("--adapter", type=click.Choice(["full", "lora"]), help="lora; full for the small warm-up model")
@click.option("--run", "run_name", help="What to call the run")
@SETTINGS
@JSON
def train(
    mix: Path,
    base_model: str | None,
    method: str,
    adapter: str | None,
    run_name: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train on the mix in folder MIX; the same command resumes a run that was stopped."""
    from studio.runs import corpus_of, prepared
    from training import train as verb

    config, run = prepared(mix, base_model, method, adapter, run_name, pairs(settings, "--set"))
    perform(
        corpus_of(mix),
        as_json,
        lambda progress: verb(mix, config, run, progress=progress),
        facts("{r.run}", "state", "steps", "rows", "tokens", "train_loss", "seconds", "tokens_per_second"),
    )


@winnow.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--no-baseline", is_flag=True, help="Do not train on random samples of equal token count")
@JSON
def evaluate(runs: tuple[Path, ...], no_baseline: bool, as_json: bool) -> None:
    """Held-out loss by source: base model, trained model, and a random subset of equal token count."""
    from studio.runs import corpus_of, show_evaluation
    from training import evaluate as verb

    perform(
        corpus_of(runs[0]),
        as_json,
        lambda progress: verb(runs, baseline=not no_baseline, progress=progress),
        show_evaluation,
    )


@winnow.command()
@CORPUS
@click.option("--cancel", metavar="ID", help="Stop a running job")
@click.option("--resume", metavar="ID", help="Start a stopped job again")
@click.option("--log", "log_of", metavar="ID", help="Show what a job printed")
@JSON
def jobs(corpus: Path, cancel: str | None, resume: str | None, log_of: str | None, as_json: bool) -> None:
    """List the commands that ran on a corpus, stop one, or start one again."""
    from curation.corpus import Corpus
    from studio import jobs as background
    from studio.printing import print_json, print_table

    folder = Corpus(corpus).path
    if cancel:
        background.cancel(background.job(folder, cancel))
    if resume:
        background.resume(background.job(folder, resume))
    if log_of:
        click.echo(background.log(background.job(folder, log_of)))
        return
    rows = [
        {"id": j.id, "state": j.state, "seconds": round(j.seconds, 1), "progress": j.error or j.message, "line": j.line}
        for j in background.jobs(folder)
    ]
    if as_json:
        print_json({"jobs": rows})
    else:
        print_table(rows, ["id", "state", "seconds", "progress"])


@winnow.command()
@JSON
def operators(as_json: bool) -> None:
    """List the scorers, selectors and synthesizers with their parameters."""
    from studio.listing import operator_rows
    from studio.printing import print_json, print_table

    rows = operator_rows()
    if as_json:
        print_json({"operators": rows})
    else:
        print_table(rows, ["kind", "name", "parameters", "summary"])


@winnow.command()
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
@JSON
def demo(folder: Path, as_json: bool) -> None:
    """Build the demo corpus in FOLDER: 313 samples in English and Chinese with planted defects."""
    from studio.demo_corpus import build_demo

    perform(
        None,
        as_json,
        lambda progress: build_demo(folder, progress),
        facts("{r.folder}", "samples", "held_out", "scored", "selections"),
    )


@winnow.command()
@click.argument("corpus", type=click.Path(path_type=Path), default="demo")
@click.option("--port", default=8501, show_default=True)
@click.option("--headless", is_flag=True, help="Do not open a browser")
def studio(corpus: Path, port: int, headless: bool) -> None:
    """Open the studio on a corpus in the browser."""
    from studio.serving import run_studio

    sys.exit(run_studio(corpus, port, headless))


if __name__ == "__main__":
    main()
