"""The ring on disk against plain Python lists."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from .ring import FIELDS, enumerate_windows, make, step


class AgainstLists(RuleBasedStateMachine):
    """Any order of adding, dropping, sampling, refreshing and reopening leaves what plain lists would hold."""

    STREAMS = 3
    batches: Bundle[Any] = Bundle("batches")

    @initialize(ring=st.integers(5, 9), length=st.integers(1, 4), context=st.integers(0, 1), online=st.booleans())
    def begin(self, ring: int, length: int, context: int, online: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ring, self.context, self.window = ring, context, context + length
        self.settings: dict[str, Any] = {"length": length, "context": context, "online": online}
        self.open()
        self.model: list[list[dict[str, Any]]] = [[] for _ in range(self.STREAMS)]
        self.drops = [0] * self.STREAMS
        self.count = 0

    def open(self) -> None:
        capacity = self.STREAMS * self.ring + 1
        self.replay = make(Path(self.folder.name), streams=self.STREAMS, capacity=capacity, **self.settings)
        self.must_begin = [True] * self.STREAMS

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(data=st.data(), repeat=st.integers(1, 4))
    def add(self, data: st.DataObject, repeat: int) -> None:
        flags = st.lists(st.booleans(), min_size=self.STREAMS, max_size=self.STREAMS)
        mask = np.array(data.draw(flags))
        for _ in range(repeat):
            first = [begin or drawn for begin, drawn in zip(self.must_begin, data.draw(flags), strict=True)]
            last = data.draw(flags)
            values = step(range(self.count, self.count + self.STREAMS), first, last)
            self.count += self.STREAMS
            self.replay.add(values, None if mask.all() else mask)
            for i in np.flatnonzero(mask):
                if first[i] and self.model[i]:
                    self.model[i][-1]["is_last"] = True
                self.model[i].append({name: values[name][i] for name in FIELDS})
                del self.model[i][: -self.ring]
                self.must_begin[i] = last[i]

    @rule(stream=st.integers(0, STREAMS - 1))
    def drop(self, stream: int) -> None:
        self.replay.drop_episode(stream)
        steps = self.model[stream]
        if steps and not steps[-1]["is_last"]:
            while steps and not steps.pop()["is_first"]:
                pass
            self.drops[stream] += 1
        self.must_begin[stream] = True

    @rule(with_state=st.booleans())
    def reopen(self, with_state: bool) -> None:
        state = json.loads(json.dumps(self.replay.state()))
        self.open()
        if with_state:
            self.replay.load_state(state)

    @precondition(lambda self: self.replay.ready(1))
    @rule(target=batches, size=st.integers(1, 5))
    def sample(self, size: int) -> Any:
        batch, index = self.replay.sample(size)
        for b in range(size):
            steps = self.model[index[b, 0]]
            at = [held["serial"] for held in steps].index(batch["serial"][b, 0])
            assert len(steps[at:]) >= self.window
            for t, held in enumerate(steps[at : at + self.window]):
                for name in FIELDS:
                    assert np.array_equal(batch[name][b, t], held[name]), name
        return self.replay, list(self.drops), batch["serial"][:, self.context :], index

    @rule(sampled=consumes(batches))
    def update(self, sampled: Any) -> None:
        replay, drops, serials, index = sampled
        if replay is not self.replay:
            return  # an index is good for the process that sampled it
        self.count += 1
        latent = np.stack([serials % 97, np.full(serials.shape, self.count % 1000)], -1)
        replay.update(index, {"deter": latent})
        for (stream, _), row, values in zip(index, serials, latent, strict=True):
            for held in self.model[stream]:
                if held["serial"] in row and self.drops[stream] == drops[stream]:
                    held["deter"] = values[row == held["serial"]][0]

    @rule()
    def every_window_can_be_drawn(self) -> None:
        expected = [
            [int(held["serial"]) for held in steps[k : k + self.window]]
            for steps in self.model
            for k in range(len(steps) - self.window + 1)
        ]
        assert self.replay.ready(len(expected))
        assert not self.replay.ready(len(expected) + 1)
        if expected:
            state, rng = self.replay.state(), self.replay._rng
            assert sorted(enumerate_windows(self.replay).tolist()) == sorted(expected)
            self.replay._rng = rng
            self.replay.load_state(state)

    @invariant()
    def rows_are_what_the_lists_hold(self) -> None:
        assert len(self.replay) == sum(map(len, self.model))
        for stream, steps in enumerate(self.model):
            rows = stream * self.ring + np.arange(self.replay._tail[stream], self.replay._head[stream]) % self.ring
            for row, held in zip(rows, steps, strict=True):
                for name in FIELDS:
                    assert np.array_equal(self.replay._rows[name][row], held[name]), name


AgainstLists.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstLists = AgainstLists.TestCase
