"""`python -m cifarsweep.cli`, for environments whose scripts are not on the path."""

from cifarsweep.cli.main import main

main()
