# SPDX-License-Identifier: Apache-2.0
from hypothesis import example, given
from hypothesis import strategies as st

from imageapi.protocol.ranges import RangeNotSatisfiable, Span, parse_range

SIZES = st.integers(1, 10**12)
OFFSETS = st.integers(0, 10**13)


def select_range(header: str, size: int) -> Span | int | None:
    """The part of so many bytes; 416, or None for the whole."""
    byte_range = parse_range(header)
    if byte_range is None:
        return None
    try:
        return byte_range.in_data_of(size)
    except RangeNotSatisfiable as error:
        return 416 if error.size == size else None


@given(SIZES, OFFSETS, OFFSETS)
@example(10, 5, 4)
@example(10, 5, 5)
def test_first_and_last(size: int, first: int, last: int) -> None:
    wanted = select_range(f"bytes={first}-{last}", size)
    if last < first:
        assert wanted is None
    elif first >= size:
        assert wanted == 416
    else:
        assert wanted == Span(first, min(last + 1, size))


@given(SIZES, OFFSETS)
def test_open_ended_and_suffix(size: int, number: int) -> None:
    rest = select_range(f"bytes={number}-", size)
    assert rest == (Span(number, size) if number < size else 416)
    suffix = select_range(f"bytes=-{number}", size)
    if number == 0:
        assert suffix == 416
    else:
        assert suffix == Span(max(size - number, 0), size)


@given(st.text(max_size=300), SIZES)
@example("bytes=0-0\n", 5)
@example("bytes=\u0660-", 5)
def test_any_text_gives_a_span_within_the_size_or_none(text: str, size: int) -> None:
    wanted = select_range(text, size)
    if isinstance(wanted, Span):
        assert 0 <= wanted.start < wanted.stop <= size
        assert text.strip(" \t").lower().startswith("bytes=")
        assert text.isascii()


@given(st.text("bytes=-0123456789, \t*", max_size=300), SIZES)
def test_any_near_miss_gives_a_span_within_the_size_or_none(text: str, size: int) -> None:
    wanted = select_range("bytes=" + text, size)
    if isinstance(wanted, Span):
        assert 0 <= wanted.start < wanted.stop <= size
        assert "," not in text
