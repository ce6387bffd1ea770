from __future__ import annotations

from django.urls import path

from bench.project.views import write_note

urlpatterns = [path("note", write_note)]
