"""Run as a process of its own: a neighbour that keeps a processor busy on and off."""

import os
import random
import time

LONGEST_SECONDS = 4.0  # of work, and of rest


def main() -> None:
    """Work and rest by turns until the process that started this one has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        end = time.monotonic() + random.uniform(0.1, LONGEST_SECONDS)
        while time.monotonic() < end:
            sum(range(10000))
        time.sleep(random.uniform(0.1, LONGEST_SECONDS))


if __name__ == "__main__":
    main()
