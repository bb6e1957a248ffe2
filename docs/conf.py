import skinfluence

project = "skinfluence"
author = "skinfluence developers"
copyright = "2026, skinfluence developers"
release = skinfluence.__version__

extensions = []
exclude_patterns = ["changes/*"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_show_sourcelink = False
