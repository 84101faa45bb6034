"""What a plain user of BentoML writes: an async API with a dict answer, nothing of BentoML's set or switched off.

One compute thread, as the gateway's replicas have: onnxruntime's own default spins on every core and made this
baseline slower still.
"""

from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Plain:
    """The model of breast-cancer 2."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), options)

    @bentoml.api
    async def predict(self, x: list[list[float]]) -> dict[str, Any]:
        """Label and probabilities of each row of x [n, 30]."""
        label, probabilities = self.session.run(None, {"x": np.asarray(x, np.float32)})
        return {"label": label.tolist(), "probabilities": probabilities.tolist()}
