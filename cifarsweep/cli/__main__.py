"""`python -m cifarsweep.cli`, for where the script is not on the path."""

from cifarsweep.cli.entry import main

main()
