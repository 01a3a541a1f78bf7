# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imageapi.protocol.preconditions import Refusal, Span, evaluate, select_range

SIZES = st.integers(1, 10**12)
OFFSETS = st.integers(0, 10**13)
TAGS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",*'), min_size=1
)


@given(SIZES, OFFSETS, OFFSETS)
@example(10, 5, 4)
@example(10, 5, 5)
def test_first_and_last(size: int, first: int, last: int) -> None:
    wanted = select_range(f"bytes={first}-{last}", None, None, size)
    if last < first:
        assert wanted is None
    elif first >= size:
        assert wanted is Refusal.RANGE_NOT_SATISFIABLE
    else:
        assert wanted == Span(first, min(last + 1, size))


@given(SIZES, OFFSETS)
def test_open_ended_and_suffix(size: int, number: int) -> None:
    rest = select_range(f"bytes={number}-", None, None, size)
    assert rest == (Span(number, size) if number < size else Refusal.RANGE_NOT_SATISFIABLE)
    suffix = select_range(f"bytes=-{number}", None, None, size)
    if number == 0:
        assert suffix is Refusal.RANGE_NOT_SATISFIABLE
    else:
        assert suffix == Span(max(size - number, 0), size)


@given(st.text(max_size=300), SIZES)
@example("bytes=0-0\n", 5)
@example("bytes=\u0660-", 5)
def test_any_text_gives_a_span_within_the_size_or_none(text: str, size: int) -> None:
    wanted = select_range(text, None, None, size)
    if isinstance(wanted, Span):
        assert 0 <= wanted.start < wanted.stop <= size
        assert text.strip(" \t").lower().startswith("bytes=")
        assert text.isascii()


@given(st.text("bytes=-0123456789, \t*", max_size=300), SIZES)
def test_any_near_miss_gives_a_span_within_the_size_or_none(text: str, size: int) -> None:
    wanted = select_range("bytes=" + text, None, None, size)
    if isinstance(wanted, Span):
        assert 0 <= wanted.start < wanted.stop <= size
        assert "," not in text


@given(st.lists(TAGS, min_size=1, max_size=5), st.integers(0, 4), st.booleans(), st.booleans())
def test_a_list_matches_each_of_its_tags(
    tags: list[str], index: int, quoted: bool, weak: bool
) -> None:
    etag = tags[index % len(tags)].removeprefix("W/") or "x"
    written = [f'"{tag}"' if quoted else tag.removeprefix("W/") or "x" for tag in tags]
    written[index % len(tags)] = ("W/" if weak else "") + (f'"{etag}"' if quoted else etag)
    header = ", ".join(written)
    assert evaluate(None, header, etag) is Refusal.NOT_MODIFIED
    others = {tag.strip('"') for place, tag in enumerate(written) if place != index % len(tags)}
    matches = not weak or etag in others
    assert evaluate(header, None, etag) is (None if matches else Refusal.PRECONDITION_FAILED)


@given(st.text(max_size=100), st.text(max_size=100))
@example('"' * 20_000, "x")
@example("," * 20_000, "x")
@example(" " * 20_000 + "x", "x")
def test_any_text_is_decided(text: str, etag: str) -> None:
    assert evaluate(None, text, etag) in (None, Refusal.NOT_MODIFIED)
    assert evaluate(text, None, etag) in (None, Refusal.PRECONDITION_FAILED)
    assert select_range("bytes=0-1", text, etag, 5) in (None, Span(0, 2))


@pytest.mark.parametrize("header", ['"a"b', '"a" "b"', '"a', 'a"', "a b"])
def test_what_is_no_list_matches_nothing(header: str) -> None:
    assert evaluate(None, header, "a") is None


def test_empty_data_has_no_ranges() -> None:
    assert select_range("bytes=0-0", None, None, 0) is None
    assert select_range("bytes=5-", None, None, 0) is None
