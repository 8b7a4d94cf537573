"""The console in a real browser: every page, the filter, the actions, the keyboard, dark, narrow, and without violations of axe-core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.integration.command_line import CommandLine, read_until
from tests.integration.served_console import Dashboard, served
from tests.kits.browser import Browser, chromium, needs_chromium
from tests.kits.deadlines import scaled

pytestmark = needs_chromium
PAGES = (
    "/",
    "/?text=no+such+schedule",
    "/dead-letters",
    "/databases",
    "/schedules/shop/close-abandoned-carts",
    "/schedules/shop/expire-sessions",
    "/schedules/shop/expire-sessions/sweeps/latest",
    "/schedules/billing/archive-invoices",
    "/schedules/billing/notify-overdue/dead-letters",
    "/schedules/billing/notify-overdue/purge?error=Timeout",
    "/schedules/support/anonymize-users",
    "/schedules/support/purge-tickets",
    "/schedules/support/missing",
)
NARROW, WIDE = (360, 740), (1200, 900)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture
def dashboard(tmp_path: Path, browser: Browser) -> Iterator[Dashboard]:
    """`kubesweep dashboard` on a queue with schedules in every state, as a process."""
    with served(CommandLine(tmp_path)) as made:
        yield made
        browser.leave()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Dashboard]:
    """The same for tests that only look at it."""
    with served(CommandLine(tmp_path_factory.mktemp("shown"))) as made:
        yield made
        browser.leave()


def test_no_page_has_an_error_a_violation_or_a_line_that_is_too_wide(browser: Browser, shown: Dashboard) -> None:
    browser.open(shown.link)
    browser.errors()
    problems = []
    for path in PAGES:
        for scheme, (width, height) in (("light", NARROW), ("dark", WIDE)):
            browser.scheme(scheme)
            browser.size(width, height)
            browser.open(shown.origin + path)
            where = f"{path} {scheme} {width}"
            problems += [f"{where}: {each}" for each in browser.violations()]
            wide = browser.script("return document.documentElement.scrollWidth")
            problems += [f"{where}: {wide} px wide"] if wide > width else []
        missing = "missing" in path
        problems += [f"{path}: {each}" for each in browser.errors() if not (missing and "404" in each)]
    assert problems == []


def test_a_page_with_mistakes_has_violations_and_errors(browser: Browser, shown: Dashboard) -> None:
    browser.open(shown.origin)
    browser.errors()
    browser.script(
        "const one = document.createElement('script'); one.text = 'window.ran = true'; document.body.append(one)"
    )
    assert browser.script("return window.ran") is None
    assert any("Content Security Policy" in each for each in browser.errors())
    browser.script("document.querySelector('#live').innerHTML = '<input><img src=\"/static/icon.svg\">'")
    assert {each.split(":")[0] for each in browser.violations()} >= {"label", "image-alt"}


def test_dark_and_light_follow_the_reader(browser: Browser, shown: Dashboard) -> None:
    browser.open(shown.origin)
    brightness = {}
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        colour = browser.script("return getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3]))
    assert brightness["dark"] < 200 < 600 < brightness["light"]


def test_the_filter_acts_while_one_types_and_stays_in_the_address(browser: Browser, shown: Dashboard) -> None:
    browser.open(shown.origin)
    assert len(browser.all("tbody tr")) == 7
    assert browser.all("tbody tr")[0].text.startswith("delete-old-logs")
    field = browser.find("input[name=text]")
    field.send_keys("carts")
    browser.until(lambda: len(browser.all("tbody tr")) == 1, "one row is left")
    assert browser.focused == field
    assert browser.driver.current_url == f"{shown.origin}/?text=carts"
    browser.driver.refresh()
    assert browser.find("input[name=text]").get_attribute("value") == "carts"
    assert len(browser.all("tbody tr")) == 1
    browser.link("Show all").click()
    browser.find("select[name=namespace]").send_keys("billing")
    browser.until(lambda: len(browser.all("tbody tr")) == 2, "two rows are left")
    assert browser.driver.current_url == f"{shown.origin}/?namespace=billing"
    assert browser.errors() == []


def test_a_person_with_a_keyboard_reaches_a_schedule_and_pauses_it(browser: Browser, dashboard: Dashboard) -> None:
    browser.size(*WIDE)
    browser.open(dashboard.link)
    press(browser, Keys.TAB)
    assert browser.focused.text == "Skip to the content"
    press(browser, Keys.ENTER)
    tab_to(browser, "expire-sessions")
    press(browser, Keys.ENTER)
    browser.until(lambda: browser.find("h1").text == "expire-sessions", "its page is shown")
    tab_to(browser, "Pause…")
    outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press(browser, Keys.ENTER)
    browser.until_text("36,500 rows of the running sweep wait until you resume it.")
    tab_to(browser, "Pause")
    press(browser, Keys.ENTER)
    browser.until_text("The rate is 0: no row is started.")
    assert dashboard.stats("expire-sessions").paused
    assert browser.errors() == []


def press(browser: Browser, key: str) -> None:
    browser.focused.send_keys(key)


def tab_to(browser: Browser, text: str) -> None:
    for _ in range(60):
        press(browser, Keys.TAB)
        if browser.focused.text == text:
            return
    raise AssertionError(f"the Tab key does not reach {text!r}")


@pytest.mark.parametrize(
    ("name", "button", "sentence", "done"),
    [
        ("billing/archive-invoices", "Approve the sweep", "and sweeps 41,200 rows", "The sweep continues"),
        ("shop/close-abandoned-carts", "Sweep now", "A sweep starts now.", "is enqueued"),
        ("support/anonymize-users", "Resume", "Workers start rows again.", "The rate is not limited"),
        (
            "billing/notify-overdue",
            "Retry the dead letters",
            "10 dead letters are due at once",
            "10 rows will be tried",
        ),
        ("billing/notify-overdue", "Purge the dead letters", "10 dead letters are removed", "10 rows purged"),
    ],
)
def test_each_action_asks_first_and_is_done(
    browser: Browser, dashboard: Dashboard, name: str, button: str, sentence: str, done: str
) -> None:
    browser.size(*WIDE)
    browser.open(dashboard.link)
    address = f"{dashboard.origin}/schedules/{name}"
    browser.open(address)
    browser.link(f"{button}…").click()
    browser.until_text(sentence)
    browser.link("Cancel").click()
    browser.until(lambda: browser.driver.current_url == address, "Cancel leads back")
    browser.link(f"{button}…").click()
    browser.until_text(sentence)
    browser.find("button[type=submit]").click()
    browser.until_text(done)
    assert browser.errors() == []


def test_a_group_of_dead_letters_is_purged_alone(browser: Browser, dashboard: Dashboard) -> None:
    browser.open(dashboard.link)
    browser.link("Dead letters").click()
    browser.until_text("the receiver did not answer within 10 s")
    browser.find("details summary").click()
    assert "Status404: the receiver answered 404: no such customer" in browser.find("details[open]").text
    assert "dead retry notify-overdue -n billing --error Timeout" in browser.text
    group = next(each for each in browser.all(".group") if each.text.startswith("Timeout"))
    group.find_element("link text", "Purge these…").click()
    browser.until_text("3 dead letters with the error Timeout are removed")
    browser.find("button[type=submit]").click()
    browser.until_text("3 rows purged")
    assert dashboard.stats("notify-overdue").dead == 7


def test_a_browser_without_the_key_gets_commands_to_copy(browser: Browser, shown: Dashboard) -> None:
    browser.forget()
    browser.open(f"{shown.origin}/schedules/billing/notify-overdue")
    assert "This browser can only read." in browser.text
    assert "dead purge notify-overdue -n billing" in browser.text
    assert browser.all("a[href$='/purge']") == []
    grant = {"origin": shown.origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", grant)
    browser.find(".command button").click()
    browser.until_text("Copied")
    copied = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == browser.find(".command code").text


def test_a_page_follows_the_queue_and_keeps_focus_and_what_is_open(browser: Browser, dashboard: Dashboard) -> None:
    browser.open(dashboard.link)
    browser.open(f"{dashboard.origin}/schedules/billing/notify-overdue/dead-letters")
    second = browser.all("summary")[3]
    second.click()
    assert browser.focused.text.startswith("9200")
    dashboard.purge("notify-overdue", "9274")
    browser.until_text("2 rows")
    assert len(browser.all("details[open]")) == 1
    assert browser.focused.text.startswith("9200")
    assert browser.errors() == []


def test_a_click_and_a_selection_last_while_the_page_changes(browser: Browser, dashboard: Dashboard) -> None:
    browser.open(dashboard.link)
    browser.open(f"{dashboard.origin}/schedules/billing/notify-overdue")
    button = browser.link("Purge the dead letters…")
    selection = "getSelection().selectAllChildren(document.querySelector('#words').parentElement)"
    browser.script(selection)
    selected = browser.script("return getSelection().toString()")
    mouse = ActionChains(browser.driver)
    mouse.move_to_element(button).click_and_hold().perform()
    browser.script(selection)  # the press of the mouse ended it
    dashboard.purge("notify-overdue", "9274")
    browser.until_text("Show 9 dead letters")
    assert browser.script("return getSelection().toString()") == selected
    mouse.release().perform()
    browser.until_text("9 dead letters are removed")
    assert browser.errors() == []


def test_the_focus_stays_on_a_schedule_that_gets_another_place(browser: Browser, dashboard: Dashboard) -> None:
    browser.open(dashboard.link)
    link = browser.link("notify-overdue")
    names = [each.text for each in browser.all("tbody th a")]
    browser.script("arguments[0].focus()", link)
    dashboard.purge("notify-overdue")
    browser.until(lambda: [each.text for each in browser.all("tbody th a")] != names, "it has another place")
    assert sorted(names) == sorted(each.text for each in browser.all("tbody th a"))
    assert browser.focused == link
    assert browser.errors() == []


def test_a_page_whose_server_is_gone_says_that_it_is_stale(browser: Browser, tmp_path: Path) -> None:
    with served(CommandLine(tmp_path)) as dashboard:
        browser.open(dashboard.link)
        assert not browser.find("#stale").is_displayed()
    browser.until(lambda: browser.find("#stale").is_displayed(), "the page is marked as stale")
    assert "nothing could be read since" in browser.find("#stale").text
    browser.leave()


def test_dead_letters_stay_and_are_called_stale_while_the_queue_cannot_be_read(
    browser: Browser, dashboard: Dashboard
) -> None:
    browser.open(dashboard.link)
    browser.open(f"{dashboard.origin}/dead-letters")
    whole = dashboard.scene.path.read_bytes()
    dashboard.scene.path.write_bytes(b"no queue" * 4096)
    browser.until(lambda: browser.find("#stale").is_displayed(), "the page is marked as stale")
    assert "Status404" in browser.text
    dashboard.scene.path.write_bytes(whole)


def test_a_hidden_page_reads_nothing(browser: Browser, dashboard: Dashboard) -> None:
    browser.open(dashboard.origin)
    streams = "return performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/events')).length"
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
    browser.script(hide, True)
    browser.until(lambda: browser.script(streams) == 1, "the stream has ended")
    dashboard.purge("notify-overdue")
    assert "Dead letters" in browser.find("tbody").text
    browser.script(hide, False)
    browser.until(lambda: "Dead letters" not in browser.find("tbody").text, "the page reads itself again")


def test_a_run_serves_the_console_and_its_sweep_is_live(browser: Browser, tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    process = cli.start("run", "--once", "-f", cli.slow(300), "--ui", "0")
    link = read_until(process.stdout, "console: ").rpartition("console: ")[2].strip()
    read_until(process.stderr, "handler entered")
    browser.open(link)
    browser.link("slow").click()
    browser.open(f"{urlsplit(link).scheme}://{urlsplit(link).netloc}/schedules/default/slow/sweeps/latest")
    browser.until_text("0 of 300, 0 %")
    (cli.folder / "go").touch()
    process.communicate(timeout=scaled(120))
    assert process.returncode == 0
    assert cli.states() == {"new": 300}
    browser.leave()
