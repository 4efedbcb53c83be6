"""Write vectors.json: `python -m conformance.generation`."""

from .document import VECTORS, generate, laid_out

VECTORS.write_text(laid_out(generate()), encoding="utf-8")
