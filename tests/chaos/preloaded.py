"""The process from which tests fork servers that hold their model: imports, and a started model.

A first start imports modules and fills tables of transformers, which the forks then share.
Torch runs one thread there: a fork copies only the forking thread.
"""

import gc

import torch
import transformers.models.bert.modeling_bert
import transformers.models.distilbert.modeling_distilbert
import transformers.models.electra.modeling_electra
import transformers.models.modernbert.modeling_modernbert
import transformers.models.roberta.modeling_roberta
import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.selection.choice import select

torch.set_num_threads(1)
_CONFIG = ServerConfig(lanes=1, threads=1, batch_tokens=16)
select(_CONFIG.sources[0], _CONFIG, "cpu")
gc.collect()
gc.freeze()  # so that collections in the forks neither visit nor copy what they share
