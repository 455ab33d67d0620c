#!/usr/bin/env bash
# The whole loop in the terminal: a raw file becomes a curated mix and a trained model.
#
#     bash examples/loop.sh alpaca_data.json workspace
#
# Any step may be killed and the script run again: every command goes on from what it stored. New samples come from
# MODEL (such as http://localhost:8000/v1#Qwen/Qwen3-8B); without it a small loopback server stands in.
set -euo pipefail

data=${1:?usage: bash examples/loop.sh DATA_FILE [FOLDER]}
corpus=${2:-workspace}
here=$(cd "$(dirname "$0")" && pwd)
winnow=${WINNOW:-winnow}
python=${PYTHON:-$(dirname "$(command -v "$winnow")")/python}

if [ -z "${MODEL:-}" ]; then
    "$python" "$here/loopback_server.py" --port 0 >"${TMPDIR:-/tmp}/loopback.$$" &
    server=$!
    trap 'kill $server 2>/dev/null || true; rm -f "${TMPDIR:-/tmp}/loopback.$$"' EXIT
    until grep -q listening "${TMPDIR:-/tmp}/loopback.$$"; do sleep 0.1; done
    MODEL="$(sed 's/listening on //' "${TMPDIR:-/tmp}/loopback.$$")#loopback"
fi

"$winnow" ingest "$corpus" "$data"
"$winnow" hold-out "$corpus" 400
"$winnow" score "$corpus" length
"$winnow" score "$corpus" heuristics
"$winnow" warm-up "$corpus"
"$winnow" score "$corpus" ifd
"$winnow" embed "$corpus"
"$winnow" select "$corpus" top-k 5% --name hard --set score=ifd --set max=1 --where "heuristics = 0"
"$winnow" select "$corpus" k-center 5% --name spread --where "heuristics = 0"
"$winnow" compare "$corpus" hard spread
"$winnow" synthesize "$corpus" evol-instruct --model "$MODEL" --limit 50
"$winnow" export "$corpus" loop --part hard --part spread --part "where:operator IS NOT NULL"
"$winnow" train "$corpus/mixes/loop" --run loop --set max_length=256
"$winnow" evaluate "$corpus/runs/loop"
