"""The command line: parse, call `Database`, print. A mistake gives one line and exit code 2."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from micdb.errors import MicdbError

MISTAKE = 2  # exit code for anything the user can mend
INTERRUPTED = 130  # 128 + SIGINT, as shells expect


def main() -> None:
    """Run one command and leave the process with its exit code."""
    # A name that is not UTF-8, or a micro sign on a terminal of another encoding, must not stop an answer.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        _complain("interrupted; what was finished is kept, and the same command goes on from there")
    sys.exit(code)


def _run() -> int:
    from micdb.cli.app import WrongCommand, app

    try:
        code = app(prog_name="micdb", standalone_mode=False)
    except WrongCommand as error:
        command = error.ctx.command_path if error.ctx else "micdb"
        return _complain(f"{error.format_message().rstrip('.')}; see: {command} --help")
    except MicdbError as error:
        return _complain(str(error))
    except BrokenPipeError:  # the reader of the pipe went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder without rights
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}; mend that and run the same command again")
    return code if isinstance(code, int) else 0


def _complain(message: str) -> int:
    sys.stderr.write(f"micdb: {' '.join(message.split())}\n")
    return MISTAKE
