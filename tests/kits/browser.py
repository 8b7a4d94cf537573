"""A headless Chromium, as a person uses it: links, keys, sizes and colour schemes. Debian's packages chromium and chromium-driver."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.kits.deadlines import scaled

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="this machine has no chromium with its driver")
T = TypeVar("T")


class Browser:
    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)

    def leave(self) -> None:
        """Leave the page, and forget its errors: one whose server ends reports that it cannot be reached."""
        self.open("about:blank")
        self.errors()

    def forget(self) -> None:
        """Delete the cookies of every site; WebDriver's own command deletes those of the current page only."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def size(self, width: int, height: int) -> None:
        """The size of the page in CSS pixels, which a window cannot have below 500."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        """light or dark."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        return self.driver.find_element(By.LINK_TEXT, text)

    @property
    def text(self) -> str:
        return self.find("body").text

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait for a condition that the page reports by no event."""
        wait = WebDriverWait(self.driver, scaled(60), 0.05, (StaleElementReferenceException, AssertionError))
        return wait.until(lambda _: condition(), what)

    def until_text(self, text: str) -> None:
        self.until(lambda: text in self.text, f"the page says {text!r}")

    def violations(self) -> list[str]:
        """What axe-core finds on the page. The script comes over the debugger, which the policy of the page does not bind."""
        self.script(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        run = "const done = arguments[0]; axe.run().then(done, (error) => done({violations: [{id: String(error), nodes: []}]}))"
        found = self.driver.execute_async_script(run)["violations"]
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found]

    def errors(self) -> list[str]:
        """What the console of the browser reported since the last call, such as errors of scripts and of the policy."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """``folder`` gets the browser's profile."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "--headless=new",
        "--no-sandbox",  # the tests may run as root
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "--window-size=1200,900",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    driver = Chrome(options, Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
