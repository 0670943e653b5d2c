"""Where numbers go: a progress line, a JSONL file and TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter


class ProgressLine:
    """A line with steps done, rate, time left and news. Where there is no terminal, ten lines in all."""

    def __init__(self, name: str, total: int, done: int = 0, console: Console | None = None):
        self.name, self.total, self.first, self.done = name, total, done, done
        self.console = console or Console()
        columns = "{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]}", TimeElapsedColumn()
        self.bar = Progress(
            *columns, "left", TimeRemainingColumn(), "{task.fields[news]}", console=self.console,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task(name, total=total, completed=done, rate="", news="")

    def __enter__(self) -> "ProgressLine":
        self.bar.start()
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def advance(self, news: str = "") -> None:
        """One more step is done."""
        self.done += 1
        rate = (self.done - self.first) / (time.perf_counter() - self.start)
        self.bar.update(self.task, completed=self.done, rate=f"{rate:.1f} steps/s", news=news)
        if not self.console.is_terminal and self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            left = (self.total - self.done) / rate
            self.console.print(f"{self.name} {self.done}/{self.total}  {rate:.1f} steps/s  {left:.0f} s left  {news}")


class MetricLog:
    """Appends metrics to `workdir/metrics.jsonl` and TensorBoard. A resumed run drops what it will compute again."""

    def __init__(self, workdir: str | Path, start_step: int = 0):
        Path(workdir).mkdir(parents=True, exist_ok=True)
        path = Path(workdir) / "metrics.jsonl"
        kept = [line for line in read(path) if line["step"] <= start_step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        temporary.replace(path)
        self.file = path.open("a", buffering=1)
        self.board = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=start_step + 1)
        self.latest: dict[str, float] = {}

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of numbers."""
        self.latest = dict(values)
        self.file.write(json.dumps({"step": step, **{k: float(v) for k, v in values.items()}}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: np.ndarray, text: str) -> None:
        """A picture uint8[H, W, 3] with what the model said of it."""
        self.board.add_image(name, image, step, dataformats="HWC")
        self.board.add_text(name, text, step)

    def close(self) -> None:
        self.file.close()
        self.board.close()


def read(path: str | Path) -> list[dict[str, float]]:
    """Lines of a metrics file; a last line that was cut off in writing is left out."""
    lines = []
    if Path(path).exists():
        for line in Path(path).read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return lines
