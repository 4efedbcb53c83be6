"""The instrument of Classwire's engine. It runs in this checkout's environment."""

from . import classwire_engine
from .measuring import Measuring

if __name__ == "__main__":
    Measuring({"Classwire": classwire_engine}).serve()
