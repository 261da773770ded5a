"""Pairs: samples of a run's held-out videos, moving, each with what it is and what the network said, on a page.

For ERUV a sample is a pair of clips, for other pretexts as many as they have.
"""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.answers import Answer, Answers, held_out_answers
from eruv_dali.files import printable, write_text
from eruv_dali.loader.epochs import ClipInfo
from eruv_dali.page import html_page
from eruv_dali.pretext.pretext import Pretext
from eruv_dali.visualize.kind_names import kind_name
from eruv_dali.visualize.moving import SCRIPT as MOVING_SCRIPT
from eruv_dali.visualize.moving import STYLE as MOVING_STYLE
from eruv_dali.visualize.moving import Moving, controls, moving

SAMPLES = 48
SHOWN = 3  # kinds that the network finds most probable


def draw_pairs(
    run: Path, out: Path, *, samples: int = SAMPLES, data: str | Path | None = None, device: str = "auto"
) -> None:
    """Draw the first samples of the validation of a pre-training run into an .html page; see `held_out_answers`.

    Raises:
        EruvError: an unsupported file type; see `held_out_answers`.
    """
    if out.suffix not in (".html", ".htm"):
        raise EruvError(f"{out}: choose a file name that ends in .html")
    found = held_out_answers(run, samples=samples, data=data, device=device)
    section, style = pairs_section(found)
    title = f"What the network says, {printable(str(run))}"
    write_text(out, html_page(title, [f"<h1>{html.escape(title)}</h1>", section],
                              style=(MOVING_STYLE, STYLE, style), script=(MOVING_SCRIPT, SCRIPT)))


def pairs_section(found: Answers) -> tuple[str, str]:
    """The samples as HTML, and the style of their pictures; besides, a page needs STYLE and SCRIPT, and those of
    `moving`."""
    pictures: list[Moving] = []
    cards = [_card(number, answer, found.pretext, pictures) for number, answer in enumerate(found.answers, 1)]
    lengths = {picture.frames for picture in pictures}
    clips = found.pretext.clips_per_sample
    across = clips if clips < 4 else 4 if clips == 4 else 3
    parts = [f"<p>{_summary(found)}</p>",
             controls(lengths.pop() if len(lengths) == 1 else None, _filters(found)),
             f'<div class="samples" style="--across: {across}">', *cards, "</div>"]
    return "\n".join(parts), "".join(picture.style(f"s{number}") for number, picture in enumerate(pictures))


def _summary(found: Answers) -> str:
    count, network = len(found.answers), html.escape(printable(found.file.name))
    network += f", trained for {found.epochs} epoch{'s' * (found.epochs > 1)}" if found.epochs else ", within an epoch"
    which = (f"all {count} samples of held-out videos that the run is validated on" if count == found.samples else
             f"the first {count} of the {found.samples} samples of held-out videos that the run is validated on")
    words = f"{which[0].upper()}{which[1:]}, and what the network ({network}) says about them."
    kinds = found.pretext.kinds
    if kinds:
        right = sum(answer.right for answer in found.answers)
        words += (f" It is right about <b>{right} of {count}</b> ({right / count:.1%}; chance {1 / len(kinds):.1%}). "
                  "Percentages are the probabilities that it gives.")
    else:
        words += " This pretext has no kinds to tell apart; the number is the loss of each sample."
    return words + " The clips are as the network sees them: cropped, turned, in the order shown."


def _filters(found: Answers) -> str:
    if not found.pretext.kinds:
        return ""
    word, present = found.pretext.kind_word, {answer.label for answer in found.answers}
    options = "".join(f'<option value="{label}">{html.escape(kind_name(word, found.pretext.kinds[label]))}</option>'
                      for label in sorted(present))
    return (f'<label>true {html.escape(word)} <select id="kind"><option value="">all</option>{options}</select></label>'
            '<label><input type="checkbox" id="wrong"> only wrong ones</label>'
            f'<output id="shown" aria-live="polite">{len(found.answers)} shown</output>')


def _card(number: int, answer: Answer, pretext: Pretext, pictures: list[Moving]) -> str:
    if pretext.kinds:
        state, mark = ("right", "✓ right") if answer.right else ("wrong", "✗ wrong")
        true = html.escape(kind_name(pretext.kind_word, answer.info.kind))
        head = f'<h3><span class="mark">{mark}</span> true: {true}</h3>'
        said = _said(answer, pretext)
    else:
        state, head, said = "", f"<h3>loss {answer.loss:.3g}</h3>", ""
    clips = []
    for place, (frames, info) in enumerate(zip(answer.clips_KTHWC, answer.info.clips, strict=True), 1):
        picture = moving(frames if len(set(info.frames)) > 1 else frames[:1])  # some pretexts show a frame, repeated
        many = " many" * (picture.frames > 1)
        words = html.escape(described(info))
        clips.append(f'<figure><div class="moving{many} s{len(pictures)}" role="img" aria-label="sample {number}, clip '
                     f'{place}: {words}"></div><figcaption><b>{place}</b> {words}</figcaption></figure>')
        pictures.append(picture)
    return (f'<article class="sample {state}" data-kind="{answer.label}" data-state="{state}" aria-label="sample '
            f'{number}">{head}<div class="clips">{"".join(clips)}</div>{said}</article>')


def _said(answer: Answer, pretext: Pretext) -> str:
    """The kinds that the network finds most probable, and the true one."""
    order = [int(label) for label in np.argsort(-answer.shares, kind="stable")[:SHOWN]]
    order += [answer.label] * (answer.label not in order)
    lines = []
    for label in order:
        roles = [role for role, has in (("said", label == answer.said), ("true", label == answer.label)) if has]
        name = html.escape(kind_name(pretext.kind_word, pretext.kinds[label]))
        share = float(answer.shares[label])
        roles_too = f" <b>{', '.join(roles)}</b>" if roles else ""
        lines.append(f'<li><span>{name}{roles_too}</span><span>{share:.0%}</span>'
                     f'<div class="bar" aria-hidden="true"><i style="width: {100 * share:.1f}%"></i></div></li>')
    return f'<ol class="said" aria-label="what the network said">{"".join(lines)}</ol>'


def described(info: ClipInfo) -> str:
    """Where a clip comes from and what was done to it, in words: every frame can be told from them."""
    shot = f", shot {info.shot}" if info.shot >= 0 else ""
    changes = [f"turned by {info.rotation}°"] * bool(info.rotation)
    changes += ["mirrored"] * info.flip
    changes += [f"quarters in the order {' '.join(str(tile + 1) for tile in info.tiles)}"] if info.tiles else []
    changes += ["colours changed"] * (info.color is not None)
    return ", ".join([f"{printable(info.video)}{shot}, {frames_in_words(info.frames)}", *changes])


def frames_in_words(frames: Sequence[int]) -> str:
    """"frames 3 to 18", "every 2nd frame from 3 to 33", "frames 18 to 3, backwards", else all of them."""
    first, last = frames[0], frames[-1]
    steps = {after - before for before, after in zip(frames, frames[1:], strict=False)}
    if steps <= {0}:
        return f"frame {first}"
    if len(steps) > 1:
        return f"frames {' '.join(map(str, frames))}"
    (step,) = steps
    backwards = ", backwards" * (step < 0)
    if abs(step) == 1:
        return f"frames {first} to {last}{backwards}"
    ordinal = {2: "2nd", 3: "3rd"}.get(abs(step), f"{abs(step)}th")
    return f"every {ordinal} frame from {first} to {last}{backwards}"


STYLE = """
.samples { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, max(17rem, 8rem * var(--across))), 1fr)); }
.sample { border: 2px solid var(--line); border-radius: 6px; padding: .7rem; }
.sample.right { border-color: var(--right); }
.sample.wrong { border-color: var(--wrong); border-style: dashed; }
.sample h3 { margin: 0 0 .5rem; }
.right .mark { color: var(--right); }
.wrong .mark { color: var(--wrong); }
.mark { margin-right: .5rem; }
.clips { display: grid; grid-template-columns: repeat(var(--across), minmax(0, 1fr)); gap: .4rem; }
.clips figcaption { margin-top: .2rem; font-size: .75rem; }
.said { list-style: none; margin: .6rem 0 0; padding: 0; font-size: .87rem; }
.said li { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 .6rem; margin-top: .25rem; }
.said .bar { grid-column: 1 / -1; height: .35rem; }
.sample[hidden] { display: none; }
"""

SCRIPT = """
{
  const kind = document.getElementById("kind"), wrong = document.getElementById("wrong");
  const samples = [...document.querySelectorAll(".sample")], shown = document.getElementById("shown");
  const filter = () => {
    for (const each of samples)
      each.hidden = (kind.value && each.dataset.kind !== kind.value) ||
        (wrong.checked && each.dataset.state !== "wrong");
    shown.textContent = `${samples.filter((each) => !each.hidden).length} shown`;
  };
  if (kind) for (const input of [kind, wrong]) input.addEventListener("change", filter);
  if (kind) filter();
}
"""
