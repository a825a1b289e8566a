"""Runs: what is being computed, what was, and files from elsewhere."""

import tempfile
from pathlib import Path

import pandas as pd
import streamlit as st

from apps.dashboard import cards, folders, jobs, state, views
from interp.results import Run
from interp.results.errors import BadFile, BadInput

LARGEST = 32 * 2**20
"""Bytes of an uploaded file; the server refuses more as well."""


def page() -> None:
    """Draw the page."""
    st.title("Runs")
    _working()
    frame = folders.listing()
    if not len(frame):
        cards.empty("No runs yet.", "Find a circuit on Explore or Circuit, or run interp discover.")
    else:
        _list(frame)
    if state.get("run"):
        with cards.guarded("this run"):
            _one(state.get("run"))
    with cards.guarded("that file"):
        _upload()


def _working() -> None:
    found = [job for job in jobs.table().jobs.values() if job.state != "done"]
    for job in found:
        with st.container(border=True):
            st.markdown(f"**{job.run}**")
            jobs.show(job.run)


def _list(frame: pd.DataFrame) -> None:
    shown = frame.copy()
    shown["where"] = shown["shipped"].map({True: "ships", False: "here"})
    columns = ["run", "status", "command", "model", "task", "seed", "seconds", "started", "reason", "where"]
    columns = [name for name in columns if not shown[name].isna().all()]
    st.caption(f"Runs in {folders.root()}, newest first, and those that ship. Click a row to open it.")
    views.table("runs-table", shown[columns], height=min(420, 36 * (len(shown) + 1) + 4),
                on_select=lambda i: state.put(run="" if i is None else shown["run"][i]))


def _one(name: str) -> None:
    run = folders.open_run(name)
    info = run.info
    st.subheader(name)
    said = f" · {info['timings']['total']:.1f} s" if "total" in info["timings"] else ""
    st.caption(f"{run.command} · {run.status}{said} · seed {run.seed} · began {info['started']}")
    if run.status in ("failed", "interrupted"):
        cards.error(f"This run {'failed' if run.status == 'failed' else 'was interrupted'}",
                    info["reason"] or "Its process ended without a word.",
                    "Go on with it: finished work is kept." if run.command in jobs.COMMANDS else
                    "Run the same command again.")
    with st.container(horizontal=True):
        if (run.path / "circuit.json").is_file():
            config = run.config
            known = {key: config[name] for key, name in (("m", "model"), ("t", "task")) if isinstance(config.get(name),
                     str)}
            state.link("circuit", "Open its circuit", icon=":material/account_tree:", run=name, h="", e="", thr=0,
                       **known)
        if run.status in ("failed", "interrupted") and run.command in jobs.COMMANDS and not folders.is_shipped(name):
            if st.button("Go on with it", icon=":material/play_arrow:"):
                jobs.resume(name)
                st.rerun()
    _contents(run)


def _contents(run: Run) -> None:
    """Its settings, tables and figures."""
    tables = sorted(path.stem for path in (run.path / "tables").glob("*.csv"))
    figures = sorted(path.stem for path in (run.path / "figures").glob("*.json"))
    if tables or figures:
        kinds = {f"table {name}": ("table", name) for name in tables}
        kinds |= {f"figure {name}": ("figure", name) for name in figures}
        chosen = st.selectbox("Contents", list(kinds), key="contents")
        kind, name = kinds[chosen]
        with cards.guarded(chosen):
            if kind == "table":
                frame = run.table(name)
                views.table("run-table", frame, height=320)
                st.download_button("CSV", frame.to_csv(index=False), f"{name}.csv", "text/csv", on_click="ignore")
            else:
                views.chart("run-figure", run.figure(name), alt=f"figure {name} of this run")
    with st.expander("Settings and facts"):
        st.json({"config": run.config, **{key: run.info[key] for key in ("summary", "timings", "versions")}},
                expanded=1)


def _upload() -> None:
    with st.expander("Open a file"):
        st.caption("A circuit as JSON, or arrays as safetensors; up to 32 MB. Files are read as data and never run.")
        given = st.file_uploader("File", type=["json", "safetensors"], key="upload", max_upload_size=32)
        if given is None:
            return
        if given.size > LARGEST:
            raise BadInput(f"{given.name} has {given.size:,} bytes; at most {LARGEST:,} are read")
        if given.name.endswith(".safetensors"):
            _arrays(given.name, given.getvalue())
        elif st.button(f"Keep {given.name} as a run", type="primary"):
            state.put(run=folders.keep(given.name, given.getvalue()), h="", e="", thr=0)
            state.go("circuit", run=state.get("run"))


def _arrays(name: str, content: bytes) -> None:
    from interp.results.tensors import load_arrays

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.safetensors"
        path.write_bytes(content)
        try:
            arrays = load_arrays(path)
        except BadFile as error:
            raise BadFile(str(error).replace(str(path), name)) from None
    views.table("arrays", pd.DataFrame([{"name": key, "shape": " x ".join(map(str, value.shape)),
                                         "type": str(value.dtype), "mean": float(value.mean()) if value.size else None}
                                        for key, value in arrays.items()]))
