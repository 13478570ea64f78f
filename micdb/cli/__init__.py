"""The command line: parse, call `Database`, print. A mistake gives one line and exit code 2."""

from __future__ import annotations

import os
import sys

from micdb.errors import MicdbError

MISTAKE = 2  # exit code for anything the user can mend
INTERRUPTED = 130  # 128 + SIGINT, as shells expect


def main() -> None:
    """Run one command and leave the process with its exit code."""
    from micdb.cli.app import WrongCommand, app

    try:
        code = app(prog_name="micdb", standalone_mode=False)
    except WrongCommand as error:
        command = error.ctx.command_path if error.ctx else "micdb"
        code = _complain(f"{error.format_message().rstrip('.')}; see: {command} --help")
    except MicdbError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> int:
    sys.stderr.write(f"micdb: {' '.join(message.split())}\n")
    return MISTAKE
