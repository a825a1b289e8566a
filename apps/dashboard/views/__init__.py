"""The views: one function each, from plain numbers to a drawing with clicks.

grid      rows x columns of values or small pictures: heads, lens, patterns, patching (canvas)
heads     the grid of a model's heads and MLPs from a table with a column `source`
strip     tokens coloured by a value each
graph     a circuit with its edges (SVG)
diagram   a model as boxes and wires, with labelled axes (SVG)
source    a program's text with the lines that an input uses lit up
chart     a plotly figure of the library, in the colours of the theme
table     a table, the text twin of every figure; rows can be clicked
copy_link a button that copies the address
image     pixels as an enlarged picture

Each takes a `key` of its own on the page; a selection is given as `selected` and comes back through `on_select`.
"""

from apps.dashboard.views.charts import chart, copy_link, image, table
from apps.dashboard.views.diagram import diagram
from apps.dashboard.views.graph import graph
from apps.dashboard.views.grid import grid, strip
from apps.dashboard.views.heads import heads
from apps.dashboard.views.source import source

__all__ = ["chart", "copy_link", "diagram", "graph", "grid", "heads", "image", "source", "strip", "table"]
