"""The tables of what turns store beside their fields, and of what operators do with it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("lightmoon", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Answer",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("fingerprint", models.BinaryField()),
                ("payload", models.BinaryField()),
                ("expires_at", models.BigIntegerField(db_index=True)),
            ],
            options={
                "db_table": "lightmoon_answer",
            },
        ),
        migrations.CreateModel(
            name="Outgoing",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("actor", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=255)),
                ("message", models.CharField(max_length=200)),
                ("payload", models.BinaryField()),
                ("caller", models.CharField(max_length=500)),
                ("user", models.CharField(default="", max_length=255)),
                ("wake_at", models.BigIntegerField(db_index=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "db_table": "lightmoon_outgoing",
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("what", models.CharField(max_length=10)),
                ("actor", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=255)),
                ("message", models.CharField(max_length=200)),
                ("name", models.CharField(default="", max_length=200)),
                ("payload", models.BinaryField()),
                ("error", models.TextField()),
                ("attempts", models.PositiveIntegerField()),
                ("caller", models.CharField(default="", max_length=500)),
                ("user", models.CharField(default="", max_length=255)),
                ("buried_at", models.BigIntegerField()),
            ],
            options={
                "db_table": "lightmoon_dead_letter",
                "indexes": [models.Index(fields=["actor", "key"], name="lightmoon_dead_letter_address")],
            },
        ),
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=255)),
                ("reason", models.TextField(default="")),
                ("since", models.BigIntegerField()),
            ],
            options={
                "db_table": "lightmoon_pause",
                "constraints": [models.UniqueConstraint(fields=("actor", "key"), name="lightmoon_pause_unique")],
            },
        ),
        migrations.CreateModel(
            name="Reminder",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=200)),
                ("generation", models.BigIntegerField()),
                ("message", models.CharField(max_length=200)),
                ("payload", models.BinaryField()),
                ("due_at", models.BigIntegerField()),
                ("period", models.BigIntegerField(default=0)),
                ("cron", models.CharField(default="", max_length=255)),
                ("catch_up", models.CharField(default="once", max_length=20)),
                ("user", models.CharField(default="", max_length=255)),
                ("wake_at", models.BigIntegerField(db_index=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("last_error", models.TextField(default="")),
            ],
            options={
                "db_table": "lightmoon_reminder",
                "constraints": [
                    models.UniqueConstraint(fields=("actor", "key", "name"), name="lightmoon_reminder_unique")
                ],
            },
        ),
    ]
