"""Moving pictures on a page: the frames of a clip side by side in one picture, of which CSS shows one after another.

Unlike an animated picture they can be paused, by a button, and looked at frame by frame; where the reader's system asks
for less motion they stand still until the button is pressed.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from eruv_dali.page import data_url

MILLISECONDS = 120  # per frame
WIDEST = 16383  # pixels, of a WebP picture
QUALITY = 70


class Moving(NamedTuple):
    """A clip for a page: `url` holds its frames side by side, `width` x `height` pixels each."""

    url: str
    frames: int
    width: int
    height: int

    def style(self, name: str) -> str:
        """The rule of the class `name`: an element of it shows this clip."""
        return (f".{name} {{ background-image: url({self.url}); --frames: {self.frames}; "
                f"--ratio: {self.width / self.height:.4f}; }}\n")


def moving(frames_THWC: np.ndarray) -> Moving:
    """The frames (T, H, W, 3) uint8 for a page, made smaller where so many would not fit into one picture."""
    T, H, W = frames_THWC.shape[:3]
    if T * W > WIDEST:
        H, W = max(1, round(H * (WIDEST // T) / W)), WIDEST // T
        frames_THWC = np.stack([np.asarray(Image.fromarray(frame).resize((W, H))) for frame in frames_THWC])
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames_THWC), 1)).save(buffer, "WEBP", quality=QUALITY, method=4)
    return Moving(data_url(buffer.getvalue(), "image/webp"), T, W, H)


def controls(frames: int | None, more: str = "") -> str:
    """The bar with the button, `more`, and where all clips have the same number of frames, a slider to see each."""
    slider = "" if frames is None or frames < 2 else (
        f'<label id="step">frame <input type="range" min="1" max="{frames}" value="1"> <output>1 of {frames}</output>'
        "</label>")
    return (f'<div class="controls"><button id="play" type="button" hidden>Pause</button>{slider}{more}</div>')


STYLE = f"""
.moving {{ background: var(--panel) 0 0 / calc(var(--frames) * 100%) 100% no-repeat; aspect-ratio: var(--ratio); }}
.many {{ animation: frames calc(var(--frames) * {MILLISECONDS}ms) steps(var(--frames), jump-none) infinite; }}
@keyframes frames {{ from {{ background-position: 0 0; }} to {{ background-position: 100% 0; }} }}
@media (prefers-reduced-motion: reduce) {{ html:not(.playing) .many {{ animation: none; }} }}
.paused .many {{ animation: none; background-position: calc(var(--at, 0) * 100%) 0; }}
.controls {{ position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4rem 1.2rem;
  align-items: center; padding: .5rem 0; margin-bottom: .6rem; background: var(--paper);
  border-bottom: 1px solid var(--line); }}
.controls label {{ display: flex; gap: .4rem; align-items: center; }}
#step input {{ width: 7rem; }}
#play {{ min-width: 5rem; }}
"""

SCRIPT = """
{
  const root = document.documentElement, button = document.getElementById("play");
  const less = matchMedia("(prefers-reduced-motion: reduce)"), slider = document.querySelector("#step input");
  const play = (on) => {
    root.classList.toggle("playing", on);
    root.classList.toggle("paused", !on);
    button.textContent = on ? "Pause" : "Play";
  };
  button.hidden = false;
  button.addEventListener("click", () => play(root.classList.contains("paused")));
  less.addEventListener("change", () => play(!less.matches));
  if (slider) slider.addEventListener("input", () => {
    play(false);
    root.style.setProperty("--at", (slider.value - 1) / (slider.max - 1));
    slider.nextElementSibling.textContent = `${slider.value} of ${slider.max}`;
  });
  play(!less.matches);
}
"""
