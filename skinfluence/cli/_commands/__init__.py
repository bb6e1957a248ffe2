"""The commands, one module each.

A command is a module with ``NAME``, ``add_arguments(parser)`` and ``run(args, console)``,
which returns an exit code or None for 0. Its docstring is its help; see ``_help``. A new
one is a file, and a name in ``COMMANDS``.
"""

from skinfluence.cli._commands import audit, check, clean

COMMANDS = (audit, check, clean)
