"""Files of checkpoints, in a folder or an object store. Imports neither torch nor a database."""
