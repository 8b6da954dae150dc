"""The queue of trials: claim, heartbeat, fence, control."""
