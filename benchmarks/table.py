"""The table of a run: one block a workload, the platform first, then each peer with the ratio of the two."""

from collections.abc import Mapping, Sequence

from benchmarks.results import Summaries, Summary, of_platform
from benchmarks.workloads import WORKLOADS, Workload

ROLES = ("sender", "receiver", "broker")
HEADER = ("", "median", "low", "high", "mm/peer", "p99", "CPU s/100k", "RSS MB")
LEGEND = "mm/peer: this platform's median over the peer's. CPU and RSS: sender + receiver (+ broker)."


def render(summaries: Summaries, failed: Mapping[str, Mapping[str, str]], missing: Mapping[str, str]) -> str:
    """Failed and missing peers have a line of their own, with the reason."""
    rows: list[Sequence[str]] = [HEADER]
    for name, workload in WORKLOADS.items():
        peers, broken = summaries.get(name, {}), failed.get(name, {})
        if not peers and not broken:
            continue
        rows.append((f"{name}  {workload.title}, {_unit(workload)}",))
        own = of_platform(name, peers)
        rows += [_row(peer, row, peers[own] if own and own != peer else None) for peer, row in peers.items()]
        rows += [(f"  {peer}  failed: {reason}",) for peer, reason in broken.items()]
    if missing:
        rows.append(("Missing peers",))
        rows += [(f"  {peer}  not measured: {reason}",) for peer, reason in missing.items()]
    return aligned(rows) + "\n\n" + LEGEND


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right; a lone cell is a line."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(row[column]) for row in full) for column in range(len(full[0]))]
    lines: list[str] = []
    for row in rows:
        if len(row) == 1:
            heading = not row[0].startswith(" ")
            lines += ["", row[0]] if heading else [row[0]]
        else:
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits at least: 1,234,567 or 123 or 12.3 or 1.23."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _unit(workload: Workload) -> str:
    return f"{workload.unit} (less is better)" if workload.lower_is_better else workload.unit


def _row(peer: str, row: Summary, platform: Summary | None) -> Sequence[str]:
    return (
        f"  {peer}",
        number(row.median),
        number(row.low),
        number(row.high),
        f"{platform.median / row.median:.2f}" if platform else "",
        number(row.p99) if row.p99 is not None else "",
        _by_role(row.cpu),
        _by_role(row.rss),
    )


def _by_role(values: Mapping[str, float]) -> str:
    return " + ".join(number(values[role]) for role in ROLES if role in values)
