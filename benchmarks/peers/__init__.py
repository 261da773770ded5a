"""The alternatives that our loaders are raced against, by the form in which they keep the videos.

    files.py        what peers read: the originals, small H.264 copies, folders of JPEG frames, raw frames
    video.py        PyAV, OpenCV, decord, torchcodec: one clip from a video file
    jpeg.py         simplejpeg, OpenCV, torchcodec, torchvision: one clip from a folder of JPEG frames
    raw.py          numpy.memmap: one clip from a file of raw frames
    data_loader.py  each of them in a PyTorch DataLoader
    spdl_video.py   SPDL's own pipeline
    on_gpu.py       torchcodec, SPDL, PyNvVideoCodec and DALI's own reader, decoding by NVDEC
    all.py          the list of them
"""
