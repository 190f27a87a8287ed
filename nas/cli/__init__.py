"""The command line.

`nas study|trial|front|compare|proxies|report|bench|export`, and without a study
`nas catalogue|space|validate|cost|graph|serve`
"""

import os
import sys


def main() -> None:
    """Runs the command line. A mistake of the user ends with 2, one of ours with 70."""
    from nas.cli.commands import app
    from nas.errors import NasError

    as_json = "--json" in sys.argv
    try:
        app()
    except NasError as error:
        _report(error, as_json)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:
        if os.environ.get("NAS_DEBUG"):
            raise
        text = f"nas made a mistake ({type(error).__name__}: {error})"
        print(f"{text}; NAS_DEBUG=1 shows where", file=sys.stderr)
        raise SystemExit(70) from None


def _report(error: "Exception", as_json: bool) -> None:
    from nas.errors import NasError

    assert isinstance(error, NasError)
    if as_json:
        import json

        print(json.dumps({"error": error.as_dict()}, default=repr))
        return
    lines = [str(problem) for problem in error.problems] or [error.message]
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
