"""Print the lower bounds of setup.cfg as exact pins, one a line.

``python .github/minimum.py cli > pins.txt; pip install -c pins.txt -e '.[test]'`` gives
the oldest supported environment: the required dependencies and those of the extras
named.
"""

import configparser
import sys
from pathlib import Path


def main(*extras):
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    requirements = config["options"]["install_requires"].split()
    for extra in extras:
        requirements += config["options.extras_require"][extra].split()
    print("\n".join(line.replace(">=", "==") for line in requirements))


if __name__ == "__main__":
    main(*sys.argv[1:])
