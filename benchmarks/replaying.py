"""The studio's server alone: what a browser asked of it is asked again by a client that draws nothing.

On a machine with few cores Chromium's drawing takes them from the server, so that a time taken in the browser says how
fast both are together. The messages that the browser sent are kept, the server is started anew, and each is sent once
more when the one before is done: the same interactions in the same order, with nothing remembered from the first time.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measuring import missing

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

LONGEST = 120.0
"""Seconds to wait for one answer."""


@dataclass
class Asked:
    """What a browser asked in one interaction."""

    name: str
    """Empty where it is not measured: a page that is opened, a filter that is cleared."""
    messages: list[bytes] = field(default_factory=list)


class Answered(NamedTuple):
    """What one interaction cost."""

    seconds: float
    """From the message to the last one of its answer; of several messages together."""
    received: int
    """Bytes."""


def replay(address: str, asked: list[Asked]) -> dict[str, list[Answered]]:
    """Interaction -> what each one of it cost, in the order they were asked."""
    from websockets.sync.client import connect
    from websockets.typing import Origin, Subprotocol

    url = address.replace("http://", "ws://") + "/_stcore/stream"
    found: dict[str, list[Answered]] = {}
    with connect(url, subprotocols=[Subprotocol("streamlit")], origin=Origin(address), max_size=None) as client:
        for each in asked:
            answers = [_answered(client, message) for message in each.messages]
            if each.name and answers:
                whole = Answered(sum(a.seconds for a in answers), sum(a.received for a in answers))
                found.setdefault(each.name, []).append(whole)
    return found


def _answered(client: ClientConnection, message: bytes) -> Answered:
    begun, received = time.perf_counter(), 0
    client.send(message)
    while True:
        answer = client.recv(timeout=LONGEST)
        received += len(answer)
        if _is_done(answer):
            return Answered(time.perf_counter() - begun, received)


def _is_done(answer: str | bytes) -> bool:
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    if not isinstance(answer, bytes):
        return False
    said = ForwardMsg.FromString(answer)
    # What ends early to begin anew is not over yet.
    return said.WhichOneof("type") == "script_finished" and said.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN


def tell(found: dict[str, list[Answered]]) -> None:
    """Print median, 95th percentile and the first of each interaction, in milliseconds."""
    print(f"  {'the server alone':<30} {'median':>8} {'95 %':>8} {'first':>8} {'kB':>8} {'times':>6}")
    for name, answers in found.items():
        if len(answers) < 3:
            missing(f"{name}: {len(answers)} interactions were sent again")
            continue
        later = [one.seconds * 1e3 for one in answers[1:]]
        print(
            f"  {name:<30} {statistics.median(later):8.0f} {percentile(later):8.0f} {answers[0].seconds * 1e3:8.0f} "
            f"{statistics.median(one.received for one in answers[1:]) / 1e3:8.0f} {len(later):6}",
            flush=True,
        )


def percentile(values: list[float]) -> float:
    """The 95th, the next larger one that was measured."""
    return sorted(values)[min(len(values) - 1, -(-95 * len(values) // 100) - 1)]
