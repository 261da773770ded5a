"""From videos to a DATASET: the program, and `prepare` for other programs."""

from typing import TYPE_CHECKING

__all__ = ["prepare"]

if TYPE_CHECKING:
    from eruv_dali.prepare.run import prepare
else:

    def __getattr__(name: str) -> object:
        """Import `prepare` when it is first asked for: worker processes need little of what it needs."""
        if name != "prepare":
            raise AttributeError(f"module 'eruv_dali.prepare' has no attribute {name!r}")
        from eruv_dali.prepare.run import prepare

        return prepare
