"""A page in a real browser, with what it requested and raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page

from tests.support.running_service import Service

DESKTOP, PHONE = (1280, 860), (390, 844)


@dataclass
class PageDriver:
    """A browser page with the URLs that it requested and the errors that it raised."""

    page: Page
    service: Service
    url: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, view: str) -> Page:
        self.page.goto(f"{self.url}/#/{view}")
        self.page.locator("main h1").wait_for()
        return self.page

    def wait_for_job_id(self) -> str:
        """Waits until a job is shown and returns its id."""
        self.page.wait_for_url("**/#/jobs/*")
        return self.page.url.rpartition("/")[2]

    def drop(self, target: Locator, *paths: Path) -> None:
        """Drops files or folders onto an element, as a mouse does."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box
        position = {"x": box["x"] + 20, "y": box["y"] + 12}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        devtools = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            devtools.send("Input.dispatchDragEvent", {"type": kind, **position, "data": data})

    def find_accessibility_violations(self) -> list[str]:
        """Returns axe's serious and critical findings."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{violation['id']}: {violation['help']} {node['target']}"
            for violation in violations
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
