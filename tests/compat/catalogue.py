"""The model types of transformers that have a sequence-classification head."""

from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

TYPES: tuple[str, ...] = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
"""Every type, in the library's order. A new release of transformers adds its own."""
