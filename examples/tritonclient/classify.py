"""Classify texts with Triton's own client: classify.py HOST:PORT MODEL TEXT ..."""

import sys

import numpy as np
import tritonclient.grpc as triton

target, model, *texts = sys.argv[1:]
text = triton.InferInput("text", [len(texts)], "BYTES")
text.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=object))
highest = triton.InferRequestedOutput("scores", class_count=1)
with triton.InferenceServerClient(target) as client:
    result = client.infer(model, [text], outputs=[highest], client_timeout=5)
for classes in result.as_numpy("scores"):
    print(classes[0].decode())
