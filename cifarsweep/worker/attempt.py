"""One attempt at a trial, from its lease to its end: what the child's events mean for the trial."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cifarsweep.errors import StoreUnavailable, UnreadableStudy
from cifarsweep.spec.metrics import ENERGY, LARGEST_CLASS, VAL_IMAGES
from cifarsweep.spec.program import Parameters
from cifarsweep.spec.provenance import changes, changes_text, contributing
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import DATA_VERSION, AttemptEnd, MetricRow, Outcome, TrialResult
from cifarsweep.store.queue.claim import MANY_TAKEOVERS
from cifarsweep.store.records import Lease, Segment
from cifarsweep.training import events
from cifarsweep.worker.branches import Branches
from cifarsweep.worker.child import protocol
from cifarsweep.worker.context import WorkerContext
from cifarsweep.worker.recorder import Recorder
from cifarsweep.worker.tally import AttemptTally, Ended
from cifarsweep.worker.telemetry import AttemptTelemetry

logger = logging.getLogger(__name__)

#: Seconds to the first checkpoint of a trial whose worker vanished: it advances however often that happens.
_EARLY_SAVE_S = 2.0


class Attempt:
    """Applies the child's events to a leased trial. Methods raise LeaseLost once another worker owns the trial."""

    def __init__(self, slot: int, lease: Lease, context: WorkerContext) -> None:
        cleaner, self._branches = context.checkpoints.cleaner(lease), Branches(lease, context)
        self.recorder = Recorder(context.store, lease, context.backoff, context.clock, cleaner, self._branches.cleaner)
        self.began_at = context.clock()
        #: Whether the child was asked to train the trial.
        self.train_sent = False
        #: Whether it is to end with what its twin trained; if that was edited, another one is its twin, or none.
        self._reusing = False
        #: Whether the child was asked to stop, because somebody paused or cancelled the trial.
        self.stop_sent = False
        self._slot, self._context = slot, context
        self._pruning_decider = context.pruning_decider(lease)
        self._data_set = context.eligible.data_set(lease.dataset)
        self._telemetry = AttemptTelemetry(context.telemetry, slot)
        self._tally = AttemptTally(context.tally, lease, self._data_set)
        self._started: events.Started | None = None
        self._rejected: list[events.Rejected] = []
        #: How the trial left the slot; shown once the database has it.
        self._closing_message = ""

    @property
    def lease(self) -> Lease:
        return self.recorder.lease

    @property
    def open(self) -> bool:
        """Whether the trial goes on: no end of it waits to be written."""
        return not self.recorder.ending

    @property
    def reuses(self) -> bool:
        """Whether the trial is to take over what its twin trained."""
        return self.lease.twin is not None and not self.train_sent

    def request(self) -> protocol.Train:
        """Return what asks the child to train the trial."""
        lease, self.train_sent, self._closing_message = self.lease, True, ""
        return protocol.Train(
            label=_trial_name(lease),
            settings=_json(lease.settings),
            seed=lease.seed,
            folder=self._context.checkpoints.path(lease),
            resume=() if _on_other_images(lease) else lease.checkpoints,
            save_every_s=self._context.config.save_every_s,
            first_save_s=_EARLY_SAVE_S if lease.takeovers else None,
            data=self._data_file(),
            branch_steps=self._branches.steps,
            branch=self._branches.file(lease),
            code=self._context.eligible.code_files(lease.study),
            program=lease.program,
            silence_s=None if lease.program is None else protocol.SILENCE_S,
        )

    def _data_file(self) -> protocol.DataFile | None:
        """Return the images of the lease. With a stamp, the child need not read the file again."""
        sha256, images = self.lease.data_sha256, self._data_set
        if sha256 is None:
            return None
        return protocol.DataFile(sha256, images.stamp if images is not None and images.sha256 == sha256 else None)

    def announce(self) -> None:
        """Show that the trial begins; warn if it is a risk."""
        lease = self.lease
        self._context.display.begin(self._slot, lease)
        if lease.takeovers >= MANY_TAKEOVERS:
            self.log(
                f"{lease.takeovers} workers in a row vanished with this trial before a new checkpoint; it is trained "
                "when nothing else waits. If it is what ends them, by its memory for instance, "
                f"`cifarsweep cancel {_trial_name(lease)}` gives it up"
            )
        if _on_other_images(lease):
            self.log("begins again: its checkpoint was trained on other images than those here")

    def reuse(self) -> None:
        """Let the next flush end the trial with the rows and the result of its twin."""
        self._reusing = True
        self.recorder.reuse(self._context.claim_request(self._slot))

    def on_event(self, reply: protocol.Reply) -> None:
        self.recorder.mark_alive()
        self._tally.observe(reply)
        self._branches.on_progress(self.lease)
        match reply:
            case events.Started():
                self._on_started(reply)
            case events.Progress():
                self._context.display.progress(self._slot, reply)
            case events.Metrics():
                self.recorder.add(reply.rows)
                self._context.display.metrics(self._slot, reply)
                self._on_evaluation(reply.rows)
            case events.Saved() | events.BranchSaved():
                self._on_saved(reply)
            case events.SaveFailed() | events.CaptureFailed():
                self.log(_setback_text(reply))
            case events.Rejected():
                self._rejected.append(reply)
            case events.Finished():
                self._context.crash_loop.record_progress()
                self.show_end(str(reply.result.outcome), reply.result)
                self.recorder.finish(self._with_constants(reply.result), self._context.claim_request(self._slot))
            case events.Stopped():
                at, stop_request = f"at step {reply.step:,}", self.lease.stop_request
                self._closing_message = f"{stop_request.state} {at}" if stop_request else f"stopped {at}, given back"
                self.recorder.release()
            case protocol.Failed() | protocol.DataRefused():
                self._on_failure(reply)

    def on_crash(self, error: str, story: str) -> None:
        """Record that the child crashed or hung."""
        dataset = self.lease.dataset
        if dataset is not None and not self._context.eligible.is_unchanged(dataset, self._data_set):
            # The system kills a process that reads beyond the end of a file that was cut.
            self._release_for_data(f"the file of data set {dataset!r} was written to or removed ({error})")
            return
        self._context.crash_loop.record_crash(self.lease, self.began_at, self._context.clock(), error)
        self.recorder.fail(AttemptEnd.CRASHED, error, story)

    def _release_for_data(self, reason: str) -> None:
        """Give back a trial whose images can't be used here; another worker, or this one later, continues it."""
        if self.lease.dataset is not None:
            self._context.eligible.reject_data(self.lease.dataset, self._data_set, reason)
        self.log(reason)
        self._closing_message = "given back, since its images can't be used here"
        self.recorder.release()

    def show_end(self, how: str, result: TrialResult | None = None) -> None:
        self._context.display.end(self._slot, self.lease, how, result)

    def on_closed(self) -> None:
        """Show how the trial left the slot, or warn that the database has not recorded it."""
        if not self.recorder.closed:
            free = f"it is free within {self._context.config.timing.lease_s:g} s, when its lease ends"
            self.log(f"could not be given back, since the database is away; {free}")
        elif self._reusing and self.lease.twin is not None:
            self.show_end(f"reused from {self.lease.twin.name}")
        elif self._closing_message:
            self.show_end(self._closing_message)
        self._tally.close(self.recorder.ended)
        self._branches.on_closed()

    def on_lost(self) -> None:
        """Show that another worker has the trial."""
        self.show_end("lost")
        self._tally.close(Ended.LOST)

    def log(self, text: str) -> None:
        """Log a note that names the trial."""
        logger.warning(f"{_trial_name(self.lease)}: {text}")

    def _on_started(self, started: events.Started) -> None:
        self.recorder.total_steps = started.total_steps
        self._context.checkpoints.report_rejected(_trial_name(self.lease), self._rejected, started.start_step)
        known = self.lease.checkpoints[0].step if self.lease.checkpoints else 0
        if started.branch_step is not None:
            self.recorder.begin()
        elif started.start_step < known:
            self.recorder.rewind(started.start_step)
        own = started.start_step if started.branch_step is None else 0
        if note := _continuation_note(self.lease, own):
            self.log(note)
        self._started = started
        earlier, sampled = self.recorder.last_committed(ENERGY) if started.start_step else None, self.lease.devices
        self._telemetry = AttemptTelemetry(self._context.telemetry, self._slot, started.start_step, earlier, sampled)
        self._context.display.started(self._slot, started)

    def _on_saved(self, saved: events.Saved | events.BranchSaved) -> None:
        if isinstance(saved, events.BranchSaved):
            self.recorder.keep_branch(saved.checkpoint)
            return
        self._context.crash_loop.record_progress()
        self.recorder.add(self._telemetry.at_checkpoint(saved.checkpoint.step))
        self.recorder.set_checkpoint(saved.checkpoint)

    def _on_evaluation(self, rows: Sequence[MetricRow]) -> None:
        """Add the hardware's telemetry to an evaluation, and end the trial if its study prunes it."""
        at = next((row for row in rows if row.name == self.lease.metric), None)
        if at is None:
            return
        self.recorder.add(self._telemetry.at_evaluation(at.step))
        # The last evaluation ends the trial anyway.
        last = None if self._started is None else self._started.total_steps
        if (last is None or at.step < last) and self._should_prune(at):
            result = TrialResult(Outcome.PRUNED, at.step, {row.name: row.value for row in rows}, "")
            self.show_end(str(result.outcome), result)
            self.recorder.finish(self._with_constants(result))

    def _should_prune(self, at: MetricRow) -> bool:
        """Return whether the study ends the trial here. Each decision is recorded; none is made during an outage."""
        self._pruning_decider.observe(at.step, at.value)
        if not self._context.backoff.ready():
            return False
        try:
            prune = self._pruning_decider(at.step)
        except StoreUnavailable as error:
            self._context.backoff.record_failure(error)
            return False
        except UnreadableStudy as error:
            self.log(f"it is not ended early: {error}")
            return False
        if prune is not None:
            self.recorder.record_pruning(at.step, prune)
        return bool(prune)

    def _with_constants(self, result: TrialResult) -> TrialResult:
        """Return the result with the cost of the model and of its training, and what guessing would give."""
        if self._started is None:
            return result
        constants = {
            "params": self._started.params,
            "flops_per_image": self._started.flops_per_image,
            VAL_IMAGES: self._started.val_images,
            LARGEST_CLASS: self._started.largest_class,
        }
        known = {name: float(value) for name, value in constants.items() if value is not None}
        return replace(result, final={**result.final, **self._telemetry.final(), **known})

    def _on_failure(self, failure: protocol.Failed | protocol.DataRefused) -> None:
        if isinstance(failure, protocol.DataRefused) and failure.of_code:
            self._context.eligible.forget(self.lease.study)
            self.log(failure.reason)
            self._closing_message = "given back, since its code can't be used here"
            self.recorder.release()
            return
        if isinstance(failure, protocol.DataRefused):
            self._release_for_data(failure.reason)
            return
        # The crash of a program is no sign that the machine is at fault, as that of our own child is.
        own = AttemptEnd.CRASHED if failure.crashed else AttemptEnd.EXCEPTION
        end = AttemptEnd.OUT_OF_MEMORY if failure.out_of_memory else own
        self.recorder.fail(end, failure.error, failure.traceback)
        self.show_end(f"failed: {failure.error.splitlines()[0]}")


def _on_other_images(lease: Lease) -> bool:
    """Return whether the checkpoints are known to be trained on other images than the lease's."""
    if lease.dataset is None:
        return False
    before, key = _before(lease, lease.step), DATA_VERSION + lease.dataset
    known = None if before is None else before.environment.get(key)
    return known is not None and lease.data_sha256 is not None and known != lease.data_sha256


def _continuation_note(lease: Lease, start_step: int) -> str | None:
    """Return a note if training continues with other software or on another device, else None."""
    before = _before(lease, start_step)
    if before is None:
        return None
    found = changes((before.environment, lease.history[-1].environment))
    if not found:
        return None
    return (
        f"goes on from step {start_step:,} with something else ({changes_text(found)}): its result is no longer "
        "promised to be the same bits again"
    )


def _before(lease: Lease, start_step: int) -> Segment | None:
    """Return the attempt that wrote the checkpoint of that step."""
    *earlier, _ = lease.history or (None,)
    found = contributing([*(each.first_step for each in earlier), start_step]) if earlier else []
    return earlier[found[-2]] if len(found) > 1 else None


def _json(settings: Settings | Parameters) -> dict[str, Any]:
    return _settings_json(settings) if isinstance(settings, Settings) else settings.model_dump(mode="json")


@lru_cache
def _settings_json(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values; cached, since the trials of a cell share them."""
    return settings.model_dump(mode="json")


def _setback_text(event: events.SaveFailed | events.CaptureFailed) -> str:
    """Describe a failure that does not end the trial."""
    if isinstance(event, events.SaveFailed):
        return f"no checkpoint at step {event.step:,}: {event.reason}"
    why = event.reason.splitlines()[0]
    return f"trains without a CUDA graph from step {event.step:,} on, more slowly and to the same bits: {why}"


def _trial_name(lease: Lease) -> str:
    return f"{lease.study}/{lease.number}"
