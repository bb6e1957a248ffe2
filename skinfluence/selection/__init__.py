"""Selection: hyper-parameters by leave-one-out scores that cost one fit each."""

from skinfluence.selection._search import LeaveOneOutSearchCV
