import pytest
from micdb_toy import Toy

from micdb.testing import ReaderContract


class TestToy(ReaderContract):
    reader = Toy

    @pytest.fixture
    def files(self, tmp_path):
        path = tmp_path / "a.toyimg"
        path.write_text("TOYIMG 1\nsize = 3 2\npixel_size = 0.5 um\nvoltage = 5 kV\ndata\n1 2 3\n4 5 6.5\n")
        return [path]
