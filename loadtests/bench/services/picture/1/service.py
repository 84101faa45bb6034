"""An image tensor as a plain user of BentoML takes it: an uploaded .npy file, a dict answer."""

from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Picture:
    """Scores of an image [1, 3, 224, 224]."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), options)

    @bentoml.api
    async def predict(self, image: Path) -> dict[str, Any]:
        """One row of scores."""
        (scores,) = self.session.run(None, {"image": np.load(image)})
        return {"scores": scores.tolist()}
