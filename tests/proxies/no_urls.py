"""A project without LightMoon's URLs."""

urlpatterns: list[object] = []
