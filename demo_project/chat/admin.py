from __future__ import annotations

from django.contrib import admin

from demo_project.chat.models import Counter, Room

admin.site.register([Counter, Room])
