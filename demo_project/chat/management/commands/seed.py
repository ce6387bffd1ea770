"""`manage.py seed`: the rooms of the demo. Run again it changes nothing that is there."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from demo_project.chat.models import Counter, Line, Room

ROOMS = {
    "lobby": ("Lobby", "Open this page in a second window and say hello."),
    "workshop": ("Workshop", "What are you building?"),
    "observatory": ("Observatory", "Clear skies, and whatever is in them tonight."),
}
WELCOME = "This room is one Django model. Everything you say is stored before anybody sees it."


class Command(BaseCommand):
    help = "Create the demo's rooms and counter, unless they exist."

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now().isoformat(timespec="seconds")
        welcome = Line(id=1, who="LightMoon", text=WELCOME, at=at)
        for slug, (title, topic) in ROOMS.items():
            Room.objects.get_or_create(slug=slug, defaults={"title": title, "topic": topic, "lines": [welcome]})
        Counter.objects.get_or_create(name="moon")
