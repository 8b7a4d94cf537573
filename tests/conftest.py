"""For all tests: the programs that they start can be interrupted."""

from __future__ import annotations

import signal

# A shell ignores SIGINT in what it starts in the background, such as this run, and every program that a test starts would inherit that:
# Ctrl-C would then end none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
