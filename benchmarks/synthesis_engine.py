"""How fast calls are made and kept, what trouble at the endpoint costs, and what `kill -9` loses.

    python -m benchmarks synthesis-engine
    DISTILABEL=/path/to/its/python python -m benchmarks synthesis-engine     # compared with distilabel 1.5.3, same run

The endpoint is `benchmarks.latency_server`, a process of its own with 50 ms latency and 2 kB answers. `CALLS` (5000),
`AT_ONCE` (256), `KILLS` (20) and `PARTS` (speed,cap,busy,truncated,kills) in the environment change what is run. An
environment for the comparison: `pip install "distilabel[openai]==1.5.3" requests`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import missing

CALLS = int(os.environ.get("CALLS", "5000"))
AT_ONCE = int(os.environ.get("AT_ONCE", "256"))
KILLS = int(os.environ.get("KILLS", "20"))
PARTS = os.environ.get("PARTS", "speed,cap,busy,truncated,kills").split(",")
KILL_SEEDS = 300

DISTILABEL = """
import json, resource, sys, time
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

if __name__ == "__main__":
    address, questions, at_once, cache = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3]), sys.argv[4]
    with Pipeline(name="bench", cache_dir=cache) as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": q} for q in questions], batch_size=at_once)
        llm = OpenAILLM(model="m", base_url=address, api_key="none", generation_kwargs={"max_new_tokens": 512})
        load >> TextGeneration(llm=llm, input_batch_size=at_once)
    begun = time.perf_counter()
    made = pipeline.run()
    seconds = time.perf_counter() - begun
    memory = sum(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "made": len(made["default"]["train"])}))
"""
STUDIO = """
import sys, time
from studio.owner import serve
serve(sys.argv[1])
print("open", flush=True)
time.sleep(3600)
"""


def run() -> None:
    """All parts, one after another."""
    print(f"  load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, part in (("speed", _speed), ("cap", _cap), ("busy", _busy), ("truncated", _cut), ("kills", _kills)):
            if name in PARTS:
                part(Path(folder))


def _speed(folder: Path) -> None:
    with endpoint() as address:
        made = _child("calls", folder / "calls", address, CALLS)
        ours = _row("calls made and kept", made, address)
    corpus = _corpus(folder / "corpus", CALLS)
    with endpoint() as address, _studio(corpus):
        _row("synthesize, a studio holds the corpus", _child("synthesize", corpus, address, CALLS), address)
        again = _child("synthesize", corpus, address, CALLS)
        print(f"  {'the same again':<44} {again['seconds']:9.1f} s   {again['calls']} calls", flush=True)
    corpus = _corpus(folder / "alone", CALLS)
    with endpoint() as address:
        alone = _row("synthesize, alone with the corpus", _child("synthesize", corpus, address, CALLS), address)
    python = os.environ.get("DISTILABEL")
    if not python or not Path(python).exists():
        missing("distilabel 1.5.3 (name the Python of an environment that has it: DISTILABEL=PATH)")
        return
    (folder / "questions.json").write_text(json.dumps([_question(n) for n in range(CALLS)]))
    (folder / "their.py").write_text(DISTILABEL)
    with endpoint() as address:
        command = [python, folder / "their.py", address, folder / "questions.json", str(AT_ONCE), folder / "cache"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            sys.exit(f"distilabel ended with {done.returncode}: {done.stderr[-2000:]}")
        theirs = _row("distilabel 1.5.3, TextGeneration", json.loads(done.stdout.splitlines()[-1]), address)
    print(f"  calls {ours / theirs:.1f} x, synthesize {alone / theirs:.1f} x distilabel", flush=True)


def _cap(folder: Path) -> None:
    with endpoint("--cap", "100") as address:
        _child("calls", folder / "capped", address, 2_000)
        said = stats(address)
    rate = (said["answered"] - 100) / said["seconds"]  # the first hundred are saved up before the first request
    print(
        f"  capped at 100/s: {rate:.0f} answers/s = {rate:.0f} % of the cap, "
        f"{said['busy'] / said['requests']:.1%} of {said['requests']:,} requests got a 429",
        flush=True,
    )


def _busy(folder: Path) -> None:
    rates: dict[str, list[float]] = {"0": [], "0.02": []}
    for turn in range(3):
        for share, found in rates.items():
            with endpoint("--busy", share) as address:
                made = _child("calls", folder / f"busy-{share}-{turn}", address, CALLS)
                found.append(CALLS / made["seconds"])
    clean, busy = (sorted(found)[1] for found in rates.values())
    print(f"  2 % random 429: {busy:.0f} of {clean:.0f} calls/s = {busy / clean:.0%}", flush=True)


def _cut(folder: Path) -> None:
    corpus = _corpus(folder / "cut", 1_000)
    with endpoint("--truncated", "0.05") as address:
        made = _child("synthesize", corpus, address, 1_000)
        said = stats(address)
    print(
        f"  5 % truncated: {said['requests'] / 1_000:.2f} x calls; {made['accepted']} accepted, {made['rejected']}",
        flush=True,
    )


def _kills(folder: Path) -> None:
    rng = random.Random(int(os.environ.get("SEED", "0")))
    whole = _corpus(folder / "whole", KILL_SEEDS)
    with endpoint() as address:
        seconds = _child("evolve", whole, address, KILL_SEEDS)["seconds"]
        needed = stats(address)["requests"]
    landed, repeated, rounds = 0, [], 0
    while landed < KILLS:
        corpus = _corpus(folder / f"killed-{rounds}", KILL_SEEDS)
        with endpoint() as address:
            kills = 0
            for _ in range(4):
                kills += _killed(corpus, address, rng.uniform(1, 1 + seconds))
            _child("evolve", corpus, address, KILL_SEEDS)
            said = stats(address)
            again = _child("evolve", corpus, address, KILL_SEEDS)
            if again["calls"] or stats(address)["requests"] != said["requests"]:
                sys.exit(f"round {rounds}: the unchanged rerun made {again['calls']} calls")
        repeated.append(said["requests"] - said["distinct"])
        if repeated[-1] > kills * AT_ONCE or said["distinct"] != needed:
            sys.exit(f"round {rounds}: {said} after {kills} kills, and an uninterrupted run makes {needed} calls")
        if _outcomes(corpus) != _outcomes(whole):
            sys.exit(f"round {rounds} ended otherwise than the uninterrupted run")
        landed, rounds = landed + kills, rounds + 1
        print(f"    run {rounds}: {kills} kills, {repeated[-1]} calls repeated, the same samples", flush=True)
        shutil.rmtree(corpus)
    print(
        f"  {landed} kills in {rounds} runs of {needed:,} calls: {sum(repeated)} calls repeated, "
        f"{sum(repeated) / landed:.0f} per kill of {AT_ONCE} in flight at most; all ended with the same samples, "
        "and an unchanged rerun makes 0 calls",
        flush=True,
    )


def _killed(corpus: Path, address: str, after_seconds: float) -> int:
    """Kill a run after so long; whether that was before its end."""
    process = subprocess.Popen(_command("evolve", corpus, address, KILL_SEEDS), stdout=subprocess.DEVNULL)
    time.sleep(after_seconds)
    running = process.poll() is None
    if running:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return int(running)


def _outcomes(corpus: Path) -> list[tuple[Any, ...]]:
    import polars as pl

    shards = sorted(corpus.glob("jobs/*/out-*.parquet"))
    columns = ["id", "parents", "metadata", "rejected_by", "detail"]
    return pl.concat([pl.read_parquet(shard, columns=columns) for shard in shards]).rows()


def _row(name: str, made: dict[str, Any], address: str) -> float:
    """Print calls a second, from the beginning of the run to its end."""
    rate = CALLS / made["seconds"]
    seen = CALLS / stats(address)["seconds"]
    print(
        f"  {name:<44} {rate:7.0f} calls/s ({seen:.0f} as the server sees it), {made['memory']:4.0f} MiB, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return seen if "distilabel" in name else rate


@contextmanager
def endpoint(*options: str) -> Iterator[str]:
    """A server's address up to /v1, for as long as the block runs."""
    command = [sys.executable, "-m", "benchmarks.latency_server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def stats(address: str) -> dict[str, Any]:
    """What a server has seen."""
    with urllib.request.urlopen(address.replace("/v1", "/stats")) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


@contextmanager
def _studio(corpus: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", STUDIO, corpus], stdout=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        studio.stdout.readline()
        try:
            yield
        finally:
            studio.terminate()


def _question(number: int) -> str:
    from benchmarks.latency_server import WORDS

    return f"Question {number}: " + " ".join(random.Random(number).choices(WORDS, k=90))


def _corpus(path: Path, seeds: int) -> Path:
    from curation.corpus import Corpus
    from curation.sample import Message, Sample, to_frame

    asked = [Sample((Message("user", _question(n)), Message("assistant", "Because of it."))) for n in range(seeds)]
    Corpus.create(path).add(to_frame(asked))
    return path


def _command(verb: str, folder: Path, address: str, count: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.synthesis_engine", verb, str(folder), f"{address}#m", str(count)]


def _child(verb: str, folder: Path, address: str, count: int) -> dict[str, Any]:
    done = subprocess.run(_command(verb, folder, address, count), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{verb} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


async def _all_calls(folder: Path, spec: str, count: int) -> int:
    from curation.language_models.calls import CallStore
    from curation.language_models.chat import open_chat_model
    from curation.language_models.models import ChatRequest

    queue = iter(range(count))
    answered = 0

    async def work() -> None:
        nonlocal answered
        for number in queue:
            request = ChatRequest((("user", _question(number)),), {"temperature": 0.7, "max_tokens": 512})
            answered += (await chat.complete(request)).text is not None

    with CallStore(folder / "calls.sqlite") as calls:
        chat = open_chat_model(spec, calls=calls, run="bench", concurrency=AT_ONCE)
        await asyncio.gather(*(work() for _ in range(2 * AT_ONCE)))
        await chat.close()
    return answered


def _synthesized(verb: str, folder: Path, spec: str, count: int) -> dict[str, Any]:
    from curation.corpus import Corpus
    from synthesis import Distill, EvolInstruct, synthesize

    synthesizer = EvolInstruct(rounds=2) if verb == "evolve" else Distill(max_tokens=512)
    report = synthesize(Corpus(folder), synthesizer, spec, limit=count, concurrency=AT_ONCE)
    return {"calls": report.calls, "accepted": report.accepted, "rejected": report.rejected}


def main(verb: str, folder: str, spec: str, count: str) -> None:
    """One measured run, in a process of its own."""
    begun = time.perf_counter()
    if verb == "calls":
        made: dict[str, Any] = {"calls": asyncio.run(_all_calls(Path(folder), spec, int(count)))}
    else:
        made = _synthesized(verb, Path(folder), spec, int(count))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - begun, "memory": memory, **made}))


if __name__ == "__main__":
    main(*sys.argv[1:])
