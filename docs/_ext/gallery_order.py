"""The order of the gallery: the five minutes first, then by file name."""


class StartFirst:
    """Key for a list of file names."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        return (filename != "plot_start.py", filename)
