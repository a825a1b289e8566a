"""Wrong answers to notebook 16: checking function -> arguments that it must reject."""

from urllib.parse import parse_qs, urlsplit


def _only_given(link):
    return {key: values[0] for key, values in parse_qs(urlsplit(link).query).items() if key != "v"}


def _by_hand(link):
    """Splits the text itself and forgets that an address is encoded."""
    given = dict(pair.split("=") for pair in link.split("?")[1].split("&"))
    found = {"m": "garden/induction-2l", "t": "induction", "n": 48, "seed": 0, "h": ""} | given
    return {"m": found["m"], "t": found["t"], "n": int(found["n"]), "seed": int(found["seed"]),
            "h": [label for label in found["h"].split(",") if label]}


WRONG = {
    "read_link": [(_only_given,), (_by_hand,)],
    "coverage": [
        (lambda make, interval, times: 0.95,),
        (lambda make, interval, times: sum(interval(*make(s)).excludes(0) for s in range(times)) / times,),
        (lambda make, interval, times: sum(not interval(*make(s)).excludes(0) for s in range(times)),),
    ],
    "false_alarms": [
        (lambda make, adjust, times: sum((adjust(make(s)) < 0.05).mean() for s in range(times)) / times,),
        (lambda make, adjust, times: sum(bool((adjust(make(s)) < 0.05).all()) for s in range(times)) / times,),
        (lambda make, adjust, times: 0.05,),
    ],
    "sentence": [
        (lambda estimate, facts: f"{facts['node']} costs {estimate.value:.1f} {facts['unit']}",),
        (lambda estimate, facts: f"{estimate} {' '.join(map(str, list(facts.values())[:-1]))}",),  # how many looked at
        (lambda estimate, facts: f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}] {facts}",),  # n?
    ],
}
