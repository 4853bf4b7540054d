"""The command sppool. A subcommand is one module, named in main.py."""

VERSION = '0.1.0'
