"""Trains trials: a supervisor that claims and records, and children that hold the device and know no database.

The life of a trial:

    claim     store/queue/claim.py     one UPDATE takes a queued trial, or one whose lease has ended
    start     worker/slot.py           Slot.start_trial sends Train to the child
    train     worker/child/main.py     serve() runs train() of training/loop.py and writes its events
    receive   worker/slot.py           Slot.read_events -> Attempt.on_event
    buffer    worker/recorder.py       Recorder.add, Recorder.set_checkpoint
    write     store/queue/fence.py     guard() renews the lease and fences; then rows and pointer, in one transaction
    finish    store/queue/fence.py     finish(), and the next claim in the same transaction
    sync      store/optuna_view/       the outbox to Optuna
"""
