"""What every adapter asks of the images of an op before it works on them."""

from adapters.provider import ImageOp
from tools.errors import Invalid
from tools.media.sizes import same_shape


def check_images(op: ImageOp) -> None:
    """See that the op has the images its kind works from, and that a mask has the start image's proportions.

    Fails: Invalid (`start_image_missing`, `mask_missing`, `mask_size`).
    """
    if op.kind == "generate":
        return
    if op.start_image is None:
        raise Invalid(f"{op.kind} needs a start image", code="start_image_missing")
    if op.kind != "inpaint":
        return
    if op.mask is None:
        raise Invalid("inpaint needs a mask: transparent or white where the image is to change", code="mask_missing")
    mask, start = (op.mask.width, op.mask.height), (op.start_image.width, op.start_image.height)
    if not same_shape(mask, start):
        raise Invalid(
            f"the mask is {mask[0]}x{mask[1]} but the start image {start[0]}x{start[1]}: they must have one shape",
            code="mask_size",
        )
