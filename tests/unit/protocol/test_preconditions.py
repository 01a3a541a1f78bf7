# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imageapi.protocol.preconditions import Decision, allows_range, evaluate

TAGS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='",*'), min_size=1
)


@given(st.lists(TAGS, min_size=1, max_size=5), st.integers(0, 4), st.booleans(), st.booleans())
def test_a_list_matches_each_of_its_tags(
    tags: list[str], index: int, quoted: bool, weak: bool
) -> None:
    etag = tags[index % len(tags)].removeprefix("W/") or "x"
    written = [f'"{tag}"' if quoted else tag.removeprefix("W/") or "x" for tag in tags]
    written[index % len(tags)] = ("W/" if weak else "") + (f'"{etag}"' if quoted else etag)
    header = ", ".join(written)
    assert evaluate(None, header, etag) is Decision.NOT_MODIFIED
    others = {tag.strip('"') for place, tag in enumerate(written) if place != index % len(tags)}
    matches = not weak or etag in others
    assert evaluate(header, None, etag) is (None if matches else Decision.PRECONDITION_FAILED)


@given(st.text(max_size=100), st.text(max_size=100))
@example('"' * 20_000, "x")
@example("," * 20_000, "x")
@example(" " * 20_000 + "x", "x")
def test_any_text_is_decided(text: str, etag: str) -> None:
    assert evaluate(None, text, etag) in (None, Decision.NOT_MODIFIED)
    assert evaluate(text, None, etag) in (None, Decision.PRECONDITION_FAILED)
    assert allows_range(text, etag) in (True, False)


@pytest.mark.parametrize("header", ['"a"b', '"a" "b"', '"a', 'a"', "a b"])
def test_what_is_no_list_matches_nothing(header: str) -> None:
    assert evaluate(None, header, "a") is None
