"""A queue as a few plain lists, with which the implementations are compared.

Read it next to the docstrings of queue/service.py. It is simple rather than fast, and shares only the data types with the
implementations. Where several jobs are equally good (retries of one moment, rows replayed together), it does not decide which of
them a claim takes: it checks that the answer was allowed, and does the same.
"""

from tests.contract.reference_model.claiming import Claiming
from tests.contract.reference_model.retries import Retries
from tests.contract.reference_model.settling import Settling
from tests.contract.reference_model.state import SweepRecord
from tests.contract.reference_model.sweeps import Sweeps

__all__ = ["Model", "SweepRecord"]


class Model(Sweeps, Claiming, Settling, Retries):
    """The whole queue of one schedule."""
