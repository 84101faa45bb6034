"""The same model by the fastest means BentoML offers in public; `tune` says which of its routes that is."""

from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime
import orjson
from bentoml.validators import ContentType
from pydantic import BaseModel


class Answer(BaseModel):
    """One entry a row."""

    label: list[int]
    probabilities: list[list[float]]


@bentoml.service
class Fast:
    """The model of breast-cancer 2, one compute thread a worker."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = Path(__file__).with_name("model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @bentoml.api
    async def pydantic(self, x: list[list[float]]) -> Answer:
        """A pydantic answer: its schema is built once."""
        label, probabilities = self.session.run(None, {"x": np.asarray(x, np.float32)})
        return Answer.model_construct(label=label.tolist(), probabilities=probabilities.tolist())

    @bentoml.api
    async def text(self, x: list[list[float]]) -> Annotated[str, ContentType("application/json")]:
        """JSON written by orjson, passed as text of that content type."""
        label, probabilities = self.session.run(None, {"x": np.asarray(x, np.float32)})
        answer = {"label": label, "probabilities": probabilities}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY).decode()

    @bentoml.api(batchable=True, max_batch_size=256)
    async def batched(self, x: np.ndarray) -> np.ndarray:
        """BentoML's adaptive batching: a row of label and probabilities for each row."""
        label, probabilities = self.session.run(None, {"x": x.astype(np.float32)})
        return np.column_stack([label, probabilities])
