"""Time and peak memory of the public methods, for asv: has a commit made one slower?

Each class is a problem, with its sizes as attributes, so that the tests can make them
tiny. Peak memory is that of the process, the data and the imports included.
"""
