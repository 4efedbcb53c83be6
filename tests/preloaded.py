"""The imports of the process from which test workers are forked.

Torch runs one thread there: a fork copies only the forking thread.
"""

import torch
import transformers.models.bert.modeling_bert
import transformers.models.distilbert.modeling_distilbert
import transformers.models.electra.modeling_electra
import transformers.models.modernbert.modeling_modernbert
import transformers.models.roberta.modeling_roberta
import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401

import classwire_server.engine.selection.choice  # noqa: F401

torch.set_num_threads(1)
