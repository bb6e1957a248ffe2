"""How an explainer answers: by the questions about its study."""

import abc
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from skinfluence.study import Study, answer, study_of

P = ParamSpec("P")
Answer = TypeVar("Answer")


class Answering(abc.ABC):
    """An object with a study, which questions can be asked about."""

    _study: Study

    def _ask(
        self,
        question: Callable[Concatenate[Study, P], Answer],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Answer:
        return answer(study_of(self), question, *args, **kwargs)

    @abc.abstractmethod
    def _labelled(
        self, values: Any, columns: Callable[[], list[str]], index: Any = None
    ) -> Any:
        """Values as ``set_output`` asks for them, with names for their columns."""
