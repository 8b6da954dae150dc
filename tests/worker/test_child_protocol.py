"""What supervisor and child say to each other survives the pipe."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child import protocol

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
ROWS = st.builds(MetricRow, name=st.text(max_size=20), step=st.integers(0, 2**40), value=FLOATS)
CHECKPOINTS = st.builds(CheckpointRef, st.integers(0), st.text(), st.text(), st.integers(0))
REPLIES = st.one_of(
    st.builds(events.Started, *[st.integers(0)] * 6, branch_step=st.none() | st.integers(1)),
    st.builds(events.Metrics, rows=st.lists(ROWS, max_size=4).map(tuple)),
    st.builds(events.Saved, checkpoint=CHECKPOINTS),
    st.builds(events.BranchSaved, checkpoint=CHECKPOINTS),
    st.builds(
        events.Finished,
        result=st.builds(
            TrialResult,
            outcome=st.sampled_from(Outcome),
            step=st.integers(0),
            final=st.dictionaries(st.text(max_size=9), FLOATS, max_size=3),
            weights_sha256=st.text(max_size=64),
        ),
        checkpoint=st.none(),
    ),
    st.builds(protocol.Failed, error=st.text(), traceback=st.text(), out_of_memory=st.booleans()),
    st.builds(protocol.Ready, device=st.text(), versions=st.dictionaries(st.text(), st.text(), max_size=2)),
)


@given(REPLIES)
def test_a_reply_arrives_as_it_was_sent_to_the_last_bit(reply: protocol.Reply):
    line = protocol.encode(reply)

    assert line.count(b"\n") == 1
    assert repr(protocol.decode_reply(line)) == repr(reply)


@pytest.mark.parametrize("branch", [None, protocol.BranchFile("/y-branches", CheckpointRef(2, "q", "t", 8))])
def test_a_request_arrives_as_it_was_sent(branch):
    resume = (CheckpointRef(4, "p", "s", 9),)
    request = protocol.Train("demo/1", {"epochs": 1}, 3, "/x", resume, 60.0, branch_steps=(3, 5), branch=branch)

    assert protocol.decode_request(protocol.encode(request)) == request


def test_nan_stays_nan():
    sent = events.Metrics((MetricRow("train/loss", 1, math.nan),))

    received = protocol.decode_reply(protocol.encode(sent))

    assert isinstance(received, events.Metrics) and math.isnan(received.rows[0].value)


@pytest.mark.parametrize(
    "line", [b"", b"Segmentation fault", b"{}", b"[]", b'{"kind": "Saved"}', b'{"kind": "Nope"}', b"\xff"]
)
def test_garbage_is_refused(line: bytes):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_reply(line)
