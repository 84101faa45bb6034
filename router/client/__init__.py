"""A typed client of both listeners, blocking and for asyncio: `DataClient`, `ControlClient`, `Async…`."""

from router.client.async_control import AsyncControlClient
from router.client.async_data import AsyncDataClient
from router.client.control import ControlClient
from router.client.data import DataClient
from router.client.data_calls import Answer, tensor
from router.client.errors import ClientError, NoAnswer, Refusal

__all__ = [
    "Answer",
    "AsyncControlClient",
    "AsyncDataClient",
    "ClientError",
    "ControlClient",
    "DataClient",
    "NoAnswer",
    "Refusal",
    "tensor",
]
