"""`python -m cifarsweep.cli`, for where the script is not on the path."""

from cifarsweep.cli.main import main

main()
