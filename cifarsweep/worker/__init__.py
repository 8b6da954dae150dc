"""Trains trials: a supervisor that claims and records, and children that hold the device and know no database."""
