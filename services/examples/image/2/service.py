"""Version 2 of an image service: weighs brightness as the eye does, adds contrast, and answers in greys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import bentoml
import pydantic
from annotated_types import Ge, Le
from bentoml.exceptions import InvalidArgument
from bentoml.validators import ContentType

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

VERSION: Final = "2"
MAX_PIXELS: Final = 50_000_000  # a small file can unpack to gigabytes

# ITU-R BT.601: what red, green and blue add to brightness.
LUMA: Final = (0.299, 0.587, 0.114)

Upload = Annotated[Path, ContentType("image/*")]
Side = Annotated[int, Ge(1), Le(1024)]


class Measures(pydantic.BaseModel):
    """Pixels, the mean and the standard deviation of brightness, and a histogram of it; all 0…255."""

    version: str
    width: int
    height: int
    brightness: float
    contrast: float
    histogram: list[int]  # pixels in eight equal ranges of brightness


@bentoml.service(name="image", workers=1, traffic={"timeout": 60})
class Image:
    """Looks at pictures."""

    def __init__(self) -> None:
        # Imported here, not above: `bentoml build` imports this module where they may not be installed.
        import numpy
        from PIL import Image as pillow

        pillow.MAX_IMAGE_PIXELS = MAX_PIXELS
        self._numpy = numpy
        self._pillow = pillow

    @bentoml.api
    def measure(self, image: Upload) -> Measures:
        """Size and brightness of an image, sent as multipart field `image`."""
        with self._open(image) as picture:
            luma = self._array(picture) @ self._numpy.array(LUMA)
        histogram, _ = self._numpy.histogram(luma, bins=8, range=(0, 256))
        return Measures(
            version=VERSION,
            width=luma.shape[1],
            height=luma.shape[0],
            brightness=round(float(luma.mean()), 3),
            contrast=round(float(luma.std()), 3),
            histogram=histogram.tolist(),
        )

    @bentoml.api
    def thumbnail(
        self, image: Upload, context: bentoml.Context, side: Side = 64
    ) -> Annotated[Path, ContentType("image/png")]:
        """The image scaled down to at most `side` pixels a side, as PNG in greys."""
        target = Path(context.temp_dir) / "thumbnail.png"
        with self._open(image) as picture:
            small = picture.convert("L")
            small.thumbnail((side, side))
            small.save(target)
        return target

    def _open(self, image: Path) -> Picture:
        bombs = (self._pillow.DecompressionBombError, self._pillow.DecompressionBombWarning)
        try:
            picture = self._pillow.open(image)
            picture.load()
        except (self._pillow.UnidentifiedImageError, OSError, *bombs) as error:
            raise InvalidArgument("image: not a picture that can be read") from error
        return picture

    def _array(self, picture: Picture) -> Any:
        return self._numpy.asarray(picture.convert("RGB"), dtype="float64")
