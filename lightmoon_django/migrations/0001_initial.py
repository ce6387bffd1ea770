"""The table of nodes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Node",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=200)),
                ("pid", models.PositiveIntegerField()),
                ("process_started", models.CharField(max_length=40)),
                ("started_at", models.BigIntegerField()),
                ("expires_at", models.BigIntegerField()),
                ("dead", models.BooleanField(default=False)),
            ],
            options={"db_table": "lightmoon_node"},
        ),
    ]
