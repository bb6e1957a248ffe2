"""The command line: what each row of a table did to a model, without writing Python.

``skinfluence audit DATA.csv --target COLUMN`` fits a model, ranks the rows and checks
itself against brute-force refits. One file in ``_commands`` is one command.
"""

from skinfluence.cli._main import main
