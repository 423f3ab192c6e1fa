import io

from benchmarks.progress import Progress
from benchmarks.results import Measurement


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_a_measurement_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    progress.begin("W1 mm")
    progress.end(Measurement("mm", "W1", 0, 1, value=1234.5, seconds=0.5))
    progress.end(Measurement("naive", "W1", 1, 1, error="it broke"))
    progress.close()
    first, second = stream.getvalue().splitlines()
    assert first.split() == ["[1/2]", "round", "1", "W1", "mm", "1,234", "messages/s", "(0.50", "s)"]
    assert second.endswith("failed: it broke")


def test_a_bar_on_a_terminal_where_only_failures_stay() -> None:
    stream = Terminal()
    progress = Progress(2, stream)
    progress.begin("W1 mm")
    progress.end(Measurement("mm", "W1", 0, 1, value=1234.5))
    progress.begin("W1 naive")
    progress.end(Measurement("naive", "W1", 0, 1, error="it broke"))
    progress.end()
    progress.close()
    text = stream.getvalue()
    assert "[............" in text
    assert "] 1/2  0 s left  W1 naive" in text
    assert "1,234" not in text
    assert "failed: it broke\n" in text
    assert text.endswith("\r\033[K")
