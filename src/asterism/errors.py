"""The exceptions a user can cause. Each says what was given, what was wanted, and what to type.

The command line prints the message without a traceback: a RequestError ends with exit code 2 (the request
was wrong), any other AsterismError with 1 (the work failed).
"""


class AsterismError(Exception):
    """Base of every error this library raises on purpose. Exit code 1: the work failed."""


class RequestError(AsterismError):
    """The request was wrong: an unknown name, an impossible number, a missing file. Exit code 2."""


class BadImage(RequestError):
    """A file that is no image, is damaged, or is larger than the pixel limit."""


class BadVideo(RequestError):
    """A file that is no video, has no frames, or is damaged."""


class BadAnnotation(RequestError):
    """Labels that cannot be used; the message names the file and the field."""


class BadCloud(RequestError):
    """A file of points or of a mesh that cannot be used; the message names the file and the field."""


class BadMatches(RequestError):
    """Matches of many images that cannot be used; the message names the file and the field."""


class BadWeights(RequestError):
    """A weights folder that is incomplete, altered, or belongs to another method."""


class MissingExtra(RequestError):
    """An optional package is not installed; the message says which extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f'{purpose} needs {package}, which is not installed: pip install "asterism[{extra}]"'
        )
