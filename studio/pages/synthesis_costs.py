"""What a run will take: its upper bound, a pilot with its forecast, and the price that both rest on."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import CorpusError, WinnowError
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t, tn, told, told_text

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.language_models.prices import Price
    from studio.pages.synthesize import Filled
    from synthesis.bounding import UpperBound

FREE = {"demo": mark("Cost: none, the answers are replayed."), "none": mark("Cost: none, nobody is asked.")}
REPLAYED = 20
"""Seed samples that are replayed for the bound shown here; the pilot's report replays more."""
REPLAY_SECONDS = 0.5


@dataclass(frozen=True)
class Asked:
    """How much is asked for."""

    where: str | None
    seeds: int | None
    """Samples of the working set that can be seed samples; null where the synthesizer has its own, or is not known."""
    limit: int
    seed: int
    budget: float | None
    concurrency: int
    requests_per_minute: int | None
    tokens_per_minute: int | None
    free: bool

    def options(self) -> list[str]:
        """As the command takes them; what is as by default is left out."""
        words = ["--limit", str(self.limit)]
        words += ["--seed", str(self.seed)] if self.seed else []
        words += ["--budget", f"{self.budget:g}"] if self.budget else []
        words += ["--concurrency", str(self.concurrency)] if self.concurrency != 16 else []
        words += ["--requests-per-minute", str(self.requests_per_minute)] if self.requests_per_minute else []
        words += ["--tokens-per-minute", str(self.tokens_per_minute)] if self.tokens_per_minute else []
        return words + (["--free"] if self.free else [])


def before(corpus: Corpus, filled: Filled, asked: Asked) -> None:
    """What it takes at most, the pilot with its forecast, and the run."""
    reason = filled.missing[0] if filled.missing else None
    found = None if reason else upper(corpus, filled, asked)
    bound = None if isinstance(found, WinnowError) else found
    drawn = asked.limit if bound is None else bound.seeds
    facts = []
    if asked.seeds is not None:
        facts.append(
            tn(
                "{n} sample of the working set can be a seed sample",
                "{n:,} samples of the working set can be seed samples",
                asked.seeds,
            )
        )
    facts += [t("It brings seed samples of its own")] if asked.seeds is None and bound is not None else []
    facts += [t("drawn: {n:,}", n=drawn)] if bound is not None else []
    st.caption(" · ".join(facts))
    if isinstance(found, WinnowError):
        forms.show_error(found)
        reason = told(found)[0]
    if bound is not None:
        st.markdown(f"**{t('Upper bound')}**")
        st.caption(forms.plain(told_bound(bound)))
        if bound.cost_usd is None and asked.budget and not reason:
            reason = t("A budget needs a known price: set it under Pace and price.")
    if filled.model in FREE:
        st.caption(t(FREE[filled.model]))
    else:
        _pilot(corpus, filled, asked, bound, reason)
    st.markdown(f"**{t('Run')}**")
    forms.command_box(
        corpus, filled.argv, key="synthesize", disabled_reason=reason,
        label=tn("Synthesize from {n} seed sample", "Synthesize from {n:,} seed samples", drawn),
    )  # fmt: skip


def upper(corpus: Corpus, filled: Filled, asked: Asked) -> UpperBound | WinnowError | None:
    """The upper bound of what the form asks for, or why there is none; found once for each form."""
    from curation.language_models.prices import Prices
    from synthesis.bounding import upper_bound

    if filled.operator is None:
        return None
    known = [str(price) for price in Prices.read(corpus.path).rows]
    key = (str(corpus.path), corpus.count(), asked, filled.operator.spec(), *filled.argv, *known)
    kept = st.session_state.get("synthesize-bound")
    if kept is None or kept[0] != repr(key):
        try:
            found: UpperBound | WinnowError = upper_bound(
                corpus,
                filled.operator,
                "replay:demo" if filled.model == "demo" else filled.model,
                judge_spec=filled.judge,
                acceptance=filled.acceptance,
                where=asked.where,
                limit=asked.limit,
                seed=asked.seed,
                free=asked.free,
                replayed=REPLAYED,
                replay_seconds=REPLAY_SECONDS,
            )
        except WinnowError as error:
            found = error
        st.session_state["synthesize-bound"] = kept = (repr(key), found)
    bound: UpperBound | WinnowError = kept[1]
    return bound


def told_bound(bound: UpperBound) -> str:
    """The bound in a sentence."""
    cost = t("cost unknown, which is not zero")
    if bound.cost_usd is not None:
        cost = t("{amount:,.2f} US dollars", amount=bound.cost_usd)
    kinds: Counter[str] = Counter()
    for step, n in bound.calls_by_step.items():
        kinds[re.sub(r"[ -]?\d+$", "", step)] += n  # answer 1, answer 2 and so on are one kind
    steps = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()) or t("none")
    return t(
        "{calls:,} calls ({steps}), {sent:,} tokens in, {received:,} out: {cost}. Every answer is counted as long as "
        "it may be; a run takes much less.",
        calls=bound.calls, steps=steps, sent=bound.input_tokens, received=bound.output_tokens, cost=cost,
    )  # fmt: skip


def _pilot(corpus: Corpus, filled: Filled, asked: Asked, bound: UpperBound | None, reason: str | None) -> None:
    from synthesis.forecasting import pilot_size

    st.markdown(f"**{t('Pilot')}**")
    size = pilot_size(bound.seeds, filled.operator) if bound is not None and filled.operator is not None else 5
    argv = [*filled.argv, "--pilot"]
    forms.command_box(
        corpus, argv, key="pilot", disabled_reason=reason, primary=False,
        label=tn("Try the first seed sample", "Try the first {n:,} seed samples", size),
    )  # fmt: skip
    report = None
    with contextlib.suppress(CorpusError):
        report = jobs.job(corpus.path, jobs.job_id(argv)).report
    if report and report.get("forecast"):
        show_forecast(report["forecast"])
    else:
        st.caption(t("It is the beginning of the run, so nothing of it is paid twice, and it foretells cost and time."))


def show_forecast(forecast: dict[str, Any]) -> None:
    """What the whole run will take, as the pilot foretells it."""
    cells = st.columns(3)
    cost, each = forecast["cost_usd"], forecast["usd_per_accepted"]
    tokens = forecast["tokens_per_accepted"]
    if cost:
        cells[0].metric(t("Cost (US dollars)"), money(cost["mean"]), help=interval(cost))
    else:
        total = [forecast[name] for name in ("input_tokens", "output_tokens")]
        known = all(total)
        whole = f"{sum(part['mean'] for part in total):,.0f}" if known else t("unknown")
        cells[0].metric(t("Tokens"), whole, help=t("In and out"))
    cells[1].metric(t("Accepted"), f"{forecast['samples']['mean']:,.0f}", help=interval(forecast["samples"]))
    if each:
        cells[2].metric(t("Dollars per sample"), money(each["mean"]), help=interval(each))
    else:
        cells[2].metric(t("Tokens per sample"), f"{tokens['mean']:,.0f}" if tokens else t("unknown"))
    st.caption(forms.plain(" · ".join(_foretold(forecast))))
    rows = [
        {
            "step": step["step"],
            "calls": step["calls"],
            "sent": step["mean_input_tokens"],
            "sent_90": step["p90_input_tokens"],
            "received": step["mean_output_tokens"],
            "received_90": step["p90_output_tokens"],
        }
        for step in forecast["steps"]
    ]
    columns = {  # narrow enough that all of them stand beside the form
        "calls": (t("calls"), 48),
        "sent": (t("in"), 48),
        "sent_90": (t("in 90 %"), 66),
        "received": (t("out"), 48),
        "received_90": (t("out 90 %"), 70),
    }
    shown: dict[str, Any] = {
        name: st.column_config.NumberColumn(label, format="%.0f", width=width)
        for name, (label, width) in columns.items()
    }
    shown["step"] = st.column_config.TextColumn(t("step"))
    st.dataframe(rows, hide_index=True, column_config=shown, alt=t("Tokens of the calls of each step, mean and 90 %"))


def _foretold(forecast: dict[str, Any]) -> list[str]:
    facts = [
        t(
            "{accepted:,} of {outcomes:,} outcomes of the pilot accepted",
            accepted=forecast["accepted"], outcomes=forecast["outcomes"],
        )
    ]  # fmt: skip
    if forecast["unparsed_share"]:
        facts.append(t("{share:.0%} could not be read", share=forecast["unparsed_share"]))
    if forecast["seconds"]:
        facts.append(t("about {time} in all", time=forms.duration(forecast["seconds"])))
    facts.append(t("accepted samples: {interval}", interval=interval(forecast["samples"])))
    if forecast["cost_usd"]:
        facts.append(t("cost: {interval}", interval=interval(forecast["cost_usd"])))
    else:
        facts.append(t("cost unknown: {why}", why=told_text(forecast["cost_reason"] or "")))
    return facts


def interval(estimate: dict[str, Any]) -> str:
    """The interval of an estimate in words."""
    low, high = estimate["low"], estimate["high"]
    shown = money if (high or low) < 10 else lambda n: f"{n:,.0f}"
    if high is None:
        return t("{low} or more (9 of 10 times)", low=shown(low))
    return t("{low} to {high} (9 of 10 times)", low=shown(low), high=shown(high))


def money(amount: float) -> str:
    """An amount with as many places as tell something."""
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"


def price_form(corpus: Corpus, model: str) -> None:
    """The price in force, and a form that sets one."""
    from curation.language_models.prices import Prices, endpoint_of

    if model in FREE or "MODEL" in model:
        return
    name = model.rpartition("#")[2] if "#" in model else model.partition(":")[2]
    price = Prices.read(corpus.path).of(name, endpoint_of(model))
    st.caption(forms.plain(told_price(name, price)))
    cells = st.columns([1, 1, 1, 1], vertical_alignment="bottom")
    key = f"price-{name}"
    cells[0].number_input(t("Input, million tokens"), 0.0, value=None, format="%.3f", key=f"{key}-input")
    cells[1].number_input(
        t("Cached input"), 0.0, value=None, format="%.3f", placeholder=t("as input"), key=f"{key}-cached"
    )
    cells[2].number_input(t("Output, million tokens"), 0.0, value=None, format="%.3f", key=f"{key}-output")
    cells[3].button(
        t("Set the price"), key=f"{key}-set", on_click=_set_price, args=(corpus, name), width="stretch",
        disabled=not access.may_edit(),
        help=access.refused(),
    )  # fmt: skip
    problem = st.session_state.pop("price-problem", None)
    if problem is not None:
        forms.show_error(problem)


def told_price(name: str, price: Price | None) -> str:
    """What the price list says."""
    if price is None:
        return t("No price is known for {name}, which is not zero: set it from your provider's price list.", name=name)
    values = {"name": name, "sent": price.input_usd, "received": price.output_usd}
    if price.since:
        return t(
            "{name}: {sent:g} in, {received:g} out, US dollars for a million tokens since {day}.",
            **values, day=price.since,
        )  # fmt: skip
    return t("{name}: {sent:g} in, {received:g} out, US dollars for a million tokens.", **values)


def _set_price(corpus: Corpus, name: str) -> None:
    from datetime import datetime

    from curation.language_models.prices import Price, Prices

    try:
        access.require_editor()
    except WinnowError as error:
        st.session_state["price-problem"] = error
        return
    sent, cached, received = (st.session_state.get(f"price-{name}-{part}") for part in ("input", "cached", "output"))
    if sent is None or received is None:
        st.toast(t("Give the price of input and of output."))
        return
    day = datetime.now().astimezone().date().isoformat()
    Prices.read(corpus.path).having(Price(name, sent, received, cached, day)).write(corpus.path)
    st.toast(t("The price is set."))
