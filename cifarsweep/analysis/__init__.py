"""What the trials say, in numbers: no sentence and no HTML."""
