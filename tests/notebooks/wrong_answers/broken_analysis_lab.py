"""Wrong answers to notebook 17: checking function -> arguments that it must reject."""

import numpy as np
import torch

import interp
from interp.results.estimate import max_t


def _all_copies(tokens):
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    _, query, key = same.nonzero(as_tuple=True)
    return set((query - key).tolist())


def _in_words(task):
    return [text.split().index(str(answer)) for text, answer in zip(task.prompts["clean"], task.prompts["answer_id"])]


def _first(task):
    place = torch.arange(task.clean.shape[1])
    return torch.where(task.clean != task.corrupt, place, 999).amin(1).tolist()


def _read_only(model, name, rows):
    return name in model.read(rows, name)


def _above(model, task, sources):
    found = interp.effects(model, task.clean, sources, task.metric).mean
    return [i for i, value in enumerate(found) if value > 1]


def _one_gentle(model, task, sources):
    """Low with the corrupt prompt, which is silent about some heads, in place of both."""
    zero = interp.effects(model, task.clean, sources, task.metric).mean
    other = interp.effects(model, task.clean, sources, task.metric, baseline=interp.Counterfactual(task.corrupt)).mean
    return [i for i in range(len(sources)) if zero[i] > 1 and other[i] < zero[i] / 4]


def _cursed(seen, unseen):
    best = int(np.abs(seen.mean(1)).argmax())
    return best, float(abs(seen[best].mean())), float(max_t(seen)[best])


def _chosen_again(seen, unseen):
    best = int(np.abs(unseen.mean(1)).argmax())
    return best, float(abs(unseen[best].mean())), float(max_t(seen)[best])


def _unadjusted(seen, unseen):
    best = int(np.abs(seen.mean(1)).argmax())
    return best, float(np.sign(seen[best].mean()) * unseen[best].mean()), float(max_t(seen[best : best + 1])[0])


def _unsigned(seen, unseen):
    best = int(np.abs(seen.mean(1)).argmax())
    return best, float(unseen[best].mean()), float(max_t(seen)[best])


WRONG = {
    "distances": [(lambda tokens: {8},), (_all_copies,)],
    "leave_one_out": [
        (lambda groups: [(np.delete(np.arange(6), i), np.array([i])) for i in range(6)],),  # rows, not groups
        (lambda groups: [(np.arange(6), np.flatnonzero(groups == g)) for g in np.unique(groups)],),  # tested on its own
    ],
    "last_difference": [(_in_words,), (_first,), (lambda task: [task.clean.shape[1] - 1] * len(task),)],
    "is_connected": [(_read_only,), (lambda *_: False,), (lambda model, name, rows: "pattern" not in name,)],
    "artefacts": [(_above,), (_one_gentle,), (lambda *_: [2, 4, 7],), (lambda *_: [],)],
    "honest": [(_cursed,), (_chosen_again,), (_unadjusted,), (_unsigned,)],
}
