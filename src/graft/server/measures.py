"""What the server counts about itself, in the text format that Prometheus reads (version 0.0.4).

An exposition of our own: a dozen lines, where the client library would cost the hot route a lock for each counter.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Samples = Iterable[tuple[Mapping[str, str], float]]


class Measures:
    """Requests by route and status, and how long they took. Written by the event loop alone."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(EDGES) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, route: str, status: int, seconds: float) -> None:
        """One request answered."""
        self._counts[route, status] += 1
        self._buckets[route][bisect_left(EDGES, seconds)] += 1
        self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, tuple[str, str, Samples]]) -> str:
        """The page of measures; `gauges` maps a name to (kind, help, samples) of what others know."""
        requests = [({"route": r, "status": str(s)}, float(n)) for (r, s), n in sorted(self._counts.items())]
        lines = family("graft_requests_total", "counter", "Requests answered.", requests)
        lines += ["# HELP graft_request_seconds Seconds from a request's head to its answer."]
        lines += ["# TYPE graft_request_seconds histogram"]
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for edge, count in zip((*map(str, EDGES), "+Inf"), buckets, strict=True):
                total += count
                lines.append(_sample("graft_request_seconds_bucket", {"route": route, "le": edge}, total))
            lines.append(_sample("graft_request_seconds_sum", {"route": route}, self._seconds[route]))
            lines.append(_sample("graft_request_seconds_count", {"route": route}, total))
        for name, (kind, text, samples) in gauges.items():
            lines += family(name, kind, text, samples)
        return "\n".join(lines) + "\n"


def family(name: str, kind: str, text: str, samples: Samples) -> list[str]:
    """The lines of one measure."""
    head = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    return head + [_sample(name, labels, value) for labels, value in samples]


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inside = ",".join(f'{key}="{quoted(text)}"' for key, text in labels.items())
    shown = str(int(value)) if value == int(value) else repr(value)
    return f"{name}{{{inside}}} {shown}" if inside else f"{name} {shown}"
