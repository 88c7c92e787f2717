"""What the neighbours publish, byte for byte."""

import pytest

from sandbox.publishers import encode_file, encode_inserted, in_batches, publish_file, publish_inserted


class Topics:
    """Keeps what is sent instead of sending it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def send(self, topic: str, value: bytes) -> None:
        self.sent.append((topic, value))


def test_the_datums_are_the_known_test_vectors() -> None:
    v1 = "18 73 33 3a 2f 2f 62 2f 66 2e 63 73 76 0a 69 69 64 2d 31"
    assert encode_file("iid-1", None, "s3://b/f.csv").hex(" ") == v1
    assert encode_file("iid-1", "jid-1", "s3://b/f.csv").hex(" ") == v1 + " 0a 6a 69 64 2d 31"
    assert encode_inserted("iid-1", 1000).hex(" ") == "0a 69 69 64 2d 31 d0 0f"
    assert encode_inserted("iid-1", 510).hex(" ") == "0a 69 69 64 2d 31 fc 07"
    assert encode_inserted("iid-1", -1).hex(" ") == "0a 69 69 64 2d 31 01"


@pytest.mark.parametrize("total, batches", [(0, []), (999, [999]), (1000, [1000]), (1510, [1000, 510]), (2000, [1000, 1000])])
def test_a_total_is_cut_into_batches_of_a_thousand_and_a_remainder(total: int, batches: list[int]) -> None:
    assert list(in_batches(total)) == batches


def test_every_batch_is_a_record() -> None:
    topics = Topics()
    assert publish_inserted(topics, "inserted", "i-1", 250, batch_size=100) == 3
    assert topics.sent == [("inserted", encode_inserted("i-1", size)) for size in (100, 100, 50)]


def test_a_file_is_one_record() -> None:
    topics = Topics()
    assert publish_file(topics, "files", "i-1", "j-1", "s3://b/f") == 1
    assert topics.sent == [("files", encode_file("i-1", "j-1", "s3://b/f"))]


def test_a_count_of_more_than_32_bits_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        encode_inserted("i-1", 2**31)
