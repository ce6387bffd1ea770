"""What LightMoon is compared with, on the same server and the same machine."""
