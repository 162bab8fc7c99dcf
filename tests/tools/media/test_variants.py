import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import Invalid
from tools.media.variants import FITS, MAX_SIDE, NAMED, Fit, Variant, layout, negotiate, parse

SIDES = st.integers(1, MAX_SIDE)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("w=400", "w=400,fit=scale-down"),
        ("h=300", "h=300,fit=scale-down"),
        ("w=400,h=300,fit=cover", "w=400,h=300,fit=cover"),
        ("fit=cover,h=300,w=400", "w=400,h=300,fit=cover"),
        ("w=400,fit=scale-down", "w=400,fit=scale-down"),
        ("public", "public"),
        ("thumb", "thumb"),
    ],
)
def test_one_variant_has_one_name(text: str, name: str) -> None:
    """All spellings of a variant have one name."""
    assert parse(text).name == name
    assert parse(parse(text).name) == parse(text)


@pytest.mark.parametrize(
    "text",
    (
        *("", "original", "PUBLIC", "w", "w=", "w=0", "w=-1", "w=4097", "w=99999999999", "w=1.5", "w=٣", "w=1,w=1"),
        *("w=1,,h=1", "w=1,", "fit=cover", "w=1,fit=fill", "w=1,fit=", "w=1,q=80", "w=1;h=1", "w= 1", "w=01"),
        *("w=1,fit=cover,fit=pad", "../master", "w=1/..", "w==1", "w=1=1", "blur=250,w=1"),
    ),
)
def test_other_variants_are_refused_by_name(text: str) -> None:
    """Other texts are refused with an error that names what is allowed."""
    with pytest.raises(Invalid, match="public, preview, thumb") as caught:
        parse(text)
    assert (caught.value.code, caught.value.status) == ("bad_variant", 400)


@pytest.mark.parametrize(
    ("source", "text", "size", "canvas"),
    [
        ((1000, 500), "w=400", (400, 200), None),
        ((1000, 500), "w=2000", (1000, 500), None),
        ((1000, 500), "w=2000,fit=contain", (2000, 1000), None),
        ((1000, 500), "w=400,h=400", (400, 200), None),
        ((1000, 500), "w=400,h=400,fit=contain", (400, 200), None),
        ((1000, 500), "w=400,h=400,fit=cover", (400, 400), None),
        ((100, 50), "w=400,h=400,fit=cover", (400, 400), None),
        ((1000, 500), "w=400,h=400,fit=crop", (400, 400), None),
        ((100, 50), "w=400,h=400,fit=crop", (100, 50), None),
        ((1000, 200), "w=400,h=400,fit=crop", (400, 200), None),
        ((1000, 500), "w=400,h=400,fit=pad", (400, 200), (400, 400)),
        ((1, 4096), "w=4096,fit=contain", (1, 4096), None),
        ((4096, 1), "w=16", (16, 1), None),
        ((5000, 100), "public", (2048, 41), None),
        ((300, 200), "thumb", (256, 171), None),
    ],
)
def test_a_fit_gives_the_size_it_means(
    source: tuple[int, int], text: str, size: tuple[int, int], canvas: tuple[int, int] | None
) -> None:
    """The five fits, with one side open or both given."""
    plan = layout(source, parse(text))
    assert (plan.size, plan.canvas) == (size, canvas)


@given(source=st.tuples(SIDES, SIDES), width=SIDES | st.none(), height=SIDES, fit=st.sampled_from(FITS))
def test_no_layout_leaves_the_bounds(source: tuple[int, int], width: int | None, height: int, fit: Fit) -> None:
    """No result is larger than the limit or the box, and no part is outside of the source."""
    plan = layout(source, Variant("", width, height, fit))
    assert all(1 <= side <= MAX_SIDE for side in plan.size)
    assert plan.size[1] <= height and (width is None or plan.size[0] <= width)
    left, top, right, bottom = plan.box
    assert 0 <= left < right <= source[0] and 0 <= top < bottom <= source[1]
    if fit in ("scale-down", "crop"):
        assert plan.size[0] <= source[0] and plan.size[1] <= source[1]
    if width is not None and fit in ("cover", "pad"):
        assert (plan.canvas or plan.size) == (width, height)


def test_named_variants_never_enlarge() -> None:
    """A small image is not scaled up."""
    assert {layout((40, 30), variant).size for variant in NAMED.values()} == {(40, 30)}


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", "jpeg"),
        ("*/*", "jpeg"),
        ("image/*", "jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "avif"),
        ("image/webp,*/*", "webp"),
        ("image/webp,image/avif", "avif"),
        ("image/avif;q=0.5,image/webp;q=0.9", "webp"),
        ("image/avif;q=0,image/webp", "webp"),
        ("image/avif;q=0,image/webp;q=0", "jpeg"),
        ("image/webp;q=0.3,image/jpeg", "jpeg"),
        ("image/webp;q=0.3,image/*;q=0.8", "jpeg"),
        ("IMAGE/WEBP", "webp"),
        ("image/webp ; q=1.0 , */*;q=0.1", "webp"),
        ("image/webp;q=nan", "jpeg"),
        ("image/webp;q=1e9,image/jpeg;q=0.1", "jpeg"),
        ("text/html", "jpeg"),
        ("image/webp;level=1;q=0.2", "webp"),
    ],
)
def test_accept_chooses_the_format(accept: str, encoding: str) -> None:
    """The named format of highest quality; JPEG if none is named."""
    assert negotiate(accept) == encoding
