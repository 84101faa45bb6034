"""Version 1 of an image service: an image file in, its measures as JSON or a thumbnail as PNG out."""

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

VERSION: Final = "1"
MAX_PIXELS: Final = 50_000_000  # a small file can unpack to gigabytes

Upload = Annotated[Path, ContentType("image/*")]
Side = Annotated[int, Ge(1), Le(1024)]


class Measures(pydantic.BaseModel):
    """Pixels, and means over all pixels of brightness and of each channel, 0…255."""

    version: str
    width: int
    height: int
    brightness: float
    red: float
    green: float
    blue: float


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
        """Size and means of an image, sent as multipart field `image`."""
        with self._open(image) as picture:
            means = self._array(picture).reshape(-1, 3).mean(axis=0)
            red, green, blue = (round(float(mean), 3) for mean in means)
            size = {"width": picture.width, "height": picture.height}
        brightness = round((red + green + blue) / 3, 3)
        return Measures(version=VERSION, brightness=brightness, red=red, green=green, blue=blue, **size)

    @bentoml.api
    def thumbnail(
        self, image: Upload, context: bentoml.Context, side: Side = 64
    ) -> Annotated[Path, ContentType("image/png")]:
        """The image scaled down to at most `side` pixels a side, as PNG in its own colours."""
        target = Path(context.temp_dir) / "thumbnail.png"
        with self._open(image) as picture:
            small = picture.convert("RGB")
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
