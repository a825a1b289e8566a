"""The entry: `interp dashboard`, or `streamlit run apps/dashboard/server/app.py`.

It has a folder of its own: beside an entry, streamlit takes every file of a folder `pages` for a page and runs it.
"""

import sys
from pathlib import Path

if (root := str(Path(__file__).parents[3])) not in sys.path:
    sys.path.insert(0, root)  # streamlit puts this folder there, not the one that `apps` is in

import streamlit as st

from apps.dashboard import frame, pages

# a named icon would be fetched from another server
st.set_page_config(page_title="interp", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide")
if frame.admitted():
    st.navigation(pages.navigation(), expanded=True).run()
