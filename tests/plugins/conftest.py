"""The packages here are tested where they are installed: tests/test_plugin_package.py."""

collect_ignore = ["micdb-toy"]
