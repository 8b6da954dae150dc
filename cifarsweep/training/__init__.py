"""Training one trial: a generator of events. `events`, `folder` and `process` import no torch."""
