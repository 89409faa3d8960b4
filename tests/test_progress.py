"""What a run tells a person."""

from io import StringIO

from rich.console import Console

from rollin.progress import ConsoleReporter


def test_what_others_say_is_no_markup() -> None:
    """A server's refusal may quote a model's `[/INST]`."""
    told = StringIO()
    ConsoleReporter(Console(file=told)).say("it said [INST] hello [/INST] to [key]")
    assert told.getvalue() == "it said [INST] hello [/INST] to [key]\n"
