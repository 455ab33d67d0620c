"""The Chat page: one question, answered by a run's model and by its base, side by side; and the model to take away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.languages import mark, t, tn, told
from studio.pages.runs import run_folders
from studio.running import live

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.serving.serving import Place

SIDES = {"base": mark("Base"), "trained": mark("Trained")}
KINDS = {"merged": mark("Merged weights"), "adapter": mark("Adapter"), "gguf": mark("GGUF")}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Chat"))
    st.caption(t("Ask a trained model and its base the same question, and take the model with you."))
    finished = _finished(corpus)
    if not finished:
        forms.empty_state(
            t("Answers appear here"),
            t("A finished run answers here beside its base, and there is none yet: train a mix on the Train page."),
            "train",
        )
        return
    asked = st.query_params.get("run")
    names = [folder.name for folder in finished]
    run = st.selectbox(
        t("Training run"),
        finished,
        index=names.index(asked) if asked in names else 0,
        format_func=lambda p: p.name,
        key=f"chat_run_{len(finished)}_{names[0]}",
        width=480,
    )
    st.query_params["run"] = run.name
    conversation, export = st.tabs([t("Question and answers"), t("Take it with you")])
    with conversation:
        _conversation(corpus, run)
    with export:
        _export(corpus, run)


def _finished(corpus: Corpus) -> list[Path]:
    from training.config import TrainConfig
    from training.methods import method_named
    from training.runs.run_folder import status

    found = []
    for folder in run_folders(corpus):
        if status(folder).state == "done":
            try:
                config = TrainConfig.from_file(folder / "config.json")
            except WinnowError:  # of another version, say; the page of runs tells what is wrong with it
                continue
            if not method_named(config.method).learns_a_judge:
                found.append(folder)
    return found


def _conversation(corpus: Corpus, run: Path) -> None:
    from training.serving.serving import served

    places = served(run)
    if places is None:
        st.caption(
            t("Nobody serves this run. The models are opened in a process of their own, which stays until you stop it.")
        )
    if places is None:
        forms.command_box(corpus, ["serve-model", str(run)], key="serve", label=t("Serve"))
        _wait(corpus, run)
        return
    with st.expander(t("The server")):
        forms.command_box(corpus, ["serve-model", str(run)], key="serve", label=t("Serve"), primary=False)
        address = t(
            "Other programs can ask at {address} for the models {trained} and {base}.",
            address=places["trained"].address,
            trained=places["trained"].model,
            base=places["base"].model,
        )
        st.caption(forms.plain(address))
    settings = _settings()
    turns: list[dict[str, Any]] = st.session_state.setdefault(f"chat-{run}", [])
    for turn in turns:
        _turn(turn)
    if turns and st.button(t("New conversation"), icon=":material/restart_alt:", key="chat_new"):
        turns.clear()
        st.rerun()
    question = st.chat_input(t("Ask both models"), key="chat_question")
    if question:
        with st.spinner(t("Both models are writing…")):
            turns.append({"question": question, **_answers(places, turns, question, settings)})
        st.rerun()


def _wait(corpus: Corpus, run: Path) -> None:
    """Where a server is starting the page looks for it by itself, else when somebody asks."""
    starting = any(job.argv[:2] == ["serve-model", str(run)] for job in live(corpus.path))
    if starting:
        st.fragment(_until_served, run_every=2)(run)
    else:
        st.button(t("Look again"), icon=":material/refresh:", key="chat_again", help=t("Once the server answers"))


def _until_served(run: Path) -> None:
    """Looks every two seconds whether somebody serves the run by now."""
    from training.serving.serving import served

    if served(run) is not None:
        st.rerun()
    st.caption(t("The conversation begins here once the server answers."))


def _settings() -> dict[str, Any]:
    first, second, third = st.columns(3)
    temperature = first.slider(
        t("Temperature"), 0.0, 1.5, 0.0, 0.1, key="chat_temperature", help=t("0 takes the likeliest token each time.")
    )
    most = second.number_input(t("Longest answer (tokens)"), 8, 4096, 256, key="chat_tokens")
    seed = third.number_input(t("Seed"), 0, None, 0, key="chat_seed", help=t("Equal seeds give equal answers."))
    return {"temperature": float(temperature), "most_tokens": int(most), "seed": int(seed)}


def _answers(
    places: dict[str, Place], turns: list[dict[str, Any]], question: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Each model goes on with its own earlier answers."""
    from training.serving.serving import ask

    def answer(side: str) -> dict[str, Any]:
        messages = []
        for turn in turns:
            said = turn[side].get("answer", "")
            messages += [{"role": "user", "content": turn["question"]}, {"role": "assistant", "content": said}]
        try:
            return ask(places[side], [*messages, {"role": "user", "content": question}], **settings)
        except WinnowError as error:
            return {"error": error}

    # Without vLLM one process writes one answer at a time: the seconds of the second are not to count the first's.
    with ThreadPoolExecutor(len(SIDES) if places["base"].key else 1) as both:
        return dict(zip(SIDES, both.map(answer, SIDES), strict=True))


def _turn(turn: dict[str, Any]) -> None:
    with st.chat_message("user"):
        st.text(turn["question"])
    for cell, (side, title) in zip(st.columns(2), SIDES.items(), strict=True):
        said = turn[side]
        with cell, st.container(border=True):
            st.markdown(f"**{t(title)}**")
            if "error" in said:
                message, fix = told(said["error"])
                st.error(forms.plain(message), icon=":material/error:")
                st.caption(forms.plain(fix))
                continue
            if said["answer"]:
                st.text(said["answer"])
            else:
                st.caption(t("It ended its turn without a word."))
            took = forms.duration(said["seconds"])
            if said["finish_reason"] == "length":
                st.caption(t("{n:,} tokens in {duration}, cut at the longest length", n=said["tokens"], duration=took))
            else:
                st.caption(tn("{n} token in {duration}", "{n:,} tokens in {duration}", said["tokens"], duration=took))


def _export(corpus: Corpus, run: Path) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        adapter = (run / "final" / "adapter_config.json").is_file()
        kind = st.segmented_control(
            t("What to write"),
            [name for name in KINDS if adapter or name != "adapter"],
            format_func=lambda name: t(KINDS[name]),
            default="merged",
            required=True,
            key="export_kind",
            help=t("Weights that load alone, small matrices that need their base, or a file for llama.cpp."),
        )
        base = st.text_input(
            t("The base model's name elsewhere"), placeholder=t("its name on the hub"), key="export_base"
        ).strip()
        push = st.text_input(
            t("Upload to the hub as"),
            placeholder="OWNER/NAME",
            key="export_push",
            help=t("Private. The token is read from the environment variable HF_TOKEN of the studio."),
        ).strip()
    with command:
        kind = kind or "merged"
        folder = corpus.path / "models" / f"{run.name}-{kind}"
        argv = ["export-model", str(run), str(folder), "--as", kind]
        argv += ["--base", base] if base else []
        argv += ["--push", push] if push else []
        forms.command_box(corpus, argv, key="export_model", label=t("Export"))
