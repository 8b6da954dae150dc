"""`python -m cifarsweep.cli`, for where the script is not on the path."""

from cifarsweep.cli.app import main

main()
