from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from demo_project.chat.models import LINE_LENGTH, NAME_LENGTH, Room


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The page. Which room is open stands in the URL's fragment."""
    rooms = Room.objects.only("slug", "title", "topic")
    return render(request, "chat/index.html", {"rooms": rooms, "line_length": LINE_LENGTH, "name_length": NAME_LENGTH})
