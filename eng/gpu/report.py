"""What a stage found: a line per row as it comes, and all rows in a JSON file that is whole after each row."""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def out_folder():
    folder = Path(os.environ.get("OUT") or ROOT / "artifacts" / "gpu")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Report:
    def __init__(self, stage, columns, budget=450):
        """columns: {key: width}; a negative width aligns left. budget: seconds the stage may take."""
        self.stage, self.columns, self.rows, self.facts = stage, columns, [], {}
        self.begin, self.budget = time.monotonic(), budget
        self.path = out_folder() / f"{stage}.json"
        self.text = open(out_folder() / f"{stage}.txt", "w")
        self._print(self._line({key: key.replace("_", " ") for key in columns}))

    def left(self):
        """Seconds until the budget is spent."""
        return self.budget - (time.monotonic() - self.begin)

    def fact(self, name, value):
        self.facts[name] = value
        self._print(f"{name}: {value}")
        self._save()

    def row(self, **values):
        self.rows.append(values)
        self._print(self._line(values))
        self._save()

    def not_run(self, what, reason):
        """A tool that refuses to run here, or a part that there was no time for."""
        self.rows.append({"what": what, "not_run": reason})
        self._print(f"not run: {what}: {reason}")
        self._save()

    def finish(self):
        """The exit code: 0 where no row failed and at least one ran."""
        failed = sum(row.get("ok") is False for row in self.rows)
        ran = sum("not_run" not in row for row in self.rows)
        skipped = len(self.rows) - ran
        self._print(f"{self.stage}: {ran} rows, {failed} failed, {skipped} not run, {time.monotonic() - self.begin:.0f} s")
        self._save()
        return 1 if failed or not ran else 0

    def _line(self, values):
        cells = []
        for key, width in self.columns.items():
            value = values.get(key, "")
            text = ("ok" if value else "FAIL") if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
            cells.append(text.ljust(-width) if width < 0 else text.rjust(width))
        return " ".join(cells).rstrip()

    def _print(self, text):
        for stream in (sys.stdout, self.text):
            print(text, file=stream, flush=True)

    def _save(self):
        document = {"stage": self.stage, "facts": self.facts, "seconds": round(time.monotonic() - self.begin, 1), "rows": self.rows}
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(document, indent=1))
        partial.replace(self.path)
