"""The process that trains. It imports no database."""
