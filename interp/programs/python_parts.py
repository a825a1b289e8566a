"""The functions that every emitted file shares, as text: what a head does, and how a sequence is framed."""

SPREAD = """\
def spread(classes):
    \"\"\"The class of every word, from the words of every class.\"\"\"
    texts = {name: words.split(" ") if isinstance(words, str) else words for name, words in classes.items()}
    return {word: name for name, words in texts.items() for word in words}
"""

NEAREST = """\
@cache
def nearest_first(here, length):
    \"\"\"The positions that `here` may read, in the order it prefers them: near first, left first, itself last.\"\"\"
    others = [position for position in range(length) if position != here]
    return [*sorted(others, key=lambda position: abs(position - here)), here]
"""

NEAREST_CAUSAL = """\
@cache
def nearest_first(here, length):
    \"\"\"The positions that `here` may read, in the order it prefers them: near first, itself last.\"\"\"
    return [*reversed(range(here)), here]
"""

COPY = """\
def copy_closest(wanted, keys, values):
    \"\"\"At each position the value at the closest position whose key is wanted; the first one where none is.\"\"\"
    copied = []
    for here, key in enumerate(wanted):
        source = 0
        for position in nearest_first(here, len(keys)):
            if keys[position] == key:
                source = position
                break
        copied.append(values[source])
    return copied"""

COUNT = """\
def count(wanted, keys, values):
    \"\"\"At each position the sum of the values at all positions whose key is wanted.\"\"\"
    totals = {}
    for key, value in zip(keys, values):
        totals[key] = totals.get(key, 0) + value
    return [totals.get(key, 0) for key in wanted]"""

COUNT_CAUSAL = """\
def count(wanted, keys, values):
    \"\"\"At each position the sum of the values at it and all before whose key is wanted.\"\"\"
    totals, counts = {}, []
    for key_wanted, key, value in zip(wanted, keys, values):
        totals[key] = totals.get(key, 0) + value
        counts.append(totals.get(key_wanted, 0))
    return counts"""

FRAME = """\
def frame(tokens):
    \"\"\"The words that the program reads; ValueError for tokens that it does not take.\"\"\"
    if isinstance(tokens, str) or not tokens:
        raise ValueError("give a list of tokens, one or more")
    words = FRAMED
    if len(words) > MOST_WORDS:
        raise ValueError(f"{len(tokens)} tokens are more than the {MOST_WORDS - len(words) + len(tokens)} it takes")
    for word in words:
        if word not in VOCABULARY:
            raise ValueError(f"unknown token {word!r}; known are {sorted(VOCABULARY)}")"""

SCORES = """\
def scores(found):
    \"\"\"The score of every label (inner list) at every position, from the variables.\"\"\"
    totals = [BIAS] * len(next(iter(found.values())))
    for name, table in SCORES.items():
        if isinstance(table, dict):
            rows = [table[value] for value in found[name]]
        else:  # a number adds its weights, times itself
            rows = [[value * weight for weight in table] for value in found[name]]
        totals = [[a + b for a, b in zip(total, row)] for total, row in zip(totals, rows)]
    return totals"""

RUN = """\
def run(tokens):
    \"\"\"The label of every token: the one of largest score, the first of equals.\"\"\"
    totals = scores(variables(tokens))
    labels = [LABELS[total.index(max(total))] for total in totals]
    return ANSWERS"""

RUN_POOLED = """\
def run(tokens):
    \"\"\"The label of the whole sequence, in a list: the one of largest mean score, the first of equals.\"\"\"
    totals = scores(variables(tokens))
    sums = totals[0]
    for total in totals[1:]:
        sums = [a + b for a, b in zip(sums, total)]
    means = [score / len(totals) for score in sums]
    return [LABELS[means.index(max(means))]]"""

MAIN = """\
if __name__ == "__main__":
    print(*run(" ".join(sys.argv[1:]).split()))"""

RESERVED = (
    "sys cache spread nearest_first copy_closest count scores run frame variables words "
    "VOCABULARY LABELS BIAS SCORES MOST_WORDS"
).split()
"""Names of the file itself, which no variable may take."""
