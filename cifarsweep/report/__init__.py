"""Turns a study's trials into offline pages and a table for the terminal."""
