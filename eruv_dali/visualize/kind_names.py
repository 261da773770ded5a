"""The kinds that a pretext tells apart, in words."""

from eruv_dali.pretext.eruv import RELATION_NAMES


def kind_name(word: str, kind: str) -> str:
    """"same shot (CS)" for a relation, "order 231" for what is no word by itself; `word`: what the pretext calls its
    kinds."""
    if word == "relation" and kind in RELATION_NAMES:
        return f"{RELATION_NAMES[kind]} ({kind})"
    return kind if kind.isalpha() else f"{word} {kind}"
