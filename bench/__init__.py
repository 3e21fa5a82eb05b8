"""Repeatable measurements, each one command: `python -m bench.NAME`. `make bench` runs them all."""
