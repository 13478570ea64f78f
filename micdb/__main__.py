"""``python -m micdb`` is the command line."""

from micdb.cli import main

if __name__ == "__main__":
    main()
