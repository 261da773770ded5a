"""Compile CUDA sources without a GPU, by NVRTC: a kernel that does not build is found anywhere."""

from collections.abc import Mapping, Sequence

import pytest


def compile_for(
    architecture: int, source: str, flags: Sequence[str], headers: Mapping[str, str] | None = None
) -> bytes:
    """The binary of `source` for sm_`architecture`; skips where there is no NVRTC, fails with the compiler's words."""
    pytest.importorskip("cupy")
    from cupy_backends.cuda.libs import nvrtc

    try:
        if nvrtc.getVersion() >= (13, 0) and architecture < 75:
            pytest.skip("CUDA 13 no longer compiles for this architecture")
    except RuntimeError as missing:
        pytest.skip(f"no NVRTC library: {missing}")
    contents, names = ([text.encode() for text in part] for part in ((headers or {}).values(), headers or {}))
    program = nvrtc.createProgram(source, "kernel.cu", contents, names)
    try:
        nvrtc.compileProgram(program, (*flags, f"-arch=sm_{architecture}"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    return nvrtc.getCUBIN(program)
