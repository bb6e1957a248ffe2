"""Tolerances that several modules share, each once, with its reason.

One that a single module needs stands at the top of that module, with its own reason.
"""

# 1 - h of a row, or the smallest pivot of a group's system: what remains of a direction
# that the deleted rows carry. Its rounding error is about that of the leverage, 1e-16
# times some hundreds; below this, fewer than eight digits of it are left, and the rows
# that remain are asked in its place.
LEAST_REMAINDER = 1e-6

# Steps with a curvature from elsewhere that shrink less than this are not worth more of
# their kind: the row or group gets Newton steps with a curvature of its own.
LEAST_CONTRACTION = 0.5

# Condition number, with unit diagonal, beyond which a matrix of second derivatives has
# lost too many of its 16 digits for what is squared, or cubed, from it.
MOST_CONDITION = 1e6
