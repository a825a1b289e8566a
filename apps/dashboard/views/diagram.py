"""A block diagram from data: where its boxes stand. The stream runs down the left, branches beside it.

    row      the longest way from the top of its section
    lane     the branch; branches whose rows overlap stand side by side
    column   in a lane, the mean of what a box reads, pushed apart; long wires keep a narrow column free
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.dashboard.views import component

if TYPE_CHECKING:
    from interp.architectures.diagram import Diagram, Section
    from interp.architectures.diagram_boxes import Box

GAP = 0.34
"""Columns that a passing wire keeps free."""


def diagram(key: str, shown: "Diagram", *, label: str, selected: str | None = None,
            on_select: Callable[[str | None], None] | None = None, marks: Collection[str] = (),
            notes: Mapping[str, str] | None = None) -> None:
    """Draw a diagram. A selection is the id of a box; `marks` are ids drawn as different, `notes` {id: more to say}."""
    component.mount("diagram", key=key, selected=selected, on_select=on_select, data={
        "label": label, "sections": [_section(section, shown, set(marks), notes or {}) for section in shown.sections],
    })


def _section(section: "Section", shown: "Diagram", marks: set[str], notes: Mapping[str, str]) -> dict[str, Any]:
    places = Layout(section)
    names = {box.id: _called(home, box) for home, box in shown.boxes()}
    before = {box.id for box in _before(section, shown)}
    own = {box.id for box in section.boxes}
    return {
        "title": section.title, "shared": section.shared, "rows": places.rows, "columns": places.columns,
        "loops": len(section.depths) if len(section.depths) > 1 and _consecutive(section) else 0,
        "boxes": [{
            "id": box.id, "label": box.label, "axes": " × ".join(box.axes), "role": box.role, "sums": box.sums,
            "x": places.x[box.id], "y": places.row[box.id], "mark": box.id in marks,
            "from": [name for name in box.comes if name in before],
            "comes": [names[name] + (" of the depth before" if name in own else "") for name in box.comes
                      if name not in before and not (name in own and box.role == "stream")],
            "title": f"{section.title + ': ' if section.title else ''}{box.label} [{', '.join(box.axes)}]"
                     + (f"\n{notes[box.id]}" if box.id in notes else ""),
        } for box in section.boxes],
        "wires": [{"from": start, "to": box.id, "through": places.through.get((start, box.id), []),
                   "loose": box.role == "choice"} for box in section.boxes for start in box.reads],
    }


def _called(section: "Section", box: "Box") -> str:
    """What a box is called in another section: with its stream, where there are several."""
    stream = section.title.partition("block")[0]
    return f"{stream}{box.label}"


def _before(section: "Section", shown: "Diagram") -> tuple["Box", ...]:
    """The boxes of the section drawn right above, to which wires can be drawn."""
    at = shown.sections.index(section)
    return shown.sections[at - 1].boxes if at else ()


def _consecutive(section: "Section") -> bool:
    numbers = [int(prefix.rpartition(".")[2]) for prefix in section.depths]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@dataclass
class Layout:
    """Rows and columns of the boxes of one section: `row`, `x` by id; `through` the bends of long wires."""

    section: "Section"
    row: dict[str, int] = field(default_factory=dict)
    x: dict[str, float] = field(default_factory=dict)
    through: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = self.section.boxes
        for box in boxes:
            self.row[box.id] = max((self.row[name] + 1 for name in box.reads if name in self.row), default=0)
        for box in boxes:  # what reads nothing stands right above what reads it
            readers = [self.row[other.id] for other in boxes if box.id in other.reads]
            if not box.reads and readers and box.role != "stream":
                self.row[box.id] = max(0, min(readers) - 1)
        if not self.section.depths:
            self._outside()
        else:
            spine = {box.id for box in boxes if box.role == "stream" or box.sums}
            self.x |= dict.fromkeys(spine, 0.0)
            self._lanes([box for box in boxes if box.id not in spine])

    @property
    def rows(self) -> int:
        return max(self.row.values()) + 1

    @property
    def columns(self) -> float:
        bends = [x for points in self.through.values() for x, _ in points]
        return max([*self.x.values(), *bends]) + 1

    def _outside(self) -> None:
        for box in self.section.boxes:
            self.x[box.id] = float(sum(self.row[other] == self.row[box.id] for other in self.x))

    def _lanes(self, boxes: list["Box"]) -> None:
        groups: dict[str, list[Box]] = {}
        for box in boxes:
            groups.setdefault(box.group, []).append(box)
        lanes: list[list[Box]] = []
        for members in groups.values():
            reads, top = {name for box in members for name in box.reads}, min(self.row[box.id] for box in members)
            # what goes on with a branch (its gate, its router) stands below it
            goes_on = (lane for lane in lanes if {box.id for box in lane} & reads
                       and max(self.row[box.id] for box in lane) < top)
            lane = next(goes_on, None)
            if lane is None:
                lanes.append(lane := [])
            lane += members
        placed: list[tuple[int, int, float]] = []  # first row, last row, right end
        for members in lanes:
            rows = [self.row[box.id] for box in members]
            rows += [self.row[name] + 1 for box in members for name in box.reads]  # where its wires begin to pass
            left = max((end for low, high, end in placed if low <= max(rows) and min(rows) <= high), default=0.0)
            right = self._lane(members, left + (1.0 if left == 0.0 else 1.1))
            placed.append((min(rows), max(rows), right))

    def _lane(self, members: list["Box"], left: float) -> float:
        """Place the boxes of one lane from `left` on; returns its right end."""
        inside = {box.id for box in members}
        rows: dict[int, list[tuple[str, tuple[str, ...], float]]] = {}
        chains: dict[tuple[str, str], list[str]] = {}
        for box in members:
            reads = []
            for name in box.reads:
                gap = self.row[box.id] - self.row[name]
                if gap > 1:
                    last = name
                    for row in range(self.row[name] + 1, self.row[box.id]):
                        bend = f"{name}>{box.id}>{row}"
                        rows.setdefault(row, []).append((bend, (last,), GAP))
                        chains.setdefault((name, box.id), []).append(last := bend)
                    name = last
                reads.append(name)
            rows.setdefault(self.row[box.id], []).append((box.id, tuple(reads), 1.0))
        widest = max(sum(width for _, _, width in items) for items in rows.values())
        middle, x = left + (widest - 1) / 2, dict(self.x)
        for row in sorted(rows):
            self._row(rows[row], x, (left - 1.0, middle), inside)
        names = [name for items in rows.values() for name, _, _ in items]
        shift = left - min(x[name] for name in names)
        shift = max(0.0, shift) if shift > 0 else 0.0
        for name in names:
            x[name] += shift
        self.x |= {name: x[name] for name in names if name in inside}
        for wire, bends in chains.items():
            self.through[wire] = [(x[bend], int(bend.rpartition(">")[2])) for bend in bends]
        return max(x[name] for name in names)

    @staticmethod
    def _row(items: list[tuple[str, tuple[str, ...], float]], x: dict[str, float], default: tuple[float, float],
             inside: Collection[str]) -> None:
        """Columns of one row of a lane: each at the mean of what it reads there, then pushed apart. Without any, a wire
        that passes stands left, next to the stream that it comes from, and a box in the middle."""
        def wanted(item: tuple[str, tuple[str, ...], float]) -> float:
            known = [x[name] for name in item[1] if name in x and (name in inside or ">" in name)]
            return sum(known) / len(known) if known else default[">" not in item[0]]

        ordered = sorted(items, key=wanted)
        goals, at, found = [wanted(item) for item in ordered], float("-inf"), []
        for before, item, goal in zip([None, *ordered], ordered, goals):
            at = max(goal, at + (before[2] + item[2]) / 2 if before else goal)
            found.append(at)
        lean = sum(found) / len(found) - sum(goals) / len(goals)
        x |= {item[0]: place - lean for item, place in zip(ordered, found)}
