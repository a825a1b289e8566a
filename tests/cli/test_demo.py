"""`make demo`: names the heads, shows the control failing, and leaves one offline page."""

import shutil
import subprocess

import pytest

from interp.demo import demo, named, sentences
from interp.results import BadInput, Run

BROWSER = next((name for name in ("chromium", "chromium-browser", "google-chrome") if shutil.which(name)), None)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return demo(out=tmp_path_factory.mktemp("demo") / "report")


def test_demo_finds_the_previous_token_head_and_the_induction_heads(facts):
    roles = named(facts["heads"])
    assert roles["previous token"] and roles["induction"]
    assert all(head.startswith("L0") for head in roles["previous token"])
    assert all(head.startswith("L1") for head in roles["induction"])
    said = " ".join(sentences(facts))
    assert roles["previous token"][0] in said and roles["induction"][0] in said


def test_demo_circuit_is_faithful_on_prompts_it_has_not_seen_and_random_ones_are_not(facts):
    found = facts["evaluation"]
    assert 0.8 <= found.faithfulness.value <= 1.2 and len(facts["circuit"].nodes) < len(facts["circuit"].scores)
    matched, anywhere = found.controls
    # only four circuits have this size at these depths; of the size alone there are 55 others, none of them enough
    assert len(matched.faithfulness) == 3 and max(matched.faithfulness) < 0.5 and matched.p == 0.25
    assert len(anywhere.faithfulness) == 55 and anywhere.p == 1 / 56


def test_demo_shows_the_one_layer_control_failing(facts):
    assert facts["accuracy"].low > 0.9 and facts["control"].high < facts["accuracy"].low


def test_demo_report_holds_roles_grouped_removal_and_the_random_control(facts):
    page = (facts["run"].path / "report.html").read_text()
    wanted = ("previous_token", "Induction heads together", "other random circuits of the same size", "one layer")
    assert all(text in page for text in wanted)
    # nothing is loaded from elsewhere, and the page itself forbids it
    assert "default-src 'none'" in page and "<script src" not in page and "<link" not in page


def test_demo_runs_again_in_its_own_folder_only(facts, tmp_path):
    with Run.create(tmp_path / "other", "discover", {}, 0):
        pass
    with pytest.raises(BadInput, match="already holds a run"):
        demo(out=tmp_path / "other")
    assert Run.open(tmp_path / "other").command == "discover"


@pytest.mark.browser
def test_demo_report_draws_its_figures_in_a_browser(facts):
    if BROWSER is None:
        pytest.skip("no browser on the path; apt-get install chromium")
    page = (facts["run"].path / "report.html").resolve().as_uri()
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom", page],
        capture_output=True, text=True, timeout=120, check=True,
    )
    assert done.stdout.count('class="main-svg"') >= 2
