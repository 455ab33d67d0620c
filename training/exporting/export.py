"""Exporting a run's model into a folder of its own, which says where it is from and names nothing of this machine."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from curation.errors import WinnowError
from curation.progress import Progress, silent
from training.config import TrainConfig
from training.exporting.card import model_card
from training.exporting.gguf import converter, write_gguf
from training.exporting.hub import push_folder, token
from training.exporting.target import MARK, check_target, marked, put_in_place
from training.methods import method_named
from training.methods.adapters import VIRTUAL
from training.methods.opening import ADAPTER, below, open_model, open_tokenizer
from training.runs.run_folder import RunFolder, check_finished
from training.training import report

Kind = Literal["adapter", "merged", "gguf"]

ONLY_HERE = ("training_args.bin", "README.md", "optimizer.pt", "scheduler.pt", "rng_state*.pth", "trainer_state.json")
"""What trainers leave beside weights: of no use elsewhere, and full of paths of this machine."""


@dataclass(frozen=True)
class ModelExport:
    """What was written."""

    folder: str
    kind: str
    base_model: str
    """As the export names it."""
    files: list[str]
    bytes: int
    pushed: str | None
    """Address on the hub; null where nothing was pushed."""
    notes: list[str] = field(default_factory=list)


def export_model(
    run_dir: Path | str,
    folder: Path | str,
    kind: Kind = "merged",
    *,
    base: str | None = None,
    push: str | None = None,
    public: bool = False,
    progress: Progress = silent,
) -> ModelExport:
    """Write a finished run's model to `folder`, with its tokenizer and a model card; done twice it is written anew.

    Args:
        run_dir: the run.
        folder: to write; it appears when it is complete.
        kind: `adapter` (small, needs its base), `merged` (weights that load alone), or `gguf` (for llama.cpp).
        base: what the base model is called elsewhere, such as its name on the hub; null keeps a hub name, and makes a
            folder's path relative to the export.
        push: repository on the hub (OWNER/NAME) to upload to, with the token in the environment variable HF_TOKEN.
        public: whether a repository that is made for it can be seen by everybody.
        progress: called with (done, total, what is being done).

    Raises:
        WinnowError: the run is not finished, its kind of weights can't be exported so, the folder holds something else,
            or there is no converter or no token.
    """
    run, out = RunFolder(Path(run_dir).resolve()), Path(folder).expanduser().resolve()
    config = _exportable(run, kind)
    check_target(out, run.path)
    if kind == "gguf":
        converter()
    if push:
        token()
    draft = out.parent / f".{out.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        notes = _write(run, config, draft, kind, Names(base, out), progress)
        named = base or _short(config.base_model)
        (draft / "README.md").write_text(model_card(report(run.path), run, kind, named), encoding="utf-8")
        _refuse_paths(draft, run)
        marked(draft)
        put_in_place(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    progress(1, 2 if push else 1, f"written to {out}")
    pushed = push_folder(out, push, public=public) if push else None
    files = sorted(p for p in out.rglob("*") if p.is_file() and p.name != MARK)
    names = [str(p.relative_to(out)) for p in files]
    return ModelExport(str(out), kind, named, names, sum(p.stat().st_size for p in files), pushed, notes)


@dataclass(frozen=True, slots=True)
class Names:
    """What the base is called in the export."""

    given: str | None
    out: Path

    def of(self, base: str) -> str:
        """A base model's name elsewhere."""
        return self.given or _named(base, self.out)


def _exportable(run: RunFolder, kind: Kind) -> TrainConfig:
    check_finished(run.path)
    config = TrainConfig.from_file(run.path / "config.json")
    if kind == "adapter" and not (run.final / ADAPTER).is_file():
        raise WinnowError(
            f"The run {run.path.name} has no adapter: it trained the model's own weights ({config.adapter}).",
            fix="export it --as merged",
        )
    if kind != "adapter" and config.adapter in VIRTUAL:
        raise WinnowError(
            f"The virtual tokens of {config.adapter} can't become part of the weights.", fix="export it --as adapter"
        )
    if kind == "gguf" and method_named(config.method).learns_a_judge:
        raise WinnowError("llama.cpp has no use for a model that judges answers.", fix="export it --as merged")
    return config


def _write(run: RunFolder, config: TrainConfig, draft: Path, kind: Kind, names: Names, progress: Progress) -> list[str]:
    if kind == "adapter":
        progress(0, 1, "copying the adapter")
        return _copy_adapter(run.final, draft, names)
    if kind == "merged":
        return _write_merged(run, config, draft, progress)
    merged = draft / "merged"
    merged.mkdir()
    notes = _write_merged(run, config, merged, progress)
    progress(0, 1, "converting to GGUF")
    write_gguf(merged, draft / f"{run.path.name}.gguf")
    shutil.rmtree(merged)
    return notes


def _copy_adapter(final: Path, draft: Path, names: Names) -> list[str]:
    shutil.copytree(final, draft, ignore=shutil.ignore_patterns(*ONLY_HERE), dirs_exist_ok=True)
    adapter = json.loads((draft / ADAPTER).read_text(encoding="utf-8"))
    base = str(adapter["base_model_name_or_path"])
    adapter["base_model_name_or_path"] = names.of(base)
    (draft / ADAPTER).write_text(json.dumps(adapter, indent=2, ensure_ascii=False), encoding="utf-8")
    if names.given or not Path(base).is_dir():
        return []
    return [
        f"The base model is named by a path relative to this folder ({names.of(base)}): name its hub name by --base."
    ]


def _write_merged(run: RunFolder, config: TrainConfig, folder: Path, progress: Progress) -> list[str]:
    progress(0, 1, "merging")
    if not (run.final / ADAPTER).is_file():
        shutil.copytree(run.final, folder, ignore=shutil.ignore_patterns(*ONLY_HERE), dirs_exist_ok=True)
        return []
    # Sums in float32, then the precision that the base has: merged in bf16, small updates would round to nothing.
    model = open_model(str(run.final))
    dtype = _dtype_of(config.base_model)
    tokenizer = open_tokenizer(str(run.final))
    _end_with(model, tokenizer)
    model.to(_torch_dtype(dtype)).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return (
        [f"The adapter was merged in float32 and saved in {dtype}, as the base has it."] if dtype != "float32" else []
    )


def _end_with(model: Any, tokenizer: Any) -> None:
    """Let generation end where training taught turns to end."""
    ends = model.generation_config.eos_token_id
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in known:
        model.generation_config.eos_token_id = [*known, tokenizer.eos_token_id]


def _torch_dtype(dtype: str) -> Any:
    import torch

    return getattr(torch, dtype)


def _dtype_of(base_model: str) -> str:
    from transformers import AutoConfig

    config = Path(base_model) / ADAPTER
    if config.is_file():
        return _dtype_of(below(base_model))
    held = getattr(AutoConfig.from_pretrained(base_model), "dtype", None)
    return str(held).removeprefix("torch.") if held is not None else "float32"


def _short(base: str) -> str:
    """For people: where it lies on this machine says nothing to them."""
    return Path(base).name if Path(base).is_absolute() else base


def _named(base: str, out: Path) -> str:
    path = Path(base)
    return os.path.relpath(path, out) if path.is_absolute() else base


def _refuse_paths(draft: Path, run: RunFolder) -> None:
    """A path of this machine in a file of the export would tell about it, and be wrong anywhere else."""
    told = (str(run.path.parent), f'"{TrainConfig.from_file(run.path / "config.json").base_model}/')
    for path in draft.rglob("*"):
        text = path.read_text(encoding="utf-8") if path.suffix in (".json", ".md", ".jinja") else ""
        if found := next((home for home in told if home in text), None):
            raise WinnowError(f"{path.name} would name {found}.", fix="report it: an export names no path of a machine")
