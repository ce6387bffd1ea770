from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from bench.project.models import Note


def write_note(request: HttpRequest) -> HttpResponse:
    """An ordinary view with an ordinary write."""
    return HttpResponse(str(Note.objects.create(text="hello").pk))
