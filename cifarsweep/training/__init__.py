"""Training one trial, as a generator of events. `events` and `schedule` import no torch."""
