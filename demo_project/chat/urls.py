from __future__ import annotations

from django.urls import path

from demo_project.chat.views import index

urlpatterns = [path("", index, name="index")]
