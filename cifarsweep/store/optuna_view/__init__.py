"""Studies as Optuna shows them."""
