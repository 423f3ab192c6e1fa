"""Pages that Prometheus reads; the only home of its library, which is asked when somebody reads a page.

Whoever has numbers keeps them as plain fields and lists them as families when asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from mmplatform.errors import PluginError
from mmplatform.text import printable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """A metric: one number, or one for each combination of ``labels``; a counter never falls."""

    kind: Literal["counter", "gauge"]
    name: str
    text: str
    values: float | Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()


class Histogram(NamedTuple):
    """A histogram: ``counts[i]`` is the number of samples above ``limits[i - 1]`` and up to ``limits[i]``.

    The counts are not cumulative; the last one is of samples above the highest limit. ``total`` is the sum of all.
    """

    name: str
    text: str
    limits: Sequence[float]
    counts: Sequence[int]
    total: float


Families = Iterable[Family | Histogram]


class Page:
    """A page with what ``families()`` gives, and the state of the process. Raises PluginError without the library."""

    def __init__(self, families: Callable[[], Families]) -> None:
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
        except ImportError as error:
            raise PluginError(
                f"metrics need prometheus_client ({error}); pip install 'mm-platform[metrics]', or leave metrics out"
            ) from None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(families))
        ProcessCollector(registry=self._registry)
        self._generate = generate_latest

    def render(self) -> bytes:
        return self._generate(self._registry)


class _Collector:
    """What prometheus_client asks for the samples."""

    def __init__(self, families: Callable[[], Families]) -> None:
        self._families = families

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        for family in self._families():
            yield _histogram(family) if isinstance(family, Histogram) else _family(family)


def _family(family: Family) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}[family.kind]
    if not isinstance(family.values, Mapping):
        return kind(family.name, family.text, family.values)
    made = kind(family.name, family.text, labels=family.labels)
    for labels, value in family.values.items():
        made.add_metric([printable(label) for label in labels], value)
    return made


def _histogram(family: Histogram) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    below, buckets = 0, []
    for limit, count in zip((*map(str, family.limits), "+Inf"), family.counts, strict=True):
        below += count
        buckets.append((limit, below))
    return HistogramMetricFamily(family.name, family.text, buckets=buckets, sum_value=family.total)
