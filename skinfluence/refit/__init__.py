"""The judge: brute-force refits without rows, and how well estimates agree with them."""

from skinfluence.refit._check import (
    check_leave_one_out,
    check_study,
    refuse_other_rows,
)
from skinfluence.refit._columns import Columns
from skinfluence.refit._judges import AbstractAsked, Judged, WholeJudge
from skinfluence.refit._leave_one_out import (
    OwnOutputs,
    TestOutputs,
    left_out_outputs,
    refit_leave_one_out,
)
from skinfluence.refit._minimum import host_point, refitted_point, refitted_theta
from skinfluence.refit._whole import LeftOut, without_draws
