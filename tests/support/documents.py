"""The code in README and docs: every Python block, where it stands, and what it is."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    ROOT / "README.rst",
    *sorted((ROOT / "docs").glob("*.rst")),
    *sorted((ROOT / "docs" / "extend").glob("*.rst")),
]
BLOCK: Final = re.compile(
    r"^(?P<kind>\.\. (?:code-block|sourcecode):: ?(?P<language>\w+)|(?!\.\. ).*::)\n(?P<options>(?: +:\w+:.*\n)*)\n"
    r"(?P<code>(?:   .*\n|\n)+)",
    re.MULTILINE,
)


class CodeBlock(NamedTuple):
    """One block of code of a page. ``language``: "" where the page says none; ``caption``: "" where it has none."""

    page: Path
    line: int
    language: str
    caption: str
    code: str

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_program(self) -> bool:
        """Whether it runs as it stands; others speak of what their page has: a platform, a peer."""
        return bool(self.caption) or "asyncio.run(" in self.code

    @property
    def is_python(self) -> bool:
        """Whether it is Python that does something: words in lines and values alone are no program."""
        if self.language not in ("", "python"):
            return False
        try:
            body = ast.parse(self.code).body
        except SyntaxError:
            return False
        return not all(isinstance(each, ast.Expr) and not isinstance(each.value, ast.Await | ast.Call) for each in body)


def blocks(*pages: Path) -> Iterator[CodeBlock]:
    """Every block of ``pages``, or of README and docs."""
    for page in pages or PAGES:
        text = page.read_text("utf-8")
        for found in BLOCK.finditer(text):
            caption = re.search(r":caption: (\S+)", found["options"])
            yield CodeBlock(
                page,
                text.count("\n", 0, found.start("code")) + 1,
                found["language"] or "",
                caption[1] if caption else "",
                textwrap.dedent(found["code"]),
            )


def python_blocks(*pages: Path) -> Iterator[CodeBlock]:
    """Every block that is Python."""
    return (block for block in blocks(*pages) if block.is_python)
